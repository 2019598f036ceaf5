"""Draws configurations: every field of `Config`, weighted towards its edges."""

import random

from marey.hdl.spec.config import Config, ConfigError


def any_configuration(rng: random.Random) -> Config:
    """A small configuration that validates."""
    while True:
        rows, cols = rng.choice((2, 4, 4, 8)), rng.choice((2, 4, 4, 8))
        lanes, compact, mem_depth = rng.choice((1, 2, 4, 8)), int(rng.random() < 0.35), rng.choice((8, 11, 12, 16, 31, 32))
        chained = int(compact and rng.random() < 0.3)
        if chained:
            lanes, cols = 1, 4
        try:
            return Config(
                name="drawn", rows=rows, cols=cols, lanes=lanes,
                **rng.choice(({"weight_bits": 4}, {"weight_bits": 4, "paired": 1}, {"weight_bits": 4, "cache_bits": 4}, {})),
                wram_depth=rng.choice((3, 8, 11, 16)), wram_ports=rng.choice((1, 2, 2)),
                wram_latency=1 if compact else rng.choice((1, 2)), mem_depth=mem_depth,
                program_depth=rng.choice((32, 33, 64)), scalars=rng.choice((8, 16, 32)), compact=compact, chained=chained,
                gelu=rng.choice((0, 1)), multiply_bits=rng.choice((1, 2, 4, 8, 16)), crc_bits=rng.choice((32, 32, 8, 1)),
                reduce_stages=2 if compact else rng.choice((1, 2, 2, 3, 5)), link_timeout=rng.choice((64, 100)),
                token_bits=16 if compact else rng.choice((16, 18, 20)), **_windows(rng, rows // lanes or 1, mem_depth))
        except ConfigError:
            continue


def _windows(rng, per_word, mem_depth):
    """Windows of MEM, for one configuration in three: powers of two, and the first or last of them."""
    if rng.random() < 0.67:
        return {}
    granules = mem_depth * per_word
    return {"act_first": rng.choice((0, mem_depth // 2, mem_depth - 4)), "act_depth": rng.choice((0, 4, 8)),
            "x_depth": rng.choice((0, granules // 2, 8)), "y_depth": rng.choice((0, 8, 16))}


EXAMPLES = [
    Config(name="full", rows=4, cols=4, lanes=2, weight_bits=4, wram_depth=8, mem_depth=16, scalars=16, gelu=1),
    Config(name="compact", rows=4, cols=4, lanes=2, weight_bits=4, wram_depth=8, mem_depth=16, scalars=16, gelu=1, compact=1),
    Config(name="chained", rows=4, cols=4, lanes=1, weight_bits=4, wram_depth=8, mem_depth=16, scalars=16, compact=1,
           chained=1),
    Config(name="paired", rows=4, cols=4, lanes=2, weight_bits=4, paired=1, wram_depth=8, mem_depth=16, scalars=16, gelu=1),
]
"""A tile of each kind with all functions, and so with all fields of instructions."""
