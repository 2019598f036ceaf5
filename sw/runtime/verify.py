"""The check behind `generate --verify`: a reference makes every token too, and a difference ends the run.

The cycle count that `Session` compares says nothing about values: a tile that rounds wrongly takes the same cycles.
"""

from collections.abc import Sequence
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

    def step(self, text: Sequence[int]) -> tuple[int, np.ndarray]:
        """The token that follows a text, and the logits, float64 [vocab].

        What the text begins with as the last one did is not computed again, but for its last token."""


class GoldenReference:
    """The golden integer model. Use it where the quantised model is at hand: it is independent of the compiler, and takes
    about an eighth of the emulator's time, and a tenth of that for a prompt."""

    name = "golden model"

    def __init__(self, model: QuantisedModel):
        self.model, self._golden, self._tokens = model, Golden(model), []

    def step(self, text: Sequence[int]) -> tuple[int, np.ndarray]:
        self.read(text[:-1])
        logits, scale = self._golden.integers(np.array(text[-1:]), len(text) - 1)
        self._tokens[len(text) - 1:] = text[-1:]
        return int(logits[0].argmax()), logits[0] * (float(scale[0, 0]) * self.model.logit_unit)

    def read(self, text: Sequence[int]) -> None:
        """Computes the keys and values of a text, except for what it begins with as the last one did."""
        first = common(self._tokens, text)
        self._golden.prefill(np.array([text[first:]], np.int64), first)
        self._tokens[first:] = text[first:]

    def cached(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Keys and values of the first `count` tokens of the last text: int8 [layers, count, KV heads, head_dim]."""
        return self._golden.keys[:, 0, :count], self._golden.values[:, 0, :count]


class EmulatorReference:
    """The emulator, which executes the same program. It serves for a program file, which has no quantised model in it."""

    name = "emulator"

    def __init__(self, program: Program):
        self._device, self._tokens = Device(Endpoint(program.config), program.config), []
        self._device.load(program)

    def step(self, text: Sequence[int]) -> tuple[int, np.ndarray]:
        for position in range(common(self._tokens, text[:-1]), len(text)):
            made = self._device.run(text[position], position, int(position == len(text) - 1))
        self._tokens = [*text]
        return made[0], self._device.logits()


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """The number of tokens that two texts begin with in common."""
    pairs = zip(one, other, strict=False)
    return next((index for index, (mine, its) in enumerate(pairs) if mine != its), min(len(one), len(other)))


class Verifier:
    """Compares a device's tokens with a reference's; with `logits`, every logit too.

    `token_count`: tokens that were compared and found equal.
    """

    def __init__(self, reference: Reference, logits: bool = False):
        self.reference, self.logits = reference, logits
        self.token_count = 0

    def check(self, text: Sequence[int], found: int, logits: np.ndarray | None) -> None:
        """Compares the token `found` after a text, and the logits, float64 [vocab], unless None. VerifyError, which names
        the position, if one differs."""
        expected, wanted = self.reference.step(text)
        position, what = len(text) - 1, f"the tile's values differ from the {self.reference.name}'s"
        if found != expected:
            raise VerifyError(f"position {position}: expected token {expected}, found token {found}: {what}")
        if logits is not None and not np.array_equal(logits, wanted):
            at = int((logits != wanted).argmax())
            raise VerifyError(f"position {position}: expected logit {wanted[at]:.6g} for token {at}, found {logits[at]:.6g}, "
                              f"and {np.count_nonzero(logits != wanted)} of {len(wanted)} logits differ: {what}")
        self.token_count += 1
