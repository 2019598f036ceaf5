"""The flash image of a program: the words that a tile reads from its flash at power-up, and loads itself with."""

import numpy as np

from ...hdl.link.flash import MAGIC
from ...sim.endpoint import Endpoint
from ..program.program import Program
from .driver import Device


class Recorder(Endpoint):
    """An emulated tile that records all words that it is sent."""

    def __init__(self, config):
        super().__init__(config)
        self.sent: list[np.ndarray] = []

    def send(self, words):
        self.sent.append(np.asarray(words, np.uint32))
        super().send(words)


def flash_image(program: Program) -> bytes:
    """The bytes of a flash from which `marey.hdl.link.link.flash.FlashLoader` loads the program: a driver's own frames."""
    tile = Recorder(program.config)
    Device(tile, program.config).load(program)
    words = np.concatenate(tile.sent)
    return np.concatenate([np.array([MAGIC, len(words)], np.uint32), words]).astype("<u4").tobytes()
