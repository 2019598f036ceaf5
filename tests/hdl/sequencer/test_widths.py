"""Long waits and long runs: each bit of a wait, of a register and of the count of cycles is there."""

import pytest

from marey.hdl.spec.isa import WAIT_BITS, Reduce, Sfu, Source, To, isa_of
from marey.hdl.timing import check, violations
from marey.sim import verilator
from tests.configs import CONFIGS, op
from tests.machines import Machines

SQUARE, COMPACT = CONFIGS[0], CONFIGS[5]


@pytest.fixture(scope="module", params=[SQUARE, COMPACT], ids=lambda config: config.name)
def machines(compiler, request):
    both = Machines(request.param, verilator.open_tile(request.param, checked=True))
    yield both
    both.close()


def runs_as_predicted(machines, program, **how):
    """Cycles of a run, in which RTL, emulator and prediction agree."""
    cycles, _ = machines.run(program, **how)
    assert cycles == check(machines.config, program, **how)
    return cycles


@pytest.mark.parametrize("bit", range(WAIT_BITS))
def test_each_bit_of_a_wait(machines, bit):
    config = machines.config
    for value in (1 << bit, (1 << bit) - 1):
        assert runs_as_predicted(machines, [op(config, "NOP", value), op(config, "HALT")]) > value


@pytest.mark.parametrize("machines", [COMPACT], ids=[COMPACT.name], indirect=True)
@pytest.mark.parametrize("bit", range(WAIT_BITS))
def test_each_bit_of_a_register(machines, bit):
    """A compact tile's NOP waits for what a register has, after a SET, an ADD and an INDEX. The ADD subtracts, too: it is
    modulo the register's width."""
    config = machines.config
    halt, top = op(config, "HALT"), 1 << isa_of(config).register_bits - 1
    for value in (1 << bit, (1 << bit) - 1):
        added = [[op(config, "SET", register=1, value=more + value // 2),
                  op(config, "ADD", register=1, value=more + value - value // 2)] for more in (0, top)]
        right = (config.block - 1).bit_length()
        made = [op(config, "INDEX", register=1, source=Source.POSITION, times=1, bits=0, right=right)]
        for program, position in (*((each, 0) for each in added), (made, value * config.block)):
            program = [*program, op(config, "NOP", register=1), halt]
            assert runs_as_predicted(machines, program, position=position) > value


@pytest.mark.parametrize("period", [32, 47, 63])
def test_the_scalar_unit_keeps_its_period(machines, period):
    """Three scalars one after another: each is computed when the one before it has left the unit."""
    config, half = machines.config, machines.config.scalars // 2
    machines.fill(period)
    program = [op(config, "VXM", 60, inner=3, outer=3, x_step=1, x_hop=3, reduce=Reduce.SUM, into=1),
               op(config, "PERIOD", value=period), op(config, "SFU", 300, function=Sfu.RSQRT, a=1, into=half, count=3),
               op(config, "HALT")]
    runs_as_predicted(machines, program)
    machines.compare_scalars()


def test_sfus_of_any_count(machines):
    """As many beats as a half of the scalars has registers, and fewer: each bit of their number."""
    config, half = machines.config, machines.config.scalars // 2
    for count in (1, 6, 10, 13, half):
        machines.fill(count)
        program = [op(config, "VXM", 60, inner=3, outer=half - 1, x_step=1, x_hop=3, reduce=Reduce.SUM, into=1),
                   op(config, "NOP", 3 * half), op(config, "PERIOD", value=9),
                   op(config, "SFU", 10 * half, function=Sfu.RECIPROCAL, a=0, into=half, count=count), op(config, "HALT")]
        runs_as_predicted(machines, program)
        machines.compare_scalars()


def test_products_of_scalars(machines):
    """Of roots and reciprocals, whose values have all their bits."""
    config, half = machines.config, machines.config.scalars // 2
    count = half // 2
    for seed in range(3):
        machines.fill(seed)
        program = [op(config, "VXM", 60, inner=3, outer=half - 1, x_step=1, x_hop=3, reduce=Reduce.ABSMAX, into=1),
                   op(config, "NOP", 3 * half), op(config, "PERIOD", value=40),
                   op(config, "SFU", 60 * count, function=Sfu.RSQRT, a=1, into=half, count=count),
                   op(config, "SFU", 60 * count, function=Sfu.RECIPROCAL, a=1, into=half + count, count=count),
                   op(config, "SFU", 60 * count, function=Sfu.MULTIPLY, a=half, b=half + count, into=half, count=count),
                   op(config, "HALT")]
        runs_as_predicted(machines, program)
        machines.compare_scalars()


@pytest.mark.parametrize("period", [26, 63])
def test_scalars_are_written_in_their_cycles(machines, period):
    """A VXM reads the second scalar of an SFU, in each cycle about its write in which the rules let it: the one before, or
    the new one."""
    config, half = machines.config, machines.config.scalars // 2
    machines.fill(period)
    read = op(config, "VXM", 9, x=0, inner=1, scalar=half + 1, bare=1, shift=15, to=To.MEM, dst=4)
    made = [op(config, "VXM", 60, inner=3, outer=3, x_step=1, x_hop=3, reduce=Reduce.SUM, into=1),
            op(config, "PERIOD", value=period)]
    legal = 0
    for wait in range(period - 6, period + 24):
        program = [*made, op(config, "SFU", wait, function=Sfu.RSQRT, a=1, into=half, count=2), read, op(config, "NOP", 200),
                   op(config, "HALT")]
        if not violations(config, program):
            legal += 1
            runs_as_predicted(machines, program)
            machines.compare_memory()
    assert legal > 10


@pytest.mark.parametrize("machines", [COMPACT], ids=[COMPACT.name], indirect=True)
def test_a_run_of_a_million_cycles(machines):
    """An even number of cycles, whose bits 19 and 20 are 1: with a wrong carry between them one of the two is 0."""
    config = machines.config
    program = [op(config, "NOP", (1 << WAIT_BITS) - 1), op(config, "LOOP", count=97, target=0), op(config, "HALT")]
    assert runs_as_predicted(machines, program) & (3 << 19 | 1) == 3 << 19
