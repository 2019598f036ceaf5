"""Files are written whole or not at all."""

import os
import resource
import stat

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from marey.sim.files import new_content, write_file
from marey.sw.cli import main


@pytest.fixture
def full_disk():
    """No file may grow beyond 1,000 bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@given(content=st.one_of(st.binary(), st.text()), old=st.one_of(st.none(), st.binary()))
def test_the_content_is_what_was_given(content, old, tmp_path_factory):
    file = tmp_path_factory.mktemp("folder") / "file.txt"
    if old is not None:
        file.write_bytes(old)
    write_file(file, content)
    assert file.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert os.listdir(file.parent) == ["file.txt"]


@pytest.mark.parametrize("old", [None, b"old"])
def test_a_full_disk_leaves_what_was_there(old, tmp_path, full_disk):
    file = tmp_path / "program.marey"
    if old:
        file.write_bytes(old)
    with pytest.raises(OSError) as caught:
        write_file(file, bytes(5000))
    assert caught.value.filename == str(file)
    assert os.listdir(tmp_path) == (["program.marey"] if old else [])
    assert not old or file.read_bytes() == old


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there(failure, tmp_path):
    file = tmp_path / "file"
    file.write_text("old")
    with pytest.raises(failure), new_content(file) as temporary:
        temporary.write_text("half")
        raise failure
    assert os.listdir(tmp_path) == ["file"] and file.read_text() == "old"


def test_what_cannot_be_written_is_named(tmp_path):
    """A missing folder, a folder in the place of the file, a file in the place of the folder."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "absent" / "file", tmp_path, tmp_path / "file" / "below"):
        with pytest.raises(OSError) as caught:
            write_file(path, "text")
        assert caught.value.filename == str(path) or caught.value.filename == path
    assert os.listdir(tmp_path) == ["file"]


def test_a_full_disk_leaves_no_program(tmp_path, full_disk):
    """On the command line: one line that names the file, and nothing left of it."""
    (tmp_path / "in.asm").write_text("NOP\n" * 100 + "HALT\n")
    result = CliRunner().invoke(main, ["asm", str(tmp_path / "in.asm"), "-o", str(tmp_path / "out.marey")])
    assert result.exit_code == 2 and result.stderr == f"marey: {tmp_path / 'out.marey'}: File too large\n"
    assert os.listdir(tmp_path) == ["in.asm"]


def test_permissions_links_and_devices_stay(tmp_path):
    """A new file has the permissions of any other; a replaced one keeps its own; a link and a
    device stay what they are."""
    plain, file, link = tmp_path / "plain", tmp_path / "file", tmp_path / "link"
    plain.write_text("")
    write_file(file, "new")
    assert file.stat().st_mode == plain.stat().st_mode
    file.chmod(0o640)
    link.symlink_to(file)
    write_file(link, "through the link")
    assert link.is_symlink() and file.read_text() == "through the link"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    write_file(tmp_path / os.devnull, "gone")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
