"""The arithmetic of the tile: how it rounds, saturates, normalises, and what its tables contain.

The golden model computes with these functions and the hardware implements them bit for bit. Arrays are
int64 of any shape unless said otherwise. A *scalar* of a vector is a pair (mantissa, exponent) of integers, worth
mantissa * 2**-exponent, with 2**14 <= mantissa < 2**15.
"""

import numpy as np

MANTISSA_BITS = 15
EXP2_BITS = 8
"""Address bits of the 2**-x table, over one octave."""
SIGMOID_BITS = 8
SIGMOID_RANGE = 8
"""The sigmoid's table covers 0 to 8; beyond, its last entry holds, and below 0 its complement."""
GATE_UNIT = 10
"""Inputs of the sigmoid count 2**-10: +-32, in steps of which 32 have one entry."""
SIGMOID_SHIFT = GATE_UNIT + 3 - SIGMOID_BITS
"""From those units to entries."""
SQUARE_SHIFT = 14
"""Bits taken off each square in a sum of squares."""
RECIPROCAL_BITS = 8
RSQRT_BITS = 7
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
    """Sigmoid in units of 2**-15, less half a unit, at the middle of 256 steps over 0 to 8: int16 [256]."""
    size = 1 << SIGMOID_BITS
    x = (np.arange(size) + 0.5) * (SIGMOID_RANGE / size)
    return np.rint(32768 / (1 + np.exp(-x)) - 0.5).astype(np.int64)


def reciprocal_table() -> np.ndarray:
    """2**29 / m at the middle of each step of a normalised m: int16 [256]."""
    return np.rint(2.0**29 / _middles(RECIPROCAL_BITS)).astype(np.int64)


def rsqrt_table() -> np.ndarray:
    """2**22 / sqrt(m) at the middle of each step of a normalised m, and beside it of 2 * m: int16 [128, 2]."""
    return np.rint(2.0**22 / np.sqrt(_middles(RSQRT_BITS)[:, None] * [1, 2])).astype(np.int64)


def _middles(bits: int) -> np.ndarray:
    """Of the steps that the `bits` bits below a normalised mantissa's leading one count."""
    return ((1 << bits) + np.arange(1 << bits) + 0.5) * (1 << MANTISSA_BITS - 1 - bits)


EXP2, SIGMOID, RECIPROCAL, RSQRT = exp2_table(), sigmoid_table(), reciprocal_table(), rsqrt_table()


def _entry(mantissa: np.ndarray, bits: int) -> np.ndarray:
    """Of a table with so many address bits, for a normalised mantissa."""
    return mantissa - (1 << MANTISSA_BITS - 1) >> MANTISSA_BITS - 1 - bits


def quantise_scalars(largest: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The scalar that brings values of which the largest has this magnitude to int8, and the scalar that undoes it.

    They are 128 / m and m / 128, for the middle m of the largest value's step: it becomes 127 or 128, which saturates.
    """
    mantissa, exponent = normalise(largest)
    below = MANTISSA_BITS - 1 - RECIPROCAL_BITS
    middle = mantissa >> below << below | 1 << below - 1
    return (RECIPROCAL[_entry(mantissa, RECIPROCAL_BITS)], 22 - exponent), (middle, 7 + exponent)


def quantise(x: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """int16 vectors [..., N] to int8 values that use their whole range, and the scalar that undoes it: x = y * scalar."""
    (factor, shift), step = quantise_scalars(np.abs(x).max(axis=-1, keepdims=True))
    return saturate(round_shift(x * factor, shift), 8), step


def reciprocal(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """1 / x as a scalar, x > 0; relative error below 2**-8."""
    mantissa, exponent = normalise(x)
    return RECIPROCAL[_entry(mantissa, RECIPROCAL_BITS)], 29 - exponent


def rsqrt(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """1 / sqrt(x) as a scalar, x > 0; relative error below 2**-8."""
    mantissa, exponent = normalise(x)
    odd = exponent & 1
    return RSQRT[_entry(mantissa, RSQRT_BITS), odd], 22 - (exponent + odd) // 2


def exp2_negative(d: np.ndarray) -> np.ndarray:
    """round(127 * 2**(-d / 256)) for d >= 0: int8."""
    return round_shift(EXP2[d & (1 << EXP2_BITS) - 1] * 127, 14 + np.minimum(d >> EXP2_BITS, 32))


def sigmoid(a: np.ndarray) -> np.ndarray:
    """Sigmoid, in units of 2**-15, of int16 values in units of 2**-GATE_UNIT. That of ~a is the complement of a's."""
    sign = a >> 15
    return SIGMOID[np.minimum((a ^ sign) >> SIGMOID_SHIFT, len(SIGMOID) - 1)] ^ (sign & 0x7FFF)


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
