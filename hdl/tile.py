"""The tile: an LPU in one component."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .dram import Dram, Pins
from .link import Link
from .mem import Mem
from .mxm import Mxm
from .scalars import Scalars
from .sequencer import Sequencer
from .spec.config import Config
from .spec.isa import To
from .timing import PROBED, Unit
from .vxm import Vxm

PROBE = data.StructLayout({"running": 1} | {unit.value: 1 for unit in PROBED})
"""Which units are at work in a cycle; `running` is 1 from cycle 1 of a run to its end."""


class Tile(wiring.Component):
    """The tile: link, sequencer, MEM, MXM, VXM and scalar registers, wired as in this diagram.

    ::

          rx, tx
             |
        +----v----+   start, begin   +-----------+
        |  link   |----------------->| sequencer |
        |         |<-----------------|           |<--- chosen
        +----+----+  token, cycles   +--+--+--+--+
             | host bus: every memory   |  |  |      commands, at fixed cycles
             v                          v  v  v
                  +-----+  words     +-----+  granules  +-----+  reductions  +---------+
                  | MEM |----------->| MXM |----------->| VXM |------------->| scalars |
                  |     |  x, y      +--^--+            |     |<-------------|         |
                  |     |------------------------------>|     |              +---------+
                  |     |               |               |     |
                  |     |<--------------+---------------|     |
                  +-----+     values: MEM, keys, values +-----+

    Between go and done nothing waits: no wire between two slices has flow control, and the link can
    stop a run (RESET) but not delay it. A schedule that breaks a promise (see `overrun`,
    `collision`, `meeting`, `starved` and `dropped` of the slices) fails an assertion in simulation,
    and is counted in `Register.OUTCOME`.

    Latency: a run takes as many cycles as `marey.hdl.timing` says.
    Throughput: rows x cols multiply-accumulates a cycle.
    Cost: what `boards/costs.json` says for the presets; rows x cols + 2 x lanes multipliers.

    Parameters: `config`.

    Members:
        `rx : In(stream.Signature(32))`, `tx : Out(stream.Signature(32))`: link words, see
            `marey.hdl.spec.protocol`. They are the only handshakes.
        `sdram : Out(Pins(part))`: with external memory, its chip. The link takes no word before the chip is
            initialised.
        `probe : Out(PROBE)`: which units are at work, for tools that measure the timetable. A board
            leaves it open, and it costs nothing.
    """

    def __init__(self, config: Config):
        self.config = config
        super().__init__({"rx": In(stream.Signature(32)), "tx": Out(stream.Signature(32)), "probe": Out(PROBE)}
                         | ({"sdram": Out(Pins(config.memory.part))} if config.memory else {}))

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.link = link = Link(config)
        mem, sequencer = Mem(config), Sequencer(config)
        mxm, vxm, scalars = Mxm(config), Vxm(config), Scalars(config)
        stopped_by_link = ResetInserter(link.reset)
        m.submodules.mem = mem
        m.submodules.sequencer = stopped_by_link(sequencer)
        m.submodules.mxm = stopped_by_link(mxm)
        m.submodules.vxm = stopped_by_link(vxm)
        m.submodules.scalars = stopped_by_link(scalars)

        wiring.connect(m, wiring.flipped(self.rx), link.rx)
        wiring.connect(m, wiring.flipped(self.tx), link.tx)
        m.d.comb += [
            sequencer.start.eq(link.start), sequencer.begin.eq(link.begin),
            link.running.eq(sequencer.running), link.cycles.eq(sequencer.cycles),
            link.made.eq(sequencer.made), link.token.eq(sequencer.token), link.hold.eq(mxm.hold),

            mxm.command.eq(sequencer.mxm), vxm.command.eq(sequencer.vxm), scalars.command.eq(sequencer.sfu),
            *(part.eq(sequencer.position) for part in (mxm.position, vxm.position)),
            *(part.eq(sequencer.token) for part in (mxm.token, vxm.token)),
            sequencer.chosen.eq(vxm.chosen),

            mem.act_address.eq(mxm.act_address), mxm.act.eq(mem.act),
            vxm.granule.eq(mxm.granule), vxm.valid.eq(mxm.valid),
            mem.x_address.eq(vxm.x_address), vxm.x.eq(mem.x), mem.y_address.eq(vxm.y_address), vxm.y.eq(mem.y),
            scalars.address.eq(vxm.scalar_address), vxm.scalar.eq(scalars.scalar),
            scalars.write.eq(vxm.reduced), scalars.write_address.eq(vxm.reduced_into),
            scalars.write_value.eq(vxm.reduced_value),
            mem.write_enable.eq(vxm.write.to == To.MEM), mem.write_address.eq(vxm.write.address),
            mem.write_data.eq(vxm.write.values), mxm.cache.eq(vxm.write),
        ]

        cached = Signal.like(vxm.write.to)
        m.d.sync += cached.eq(vxm.write.to)
        at_work = {
            Unit.ISSUE: sequencer.issuing, Unit.MXM_BEAT: mxm.active, Unit.DRAIN: mxm.valid, Unit.VXM_BEAT: vxm.active,
            Unit.MEM_WRITE: mem.write_enable, Unit.KEY_WRITE: cached == To.KEYS, Unit.VALUE_WRITE: cached == To.VALUES,
            Unit.REDUCTION_WRITE: vxm.reduced, Unit.SFU_BEAT: scalars.active,
        }
        m.d.comb += self.probe.eq(Cat(sequencer.running, *(at_work[unit] for unit in PROBED)))

        # The host bus goes everywhere; only the space that was asked answers.
        for target in (sequencer.host, mem.host, mxm.host):
            m.d.comb += [getattr(target, name).eq(getattr(link.host, name))
                         for name in ("space", "address", "write", "data", "read")]
        m.d.comb += link.host.read_data.eq(sequencer.host.read_data | mem.host.read_data)

        faults = count_broken_promises(m, (connect_memory(m, self, link, sequencer, mem, mxm, vxm) if config.memory else {}) | {
            "mxm.overrun": mxm.overrun, "mxm.collision": mxm.collision,
            "vxm.overrun": vxm.overrun, "vxm.meeting": vxm.meeting, "vxm.starved": vxm.starved, "vxm.dropped": vxm.dropped,
            "scalars.overrun": scalars.overrun,
        }, link.start | link.reset, sequencer.cycles)
        m.d.comb += link.schedule_faults.eq(faults)
        return m


def connect_memory(m: Module, tile: Tile, link: Link, sequencer: Sequencer, mem: Mem, mxm: Mxm, vxm: Vxm) -> dict[str, Value]:
    """Adds the slice of external memory to a tile. Returns its promises, as `count_broken_promises` takes them."""
    m.submodules.dram = dram = Dram(tile.config)
    wiring.connect(m, dram.pins, wiring.flipped(tile.sdram))
    m.d.comb += [
        link.rx.valid.eq(tile.rx.valid & dram.ready), tile.rx.ready.eq(link.rx.ready & dram.ready),
        dram.command.eq(sequencer.move), dram.stop.eq(link.reset), dram.x.eq(mem.x), mxm.fill.eq(dram.fill),
    ]
    with m.If(dram.reads):
        m.d.comb += mem.x_address.eq(dram.x_address)
    with m.If(dram.write_enable):
        m.d.comb += [mem.write_enable.eq(1), mem.write_address.eq(dram.write_address), mem.write_data.eq(dram.write_data)]
    return {"dram.overrun": dram.overrun, "mxm.crowded": mxm.crowded,
            "mem.crowded": dram.write_enable & (vxm.write.to == To.MEM)}


def count_broken_promises(m: Module, promises: dict[str, Value], restart: Value, cycles: Value) -> Value:
    """The cycles since `restart` in which a promise of the schedule was broken, modulo 65536.

    `promises`: by name, a signal that is 1 in a cycle in which the promise is broken. In simulation it
    fails an assertion, which tells the name and the cycle.
    """
    faults, faulty = Signal(16), Signal()
    # A promise is seen to be broken late in a cycle: so it is counted in the next one.
    m.d.sync += faulty.eq(Cat(promises.values()).any() & ~restart)
    with m.If(restart):
        m.d.sync += faults.eq(0)
    with m.Elif(faulty):
        m.d.sync += faults.eq(faults + 1)
    for name, broken in promises.items():
        m.d.sync += Assert(~broken, Format("schedule fault in cycle {}: " + name, cycles))
    return faults
