"""Small configurations of every shape that a tile can have, for tests."""

from hypothesis import strategies as st

from marey.hdl.config import Config

CONFIGS = [
    Config(name="square", rows=4, cols=4, lanes=4, wram_depth=64, mem_depth=64, program_depth=64, link_timeout=32),
    Config(name="narrow", rows=4, cols=4, lanes=1, wram_depth=64, mem_depth=64, program_depth=64, link_timeout=32),
    Config(name="wide", rows=4, cols=8, lanes=2, wram_depth=50, mem_depth=60, program_depth=60, link_timeout=32),
    Config(name="tall", rows=8, cols=2, lanes=2, wram_depth=64, mem_depth=64, program_depth=64, link_timeout=32),
    Config(name="nibbles", rows=8, cols=4, lanes=4, weight_bits=4, wram_depth=64, mem_depth=64, program_depth=64,
           link_timeout=32),
]
"""Square, one lane, oblong with odd depths, tall, int4 weights."""

any_config = st.sampled_from(CONFIGS)
