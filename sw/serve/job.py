"""What goes between the server and the process of a tile: a job, and the events of its answer."""

from dataclasses import dataclass, field
from itertools import count

from ..runtime.decoder import Step
from ..text.sampling import Sampler

NUMBERS = count(1)


@dataclass(frozen=True)
class Job:
    """A prompt's tokens, and how to continue them: see `marey.sw.runtime.generate.continued`."""

    tokens: tuple[int, ...]
    steps: int
    sampler: Sampler
    stops: tuple[str, ...] = ()
    ends: frozenset[int] = frozenset()
    logprobs: int = 0
    number: int = field(default_factory=lambda: next(NUMBERS))


@dataclass(frozen=True)
class Leave:
    """To the tile: nobody waits any longer for the job of that number."""

    number: int


@dataclass(frozen=True)
class Ready:
    """The tile has loaded the program. `backend`: what runs it."""

    backend: str


@dataclass(frozen=True)
class Begun:
    """The tile has begun a job, of whose prompt its KV cache has the first `known_count` tokens."""

    known_count: int


@dataclass(frozen=True)
class Piece:
    """What one run of the tile added: the text that can be shown, the run's cycles, and the token that it made, if any."""

    text: str
    step: Step | None
    token: int | None = None
    logprobs: dict | None = None


@dataclass(frozen=True)
class Ended:
    """The job is done, for one of the reasons in `marey.sw.runtime.generate`."""

    ended_by: str


@dataclass(frozen=True)
class Failed:
    """The job, or the tile, has failed."""

    message: str


Event = Ready | Begun | Piece | Ended | Failed
