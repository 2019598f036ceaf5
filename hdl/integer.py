"""The arithmetic of the tile: how it rounds, saturates, normalises, and what its tables contain.

The golden model computes with these functions and the hardware implements them bit for bit. Arrays are
int64 of any shape unless said otherwise. A *scalar* of a vector is a pair (mantissa, exponent) of integers, worth
mantissa * 2**-exponent, with 2**14 <= mantissa < 2**15.
"""

import numpy as np

MANTISSA_BITS = 15
EXP2_BITS = 8
"""Address bits of the 2**-x table, over one octave."""
SIGMOID_BITS = 10
SIGMOID_RANGE = 8
"""The sigmoid's table covers -8 to 8; outside, its first and last entries hold."""
GATE_UNIT = 10
"""Inputs of the sigmoid count 2**-10: +-32, in steps of which 16 have one entry."""
SIGMOID_SHIFT = GATE_UNIT - (SIGMOID_BITS - 4)
"""From those units to entries."""
SQUARE_SHIFT = 14
"""Bits taken off each square in a sum of squares."""
SCALAR_BITS = 7
"""Address bits of the tables of a scalar's functions, over one octave: those below a mantissa's leading one."""
ROTARY_LOW = 32
"""Rotary angles are kept for positions 0 to 31 and for multiples of 32, and added."""


def round_shift(x: np.ndarray, shift: np.ndarray | int) -> np.ndarray:
    """x / 2**shift, rounded to nearest, halves up; `shift` from 0 on."""
    x, shift = np.asarray(x, np.int64), np.asarray(shift, np.int64)
    return x + ((np.int64(1) << shift) >> 1) >> shift


def saturate(x: np.ndarray, bits: int) -> np.ndarray:
    """The nearest signed number of `bits` bits."""
    return np.clip(x, -(1 << bits - 1), (1 << bits - 1) - 1)


