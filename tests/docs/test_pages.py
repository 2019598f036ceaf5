"""The pages: their links lead somewhere, the files that they name exist, and the README is short."""

import re
import tomllib

import pytest

from tests.docs.pages import INLINE, PAGES, ROOT, name_of, prose

MOST_WORDS = 900
PATH = re.compile(r"(?:hdl|sw|sim|boards|tests|docs)/[\w./*-]*")
ADDED = {"hdl/spill/", "hdl/spill/spill.py", "tests/hdl/spill/test_spill.py", "tests/cocotb/bench_spill.py",
         "sw/model/families/qwen2.py", "boards/icesugar.py", "sw/formats/onnx.py", "tests/docs/recipes.py"}
"""Files that a reader of a recipe adds."""
every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def test_the_readme_is_short():
    """Words, those in code and tables included."""
    words = [word for word in (ROOT / "README.md").read_text().split() if re.search(r"\w", word)]
    assert len(words) <= MOST_WORDS, len(words)


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", prose(page)):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            found = (page.parent / path).resolve() if path else page
            assert found.exists(), target
            assert not anchor or anchor in anchors(found), target


@every_page
def test_files_that_are_named_exist(page):
    for text in INLINE.findall(prose(page)):
        if PATH.fullmatch(text) and "<" not in text and text not in ADDED:
            assert any(ROOT.glob(text.rstrip("/"))), text


def test_every_page_can_be_reached():
    """From the README, by links."""
    reached, left = set(), [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page not in reached:
            reached.add(page)
            targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", prose(page))]
            left += [path for target in targets if (path := (page.parent / target).resolve()).suffix == ".md"]
    assert set(PAGES) - reached == set()


def test_the_rooms_of_the_architecture_are_all():
    """docs/architecture.md names every folder of code."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    rooms = {path.parent.relative_to(ROOT) for tree in ("hdl", "sw", "sim", "boards")
             for path in (ROOT / tree).rglob("__init__.py")}
    assert {room.as_posix() for room in rooms if len(room.parts) <= 2 and f"{room.as_posix()}/" not in page} == set()


def test_every_folder_of_code_is_in_the_package():
    """What `pip install .` installs is all of the tree."""
    packages = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {f"marey.{'.'.join(path.parent.relative_to(ROOT).parts)}" for tree in ("hdl", "sw", "sim", "boards")
             for path in (ROOT / tree).rglob("__init__.py")}
    # sw/package is the package `marey` itself.
    assert packages == found - {"marey.sw.package"} | {"marey"}
