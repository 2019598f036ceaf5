"""The pages of the repository, and the commands in their code blocks."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
"""README.md, CONTRIBUTING.md, CHANGELOG.md and all of docs/."""
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
FETCHED = re.compile(r"smollm2|hf:[\w-]+/[\w.-]+(/[\w.-]+\.gguf)?")
"""Names of models that are fetched (docs/models.md)."""
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")


def name_of(page: Path) -> str:
    """A page's path from the root of the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *languages: str) -> list[str]:
    """The code blocks of a page in these languages, without their indentation."""
    return ["\n".join(line.removeprefix(indent) for line in body.splitlines())
            for indent, language, body in BLOCK.findall(page.read_text()) if language in languages]


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return BLOCK.sub("", page.read_text())


@dataclass(frozen=True)
class Command:
    """A command in a page: its words, the language of its block, and the file that its output is redirected to."""

    page: str
    words: tuple[str, ...]
    language: str = ""
    output: str | None = None

    def __str__(self):
        return f"{self.page}: {shlex.join(self.words)}"


def commands(page: Path) -> Iterator[Command]:
    """The commands of a page's `console` blocks, behind "$ ", and of its `sh` blocks, in order."""
    for language in ("console", "sh"):
        for block in blocks(page, language):
            lines = block.replace("\\\n", " ").splitlines()
            if language == "console":
                lines = [line[2:] for line in lines if line.startswith("$ ")]
            for line in lines:
                words = shlex.split(line, comments=True)
                if ">" in words:
                    at = words.index(">")
                    yield Command(name_of(page), tuple(words[:at]), language, words[at + 1])
                elif words:
                    yield Command(name_of(page), tuple(words), language)


def inline_commands(page: Path) -> Iterator[Command]:
    """The commands in a page's running text: `marey fit`, `make docs`, `pytest ...`, `python -m ...`."""
    for text in INLINE.findall(prose(page)):
        text = " ".join(text.split())
        if text.split(" ")[0] in ("marey", "make", "pytest", "python") and " " in text and "..." not in text:
            yield Command(name_of(page), tuple(shlex.split(text)))
