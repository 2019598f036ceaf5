"""What a tile is loaded with."""

from dataclasses import dataclass

import numpy as np

from ...hdl.spec.config import Config
from ...hdl.spec.isa import Instruction, isa_of


@dataclass(frozen=True)
class Image:
    """The contents that a tile is loaded with.

    `instructions`: from program memory entry 0 on. `weights`: int8 [words, cols, rows], from W-RAM
    word 0 on. `constants`: int16 [granules, lanes], from MEM granule `granule` on.
    """

    instructions: list[Instruction]
    weights: np.ndarray
    constants: np.ndarray
    granule: int = 0

    def __post_init__(self):
        object.__setattr__(self, "known_cycles", {})

    def codes(self, config: Config) -> list[int]:
        """The encoded instructions, as unsigned numbers. EncodingError for an operand that does not
        fit its field."""
        encode = isa_of(config).encode
        return [encode(instruction) for instruction in self.instructions]
