"""Long instructions of the VXM: each of its counts beyond a few bits, with operands that differ from beat to beat."""

import random

import pytest

from marey.hdl.spec.isa import Address, Reduce, To
from marey.hdl.timing import ProgramError, check
from marey.sim import verilator
from tests import configs
from tests.configs import op
from tests.machines import Machines


@pytest.fixture(scope="module", params=configs.EACH_KIND, ids=lambda config: config.name)
def machines(compiler, request):
    both = Machines(request.param, verilator.open_tile(request.param, checked=True))
    both.fill(5)
    yield both
    both.close()


def drawn(config, rng, name):
    """A VXM of which the count `name` is large, after scalars that differ from one another."""
    half = config.scalars // 2
    counts = {"inner": rng.randint(1, 3), "middle": rng.randint(1, 2), "outer": rng.randint(1, 2), "interval": 1,
              name: rng.randrange(8, min(64, config.granules))}
    reduce = rng.choice((Reduce.NONE, Reduce.SUM, Reduce.MAX)) if counts["outer"] <= half - 1 else Reduce.NONE
    first = op(config, "VXM", 4 * half, inner=3, outer=half - 1, x_step=1, x_hop=1, reduce=Reduce.SUM, into=1)
    long = op(config, "VXM", 1200, **counts, x=Address(rng.randrange(config.windows["x"].depth)), x_step=rng.randint(0, 1),
              x_hop=rng.randint(0, 3), dst=Address(rng.randrange(config.granules)), dst_hop=rng.randint(0, 5), to=To.MEM,
              scalar=rng.randrange(1, half), scalar_hop=rng.randint(0, 1), shift=rng.randint(0, 12), reduce=reduce,
              into=1 if reduce is not Reduce.NONE else 0)
    return [first, long, op(config, "HALT")]


@pytest.mark.parametrize("name", ["inner", "middle", "outer", "interval"])
def test_a_count_of_many(machines, name):
    config, rng, ran = machines.config, random.Random(name), 0
    while ran < 8:
        program = drawn(config, rng, name)
        try:
            check(config, program)
        except ProgramError:
            continue
        machines.run(program)
        machines.compare_memory()
        ran += 1
    machines.compare_scalars()
