"""The sequencer: every command in the cycle, and with the operands, that `marey.hdl.timing` says."""

import cocotb
from amaranth.hdl import Shape
from amaranth.lib import data

from marey.hdl.sequencer import Sequencer
from marey.hdl.spec.choice import members
from marey.hdl.spec.command import begin_layout, command_layout
from marey.hdl.spec.isa import COUNTS, Address, Instruction, Isa, MxmBlocks, Op, Reduce, Sfu, VxmBlocks
from marey.hdl.spec.packing import pack_program
from marey.hdl.spec.protocol import Space
from marey.hdl.spec.row_encoding import ROWS, row_of
from marey.hdl.timing import run_cycles, trace
from tests.cocotb.common import CONFIG, begin, cycle, host_read, host_write, rng

ISA = Isa(CONFIG)
COMMANDS = {Op.MXM: "mxm", Op.VXM: "vxm", Op.SFU: "sfu"}


SMALL = 4
"""An address register with a small number."""


def draw_program(random, entry=0):
    """Random slices' work, in two nested loops that step addresses; to lie at `entry`."""
    def number(op, name):
        shape, least = ISA.operands[op][name].shape, int(name in (*COUNTS, "register"))
        if isinstance(shape, data.Layout):
            return Address(random.randrange(least, 1 << shape["offset"].width), random.randrange(4))
        if words := members(shape):
            return random.choice(words)
        shape = Shape.cast(shape)
        return random.randrange(least, 1 << shape.width - shape.signed)

    def work():
        op = random.choice([Op.MXM, Op.VXM, Op.SFU, Op.NOP, Op.ADD, Op.INDEX, Op.PERIOD])
        operands = {name: number(op, name) for name, _ in ISA.operands[op]}
        if "register" in operands:
            operands["register"] = random.randrange(1, 4)
        blocks = operands.get("blocks")
        if isinstance(blocks, (MxmBlocks, VxmBlocks)) and blocks.value:
            operands[blocks.name.lower()] = random.randrange(4)
        if op is Op.SFU:
            half, multiply = CONFIG.scalars // 2, operands["function"] is Sfu.MULTIPLY
            operands |= {"into": operands["into"] | half, "a": operands["a"] % half + half * multiply,
                         "b": (operands["b"] | half) * multiply}
        if op is Op.VXM:
            operands["reduce"], operands["into"] = Reduce.NONE, 0
        if op is Op.NOP:
            operands |= {"register": SMALL} if CONFIG.compact else {"turns": operands["turns"] % 3}
        if op is Op.INDEX and CONFIG.compact:
            operands["bits"] = min(operands["bits"], 15 - operands["right"])
        if op is Op.PERIOD and not CONFIG.compact:
            operands |= {"value": random.randrange(-20, 20), "times": random.randrange(4), "least": random.randrange(1, 9)}
        return Instruction(op, random.choice([0, 0, 1, random.randrange(20)]), operands)

    def loop(counter, target):
        counted = {"counter": counter} if ISA.counters > 1 else {}
        return ISA.make(Op.LOOP, random.randrange(3), count=random.randrange(1, 4), target=entry + target, **counted)

    program = [ISA.make(Op.PERIOD, value=3), ISA.make(Op.SET, register=SMALL, value=random.randrange(20))]
    program += [ISA.make(Op.SET, register=r, value=random.randrange(1 << ISA.register_bits)) for r in (1, 2, 3)]
    outer = len(program)
    program += [work() for _ in range(random.randrange(1, 4))]
    inner = len(program)
    program += [work() for _ in range(random.randrange(1, 5))]
    if ISA.counters > 1:
        program.append(loop(1, inner))
    program += [work() for _ in range(random.randrange(3))]
    return [*program, loop(0, outer), ISA.make(Op.HALT, if_prompt=1), ISA.make(Op.TOKEN, target=entry), ISA.make(Op.HALT)]


async def load(dut, program, entry=0):
    words = pack_program(CONFIG, [ISA.encode(instruction) for instruction in program])
    size = len(words) // len(program)
    await host_write(dut, Space.PROGRAM, entry * size, words)
    assert await host_read(dut, Space.PROGRAM, entry * size, len(words)) == words.tolist()


def came(op, command):
    """The operands that come in this cycle: all with `valid`, or with their rows, and the period with the last."""
    layout = command_layout(CONFIG, op)
    rows = command >> 1 & (1 << ROWS) - 1 if CONFIG.compact else command & 1
    found = {}
    for name, field in layout["operands"].shape:
        row = row_of(op.name, name) if CONFIG.compact and name != "period" else 0
        if rows >> row & 1 if name != "period" else command & 1:
            found[name] = command >> layout["operands"].offset + field.offset & (1 << field.width) - 1
    return found


async def watch_a_run(dut, program, entry=0, position=0, count=1, token=0):
    """Runs it, and compares each cycle's commands with the trace."""
    padded = [ISA.make(Op.HALT)] * entry + program
    issues = list(trace(CONFIG, padded, entry, position=position, count=count, token=token, choose=lambda: 1234))
    expected = {}
    for issue in issues:
        if issue.op in COMMANDS:
            layout = ISA.command(issue.op)
            operands = issue.operands | {"period": issue.period}
            expected[issue.cycle + Sequencer.latency(CONFIG, issue.op), COMMANDS[issue.op]] = {
                name: getattr(operand, "value", operand) % (1 << layout[name].width) for name, operand in operands.items()}
    end = run_cycles(issues[-1])
    dut.chosen.value = 1234
    dut.begin.value = begin_layout(CONFIG).const(
        {"entry": entry, "position": position, "count": count, "token": token}).as_value().value
    dut.start.value = 1
    await cycle(dut)
    dut.start.value = 0
    found = {op: {} for op in COMMANDS}
    for now in range(1, end + 5):
        for op, name in COMMANDS.items():
            command = getattr(dut, name).value.to_unsigned()
            found[op] |= came(op, command)
            if command & 1:
                assert found[op] == expected.pop((now, name)), (now, name)
        assert dut.running.value == (now <= end), now
        await cycle(dut)
    assert not expected
    assert dut.cycles.value.to_unsigned() == end


@cocotb.test()
async def commands_come_in_their_cycles(dut):
    await begin(dut)
    random = rng()
    for _ in range(25):
        entry = random.randrange(CONFIG.program_depth // 2)
        program = draw_program(random, entry)
        await load(dut, program, entry)
        await watch_a_run(dut, program, entry, random.randrange(100), random.randrange(3), random.randrange(500))


@cocotb.test()
async def a_run_follows_a_run(dut):
    await begin(dut)
    program = draw_program(rng())
    await load(dut, program)
    for _ in range(3):
        await watch_a_run(dut, program)


@cocotb.test()
async def reset_stops_a_run(dut):
    await begin(dut)
    program = [ISA.make(Op.NOP, 500), ISA.make(Op.HALT)]
    await load(dut, program)
    dut.start.value = 1
    await cycle(dut)
    dut.start.value = 0
    for _ in range(20):
        await cycle(dut)
    assert dut.running.value == 1
    dut.rst.value = 1
    await cycle(dut)
    dut.rst.value = 0
    await cycle(dut)
    assert dut.running.value == 0
    await watch_a_run(dut, program)