def matvec(weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Accumulators x @ weight.T of int8 inputs [..., K] and int8 weights [N, K]: int64 [..., N], exact.

    float64 carries them exactly (they are below 2**53), and has a fast matrix product.
    """
    return np.rint(x.astype(np.float64) @ weight.astype(np.float64).T).astype(np.int64)


def bit_length(x: np.ndarray) -> np.ndarray:
    """Bits of a number >= 0: 64 less its leading zeros. Exact below 2**53."""
    return np.frexp(np.asarray(x, np.float64))[1].astype(np.int64)


def normalise(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scalar (mantissa, exponent) of integers x >= 0: x = mantissa * 2**-exponent, low bits cut off; 0 counts as 1."""
    x = np.maximum(np.asarray(x, np.int64), 1)
    exponent = MANTISSA_BITS - bit_length(x)
    return np.where(exponent >= 0, x << np.maximum(exponent, 0), x >> np.maximum(-exponent, 0)), exponent


def multiply(a, b):
    """Product of two scalars, again a scalar."""
    mantissa, exponent = normalise(a[0] * b[0])
    return mantissa, a[1] + b[1] + exponent


def exp2_table() -> np.ndarray:
    """2**-f in units of 2**-14 for f = i / 256: int16 [256]."""
    return np.rint(2.0 ** (14 - np.arange(1 << EXP2_BITS) / (1 << EXP2_BITS))).astype(np.int64)


def sigmoid_table() -> np.ndarray:
    """Sigmoid in units of 2**-15, at the middle of 1024 steps over -8 to 8: int16 [1024]."""
    size = 1 << SIGMOID_BITS
    x = (np.arange(size) + 0.5) * (2 * SIGMOID_RANGE / size) - SIGMOID_RANGE
    return np.minimum(np.rint(32768 / (1 + np.exp(-x))), 32767).astype(np.int64)


def quantise_table() -> np.ndarray:
    """Factors that bring a vector's largest value to int8: int16 [128].

    Of a normalised largest value m, each is the largest for which round(m * factor / 2**22) <= 127 for every m of the entry.
    """
    return ((127 << 22) + (1 << 21) - 1) // (_ends() - 1)


def reciprocal_table() -> np.ndarray:
    """2**29 / m at the middle of each step of a normalised m: int16 [128]."""
    return np.rint(2.0**29 / _middles()).astype(np.int64)


def rsqrt_tables() -> np.ndarray:
    """2**22 / sqrt(m) at the middle of each step of a normalised m, and then of those of 2 * m: int16 [2, 128]."""
    return np.rint(2.0**22 / np.sqrt(_middles() * [[1], [2]])).astype(np.int64)


def _ends() -> np.ndarray:
    """Where the steps of a normalised mantissa end: int64 [128]."""
    size = 1 << SCALAR_BITS
    return size + np.arange(size) + 1 << MANTISSA_BITS - 1 - SCALAR_BITS


def _middles() -> np.ndarray:
    return _ends() - (1 << MANTISSA_BITS - 1 - SCALAR_BITS) / 2


EXP2, SIGMOID = exp2_table(), sigmoid_table()
QUANTISE, RECIPROCAL, (RSQRT, RSQRT_ODD) = quantise_table(), reciprocal_table(), rsqrt_tables()


def _entry(mantissa: np.ndarray) -> np.ndarray:
    """Of these tables, for a normalised mantissa."""
    return mantissa - (1 << MANTISSA_BITS - 1) >> MANTISSA_BITS - 1 - SCALAR_BITS


def quantise_scalars(largest: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The scalar that brings values of which the largest has this magnitude to int8, and the scalar that undoes it.

    Neither mantissa is normalised. The second, 2**28 / factor, is 64.25 times what the entry's step ends at: 2**6 / 127.5 of
    its largest value, but for one part in 2**13.
    """
    mantissa, exponent = normalise(largest)
    entry = _entry(mantissa)
    end = (1 << SCALAR_BITS) + entry + 1
    return (QUANTISE[entry], 22 - exponent), (end << 6 | end >> 2, 6 + exponent)


def quantise(x: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """int16 vectors [..., N] to int8 values that use their whole range, and the scalar that undoes it: x = y * scalar."""
    (factor, shift), step = quantise_scalars(np.abs(x).max(axis=-1, keepdims=True))
    return saturate(round_shift(x * factor, shift), 8), step


def reciprocal(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """1 / x as a scalar, x > 0; relative error below 2**-7."""
    mantissa, exponent = normalise(x)
    return RECIPROCAL[_entry(mantissa)], 29 - exponent


def rsqrt(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """1 / sqrt(x) as a scalar, x > 0; relative error below 2**-8."""
    mantissa, exponent = normalise(x)
    entry, odd = _entry(mantissa), exponent & 1
    return np.where(odd, RSQRT_ODD[entry], RSQRT[entry]), 22 - (exponent + odd) // 2


def exp2_negative(d: np.ndarray) -> np.ndarray:
    """round(127 * 2**(-d / 256)) for d >= 0: int8."""
    return round_shift(EXP2[d & (1 << EXP2_BITS) - 1] * 127, 14 + np.minimum(d >> EXP2_BITS, 32))


def sigmoid(a: np.ndarray) -> np.ndarray:
    """Sigmoid, in units of 2**-15, of int16 values in units of 2**-GATE_UNIT."""
    half = 1 << SIGMOID_BITS - 1
    return SIGMOID[np.clip((a >> SIGMOID_SHIFT) + half, 0, 2 * half - 1)]


def silu(a: np.ndarray) -> np.ndarray:
    """a * sigmoid(a), int16, of int16 values; both count 2**-GATE_UNIT."""
    return saturate(round_shift(a * sigmoid(a), 15), 16)


def scale(factors: np.ndarray, mantissa: np.ndarray) -> np.ndarray:
    """int16 factors times a scalar's mantissa, as int16 again: 15 bits taken off."""
    return saturate(round_shift(factors * mantissa, MANTISSA_BITS), 16)


def sum_of_squares(x: np.ndarray) -> np.ndarray:
    """Of int16 vectors [..., N]: int64 [..., 1], each square rounded to `SQUARE_SHIFT` bits less and saturated."""
    return saturate(round_shift(x * x, SQUARE_SHIFT), 16).sum(axis=-1, keepdims=True)


def rotary_tables(head_dim: int, positions: int, theta: float) -> tuple[np.ndarray, np.ndarray]:
    """Rotations e**(i * angle) in units of 2**-14, as int64 [n, head_dim / 2, 2] (cos, sin).

    The first for positions 0 to `ROTARY_LOW` - 1, the second for multiples of `ROTARY_LOW`. Angles: position
    times theta**(-2j / head_dim), RoFormer (Su et al., 2021), section 3.2.2.
    """
    frequency = theta ** (-np.arange(0, head_dim, 2) / head_dim)

    def table(at):
        angle = at[:, None] * frequency
        return np.rint(16384 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)).astype(np.int64)

    return table(np.arange(ROTARY_LOW)), table(np.arange(0, positions, ROTARY_LOW))


def rotation(tables: tuple[np.ndarray, np.ndarray], position: int) -> np.ndarray:
    """The rotation of a position, in units of 2**-14: int64 [head_dim / 2, 2], the product of two table entries."""
    a, b = tables[0][position % ROTARY_LOW], tables[1][position // ROTARY_LOW]
    return turn(a, b)


def turn(x: np.ndarray, rotations: np.ndarray, shift: int = 14, bits: int = 16) -> np.ndarray:
    """Pairs x [..., n, 2] turned by rotations [n, 2] in units of 2**-14, `shift` - 14 bits taken off, saturated to `bits`."""
    cos, sin = rotations[..., 0], rotations[..., 1]
    even, odd = x[..., 0], x[..., 1]
    turned = np.stack([even * cos - odd * sin, odd * cos + even * sin], axis=-1)
    return saturate(round_shift(turned, shift), bits)
