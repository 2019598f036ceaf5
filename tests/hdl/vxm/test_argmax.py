"""An ARGMAX that goes on: over the pieces of a vector it finds what one ARGMAX over the whole vector finds."""

import numpy as np
import pytest

from marey.hdl.spec.isa import EncodingError, Op, Reduce, isa_of
from marey.hdl.spec.packing import pack_mem
from marey.hdl.spec.protocol import Space
from marey.hdl.timing import check
from marey.sw.compiler.emit import lay_out
from tests.configs import CONFIGS, MEMORY, op
from tests.machines import machines

GRANULES = 24


def pieces(config, sizes):
    """A program of an ARGMAX for each piece, with another reduction between them, and a TOKEN."""
    timed, at, first = [], 0, 0
    for number, size in enumerate(sizes):
        timed += [(at, op(config, "VXM", x=first, x_step=1, inner=size, scalar=0, reduce=Reduce.ARGMAX, into=int(number > 0))),
                  (at + size + 12, op(config, "VXM", x=0, inner=1, scalar=0, reduce=Reduce.MAX, into=2))]
        at, first = at + size + 24, first + size
    return lay_out(config, [*timed, (at + 20, op(config, "TOKEN")), (at + 40, op(config, "HALT"))])


@pytest.mark.slow
@pytest.mark.parametrize("config", MEMORY, ids=lambda config: config.name)
def test_pieces_are_like_the_whole(config):
    tiles, rng = machines(config), np.random.default_rng(3)
    for trial in range(6):
        cuts = np.sort(rng.choice(np.arange(1, GRANULES), 3, replace=False))
        sizes = np.diff([0, *cuts.tolist(), GRANULES]).tolist()
        # Few different values, so that the largest is there more than once.
        values = rng.integers(-3, 3, config.mem_depth * config.rows).astype(np.int16)
        values[:config.lanes * GRANULES] -= 100 * (trial == 0)
        for link in (tiles.rtl, tiles.model):
            link.write(Space.MEM, 0, pack_mem(config, values))
        program = pieces(config, sizes)
        check(config, program)
        _, made = tiles.run(program)
        assert made == [int(values[:config.lanes * GRANULES].argmax())], sizes


def test_only_a_tile_with_external_memory_has_it():
    isa = isa_of(CONFIGS[0])
    with pytest.raises(EncodingError, match="VXM does not write scalar register 1"):
        isa.encode(isa.make(Op.VXM, reduce=Reduce.ARGMAX, into=1))
