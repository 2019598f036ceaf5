"""The cache mends itself, and says in one line when it cannot be used."""

import os
import resource
import time

import platformdirs
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from marey.sim import cache
from marey.sim.cache import CacheError, cache_folder, digest, kept
from marey.sim.simulation import BackendError
from marey.sw.cli import main


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("MAREY_CACHE", str(folder))
    return folder


def maker(content, calls):
    """A `make` that writes a content, and notes that it was called."""
    def make(folder):
        calls.append(folder)
        (folder / "made").write_bytes(content)
        return folder / "made"
    return make


def test_a_file_is_made_once(folder):
    calls = []
    for _ in range(2):
        assert kept("name", ".so", maker(b"content", calls)).read_bytes() == b"content"
    assert len(calls) == 1 and not calls[0].exists()
    assert len(list(folder.iterdir())) == 1


@given(damaged=st.binary(max_size=8).filter(lambda content: content != b"content"))
def test_a_damaged_file_is_made_anew(damaged, tmp_path_factory):
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAREY_CACHE", str(tmp_path_factory.mktemp("cache")))
        kept("name", ".so", maker(b"content", calls)).write_bytes(damaged)
        assert kept("name", ".so", maker(b"content", calls)).read_bytes() == b"content"
        assert len(calls) == 2 and len(list(cache_folder().iterdir())) == 1


def test_the_folders_of_killed_processes_are_removed(folder):
    """Not those of processes that may still run."""
    for name, age_s in (("making-old", 2 * 24 * 3600), ("making-new", 60), ("other-old", 2 * 24 * 3600)):
        (folder / name).mkdir(parents=True)
        (folder / name / "file").write_text("")
        os.utime(folder / name, (time.time() - age_s,) * 2)
    kept("name", ".v", maker(b"", []))
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"making-new", "other-old"}


def test_a_failure_leaves_nothing(folder):
    def make(work):
        (work / "half").write_text("")
        raise BackendError("failed")
    with pytest.raises(BackendError, match="failed"):
        kept("name", ".v", make)
    assert list(folder.iterdir()) == []


def test_a_full_disk_is_one_line(folder):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(CacheError, match=r"^the cache folder .*cache cannot be used .*MAREY_CACHE$"):
            kept("name", ".v", maker(bytes(5000), []))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("variable", ["MAREY_CACHE", "HOME"])
def test_an_unusable_folder_is_one_line(variable, tmp_path, monkeypatch):
    """A file in the place of a folder, and a folder that nobody can make anything in, root
    included."""
    monkeypatch.delenv("MAREY_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below", "/proc/1", "/dev/null"):
        monkeypatch.setenv(variable, str(place))
        with pytest.raises(CacheError, match="MAREY_CACHE") as caught:
            cache_folder()
        assert str(place) in str(caught.value) and "\n" not in str(caught.value)


def test_a_home_without_room_for_the_cache_of_yosys(tmp_path, monkeypatch):
    """Yosys as a wheel keeps a cache, too: one line says where it can be, and then there is
    Verilog."""
    # What Yosys has compiled before, because it takes ten seconds to compile.
    compiled = platformdirs.user_cache_path("wasmtime", ensure_exists=True)
    (tmp_path / "caches").mkdir()
    (tmp_path / "caches" / "wasmtime").symlink_to(compiled)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/proc/1")
    command = ["verilog", "--config", "tiny4x4", "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(main, command)
    if result.exit_code:
        assert result.exit_code == 1 and result.stderr.count("\n") == 1 and "XDG_CACHE_HOME" in result.stderr
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert CliRunner().invoke(main, command).exit_code == 0


def test_a_digest_is_of_all_parts():
    assert len({digest(), digest(""), digest("ab"), digest("a", "b"), digest("b", "a")}) == 4 and digest() == digest("")


def test_help_names_the_variable():
    assert "MAREY_CACHE" in CliRunner().invoke(main, ["--help"]).stdout


def test_nothing_takes_a_day():
    """A folder is taken for abandoned long after the longest build, that of a netlist: minutes."""
    assert cache._ABANDONED_S > 10 * 3600
