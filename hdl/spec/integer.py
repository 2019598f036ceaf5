"""The integer arithmetic of the tile: rounding, saturation, scalars, and the tables of functions.

The golden model computes with these functions, and the hardware implements them bit for bit.
Arrays are int64 of any shape unless said otherwise. A *scalar* is a pair (mantissa, exponent) of
integers with the value mantissa * 2**-exponent, where 2**14 <= mantissa < 2**15.
"""

from collections.abc import Callable

import numpy as np

Scalar = tuple[np.ndarray, np.ndarray]
"""(mantissas, exponents)."""
MANTISSA_BITS = 15
EXP2_BITS = 8
"""Address bits of the 2**-x table, over one octave."""
GATE_SHIFT = 15
"""Fractional bits of a gate, by which SILU and GELU shift a product with one."""
GATE_UNIT = 9
"""Inputs of a gate (the sigmoid, and that of GELU) count 2**-9, and so range over +-64."""
GATE_BITS = 8
"""Address bits of a gate's table, which covers 0 to its RANGE. Beyond, the last entry holds; below 0,
the complement of the entry for the magnitude."""
SIGMOID_RANGE = 8
SIGMOID_SHIFT = GATE_UNIT + 3 - GATE_BITS
"""Input to table address: 16 inputs share an entry."""
GELU_RANGE = 4
GELU_SHIFT = GATE_UNIT + 2 - GATE_BITS
"""Input to table address: 16 inputs share an entry."""
SQUARE_SHIFT = 14
"""Each square in a sum of squares is divided by 2**14."""
UNIT_BITS = 14
"""Bits of the units of a balanced residual, see `balanced_root`."""
UNIT_RANGE_SHIFT, GAIN_RANGE_SHIFT, PRODUCT_RANGE_SHIFT = 14, 14, 16
"""A value times its unit or a gain, divided by 2**14, fits 16 bits; so does the product of any two
values, divided by 2**16."""
RESCALE_SHIFT = 14
"""Fractional bits of the numbers that bring a balanced residual to the units of the next layer."""
SUMMAND_SHIFT = 11
"""Fractional bits of the numbers that bring what is added to a residual to its units."""
POWER_SHIFT = -1
"""Added to the exponent of 1 / (range + 1) of a vector of products, 15 to 29, the shift that makes
2**28 a power of two in proportion to it, which fits 16 bits."""
HEAD_FILL_SHIFT, HEAD_ROOT_SHIFT = -14, -7
"""Added to the exponents of a head's 1 / largest and 1 / sqrt(sum of squares), see `normalised`."""
UNIT_SQUARE_SHIFT = 15
"""Each square in a balanced sum of squares is divided by 2**15, and so fits 16 bits."""
RECIPROCAL_BITS = 8
RSQRT_BITS = 7
"""Address bits of the tables of 1 / x and 1 / sqrt(x): bits of a mantissa below its leading one."""
EXACT = 1 << 10
"""Products of two 8-bit integers whose sum float32 holds exactly, in any order: 2**24 / 2**14."""
ROTARY_LOW = 32
"""Rotations are stored for positions 0 to 31 and multiples of 32; others are products of two."""


def round_shift(x: np.ndarray, shift: np.ndarray | int) -> np.ndarray:
    """x / 2**shift, rounded to nearest, a half upwards. `shift` >= 0."""
    x, shift = np.asarray(x, np.int64), np.asarray(shift, np.int64)
    return x + ((np.int64(1) << shift) >> 1) >> shift


def saturate(x: np.ndarray, bits: int) -> np.ndarray:
    """x, limited to the range of signed numbers of `bits` bits."""
    return np.clip(x, -(1 << bits - 1), (1 << bits - 1) - 1)


