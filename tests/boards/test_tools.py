"""What is said of a tool that fails: its last error, or the signal that ended it."""

import os

import pytest

from marey.boards import tools


@pytest.mark.parametrize(("script", "message"), [
    ("echo Info: placed; echo ERROR: no room; echo bye; exit 1", "router failed: ERROR: no room (see"),
    ("echo Info: placed; exit 3", "router failed: Info: placed (see"),
    ("echo Info: placed; kill -KILL $$", "router was ended by SIGKILL (see"),
])
def test_a_tool_that_fails(tmp_path, monkeypatch, script, message):
    program = tmp_path / "bin" / "router"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    with pytest.raises(tools.ToolError) as caught:
        tools.run(tmp_path, "router")
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)
