"""What the CRC of short frames finds for certain: docs/link.md says it."""

import zlib
from itertools import combinations

import numpy as np
import pytest

WORD_BITS = 32


def syndromes(words):
    """The difference between the CRC that comes and the CRC of the message that comes, for each bit
    of a message of so many words, and of its CRC, that is flipped: uint32 [bits]."""
    whole, message = zlib.crc32(bytes(4 * words)), []
    for bit in range(WORD_BITS * words):
        flipped = bytearray(4 * words)
        flipped[bit // 8] ^= 1 << bit % 8
        message.append(zlib.crc32(flipped) ^ whole)
    return np.array([*message, *(1 << bit for bit in range(WORD_BITS))], np.uint32)


def sums(found, flips):
    """The effects of all sets of so many flipped bits, uint32."""
    if not flips:
        return np.zeros(1, np.uint32)
    indices = np.array(list(combinations(range(len(found)), flips)), np.uint8)
    return np.bitwise_xor.reduce(found[indices], axis=1)


@pytest.mark.parametrize("words", [2, 3], ids=["header of a response", "request, and a token"])
def test_six_flipped_bits_are_found(words):
    """No two sets of up to three flipped bits have the same effect, so no set of up to six has none."""
    found = syndromes(words)
    effects = np.concatenate([sums(found, flips) for flips in range(4)])
    assert len(np.unique(effects)) == len(effects)


def test_two_flipped_bits_of_the_longest_frame_are_found():
    """Its payload has 4,096 words. A shift register makes the syndromes: bit by bit, the last first."""
    bits, state, seen = WORD_BITS * (3 + 4096 + 1), 1 << 31, set()
    for _ in range(bits):
        seen.add(state)
        state = state >> 1 ^ (0xEDB88320 if state & 1 else 0)
    assert len(seen) == bits


def test_bursts_are_found():
    """Damage within 32 neighbouring bits: their effects are independent, so no sum of some is zero."""
    found = syndromes(3)
    for first in range(len(found) - WORD_BITS + 1):
        rank, rows = 0, [int(value) for value in found[first:first + WORD_BITS]]
        while rows:
            pivot = rows.pop()
            if pivot:
                rank += 1
                low = pivot & -pivot
                rows = [row ^ pivot if row & low else row for row in rows]
        assert rank == WORD_BITS
