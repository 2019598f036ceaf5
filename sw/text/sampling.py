"""Choosing the next token."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...hdl.spec.errors import MareyError

COLDEST = 1e-6
"""Smallest temperature above 0. A smaller one would choose the likeliest token, too, but logits /
temperature overflow.
"""


REPEAT_WINDOW = 64
"""Tokens, the latest ones, that a repeat penalty looks at."""


@dataclass
class Sampler:
    """Draws a token from logits, the same one every time for the same seed.

    `temperature`: 0 chooses the likeliest token, the first of equals; more is more random. `top_p`:
    below 1, only the likeliest tokens that together reach this probability are drawn (nucleus
    sampling, Holtzman et al., 2019, arXiv 1904.09751). `top_k`: only this many of the likeliest are
    drawn; 0 draws from all. `min_p`: only tokens are drawn that have at least this part of the
    likeliest token's probability (Nguyen et al., 2024, arXiv 2407.01082). `repeat_penalty`: above
    1, makes the latest `REPEAT_WINDOW` tokens less likely to come again (see `penalised`).
    MareyError for values out of range.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    top_k: int = 0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    _rng: np.random.Generator = field(init=False, repr=False)

    def __post_init__(self):
        if not (self.temperature == 0 or COLDEST <= self.temperature < math.inf) or not 0 < self.top_p <= 1:
            raise MareyError(f"temperature must be 0, or {COLDEST:g} or more, and top-p above 0 up to 1, not "
                             f"{self.temperature} and {self.top_p}")
        if self.top_k < 0 or not 0 <= self.min_p <= 1:
            raise MareyError(f"top-k must be 0 or more, and min-p 0 to 1, not {self.top_k} and {self.min_p}")
        if not 1 <= self.repeat_penalty < math.inf:
            raise MareyError(f"a repeat penalty must be 1 or more, not {self.repeat_penalty}")
        if self.seed < 0:
            raise MareyError(f"a seed must be 0 or more, not {self.seed}")
        self._rng = np.random.default_rng(self.seed)

    @property
    def greedy(self) -> bool:
        """Whether it chooses the likeliest token, so that a tile can choose it and logits need not
        be read.
        """
        return self.temperature == 0 and self.repeat_penalty == 1

    def __call__(self, logits: np.ndarray, before: Sequence[int] = ()) -> np.ndarray:
        """Token ids [...] for logits [..., vocab], of texts that all have these tokens `before`."""
        logits = penalised(logits, before[-REPEAT_WINDOW:], self.repeat_penalty)
        if self.temperature == 0:
            return np.argmax(logits, axis=-1)
        scaled = np.asarray(logits, np.float64) / self.temperature
        probability = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
        probability /= probability.sum(axis=-1, keepdims=True)
        # To sort numbers takes a fraction of the time that it takes to sort their places, too.
        ordered = -np.sort(-probability, axis=-1)
        ranked = ordered.copy()
        if self.top_k:
            ranked[..., self.top_k:] = 0
            ranked /= ranked.sum(axis=-1, keepdims=True)
        total = np.cumsum(ranked, axis=-1)
        dropped = total - ranked >= self.top_p
        if self.min_p:
            dropped |= ranked < self.min_p * ranked[..., :1]
        if dropped.any():
            ranked[dropped] = 0
            total = np.cumsum(ranked, axis=-1)
        draw = self._rng.random((*total.shape[:-1], 1)) * total[..., -1:]
        chosen = np.minimum((total <= draw).sum(axis=-1, keepdims=True), total.shape[-1] - 1)
        # The token of this rank is one of those with this probability, which keep their order.
        value = np.take_along_axis(ordered, chosen, axis=-1)
        earlier_equals = chosen - (ordered > value).sum(axis=-1, keepdims=True)
        return np.argmax(np.cumsum(probability == value, axis=-1) > earlier_equals, axis=-1)


def penalised(logits: np.ndarray, tokens: Sequence[int], penalty: float) -> np.ndarray:
    """Logits [..., vocab] of which those of the tokens are divided by the penalty if they are
    positive, and multiplied by it if they are negative; the same array if nothing changes.

    Keskar et al., 2019, arXiv 1909.05858.
    """
    if penalty == 1 or not len(tokens):
        return logits
    logits, seen = np.array(logits, np.float64), np.unique(tokens)
    chosen = logits[..., seen]
    logits[..., seen] = np.where(chosen > 0, chosen / penalty, chosen * penalty)
    return logits


def sample_text(model, steps: int, sampler: Sampler, batch: int = 8) -> np.ndarray:
    """Texts that a model writes, as token ids [batch, steps + 1]; each row begins with the token
    that begins a text.

    `model`: a `Reference` or a `Golden`. A row goes on after an end token, with a new text.
    """
    tokens = np.full((batch, steps + 1), model.model.config.bos)
    for position in range(steps):
        tokens[:, position + 1] = sampler(model.step(tokens[:, position], position))
    return tokens
