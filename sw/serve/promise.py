"""The cycles of an answer: promised before its first token, and measured after its last."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from ..program.program import Program
from ..runtime.decoder import Step
from ..views.speed import run_seconds, token_seconds
from .job import Job


@dataclass(frozen=True)
class Clock:
    """The clock at which cycles become seconds. `of`: in words, whose it is; `baud`: of a board's serial line, or None."""

    hz: float
    of: str
    baud: int | None = None


@dataclass(frozen=True)
class Promise:
    """What an answer will take if it is as long as it may be.

    `prompt`: the cycles of the runs for the prompt's tokens, but for the last one, whose run makes the first token.
    `tokens`: the cycles of the run that makes each token. `seconds`: of all of them, at the clock. The time of the link
    counts where a model is streamed; that of the host does not. An answer may end sooner, and then takes the first of
    these runs.
    """

    prompt_count: int
    known_count: int
    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    seconds: float
    clock: Clock

    @property
    def cycles(self) -> int:
        """All cycles, by whose end the last token is out."""
        return sum(self.prompt) + sum(self.tokens)

    def as_json(self) -> dict:
        """`promised` in the object `marey` of a response."""
        return {"prompt_tokens": self.prompt_count, "known_tokens": self.known_count,
                "prompt_cycles": sum(self.prompt), "token_cycles": [*self.tokens],
                "deadline_cycles": self.cycles, "deadline_seconds": self.seconds, "clock_hz": self.clock.hz,
                "clock_of": self.clock.of}

    def headers(self) -> dict[str, str]:
        """The same as headers of the response. The tokens' cycles are in a list of RFC 9651: `5130;n=8` is 8 tokens of
        5130 cycles each."""
        runs = ", ".join(f"{cycles};n={len(list(group))}" for cycles, group in groupby(self.tokens))
        return {"marey-known-tokens": str(self.known_count), "marey-prompt-cycles": str(sum(self.prompt)),
                "marey-token-cycles": runs, "marey-deadline-cycles": str(self.cycles),
                "marey-deadline-seconds": f"{self.seconds:.9g}", "marey-clock-hz": f"{self.clock.hz:.12g}"}


def promise(program: Program, job: Job, known_count: int, clock: Clock) -> Promise:
    """What a job takes on a tile that knows the first `known_count` tokens of its prompt."""
    last = len(job.tokens) - 1
    prompt, positions = list(program.prompt_runs(known_count, last)), range(last, last + job.steps)
    seconds = sum(run_seconds(run.cycles, run.link_words, clock.hz, clock.baud) for run in prompt)
    seconds += sum(token_seconds(program, clock.hz, position, clock.baud) for position in positions)
    return Promise(len(job.tokens), known_count, tuple(run.cycles for run in prompt), tuple(map(program.cycles, positions)),
                   seconds, clock)


def measured(job: Job, steps: Sequence[Step], clock: Clock) -> dict:
    """`measured` in the object `marey` of a response: the cycles that the tile counted in its runs."""
    last = len(job.tokens) - 1
    prompt = sum(step.measured_cycles for step in steps if step.position < last)
    tokens = [step.measured_cycles for step in steps if step.position >= last]
    return {"prompt_cycles": prompt, "token_cycles": tokens, "cycles": prompt + sum(tokens),
            "seconds": (prompt + sum(tokens)) / clock.hz}
