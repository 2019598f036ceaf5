"""Values to link words and back.

`protocol` says how the entries of each memory lie in 32-bit words.
"""

import numpy as np

from .config import Config
from .protocol import Space, entry_bits, parts


def pack_mem(config: Config, values: np.ndarray) -> np.ndarray:
    """int16 values [granules * lanes] to uint32 link words."""
    return _words(config, Space.MEM, np.ascontiguousarray(values, "<i2").reshape(-1, config.lanes))


def unpack_mem(config: Config, words: np.ndarray) -> np.ndarray:
    """uint32 link words to int16 values [granules * lanes]."""
    return _entries(config, Space.MEM, words).view("<i2").ravel()


def pack_wram(config: Config, weights: np.ndarray) -> np.ndarray:
    """Weights to uint32 link words: int8 [..., rows], in the range of `weight_bits` bits.

    Each row of weights is an entry. Entries count column by column: [words, cols, rows] fills words
    of W-RAM.
    """
    return _words(config, Space.WRAM, weights_to_octets(config, weights))


def unpack_wram(config: Config, words: np.ndarray) -> np.ndarray:
    """uint32 link words to weights: int8 [entries, rows]."""
    return octets_to_weights(config, _entries(config, Space.WRAM, words))


def weights_to_octets(config: Config, weights: np.ndarray) -> np.ndarray:
    """Weights, int8 [..., rows], to the bytes that they are in external memory: uint8 [entries, bytes]."""
    weights = np.ascontiguousarray(weights, np.int8)
    if config.weight_bits == 4:
        nibbles = weights.view(np.uint8) & 15
        weights = nibbles[..., 0::2] | nibbles[..., 1::2] << 4
    return weights.reshape(-1, weights.shape[-1]).view(np.uint8)


def octets_to_weights(config: Config, octets: np.ndarray) -> np.ndarray:
    """The bytes of entries, the lowest first, to weights: int8 [entries, rows]."""
    entries = octets.reshape(-1, config.rows * config.weight_bits // 8)
    if config.weight_bits == 4:
        entries = np.stack([entries << 4, entries & 0xF0], axis=-1).reshape(len(entries), -1).view(np.int8) >> 4
    return entries.view(np.int8)


def pack_program(config: Config, codes: list[int]) -> np.ndarray:
    """Encoded instructions to uint32 link words."""
    size = parts(entry_bits(config, Space.PROGRAM)) * 4
    return np.frombuffer(b"".join(code.to_bytes(size, "little") for code in codes), "<u4")


def unpack_program(config: Config, words: np.ndarray) -> list[int]:
    """uint32 link words to encoded instructions."""
    size = parts(entry_bits(config, Space.PROGRAM)) * 4
    octets = np.ascontiguousarray(words, "<u4").tobytes()
    return [int.from_bytes(octets[start:start + size], "little") for start in range(0, len(octets), size)]


def _words(config, space, entries):
    """Entries, a row of bytes each, to link words. Each entry is padded to `parts` link words."""
    octets = entries.view(np.uint8)
    padded = np.zeros((len(octets), parts(entry_bits(config, space)) * 4), np.uint8)
    padded[:, :octets.shape[1]] = octets
    return padded.view("<u4").ravel()


def _entries(config, space, words):
    """Link words to entries, a row of bytes each, without the padding: uint8 [entries, bytes]."""
    bits = entry_bits(config, space)
    octets = np.ascontiguousarray(words, "<u4").view(np.uint8).reshape(-1, parts(bits) * 4)
    return np.ascontiguousarray(octets[:, :(bits + 7) // 8])
