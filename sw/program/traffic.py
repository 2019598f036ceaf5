"""What frames take of the link: words, both ways, of undisturbed requests and their answers."""

from ...hdl.spec.config import Config
from ...hdl.spec.protocol import Space, entry_bits, parts

FRAME_WORDS = 4096
"""Words of payload in a frame: what is sent again when one of its bits was wrong."""
REQUEST_WORDS, RESPONSE_WORDS = 4, 3
"""Words of a request and of an answer without payload; see `marey.hdl.spec.protocol`."""


def write_words(config: Config, space: Space, entries: int) -> int:
    """Words on the line, both ways, of writing entries to a memory: of undisturbed frames and their answers."""
    size = parts(entry_bits(config, space))
    frame = FRAME_WORDS // size * size
    return entries * size + -(-entries * size // frame) * (REQUEST_WORDS + 1 + RESPONSE_WORDS)


def read_words(config: Config, space: Space, entries: int) -> int:
    """Words on the line, both ways, of reading entries of a memory."""
    size = parts(entry_bits(config, space))
    return entries * size + -(-entries * size // FRAME_WORDS) * (REQUEST_WORDS + 1 + RESPONSE_WORDS)


def run_words(tokens: int) -> int:
    """Words on the line, both ways, of a run that makes so many tokens: a START, and a WAIT until it is over."""
    return 2 * (REQUEST_WORDS + RESPONSE_WORDS) + 3 + tokens * (RESPONSE_WORDS + 2)
