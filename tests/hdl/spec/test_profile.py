"""The two kinds of tile: limits that are met, and rows that have room for the largest compact tile."""

from dataclasses import replace

import pytest
from amaranth.lib import data

from marey.hdl.spec.config import PRESETS, Config, ConfigError
from marey.hdl.spec.isa import OPTIONAL_OPERATIONS, WAIT_BITS, Isa, Op
from marey.hdl.spec.profile import COMPACT, FULL
from marey.hdl.spec.row_encoding import COPIES, LINK_BITS, NEXT, OPERATION, ROW_BITS, WAIT, bit

SHAPES = [(4, 4, 1), (4, 4, 4), (8, 2, 2), (2, 16, 2)]
"""Rows, cols and lanes."""


def largest(rows, cols, lanes):
    """The largest compact tile of a shape."""
    limits = COMPACT.depth_limits(rows // lanes, cols // lanes)
    return Config(name="largest", rows=rows, cols=cols, lanes=lanes, weight_bits=4, program_depth=4096, compact=1, **limits)


def bits(field, base=0):
    """The numbers of a field's bits; of an address, those of its offset and its register."""
    if isinstance(field.shape, data.Layout):
        return [number for _, part in field.shape for number in bits(part, base + field.offset)]
    return list(range(base + field.offset, base + field.offset + field.width))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("op", sorted(set(Op) - set(OPTIONAL_OPERATIONS), key=lambda op: op.value))
def test_operands_of_the_largest_tile_have_bits_of_their_own(shape, op):
    isa = Isa(largest(*shape))
    taken = [bit(0, at) for at in range(OPERATION, NEXT)]
    wait = bit(*WAIT.get(op.name, (0, 0)))
    taken += list(range(wait, wait + WAIT_BITS))
    for name, field in isa.operands[op]:
        taken += bits(field)
        for row, at in COPIES.get(op.name, {}).get(name, ()):
            taken += list(range(bit(row, at), bit(row, at) + field.width))
    assert len(set(taken)) == len(taken)
    assert all(number % LINK_BITS < ROW_BITS for number in taken)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_tile_beyond_a_limit_is_refused(shape):
    config = largest(*shape)
    for name in ("wram_depth", "mem_depth", "scalars"):
        with pytest.raises(ConfigError, match=f"{name} of a compact tile must be at most"):
            replace(config, **{name: getattr(config, name) * 2})


def test_configurations_have_the_profile_that_they_name():
    for config in PRESETS.values():
        assert config.profile is (COMPACT if config.compact else FULL)
    with pytest.raises(ConfigError, match="wram_latency of a compact tile must be at most 1, not 2"):
        replace(PRESETS["up5k_4x4"], wram_latency=2)