def matvec(weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Sums x @ weight.T for int8 inputs [..., K] and int8 weights [N, K]: int64 [..., N], exact.

    `weight` may also hold these integers as float32, which saves a conversion at each call.

    It computes in float32, whose matrix product is fast, on `EXACT` inputs at a time: their sums are
    at most 2**24, and so exact.
    """
    total = 0
    for start in range(0, weight.shape[1], EXACT):
        part = slice(start, start + EXACT)
        sums = x[..., part].astype(np.float32) @ weight[:, part].astype(np.float32, copy=False).T
        total = total + sums.astype(np.int64)
    return total


def signed_halves(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The high and the low half of values x of -128 to 119, as signed numbers of 4 bits: x = 16 * high + low."""
    low = (x + np.int64(8) & 15) - 8
    return x - low >> 4, low


def bit_length(x: np.ndarray) -> np.ndarray:
    """Number of bits of x >= 0: 0 for 0, else floor(log2(x)) + 1. Exact below 2**53."""
    return np.frexp(np.asarray(x, np.float64))[1].astype(np.int64)


def normalise(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scalars (mantissa, exponent) of integers x >= 0.

    Bits beyond the mantissa are cut off. 0 becomes the scalar of 1.
    """
    x = np.maximum(np.asarray(x, np.int64), 1)
    exponent = MANTISSA_BITS - bit_length(x)
    return np.where(exponent >= 0, x << np.maximum(exponent, 0), x >> np.maximum(-exponent, 0)), exponent


def multiply(a, b):
    """The product of two scalars, as a scalar. Its low bits are cut off."""
    mantissa, exponent = normalise(a[0] * b[0])
    return mantissa, a[1] + b[1] + exponent


def exp2_table() -> np.ndarray:
    """2**-f for f = i / 256, in units of 2**-14: int64 [256], fits int16."""
    return np.rint(2.0 ** (14 - np.arange(1 << EXP2_BITS) / (1 << EXP2_BITS))).astype(np.int64)


def sigmoid_table() -> np.ndarray:
    """1 / (1 + e**-x) over 0 to SIGMOID_RANGE, as `_gate_table` has it: int64 [256], fits int16."""
    return _gate_table(lambda x: 1 / (1 + np.exp(-x)), SIGMOID_RANGE)


def gelu_table() -> np.ndarray:
    """GELU(x) / x over 0 to GELU_RANGE, as `_gate_table` has it: int64 [256], fits int16.

    GELU(x) / x = (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2, as in GPT-2 ("gelu_new").
    Source: Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016, arXiv 1606.08415, section 2.
    """
    return _gate_table(lambda x: (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2, GELU_RANGE)


def _gate_table(gate: Callable[[np.ndarray], np.ndarray], top: int) -> np.ndarray:
    """A gate in units of 2**-15, less half a unit, at the middles of 2**GATE_BITS steps over 0 to `top`.

    int64 [2**GATE_BITS]. `gate(-x)` must be 1 - `gate(x)`; since half a unit is taken off, the value
    for ~a is the entry for `a` with its 15 bits inverted.
    """
    size = 1 << GATE_BITS
    x = (np.arange(size) + 0.5) * (top / size)
    return np.rint(32768 * gate(x) - 0.5).astype(np.int64)


def reciprocal_table() -> np.ndarray:
    """2**29 / m at the midpoint m of each interval (see `_midpoints`): int64 [256], fits int16."""
    return np.rint(2.0**29 / _midpoints(RECIPROCAL_BITS)).astype(np.int64)


def rsqrt_table() -> np.ndarray:
    """2**22 / sqrt(m) and 2**22 / sqrt(2 * m) at the midpoints m: int64 [128, 2], fits int16."""
    return np.rint(2.0**22 / np.sqrt(_midpoints(RSQRT_BITS)[:, None] * [1, 2])).astype(np.int64)


def _midpoints(bits: int) -> np.ndarray:
    """Midpoints of the 2**bits intervals into which the mantissa range [2**14, 2**15) is divided.

    float64 [2**bits].
    """
    return ((1 << bits) + np.arange(1 << bits) + 0.5) * (1 << MANTISSA_BITS - 1 - bits)


EXP2, SIGMOID, GELU = exp2_table(), sigmoid_table(), gelu_table()
RECIPROCAL, RSQRT = reciprocal_table(), rsqrt_table()


def _entry(mantissa: np.ndarray, bits: int) -> np.ndarray:
    """The table address for a mantissa: the number of its interval, of 2**bits intervals."""
    return mantissa - (1 << MANTISSA_BITS - 1) >> MANTISSA_BITS - 1 - bits


def quantise_scalars(largest: np.ndarray) -> tuple[Scalar, Scalar]:
    """Two scalars for a vector with a largest magnitude: the factor to int8, and the step back.

    They are 128 / m and m / 128, where m is the midpoint of the interval in which `largest` lies.
    The largest value becomes 127 or 128; 128 saturates to 127.
    """
    mantissa, exponent = normalise(largest)
    below = MANTISSA_BITS - 1 - RECIPROCAL_BITS
    midpoint = mantissa >> below << below | 1 << below - 1
    return (RECIPROCAL[_entry(mantissa, RECIPROCAL_BITS)], 22 - exponent), (midpoint, 7 + exponent)


def quantise(x: np.ndarray, groups: int = 1) -> tuple[np.ndarray, Scalar]:
    """Quantises int16 vectors [..., N] in `groups` groups of equal size: int8 values y [..., N], and a
    scalar for each group, [..., groups], so that x = y * scalar.
    """
    parts = x.reshape(*x.shape[:-1], groups, -1)
    (factor, shift), step = quantise_scalars(np.abs(parts).max(axis=-1))
    made = saturate(round_shift(parts * factor[..., None], shift[..., None]), 8)
    return made.reshape(x.shape), step


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
    """The sigmoid, in units of 2**-15, of int16 values in units of 2**-GATE_UNIT. SILU multiplies by it."""
    return _gate(SIGMOID, SIGMOID_SHIFT, a)


def silu(a: np.ndarray) -> np.ndarray:
    """a * sigmoid(a), int16, of int16 values; both count 2**-GATE_UNIT."""
    return saturate(round_shift(a * sigmoid(a), GATE_SHIFT), 16)


def gelu_gate(a: np.ndarray) -> np.ndarray:
    """GELU(a) / a, in units of 2**-15, of int16 values in units of 2**-GATE_UNIT. GELU multiplies by it."""
    return _gate(GELU, GELU_SHIFT, a)


def gelu(a: np.ndarray) -> np.ndarray:
    """a * gelu_gate(a), int16, of int16 values; both count 2**-GATE_UNIT."""
    return saturate(round_shift(a * gelu_gate(a), GATE_SHIFT), 16)


def _gate(table: np.ndarray, shift: int, a: np.ndarray) -> np.ndarray:
    """A gate of int16 values from its table: entry `a` >> `shift`; if a < 0, the complement of that for ~a."""
    sign = a >> 15
    return table[np.minimum((a ^ sign) >> shift, len(table) - 1)] ^ (sign & 0x7FFF)


def scale(factors: np.ndarray, mantissa: np.ndarray) -> np.ndarray:
    """int16 factors * mantissa / 2**15, rounded and saturated to int16."""
    return saturate(round_shift(factors * mantissa, MANTISSA_BITS), 16)


def sum_of_squares(x: np.ndarray) -> np.ndarray:
    """Sums of x**2 / 2**SQUARE_SHIFT over int16 vectors [..., N]: int64 [..., 1].

    Each term is rounded, and saturated to int16.
    """
    return saturate(round_shift(x * x, SQUARE_SHIFT), 16).sum(axis=-1, keepdims=True)


INVERSE_POWER, POWER = int(RECIPROCAL[0]), (1 << MANTISSA_BITS - 1) + (1 << MANTISSA_BITS - 2 - RECIPROCAL_BITS)
"""The mantissas of the two scalars of `quantise_scalars` for a power of two."""


def filled(products: np.ndarray, range_shift: int, groups: int = 1) -> tuple[np.ndarray, Scalar, Scalar]:
    """Vectors of products, each of `groups` groups divided by a power of two so that it fills 16 bits; and
    these powers as two scalars each.

    `products`: of int16 values, [..., N], below 2**(15 + `range_shift`). Let m be a group's largest
    product divided by 2**range_shift, and e the exponent of 1 / (m + 1), 15 to 29. Returns the products
    divided by 2**(e + range_shift - 29), int16, and the scalars `INVERSE_POWER` * 2**(e - 37) and
    `POWER` * 2**(8 - e), [..., groups].
    """
    parts = products.reshape(*products.shape[:-1], groups, -1)
    largest = np.abs(saturate(round_shift(parts, range_shift), 16)).max(axis=-1)
    _, exponent = reciprocal(largest + 1)
    inverse, power = quantise_scalars(round_shift(np.int64(1) << 28, exponent + POWER_SHIFT))
    made = saturate(round_shift(parts, exponent[..., None] + filling_shift(range_shift)), 16)
    return made.reshape(products.shape), inverse, power


def filling_shift(range_shift: int) -> int:
    """Added to the exponent of 1 / (range + 1), the shift that makes products fill 16 bits; see `filled`."""
    return range_shift - 29


def balanced_root(x: np.ndarray, units: np.ndarray) -> tuple[Scalar, Scalar]:
    """Two scalars whose product is in proportion to 1 / sqrt(sum of (x * units)**2).

    `x`: int16 vectors [..., N]; `units`: [N], positive, below 2**UNIT_BITS. The sum has the relative
    precision of a vector that fills 16 bits, whatever its size: the products are `filled` before they
    are squared.

    The first scalar is the second that `filled` returns. The second is 1 / sqrt(the sum of the
    squares, each divided by 2**UNIT_SQUARE_SHIFT, rounded, and saturated to int16).
    """
    normal, _, power = filled(x * units, UNIT_RANGE_SHIFT)
    squares = saturate(round_shift(normal * normal, UNIT_SQUARE_SHIFT), 16)
    return power, rsqrt(squares.sum(axis=-1, keepdims=True))


def normalised(x: np.ndarray) -> np.ndarray:
    """int16 vectors [..., N] divided by their root mean square: int64 [..., N] of int16 values, in units of
    2**`HEAD_ROOT_SHIFT` * sqrt(N / 2**15).

    A vector is brought to a largest magnitude of about 2**14 first, so its sum of squares has the same
    precision whatever its size. A vector of zeros stays one. N must be at most 2**15.
    """
    inverse, exponent = reciprocal(np.abs(x).max(axis=-1, keepdims=True))
    large = saturate(round_shift(x * inverse, exponent + HEAD_FILL_SHIFT), 16)
    squares = saturate(round_shift(large * large, UNIT_SQUARE_SHIFT), 16)
    root, exponent = rsqrt(squares.sum(axis=-1, keepdims=True))
    return saturate(round_shift(large * root, exponent + HEAD_ROOT_SHIFT), 16)


def rotary_tables(frequencies: np.ndarray, positions: int) -> tuple[np.ndarray, np.ndarray]:
    """Two tables of rotations (cos, sin) in units of 2**-14: int64 [n, head_dim / 2, 2].

    The first is for positions 0 to `ROTARY_LOW` - 1, the second for multiples of `ROTARY_LOW` below
    `positions`. The angle of pair j is position * frequencies[j], in radians (see
    `marey.sw.model.rotary.frequencies`).
    """
    def table(at):
        angle = at[:, None] * frequencies
        return np.rint(16384 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)).astype(np.int64)

    return table(np.arange(ROTARY_LOW)), table(np.arange(0, positions, ROTARY_LOW))


def rotation(tables: tuple[np.ndarray, np.ndarray], position: int) -> np.ndarray:
    """The rotation (cos, sin, -sin) of a position, in units of 2**-14: int64 [head_dim / 2, 3].

    It is the product of two table entries. The tile makes -sin as a product of its own, too: where sin lies in the middle
    between two integers, as for the first pair at position 91, both are rounded up.
    """
    a, b = tables[0][position % ROTARY_LOW], tables[1][position // ROTARY_LOW]
    cos = a[..., 0] * b[..., 0] - a[..., 1] * b[..., 1]
    sin = a[..., 1] * b[..., 0] + a[..., 0] * b[..., 1]
    return saturate(round_shift(np.stack([cos, sin, -sin], axis=-1), 14), 16)


def turn(x: np.ndarray, rotations: np.ndarray, shift: int, bits: int) -> np.ndarray:
    """Pairs x [..., n, 2] turned by rotations [n, 3], as `rotation` makes them.

    The result is divided by 2**(shift - 14), rounded, and saturated to `bits` bits.
    """
    cos, sin, minus_sin = np.moveaxis(rotations, -1, 0)
    even, odd = x[..., 0], x[..., 1]
    turned = np.stack([even * cos + odd * minus_sin, odd * cos + even * sin], axis=-1)
    return saturate(round_shift(turned, shift), bits)
