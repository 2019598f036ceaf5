"""Words that requests and their answers take on the link, both ways together, if none has to be
repeated."""

from ...hdl.spec.config import Config
from ...hdl.spec.protocol import Space, entry_bits, parts

FRAME_WORDS = 4096
"""The most words of payload in a frame. After an error on the line the whole frame is sent
again."""
REQUEST_WORDS, RESPONSE_WORDS = 4, 3
"""Words of a request and of an answer without payload; see `marey.hdl.spec.protocol`."""


def write_words(config: Config, space: Space, entries: int) -> int:
    """Link words, both ways, to write so many entries of a memory."""
    size = parts(entry_bits(config, space))
    frame = FRAME_WORDS // size * size
    return entries * size + -(-entries * size // frame) * (REQUEST_WORDS + 1 + RESPONSE_WORDS)


def read_words(config: Config, space: Space, entries: int) -> int:
    """Link words, both ways, to read so many entries of a memory."""
    size = parts(entry_bits(config, space))
    return entries * size + -(-entries * size // FRAME_WORDS) * (REQUEST_WORDS + 1 + RESPONSE_WORDS)


def run_words(tokens: int) -> int:
    """Link words, both ways, of a run that makes so many tokens: a START, and a WAIT until the run
    is over."""
    return 2 * (REQUEST_WORDS + RESPONSE_WORDS) + 3 + tokens * (RESPONSE_WORDS + 2)
