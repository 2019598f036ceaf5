"""Values to link words and back."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from marey.hdl.spec.isa import Isa
from marey.hdl.spec.packing import pack_mem, pack_program, pack_wram, unpack_mem, unpack_program, unpack_wram
from marey.hdl.spec.protocol import Space, entry_bits, parts
from tests.configs import any_config


@given(config=any_config, count=st.integers(1, 20), seed=st.integers(0, 99))
def test_memories_round_trip(config, count, seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(-32768, 32768, count * config.lanes).astype(np.int16)
    words = pack_mem(config, values)
    assert len(words) == count * parts(entry_bits(config, Space.MEM)) and words.dtype == np.uint32
    assert np.array_equal(unpack_mem(config, words), values)
    limit = 1 << config.weight_bits - 1
    weights = rng.integers(-limit, limit, (count, config.cols, config.rows)).astype(np.int8)
    words = pack_wram(config, weights)
    assert len(words) == count * config.cols * parts(entry_bits(config, Space.WRAM))
    assert np.array_equal(unpack_wram(config, words).reshape(weights.shape), weights)


@given(config=any_config, data=st.data())
def test_programs_round_trip(config, data):
    width = Isa(config).width
    codes = data.draw(st.lists(st.integers(0, (1 << width) - 1), min_size=1, max_size=5))
    assert unpack_program(config, pack_program(config, codes)) == codes


def test_a_word_lies_as_the_protocol_says():
    from tests.configs import CONFIGS

    square = CONFIGS[0]
    assert pack_mem(square, np.array([1, 2, -1, 3], np.int16)).tolist() == [0x00020001, 0x0003FFFF]
    assert pack_wram(square, np.array([[1, -2, 3, 4]], np.int8)).tolist() == [0x0403FE01]
    nibbles = CONFIGS[4]
    assert pack_wram(nibbles, np.array([[1, -2, 3, 4, 5, 6, 7, -8]], np.int8)).tolist() == [0x876543E1]
