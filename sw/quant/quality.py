"""The quality of a model in integers: what its perplexity is, divided by the float model's.

The text is one that the float model writes itself, another than the one of calibration: it needs no
file, and suits a model of any language. On such text the logarithm of the ratio is the relative
entropy (Kullback-Leibler divergence) of the two models' predictions, which is 0 if they are equal,
and never smaller. It is summed over all tokens that could follow, not only over those that the text
has, so few positions suffice.
"""

import numpy as np
from threadpoolctl import threadpool_limits

from ..model.model import Model
from ..model.reference import Reference
from ..text.sampling import Sampler, sample_text
from .calibrate import MANY_MACS
from .golden import TOGETHER, Golden
from .model import QuantisedModel

SEED = 1
"""Seed of the text. The quantiser calibrates on text of seed 0."""
TEXTS, STEPS = 8, 64
FEWER_TEXTS, FEWER_STEPS = 4, 48
"""Texts, and tokens of each; and those of a model that takes more than MANY_MACS multiply-accumulates
a token."""


class _Recorded:
    """A float model that keeps the logits that it makes, [texts, vocab] at each position."""

    def __init__(self, reference: Reference):
        self.model, self._reference, self.logits = reference.model, reference, []

    def step(self, tokens, position):
        self.logits.append(self._reference.step(tokens, position))
        return self.logits[-1]


def quality(model: Model, integers: QuantisedModel, seed: int = SEED) -> float:
    """The ratio of the perplexity of `integers` to that of the float model that they were made from:
    1 is as good, 1.05 a loss that can be noticed. See this file's head for the text."""
    small = model.graph.macs(0) <= MANY_MACS
    texts, steps = (TEXTS, STEPS) if small else (FEWER_TEXTS, FEWER_STEPS)
    steps = min(steps, model.config.seq_len)
    with threadpool_limits(1, "blas"):
        reference = _Recorded(Reference(model, texts))
        tokens = sample_text(reference, steps, Sampler(1.0, 1.0, seed), texts)
        golden, together, total = Golden(integers, texts), max(1, TOGETHER // texts), 0.0
        for start in range(0, steps, together):
            end = min(start + together, steps)
            found = log_probabilities(golden.texts(tokens[:, start:end], start))
            wanted = log_probabilities(np.stack(reference.logits[start:end], axis=1))
            total += float((np.exp(wanted) * (wanted - found)).sum())
    return float(np.exp(total / (texts * steps)))


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """Natural logarithms of the softmax of logits [..., vocab], float64."""
    logits = logits - logits.max(axis=-1, keepdims=True).astype(np.float64)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
