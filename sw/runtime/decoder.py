"""The decoder: takes texts through a device token by token, and runs no token again that is in the KV cache."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np

from ...hdl.spec.errors import MareyError
from ..program.program import Program
from ..quant.golden import TOGETHER
from ..text.sampling import Sampler
from .driver import Device
from .prefill import HostPrefill
from .session import Tally
from .verify import Verifier, common


@dataclass(frozen=True)
class Step:
    """The cycles that the token at a position took, summed over all its runs on the tile.

    `count`: tokens of a prompt that were computed together, of which `position` and `token` are the first.
    """

    position: int
    token: int
    predicted_cycles: int
    measured_cycles: int
    mac_floor_cycles: int
    count: int = 1


@dataclass(frozen=True)
class Ran:
    """What came of a token that the device ran, or of tokens of the prompt that the host computed.

    `step`: the token and its cycles; None for the host's. `left`: tokens of the prompt that are still
    to be run. `made`: the token that follows, or None within the prompt. `logits`: float64 [vocab],
    if they were read.
    """

    step: Step | None
    left: int
    made: int | None = None
    logits: np.ndarray | None = None


class Decoder:
    """Continues texts on a device that holds a program.

    `tokens`: those in the KV cache, by position from 0 on. A text that begins like the last one, as
    the next turn of a conversation does, is run from the first token that differs. With a
    `verifier`, each token is compared with a reference's, and so are logits that are read:
    VerifyError for a difference. Each run is within `during(position of its first
    token, number of the prompt's tokens)`. Tokens of a prompt are run one by one, or in blocks of positions
    where the program has them and they take fewer cycles: see `Program.prompt_runs`. With `prefill`, the host
    computes all tokens of a prompt but the last. MareyError for a program without a model.
    """

    def __init__(self, device: Device, program: Program, verifier: Verifier | None = None,
                 during: Callable[[int, int], AbstractContextManager] = lambda position, prompt_count: nullcontext(),
                 prefill: HostPrefill | None = None):
        if program.model is None or program.tokenizer is None:
            raise MareyError("this program was assembled by hand and has no model in it: compile one to generate text")
        self.device, self.program, self.verifier, self.during, self.prefill = device, program, verifier, during, prefill
        self.tokens: list[int] = []

    def known(self, prompt: Sequence[int]) -> int:
        """How many of a prompt's first tokens need not be run; its last one always is, for what follows it."""
        return common(self.tokens, prompt[:-1])

    def decode(self, prompt: Sequence[int], steps: int, sampler: Sampler, logits: bool = False) -> Iterator[Ran]:
        """Runs a prompt (at least one token), then up to `steps` tokens of its continuation, one at each iteration.

        The tile chooses each token itself, or the sampler from the logits, if it does not take the likeliest. `logits`: read
        them in any case. It ends where the context does, or when the caller stops asking.
        """
        text, first, context = list(prompt), self.known(prompt), self.program.model.context
        del self.tokens[first:]
        while self.prefill and first < len(prompt) - 1:
            end = min(first + TOGETHER, len(prompt) - 1)
            self.prefill.fill(self.device.session, text[:end], first)
            self.tokens += text[first:end]
            first = end
            yield Ran(None, len(prompt) - end)
        for run in self.program.prompt_runs(first, len(prompt) - 1):
            before = replace(self.device.tally)
            with self.during(run.first, len(prompt)):
                if run.start is None:
                    self.device.run(text[run.first], run.first, 0)
                else:
                    # A block begins at a multiple of its positions: those before the first are computed again.
                    self.device.run_block(text[run.start:run.end], run.start)
            self.tokens += text[run.first:run.end]
            yield Ran(self._step(run.first, text[run.first], before, run.end - run.first), len(prompt) - run.end)
        for position in range(max(first, len(prompt) - 1), min(context, len(prompt) + steps - 1)):
            token, before = text[position], replace(self.device.tally)
            with self.during(position, len(prompt)):
                made = self.device.run(token, position, 1)
            self.tokens.append(token)
            step = self._step(position, token, before)
            wanted = logits or not sampler.greedy or bool(self.verifier and self.verifier.logits)
            found = self.device.logits() if wanted else None
            if self.verifier:
                self.verifier.check(text, made[0], found)
            text.append(made[0] if sampler.greedy else int(sampler(found, text)))
            yield Ran(step, 0, text[-1], found)

    def _step(self, position: int, token: int, before: Tally, count: int = 1) -> Step:
        after, macs_per_cycle = self.device.tally, self.program.config.macs
        return Step(position, token, after.predicted - before.predicted, after.measured - before.measured,
                    -(-(after.macs - before.macs) // macs_per_cycle), count)
