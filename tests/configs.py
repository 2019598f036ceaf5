"""Small configurations of every shape that a tile can have, for tests."""

from dataclasses import replace

from hypothesis import strategies as st

from marey.hdl.spec.config import Config
from marey.hdl.spec.isa import Isa, Op
from marey.sw.model.config import ModelConfig

CONFIGS = [
    Config(name="square", rows=4, cols=4, lanes=4, wram_depth=64, mem_depth=64, program_depth=64, link_timeout=32),
    Config(name="narrow", rows=4, cols=4, lanes=1, wram_depth=64, mem_depth=64, program_depth=64, link_timeout=32),
    Config(name="wide", rows=4, cols=8, lanes=2, wram_depth=50, wram_latency=2, mem_depth=60, program_depth=60, link_timeout=32,
           crc_bits=8),
    Config(name="tall", rows=8, cols=2, lanes=2, wram_depth=64, mem_depth=64, program_depth=64, link_timeout=32),
    Config(name="nibbles", rows=8, cols=4, lanes=4, weight_bits=4, paired=1, wram_depth=64, mem_depth=64, program_depth=64,
           link_timeout=32),
    Config(name="compact", rows=4, cols=4, lanes=1, weight_bits=4, wram_depth=64, mem_depth=64, program_depth=64,
           compact=1, link_timeout=32, crc_bits=8),
    Config(name="port", rows=4, cols=4, lanes=2, wram_depth=64, wram_ports=1, mem_depth=64, program_depth=64, link_timeout=32),
    Config(name="short", rows=4, cols=4, lanes=1, weight_bits=4, cache_bits=4, wram_depth=64, mem_depth=64,
           program_depth=64, compact=1, chained=1, link_timeout=32, crc_bits=8),
]
"""Square, one lane, oblong with odd depths, tall, int4 weights in pairs of words, few logic cells and int4 weights, one port
for weights, and few logic cells with weights, keys and values of 4 bits and a chained VXM."""

GATED = [
    Config(name="gated", rows=4, cols=4, lanes=2, wram_depth=64, mem_depth=64, program_depth=64, gelu=1,
           link_timeout=32),
    Config(name="gated_compact", rows=4, cols=4, lanes=1, weight_bits=4, wram_depth=64, mem_depth=64,
           program_depth=64, compact=1, gelu=1, link_timeout=32, crc_bits=8),
]
"""Tiles whose VXM has every function, GELU included."""

EACH_KIND = [CONFIGS[0], CONFIGS[5]]
"""A full tile and a compact one, which several tests compile for Verilator."""

WINDOWED = Config(name="windows", rows=4, cols=4, lanes=1, wram_depth=64, mem_depth=64, act_first=56, act_depth=32, x_depth=192,
                  y_depth=128, program_depth=64, link_timeout=32)
"""One whose copies of MEM keep windows of it."""

MEMORY = [
    Config(name="moves", rows=4, cols=4, lanes=4, wram_depth=64, mem_depth=64, program_depth=64, link_timeout=32, sdram=4),
    Config(name="moves_int4", rows=8, cols=2, lanes=2, weight_bits=4, paired=1, wram_depth=32, mem_depth=64, program_depth=64,
           link_timeout=32, sdram=4, sdram_mhz=133),
    Config(name="moves_twice", rows=4, cols=4, lanes=4, wram_depth=64, mem_depth=64, program_depth=64, link_timeout=32, sdram=4,
           sdram_mhz=70, sdram_rate=2),
]
"""Tiles with external memory, one of whose chips has two cycles in one of the tile's."""

BENCHED = (*CONFIGS, WINDOWED, *GATED, *MEMORY)
"""The configurations of the testbenches."""

ROOMY = [
    Config(name="s4", rows=4, cols=4, lanes=4, wram_depth=4096, mem_depth=2048),
    Config(name="n4", rows=4, cols=4, lanes=1, wram_depth=4096, mem_depth=2048),
    Config(name="w48", rows=4, cols=8, lanes=2, wram_depth=4096, wram_latency=2, mem_depth=2048),
    Config(name="t82", rows=8, cols=2, lanes=2, wram_depth=4096, mem_depth=2048),
    Config(name="s8", rows=8, cols=8, lanes=8, wram_depth=1024, mem_depth=1024),
]
"""Shapes of tiles with room for a small model."""

