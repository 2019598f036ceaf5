"""A hook of MkDocs that adds pages to those of docs/, and shows mkdocstrings where the package's
folders are."""

import shutil
from pathlib import Path

import click
from mkdocs.structure.files import File

from marey.sw.cli import main

ROOT = Path(__file__).parents[1]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Pages of the repository's root, and their names on the site."""
TREES = ("hdl", "sim", "sw", "boards")


def on_startup(**_):
    """Makes a folder in which the package lies as Python sees it: `marey` with its folders in it. It must
    be there before the plug-ins are configured."""
    package = ROOT / "build" / "site-package" / "marey"
    package.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "sw" / "package" / "__init__.py", package)
    for name in TREES:
        link = package / name
        link.unlink(missing_ok=True)
        link.symlink_to(ROOT / name)


def on_files(files, config):
    """Adds the pages of the root, of this folder, and the commands."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=_moved((ROOT / name).read_text(encoding="utf-8"))))
    for path in sorted((ROOT / "site" / "reference").glob("*.md")):
        files.append(
            File.generated(config, f"reference/{path.name}", content=path.read_text(encoding="utf-8"))
        )
    files.append(File.generated(config, "reference/commands.md", content=_commands()))
    return files


def _moved(text):
    """A page of the root with links that lead to where the site has their pages."""
    text = text.replace("](docs/", "](")
    for name, page in PAGES.items():
        text = text.replace(f"]({name}", f"]({page}")
    return text


def _commands():
    """The help of all commands."""
    parts = ["# Commands\n", "What `marey COMMAND --help` prints.\n"]
    for name in ("", *main.list_commands(None)):
        command, path = main.get_command(None, name) if name else main, f"marey {name}".strip()
        with click.Context(command, info_name=path, max_content_width=100, terminal_width=100) as context:
            parts += [f"## {path}\n", "```text", command.get_help(context), "```\n"]
    return "\n".join(parts)
