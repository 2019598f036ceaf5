"""The bus of external memory in the timetable: each burst in its bank's row, each REFRESH, and nothing twice."""

from dataclasses import replace

import numpy as np
import pytest

from marey.hdl.dram import Dram, DramEngine
from marey.hdl.spec.dram_parts import BURST
from marey.hdl.spec.dram_rules import Command
from marey.hdl.spec.isa import Op, Place
from marey.hdl.timing import MEMORY_ROWS, ROWS, Issue
from marey.hdl.timing.moves import move_actions
from marey.sw.compiler.compile import compile_quantised
from marey.sw.formats.tiny import tiny_model
from marey.sw.quant.quantise import quantise
from marey.sw.views.bus import bus_rows, bus_uses
from marey.sw.views.perfetto import trace_events
from marey.sw.views.report import report
from marey.sw.views.timetable import chart, text
from tests.configs import MODELS, ROOMY, op

CONFIG = replace(ROOMY[4], name="external", sdram=1, wram_depth=128)


@pytest.mark.parametrize("sweep", [0, 20_000])
def test_a_move_is_what_its_commands_say(sweep):
    config = replace(CONFIG, sdram_sweep_us=sweep)
    plan, far, count = Dram.plan(config), 60, 300
    move = op(config, "MOVE", to=Place.MEM, far=far, near=0, count=count)
    rows = bus_uses(config, Issue(0, 0, move, {"to": Place.MEM, "far": far, "near": 0, "count": count}))
    assert len(rows) == len(bus_rows(config)) == config.memory.part.banks + 1
    words = np.concatenate(rows[:-1])
    assert len(np.unique(words)) == len(words) == count * BURST
    # A cycle from the issue to the start, and those to the pins.
    later = 1 - DramEngine.pin_latency(plan.timing)
    actions = [(action.cycle + later, action) for action in move_actions(plan, far, count, False)]
    for bank, cycles in enumerate(rows[:-1]):
        reads = [cycle for cycle, action in actions if action.command is Command.READ and action.bank == bank]
        assert reads == cycles[::BURST].tolist()
    refreshes = [cycle for cycle, action in actions if action.command is Command.REFRESH]
    assert rows[-1][::plan.timing.rfc].tolist() == [1, *refreshes] and len(refreshes) == (0 if sweep else 3)


def test_the_timetable_of_a_token_has_the_bus():
    program = compile_quantised(quantise(tiny_model(next(iter(MODELS)))), CONFIG)
    drawn = chart(program)
    units = [unit for unit, _ in drawn["units"]]
    assert units == [*ROWS, *MEMORY_ROWS, *(name for name, _ in bus_rows(CONFIG))]
    used = {units[number] for form in drawn["forms"] for number, _ in form}
    assert used >= {"engine.sdram", "wram.filled", "mem.filled", "sdram.bank0", "sdram.bank3", "sdram.refresh"}
    layers = [layer for *_, layer in drawn["templates"][0]["operations"]]
    assert set(layers) == {-1, 0, 1}
    assert sum(issued.op is Op.MOVE for issued in program.image.instructions) > 10
    lines = report(program, 0)["summary"]
    assert lines["external memory"].endswith("bytes of 33,554,432") and lines["its bus"].endswith("% of the peak")
    assert list(text(program)) and trace_events(program)["traceEvents"]
