"""The arithmetic of the tile against real numbers, tolerances stated."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from marey.hdl.spec import integer

WORDS = st.lists(st.integers(-(1 << 40), 1 << 40), min_size=1, max_size=20)


@given(x=WORDS, shift=st.integers(0, 30))
def test_round_shift_rounds_halves_up(x, shift):
    got = integer.round_shift(np.array(x), shift)
    assert got.tolist() == [(2 * value + (1 << shift)) // (2 << shift) for value in x]


@given(x=WORDS, bits=st.sampled_from([8, 16]))
def test_saturate(x, bits):
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    assert integer.saturate(np.array(x), bits).tolist() == [min(max(value, low), high) for value in x]


@given(data=st.data(), n=st.integers(1, 20), k=st.integers(1, 300))
def test_matvec_is_exact(data, n, k):
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    weight, x = (rng.integers(-128, 128, shape).astype(np.int8) for shape in ((n, k), (k,)))
    assert integer.matvec(weight, x).tolist() == (weight.astype(np.int64) @ x.astype(np.int64)).tolist()


@given(x=st.integers(0, (1 << 52) - 1))
def test_normalise(x):
    mantissa, exponent = (int(value) for value in integer.normalise(np.array(x)))
    assert 1 << 14 <= mantissa < 1 << 15
    # Low bits are cut off: less than one part in 2**14 below.
    assert 0 <= max(x, 1) - mantissa * 2.0**-exponent < max(x, 1) * 2.0**-14


@given(a=st.integers(1, 1 << 40), b=st.integers(1, 1 << 40))
def test_multiply(a, b):
    mantissa, exponent = integer.multiply(integer.normalise(np.array(a)), integer.normalise(np.array(b)))
    # Three numbers cut to 15 bits.
    assert abs(mantissa * 2.0**-exponent / (a * b) - 1) < 3 * 2.0**-14


@given(x=st.lists(st.integers(-32768, 32767), min_size=1, max_size=50))
def test_quantise_uses_the_whole_range(x):
    x = np.array(x)
    y, (mantissa, exponent) = integer.quantise(x)
    step = mantissa * 2.0**-exponent.astype(float)
    largest = np.abs(x).max()
    assert y.min() >= -128 and y.max() <= 127
    if largest:
        assert np.abs(y).max() >= 127
    # Half a step of int8, and what the factor's 14 bits leave; the largest value is at most the end of its entry, 128.25 steps.
    assert np.all(np.abs(y * step - x) <= np.where(np.abs(x) < 127.5 * step, 0.5, 1.25) * step + 128 * step * 2.0**-14)


@given(x=st.integers(1, 1 << 30))
def test_reciprocal(x):
    mantissa, exponent = integer.reciprocal(np.array(x))
    assert abs(mantissa * 2.0**-float(exponent) * x - 1) < 2.0**-8


@given(x=st.integers(1, 1 << 40))
def test_rsqrt(x):
    mantissa, exponent = integer.rsqrt(np.array(x))
    assert abs(mantissa * 2.0**-float(exponent) * np.sqrt(x) - 1) < 2.0**-8


def test_exp2_negative():
    d = np.arange(1 << 16)
    # Half a unit of the result, and what the table's 14 bits leave of 127.
    assert np.abs(integer.exp2_negative(d) - 127 * 2.0 ** (-d / 256)).max() <= 0.5 + 127 * 2.0**-15
    assert integer.exp2_negative(np.array(0)) == 127


def test_sigmoid():
    a = np.arange(-32768, 32768)
    exact = 1 / (1 + np.exp(-a / 2.0**integer.GATE_UNIT))
    # Half a step of the table, 1/64, at the steepest slope, 1/4; outside the table, e**-8.
    assert np.abs(integer.sigmoid(a) / 32768 - exact).max() < 1 / 256 + 1e-4
    assert (integer.sigmoid(~a) == 32767 - integer.sigmoid(a)).all()


def test_gelu():
    a = np.arange(-32768, 32768)
    x = a / 2.0**integer.GATE_UNIT
    gate = (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2
    # Half a step of the table, 1/128, at the steepest slope, 0.57; half a unit, by which all entries are low;
    # outside the table, 1 - gate(4).
    assert np.abs(integer.gelu_gate(a) / 32768 - gate).max() < 0.57 / 128 + 1e-4
    # The product has the same error times |x|, below 4, and half a unit of 2**-10.
    assert np.abs(integer.gelu(a) / 2.0**integer.GATE_UNIT - x * gate).max() < 2**-6
    # Beyond the table a positive value stays and a negative one becomes 0, but for one unit: the largest gate
    # is 32767 / 32768.
    assert (np.abs(integer.gelu(a) - np.maximum(a, 0))[np.abs(x) > integer.GELU_RANGE] <= 1).all()


@given(a=st.integers(-32768, 32767), gate=st.sampled_from([integer.sigmoid, integer.gelu_gate]))
def test_a_gate_and_its_mirror_image_add_up(a, gate):
    """gate(-x) = 1 - gate(x), where ~a stands for -a - 1/2 and 32767 for 1; and a gate does not fall."""
    assert gate(np.array(~a)) == 32767 - gate(np.array(a))
    assert 0 <= gate(np.array(a)) <= gate(np.array(min(a + 1, 32767))) <= 32767


def test_every_table_fits_int16():
    for table in (integer.EXP2, integer.SIGMOID, integer.GELU, integer.RECIPROCAL, integer.RSQRT):
        assert table.min() >= 0 and table.max() < 1 << 15


@given(position=st.integers(0, 511), dim=st.sampled_from([2, 8, 48, 64]))
def test_rotation(position, dim):
    tables = integer.rotary_tables(10000.0 ** (-np.arange(0, dim, 2) / dim), 512)
    angle = position * 10000.0 ** (-np.arange(0, dim, 2) / dim)
    exact = np.stack([np.cos(angle), np.sin(angle), -np.sin(angle)], axis=-1)
    # Two roundings to 14 bits, one of them turned.
    assert np.abs(integer.rotation(tables, position) / 16384 - exact).max() < 3 * 2.0**-14


def test_both_signs_of_a_sine_are_rounded_up_as_the_tile_does_it():
    """At position 91 the first pair's sine is in the middle between two integers, in every model."""
    tables = integer.rotary_tables(np.ones(1), 512)
    sines = np.array([integer.rotation(tables, position)[0, 1:] for position in range(512)])
    assert np.flatnonzero(sines.sum(axis=1)).tolist() == [91]
    assert integer.rotation(tables, 91)[0].tolist() == [-16292, 1737, -1736]
