"""The figures of the pages are those of the functions that make them: one fact, one figure."""

import re
from dataclasses import replace
from functools import cache

import pytest

from marey.hdl.manual import manual
from marey.hdl.spec.config import preset
from marey.sim.backends import open_transport
from marey.sw.compiler.compile import schedule
from marey.sw.compiler.integers import integers_for
from marey.sw.compiler.matmul import matmul
from marey.sw.compiler.plan import lay_out_model
from marey.sw.formats import DEFAULT_MODEL, load_model
from marey.sw.program.program import Program
from marey.sw.quant.outline import outline_of_shape
from marey.sw.runtime.driver import Device
from marey.sw.views.bench import bench
from marey.sw.views.evaluate import evaluate
from marey.sw.views.report import report
from tests.docs.pages import ROOT, blocks

SPEED, TILE, TIMETABLE = (ROOT / "docs" / name for name in ("speed.md", "tile.md", "timetable.md"))
POSITION = 127
"""The position of the token in docs/tile.md."""


def text(page):
    """A page in one line."""
    return " ".join(page.read_text().split())


def share(value):
    """A share as pages have it."""
    return f"{value:.1%}".replace("%", " %")


@pytest.fixture
def on(stories):
    """A function: the program of stories260K on a preset, or on a configuration, without weights."""
    @cache
    def program(config):
        shape = load_model(stories).config
        outline = outline_of_shape(shape, **integers_for(config, shape))
        return schedule(lay_out_model(config, outline), outline)

    return lambda config: program(preset(config) if isinstance(config, str) else config)


def test_products(compiler):
    """The products in docs/speed.md take the cycles that the RTL counts."""
    config = preset("sim8x8")
    cells = {row.name: f"| {row.measured_cycles:,} | {share(row.utilisation)}"
             for row in bench(config, lambda: Device(open_transport(config, "verilator"), config))}
    assert len(cells) >= 6
    for name, wanted in cells.items():
        shape = name.split("_")[1]
        line = next(line for line in SPEED.read_text().splitlines() if line.startswith("| matrix") and shape in line)
        assert wanted in line, (name, wanted, line)
    largest = next(cell for name, cell in cells.items() if "_512x512" in name)
    assert largest.removeprefix("| ").replace(" | ", " cycles, ") in text(ROOT / "README.md")


def test_whole_tokens(on, stories):
    program, lines = on("sim8x8"), SPEED.read_text().splitlines()
    for position in (0, 255):
        cycles = program.cycles(position)
        floor = -(-load_model(stories).graph.macs(position) // program.config.macs)
        line = next(line for line in lines if line.startswith(f"| stories260K, token at position {position},"))
        assert f"| {cycles:,} | {share(floor / cycles)}" in line
    constant, slope, least = program.formula()
    assert (f"on `sim8x8` {constant:,} + {slope} x blocks, where blocks = position / 8 + 1, from {least} blocks on. "
            f"The program has {len(program.image.instructions)} instructions") in text(SPEED)
    assert f"{len(program.image.instructions)} instructions for stories260K on `sim8x8`" in text(TILE)


@pytest.mark.slow
def test_perplexities(stories):
    """docs/speed.md's are what `marey eval` prints."""
    for model, rows in ((stories, ("int8 weights, activations", "the same with int4 weights, the embedding's")),
                        (DEFAULT_MODEL, ("the same of the model that ships",) * 2)):
        found = evaluate(model, quants=("int8", "int4"))
        for quant, row in zip(("int8", "int4"), rows, strict=True):
            line = next(line for line in SPEED.read_text().splitlines() if row in line)
            assert f"x{found[quant]['ratio']:.3f}" in line


def test_streamed_tokens(on, stories):
    macs = load_model(stories).graph.macs(0)
    streamed = on("ecp5_8x8")
    resident = on(replace(preset("ecp5_8x8"), wram_depth=8192))

    def floor(program):
        return share(macs / program.config.macs / program.cycles(0))

    runs = sum(times for _, times in streamed.stream.counted())
    assert (f"takes {streamed.cycles(0):,} cycles at position 0 in {runs} runs, {floor(streamed)} of them") in text(TILE)
    assert f"takes {resident.cycles(0):,} cycles, {floor(resident)}" in text(TILE)
    assert f"{streamed.link_words():,} words over the link" in text(TILE)


def test_the_table_of_a_token(on):
    """docs/tile.md's is what `marey report` prints."""
    written = re.findall(r"^\| [^|]+ \| ([\d,]+) \| (\d+) \| (\d+) \|", TILE.read_text(), re.MULTILINE)
    phases = report(on("sim8x8"), POSITION)["phases"]
    assert [(f"{row['cycles']:,}", f"{row['mac_floor_cycles']:.0f}", str(row["idle_before"])) for row in phases] == written


def test_the_listing_of_a_product():
    """docs/timetable.md's is what `marey disasm` prints."""
    config = preset("sim8x8")
    program = Program.from_instructions(config, matmul(config, inner=8, outer=8, act=0, wgt=128, scale=102, dst=22, shift=18))
    _, *listing = program.listing()
    shown = next(block for block in blocks(TIMETABLE, "") if "MXM" in block)
    assert " ".join(shown.split()) == " ".join(" ".join(listing).split())


def test_the_manual_is_up_to_date():
    assert (ROOT / "docs" / "instructions.md").read_text() == manual()
