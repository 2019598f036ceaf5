"""Values of 8 bits in a W-RAM whose weights have 4: how two of its words hold a word of them.

Keys and values have 8 bits everywhere. Value r of a word of `rows` values lies in the words 2n and
2n + 1 as its low and its high half:

======================= ==================== =======================================
tile                    low half             high half
======================= ==================== =======================================
without `paired`        word 2n, row r       word 2n + 1, row r
with `paired`           word 2n + h, row r   word 2n + h, row (r + rows / 2) % rows
======================= ==================== =======================================

where h = r / (rows / 2), rounded down. With `paired` the two words are one word of a memory of
`rows` bytes, so that one read gives both. A weight word is a half of it: the bytes 0 to rows / 2 - 1
for an even address, the others for an odd one. So all writes, of keys, of values and of weights,
are of whole bytes, which block RAMs can do.
"""

import numpy as np

from .config import Config


def to_words(config: Config, values: np.ndarray) -> np.ndarray:
    """Words of 8-bit values as words of 4-bit weights: int8 [words, cols, rows] to int8 [2 * words, cols, rows].

    As they are if the tile's weights have 8 bits.
    """
    if config.wide_words == 1:
        return values
    low, high = (values << 4).astype(np.int8) >> 4, values >> 4
    if config.paired:
        half = config.rows // 2
        low, high = (np.concatenate([low[..., :half], high[..., :half]], axis=-1),
                     np.concatenate([high[..., half:], low[..., half:]], axis=-1))
    return np.stack([low, high], axis=1).reshape(-1, *values.shape[1:])


def from_words(config: Config, words: np.ndarray) -> np.ndarray:
    """The reverse: int8 [..., 2 * n, rows] to int8 [..., n, rows]."""
    if config.wide_words == 1:
        return words
    first, second = words[..., 0::2, :], words[..., 1::2, :]
    if config.paired:
        half = config.rows // 2
        first, second = (np.concatenate([first[..., :half], second[..., half:]], axis=-1),
                         np.concatenate([first[..., half:], second[..., :half]], axis=-1))
    return (first & 15) | second << 4
