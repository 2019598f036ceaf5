"""The proof that the sequencer's timetable does not depend on data.

Two sequencers are in any two states, and begin the same run at the same time. From then on they have
the same program, and any other chosen tokens, host words and contents of registers. In every cycle, to
the end of that run and beyond, both issue or neither does, both run or neither does, and they have
counted the same cycles. The instructions are free: whatever the program memory could hold.

What is assumed are rules that the verifier holds programs to (`marey.hdl.timing.issues`) and that the
link keeps (see `link.py`):

* A START comes when no run is on, and the host neither reads nor writes the program memory during a run.
* own: loop counters are at their start when a run begins; a NOP with turns comes after a PERIOD of this run.
* data: on a compact tile no NOP waits for a register that INDEX made of the token, or that this run
  never wrote. Address register 0 is never written.
"""

from pathlib import Path

from amaranth.hdl import Cat, Mux, Signal

from marey.hdl.sequencer import Sequencer
from marey.hdl.spec.config import Config
from marey.hdl.spec.isa import Op, Source, isa_of
from marey.hdl.spec.protocol import Space
from marey.hdl.spec.row_encoding import NEXT, OPERATION

from .copies import Copies
from .netlist import Netlist
from .tools import Failed

DEPTH = {0: 3, 1: 1}
"""Cycles of the induction, by `Config.compact`. One is enough; with three the solver is quicker on a full tile."""


def prove(config: Config, folder: Path) -> Failed | None:
    """Proves it for a configuration. Returns what failed."""
    isa = isa_of(config)
    netlist = Netlist(Sequencer(config), folder, deepest=isa.registers)
    memories = {name for name in netlist.module["ports"] if name.startswith("memory") and name[6:].isdigit()}
    if not config.compact:
        netlist.cut("decoder.product")
    copies = Copies(netlist, {"start", "begin"} | memories, netlist.state)
    started = Signal()
    with copies.m.If(copies.inputs["start"]):
        copies.m.d.sync += started.eq(1)
    _host_keeps_away(copies, started)
    for name in sorted(memories):
        same = [copies.copies[0][f"{name}_{what}"] == copies.copies[1][f"{name}_{what}"] for what in ("enable", "address")]
        enabled = copies.copies[0][f"{name}_enable"]
        copies.check(f"{name} is read alike", ~(started & copies.copies[0]["running"])
                     | (same[0] & (~enabled | same[1])))
    for name in ("running", "issuing", "cycles", "position", "made"):
        copies.equal(name, started)
    for name in ("mxm", "vxm", "sfu"):
        valid = [copy[name][0] for copy in copies.copies]
        copies.check(f"{name} begins alike", ~started | (valid[0] == valid[1]))
    (_rows if config.compact else _at_once)(copies, started & copies.copies[0]["running"], config)
    return copies.prove(DEPTH[config.compact])


def _host_keeps_away(copies, started):
    """What the link promises, for each copy."""
    start = copies.inputs["start"]
    for copy in copies.copies:
        asked = (copy["host__space"] == Space.PROGRAM) & (copy["host__write"] | copy["host__read"])
        copies.assume(~(start & copy["running"]))
        copies.assume(~(asked & (start | copy["running"])))


