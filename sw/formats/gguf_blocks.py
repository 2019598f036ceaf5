"""Blocks of few bits, as GGUF files have them: float32 values to bytes."""

import numpy as np
from gguf import GGMLQuantizationType, quants

BLOCK = 32
"""Values in a block of Q8_0 or Q4_0."""


def q8_0(values: np.ndarray) -> np.ndarray:
    """Float32 values as blocks of Q8_0, by the library."""
    return quants.quantize(values, GGMLQuantizationType.Q8_0)


def q4_0(values: np.ndarray) -> np.ndarray:
    """Float32 values [.., n * 32] as blocks of Q4_0, bytes [.., n * 18].

    A block is a 16-bit float d, then 32 values of 4 bits that mean (value - 8) * d, the first 16 in
    the low halves. Eight steps d are tried, which make the block's largest value -8, -7, .. or -1
    steps, and the one with the least squared error is taken. So values that lie on such a grid stay
    as they are. The library's own encoder tries -8 only.
    """
    blocks = values.reshape(-1, BLOCK)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, None], axis=1)
    step, least = np.zeros(largest.shape, np.float16), np.full(largest.shape, np.inf)
    whole = np.zeros_like(blocks)
    for count in range(-8, 0):
        trial = (largest / count).astype(np.float16)
        exact = trial.astype(np.float32)
        rounded = np.clip(np.rint(blocks / np.where(exact == 0, 1, exact)), -8, 7)
        error = np.square(rounded * exact - blocks).sum(axis=1, keepdims=True)
        better = error < least
        step, whole = np.where(better, trial, step), np.where(better, rounded, whole)
        least = np.minimum(error, least)
    nibbles = (whole + 8).astype(np.uint8)
    packed = nibbles[:, :BLOCK // 2] | nibbles[:, BLOCK // 2:] << 4
    content = np.concatenate([np.ascontiguousarray(step).view(np.uint8), packed], axis=1)
    return content.reshape(*values.shape[:-1], -1)