LONG_TOKENS = replace(ROOMY[4], name="tokens", token_bits=18, wram_depth=40_000, mem_depth=20_000)
"""One with tokens of 18 bits, and room for a narrow model with a large vocabulary."""

INT4 = [
    Config(name="q8", rows=8, cols=8, lanes=8, weight_bits=4, paired=1, wram_depth=3072, wram_latency=2, mem_depth=2048),
    Config(name="q4", rows=4, cols=4, lanes=1, weight_bits=4, wram_depth=8192, mem_depth=4096),
    Config(name="q48", rows=4, cols=8, lanes=2, weight_bits=4, paired=1, wram_depth=8192, mem_depth=4096),
    Config(name="c4", rows=4, cols=4, lanes=1, weight_bits=4, wram_depth=8192, mem_depth=1024, compact=1),
    Config(name="q82", rows=8, cols=2, lanes=2, weight_bits=4, wram_depth=8192, mem_depth=4096),
]
"""The same where weights have 4 bits, and the cache's 8 are halves, in some in pairs of words that are read at once."""

ONE_PORT = [
    Config(name="p8", rows=8, cols=8, lanes=4, wram_depth=4096, wram_ports=1, mem_depth=2048),
    Config(name="p4", rows=4, cols=4, lanes=1, weight_bits=4, wram_depth=8192, wram_ports=1, mem_depth=1024, compact=1),
    Config(name="p82", rows=8, cols=2, lanes=2, wram_depth=4096, wram_ports=1, mem_depth=2048),
    Config(name="k4", rows=4, cols=4, lanes=1, weight_bits=4, cache_bits=4, wram_depth=8192, wram_ports=1, mem_depth=1024,
           compact=1, chained=1),
]
"""And where W-RAM has one port, in the last with keys and values of 4 bits and a chained VXM."""

MODELS = {
    ModelConfig(dim=32, hidden_dim=44, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=50, seq_len=40):
        "grouped, tied, heads of 8",
    ModelConfig(dim=24, hidden_dim=40, n_layers=1, n_heads=3, n_kv_heads=3, vocab_size=37, seq_len=24, tied=False):
        "not grouped, untied, heads of 8",
    ModelConfig(dim=32, hidden_dim=50, n_layers=2, n_heads=2, n_kv_heads=1, vocab_size=33, seq_len=40): "heads of 16",
    ModelConfig(dim=32, hidden_dim=20, n_layers=1, n_heads=1, n_kv_heads=1, vocab_size=40, seq_len=20, tied=False):
        "heads of 32",
    ModelConfig(dim=18, hidden_dim=23, n_layers=2, n_heads=3, n_kv_heads=1, vocab_size=29, seq_len=36): "no multiples of rows",
}
"""Shapes of models, and what is special about each."""


def codes(config, program):
    """A program, encoded."""
    return [Isa(config).encode(instruction) for instruction in program]


def op(config, name, wait=0, **operands):
    """An instruction; what is not given is as `Isa.make` has it."""
    return Isa(config).make(Op[name], wait, **operands)


any_config = st.sampled_from(CONFIGS + GATED)


@st.composite
def any_shape(draw, longest):
    """A small model of any shape, with room for up to `longest` positions."""
    group, kv_heads, half = (draw(st.integers(1, high)) for high in (3, 3, 9))
    return ModelConfig(dim=2 * half * group * kv_heads, hidden_dim=draw(st.integers(3, 60)), n_layers=draw(st.integers(1, 3)),
                       n_heads=group * kv_heads, n_kv_heads=kv_heads, vocab_size=draw(st.integers(5, 70)),
                       seq_len=draw(st.integers(4, longest)), tied=draw(st.booleans()))
