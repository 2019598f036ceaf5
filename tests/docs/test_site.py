"""The documentation site is built without a warning, and has all pages and commands."""

import os
import subprocess
import sys

import pytest

from marey.sw.cli import main
from tests.docs.pages import PAGES, ROOT, name_of

OTHERWISE = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Pages that have another name on the site."""


def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip(
        "mkdocstrings", reason="the site's tools are not installed: pip install 'marey[site]'"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mkdocs",
            "build",
            "--quiet",
            "--strict",
            "-f",
            ROOT / "site" / "mkdocs.yml",
            "-d",
            tmp_path,
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0 and not done.stdout + done.stderr, done.stdout + done.stderr
    for page in PAGES:
        name = OTHERWISE.get(name_of(page), name_of(page).removeprefix("docs/"))
        assert (tmp_path / name).with_suffix(".html").is_file(), name
    commands = (tmp_path / "reference" / "commands.html").read_text()
    assert all(f'id="marey-{name}"' in commands for name in main.list_commands(None))
    assert 'id="marey.sw.modules.compile"' in (tmp_path / "reference" / "python.html").read_text()
