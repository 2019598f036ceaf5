"""The layout of an answer: what the receiver asks the responder to send."""

from amaranth.lib import data

from ..spec.config import Config, address_bits
from ..spec.protocol import Space, Status, space_words


def space_bits(config: Config) -> int:
    """Bits that address a link word of the largest space."""
    return address_bits(max(space_words(config, space) for space in Space))


def Answer(config: Config) -> data.StructLayout:
    """An answer to be sent: a status, the number of a token, and a payload of `length` words."""
    return data.StructLayout({"sequence": 8, "number": 8, "status": Status, "length": space_bits(config) + 1})
