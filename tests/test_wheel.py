"""The wheel has all that is needed: it runs in an empty environment, without a checkout."""

import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = PROJECT["tool"]["setuptools"]["package-dir"]


def test_every_file_beside_the_code_is_package_data():
    """Whether git is there or not: without it setuptools takes what the patterns say."""
    patterns = PROJECT["tool"]["setuptools"]["package-data"]
    held = {
        path
        for package, names in patterns.items()
        for name in names
        for path in (ROOT / FOLDERS[package]).glob(name)
    }
    found = {path for tree in ("hdl", "sim", "sw", "boards") for path in (ROOT / tree).rglob("*")
             if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert {path.relative_to(ROOT).as_posix() for path in found - held} == set()


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder of the commands of an environment into which the built wheel alone was installed,
    with what it needs."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "-w", folder, ROOT], check=True)
    (wheel,) = folder.glob("marey-*.whl")
    venv.create(folder / "environment", with_pip=True)
    commands = folder / "environment" / ("Scripts" if os.name == "nt" else "bin")
    subprocess.run(
        [commands / "python", "-m", "pip", "install", "--quiet", wheel], check=True, env=without_python()
    )
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if not name.startswith(("marey/", "marey-"))]
    return commands


def without_python():
    """This process's environment without what leads Python to this checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def run(installed, *words):
    """The output of a command of the environment, in an empty folder."""
    folder = installed.parent / "empty"
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        [installed / words[0], *words[1:]], capture_output=True, text=True, cwd=folder, env=without_python()
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["emulator", "verilator"])
def test_it_tells_a_story_without_a_checkout(installed, compiler, backend):
    assert run(installed, "marey", "generate", "One day", "--steps", "4", "--backend", backend).startswith(
        "One day"
    )


@pytest.mark.slow
def test_it_has_the_version_and_the_package(installed):
    said = run(installed, "marey", "--version").split()[-1]
    assert (
        run(installed, "python", "-c", "import marey; print(marey.__version__, marey.__file__)").split()[0]
        == said
    )
    run(installed, "marey", "verilog", "--config", "tiny4x8", "-o", "tile")
    run(installed, "marey", "timetable", "-o", "page.html")
    run(installed, "marey", "fit", "--json")
    assert "<title>" in (installed.parent / "empty" / "page.html").read_text(encoding="utf-8")
