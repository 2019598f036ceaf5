"""The check behind `generate --verify`: a reference makes every token too, and a difference ends the run.

The cycle count that `Session` compares says nothing about values: a tile that rounds wrongly takes the same cycles.
"""

from typing import Protocol

import numpy as np

from ...hdl.spec.errors import MareyError
from ...sim.endpoint import Endpoint
from ..program.program import Program
from ..quant.golden import Golden
from ..quant.model import QuantisedModel
from .driver import Device


class VerifyError(MareyError):
    """The tile made another token, or another logit, than the reference."""

    exit_code = 1


class Reference(Protocol):
    """Makes tokens beside the tile. `name`: how messages call it."""

    name: str

    def step(self, token: int, position: int, wanted: bool) -> tuple[int, np.ndarray]:
        """Takes a token at a position, which come in order from 0; returns the token that follows and the logits, float64
        [vocab]. Both mean nothing unless the next token is `wanted`."""


class GoldenReference:
    """The golden integer model. Use it where the quantised model is at hand: it is independent of the compiler, and takes
    about an eighth of the emulator's time."""

    name = "golden model"

    def __init__(self, model: QuantisedModel):
        self._golden, self._logit_unit = Golden(model), model.logit_unit

    def step(self, token: int, position: int, wanted: bool) -> tuple[int, np.ndarray]:
        logits, scale = self._golden.integers(np.array([token]), position)
        return int(logits[0].argmax()), logits[0] * (float(scale[0, 0]) * self._logit_unit)


class EmulatorReference:
    """The emulator, which executes the same program. It serves for a program file, which has no quantised model in it."""

    name = "emulator"

    def __init__(self, program: Program):
        self._device = Device(Endpoint(program.config), program.config)
        self._device.load(program)

    def step(self, token: int, position: int, wanted: bool) -> tuple[int, np.ndarray]:
        made = self._device.run(token, position, int(wanted))
        return (made[0], self._device.logits()) if wanted else (token, np.zeros(0))


class Verifier:
    """Compares a device's tokens with a reference's; with `logits`, every logit too.

    `token_count`: tokens that were compared and found equal.
    """

    def __init__(self, reference: Reference, logits: bool = False):
        self.reference, self.logits = reference, logits
        self.token_count = 0

    def follow(self, token: int, position: int) -> None:
        """Takes a token of the prompt, after which none is made: there is nothing to compare yet."""
        self.reference.step(token, position, False)

    def check(self, token: int, position: int, found: int, logits: np.ndarray | None) -> None:
        """Compares the token `found` after `token`, and the logits, float64 [vocab], unless None. VerifyError, which names
        the position, if one differs."""
        expected, wanted = self.reference.step(token, position, True)
        what = f"the tile's values differ from the {self.reference.name}'s"
        if found != expected:
            raise VerifyError(f"position {position}: expected token {expected}, found token {found}: {what}")
        if logits is not None and not np.array_equal(logits, wanted):
            at = int((logits != wanted).argmax())
            raise VerifyError(f"position {position}: expected logit {wanted[at]:.6g} for token {at}, found {logits[at]:.6g}, "
                              f"and {np.count_nonzero(logits != wanted)} of {len(wanted)} logits differ: {what}")
        self.token_count += 1
