"""`marey sweep`: its files, how it goes on where it was stopped, and workers that are killed."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from marey.sw.cli import sweeping
from marey.sw.formats.tiny import write_tiny
from marey.sw.model.config import ModelConfig
from tests.sw.commands import marey, refused

SHAPE = ModelConfig(dim=8, hidden_dim=8, n_layers=1, n_heads=1, n_kv_heads=1, vocab_size=260, seq_len=16)
OVER = ["--over", "rows=3,4 lanes=1,2", "--over", "cols=4", "--config", "tiny4x4"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("small"), SHAPE)


def test_its_files_and_how_it_goes_on(small, tmp_path, monkeypatch):
    """A point that fails does not end the sweep, and is tried again; the others are not; a torn line counts as nothing."""
    reckoned, reckon = [], sweeping.reckon

    def failing(name, *arguments):
        reckoned.append(name)
        if len(reckoned) == 4:
            raise ZeroDivisionError("a fault of the test")
        return reckon(name, *arguments)

    monkeypatch.setattr(sweeping, "reckon", failing)
    command = ["sweep", small, *OVER, "--workers", 1, "-o", tmp_path]
    first = marey(*command)
    assert first.exit_code == 0, first.output
    assert "4 tiles: 2 illegal, 1 resident, 1 failed" in first.stderr
    with (tmp_path / "points.jsonl").open("a") as kept:
        kept.write('{"key": "torn')
    again = marey(*command)
    assert "4 tiles: 2 illegal, 2 resident" in again.stderr and len(reckoned) == 5
    found = json.loads((tmp_path / "points.json").read_text())
    assert [row["config"] for row in csv.DictReader((tmp_path / "points.csv").read_text().splitlines())] == [
        row["config"] for row in found["points"]] and len(found["points"]) == 4
    assert found["front"] and (tmp_path / "front.svg").read_text().startswith("<svg")
    assert found["front"][0] in again.stdout and "/LUT" in again.stdout and "/$" in again.stdout


def test_prices_and_the_plot_as_png(small, tmp_path):
    pytest.importorskip("resvg_py", reason="the package resvg_py is not installed: pip install 'marey[campaign]'")
    command = ["sweep", small, "--over", "rows=4 cols=4", "--config", "ecp5_4x4", "--workers", 1]
    assert marey(*command, "--price", "LFE5U-25F=7.5", "-o", tmp_path).exit_code == 0
    (row,) = json.loads((tmp_path / "points.json").read_text())["points"]
    assert row["part"] == "LFE5U-25F" and row["usd"] == 7.5
    assert row["tokens_per_second_per_usd"] == pytest.approx(row["tokens_per_second"] / 7.5, rel=1e-3)
    assert row["tokens_per_second_per_lut"] == pytest.approx(row["tokens_per_second"] / row["lut"], rel=1e-3)
    png = (tmp_path / "front.png").read_bytes()
    assert png.startswith(b"\x89PNG") and int.from_bytes(png[16:20], "big") == 2 * 760
    for wrong in ("LFE5U-25F=0", "LFE5U-25F=nan", "LFE5U-25F", "XC7=3"):
        refused(*command, "--price", wrong, "-o", tmp_path, word="LFE5U-25F")


def test_what_cannot_be_swept(small, tmp_path):
    refused("sweep", small, "--over", "row=4", "-o", tmp_path, word="did you mean rows")
    refused("sweep", small, "--over", "rows=x", "-o", tmp_path, word="is not FIELD=N,N,...")
    refused("sweep", small, "-o", tmp_path, word="--over")
    refused("sweep", small, "--over", "rows=4", "--config", "nonesuch", "-o", tmp_path, word="there are sim8x8")
    refused("sweep", tmp_path / "none.gguf", "--over", "rows=4", "-o", tmp_path, word="none.gguf")


def test_boards_have_their_clock_and_their_device(small, tmp_path):
    pytest.importorskip("amaranth_boards", reason="amaranth-boards is not installed: pip install 'marey[boards]'")
    command = ["sweep", small, "--over", "wram_depth=2048,65536", "--workers", 1, "-o", tmp_path]
    done = marey(*command, "--board", "orangecrab-25f", "--board", "ulx3s-85f")
    assert done.exit_code == 0 and "orangecrab-25f ecp5_4x4,wram_depth=2048" in done.stdout, done.output
    rows = json.loads((tmp_path / "points.json").read_text())["points"]
    assert [(row["board"], row["clock_mhz"]) for row in rows] == [
        ("orangecrab-25f", 100), ("orangecrab-25f", 100), ("ulx3s-85f", 87.5), ("ulx3s-85f", 87.5)]
    assert rows[0]["part"] == "LFE5U-25F"
    assert rows[0]["tokens_per_second"] == pytest.approx(1e8 / rows[0]["cycles"], rel=1e-3)
    assert rows[1]["mode"] == "no" and rows[1]["why"] == "no room on the board's LFE5U-25F"
    assert "tokens_per_second" not in rows[1]
    refused(*command, "--board", "nonesuch", word="there are icebreaker")


def test_builds_of_the_front_and_how_they_go_on(small, tmp_path, monkeypatch):
    """What place and route make stands beside the estimate. What is built is not built again."""
    built = []

    def cost(name):
        built.append(name)
        if len(built) == 2:
            raise ZeroDivisionError("a fault of the test")
        return {"resources": {"lut": 5000, "ff": 1, "bram": 40, "dsp": 20}, "clock_mhz_met": 50.0}

    monkeypatch.setattr(sweeping, "cost", cost)
    command = ["sweep", small, "--over", "rows=4,8", "--config", "ecp5_4x4", "--workers", 1, "-o", tmp_path]
    assert marey(*command).exit_code == 0 and not built
    assert "at 50 MHz" in marey(*command, "--build", "all").stdout and len(built) == 2
    assert "ZeroDivisionError" in (tmp_path / "points.csv").read_text()
    again = marey(*command, "--build", "all")
    assert len(built) == 3 and built[2] == built[1] and "at 50 MHz" in again.stdout
    rows = json.loads((tmp_path / "points.json").read_text())["points"]
    assert all(row["built_lut"] == 5000 and row["built_clock_mhz"] == 50 for row in rows)
    assert rows[0]["built_tokens_per_second"] == pytest.approx(50e6 / rows[0]["cycles"], rel=1e-3)
    assert not any("build_why" in row for row in rows)
    best = json.loads((tmp_path / "points.json").read_text())["front"]
    (tmp_path / "builds.jsonl").unlink()
    assert marey(*command, "--build").exit_code == 0 and built[3:] == best


def workers_of(pid):
    """Processes of Dask, whom a server forks that a process has started."""
    def children(parent):
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                if int(stat.read_text().rsplit(")", 1)[1].split()[1]) == parent:
                    yield int(stat.parent.name)

    for server in children(pid):
        with suppress(OSError):
            if b"forkserver" in Path(f"/proc/{server}/cmdline").read_bytes():
                yield from children(server)


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(small, tmp_path):
    pytest.importorskip("distributed", reason="the package distributed is not installed: pip install 'marey[campaign]'")
    command = [sys.executable, "-c", "from marey.sw.cli import main\nif __name__ == '__main__': main()", "sweep", str(small),
               "--config", "tiny4x4", "--over", "rows=4,8 cols=4,8 lanes=1,2,4 wram_depth=64,128,256,512",
               "--workers", "2", "-o", str(tmp_path)]
    kept, killed = tmp_path / "points.jsonl", None
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not killed:
            if kept.exists() and len(kept.read_text().splitlines()) > 3:
                killed = next(iter(workers_of(process.pid)), None)
                if killed:
                    os.kill(killed, signal.SIGKILL)
            time.sleep(0.05)
        told = process.communicate(timeout=300)[1]
    assert killed and process.returncode == 0, told
    assert "48 tiles" in told and len(json.loads((tmp_path / "points.json").read_text())["points"]) == 48
    assert "failed" not in (tmp_path / "points.csv").read_text()