def _at_once(copies, on, config):
    """What else is equal in two full sequencers, and the rules for their programs."""
    m, isa, one = copies.m, isa_of(config), copies.copies[0]
    issuing, instruction = one["issuing"], isa.layout(one["instruction"])
    # The period is this run's from the first PERIOD on; INDEX and PERIOD work for some cycles.
    own_period, age, working = Signal(), Signal(2), one["decoder.steps"].any()
    with m.If(on & (age != 3)):
        m.d.sync += age.eq(age + 1)
    with m.If(copies.inputs["start"]):
        m.d.sync += [own_period.eq(0), age.eq(0)]
    with m.Elif(issuing & (instruction.op == Op.PERIOD)):
        m.d.sync += own_period.eq(1)
    copies.assume(~(issuing & on & (instruction.op == Op.NOP) & (instruction.operands.nop.turns != 0)) | own_period)
    counters = [f"decoder.loop{number}" for number in range(isa.counters)]
    for number, copy in enumerate(copies.copies):
        copies.assume(~copies.inputs["start"] | Cat(copy[name] == 1 for name in counters).all())
        steps, pause = copy["decoder.steps"], copy["pause"]
        copies.check(f"sequencer {number} pauses while it multiplies",
                     Cat(~step | pause[:len(steps) - place].all() for place, step in enumerate(steps)).all())
        copies.check(f"sequencer {number} multiplies in a run only", copy["running"] | ~copy["decoder.steps"].any())
    copies.check("there is something to wait for",
                 ~(on & one["waiting"]) | one["wait"].any() | one["turns"].any() | one["blocks"].any())
    nothing_left = ~one["waiting"] | (~one["turns"].any() & ~one["blocks"].any())
    copies.check("no pause is counted while it multiplies", ~(on & working) | nothing_left)
    copies.check("the fetch is empty at first", ~on | (age != 0) | ~(one["waiting"] | one["ready"] | one["fetch.ahead"]))
    of_period = working & one["decoder.of_period"]
    for name in ("pause", "waiting", "jump", "fetch.pc", "fetch.ahead", "ready", "decoder.wanted", "decoder.steps", *counters):
        copies.equal(name, on)
    for name in ("wait", "blocks", "turns"):
        copies.equal(name, on & one["waiting"])
    copies.equal("instruction", on & one["ready"])
    for name in copies.netlist.state:
        if name.startswith("fetch.program.") and name.endswith("read__data"):
            copies.equal(name, on & one["fetch.ahead"])
    copies.equal("decoder.blocks", on & (age != 0))
    copies.equal("target", on & one["jump"])
    copies.equal("decoder.of_period", on & working)
    copies.equal("decoder.kept", on & working)
    copies.equal("decoder.factor", on & of_period)
    # Equal factors have equal products: the multiplier is no part of the proof, and its register a free input.
    multiplied = Signal()
    m.d.sync += multiplied.eq(on & of_period)
    copies.assume(~multiplied | (one["decoder.product"] == copies.copies[1]["decoder.product"]))
    copies.equal("period", on & own_period & ~of_period)
    copies.check("turns are of a period of this run", ~(on & one["waiting"] & one["turns"].any()) | own_period)


def _rows(copies, on, config):
    """What else is equal in two compact sequencers, and the rules for their programs."""
    m, isa, one = copies.m, isa_of(config), copies.copies[0]
    start, row, number = copies.inputs["start"], one["rows.row"], one["rows.row_number"]
    first = number == 0
    op = Mux(first, row[OPERATION:NEXT], one["rows.kept"])
    step = one["running"] & ~(first & one["rows.wait"].any())

    # What may differ: by address register, and for the one that was read last.
    differs, read = Signal(isa.registers), Signal()
    multiplies = (op == Op.INDEX) & (number == 2)
    with m.If(one["kept0_read0_enable"]):
        m.d.sync += read.eq(differs.bit_select(one["kept0_read0_address"], 1))
    with m.If(one["kept0_write0_enable"]):
        written = read | (multiplies & (one["rows.source"] == Source.TOKEN.value))
        m.d.sync += differs.bit_select(one["kept0_write0_address"], 1).eq(written)
    with m.If(start):
        m.d.sync += [differs.eq(~1), read.eq(0)]
    copies.assume(~(step & (op == Op.NOP) & (number == 1) & on & read))
    # What the encoding makes of any instruction: known operations, and no register in a last row.
    last = Cat((op == of) & (number == Sequencer.latency(config, of)) for of in isa_of(config).operands).any()
    copies.assume(~one["running"] | Cat(op == of for of in isa_of(config).operands).any())
    copies.check("first rows have no register", ~(on & first & read))
    copies.check("address register 0 is the same", ~on | ~differs[0])
    copies.check("rows end with their instruction",
                 ~on | Cat((op == of) & (number <= Sequencer.latency(config, of)) for of in isa_of(config).operands).any())
    copies.assume(~(step & last & row[NEXT:].any()))
    for place, copy in enumerate(copies.copies):
        copies.assume(~start | (copy["rows.counter"] == 1))
        copies.assume(~(copy["kept0_write0_enable"] & (copy["kept0_write0_address"] == 0)))
        copies.check(f"address register 0 of sequencer {place} is 0", copy["rows.registers[0]"] == 0)
    for name in ("rows.row", "rows.row_number", "rows.pc", "rows.wait", "rows.counter", "rows.wanted"):
        copies.equal(name, on)
    copies.equal("rows.kept", on & ~first)
    indexes = on & (op == Op.INDEX) & (number >= 2)
    for name in ("rows.source", "rows.read_turn", "rows.number"):
        copies.equal(name, indexes)
    copies.equal("rows.read__data", on & ~read)
    for register in range(isa.registers):
        copies.equal(f"rows.registers[{register}]", on & ~differs[register])
