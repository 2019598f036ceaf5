"""Calibration: how large the float model's intermediate values get, on text that it writes itself."""

from collections import defaultdict

import numpy as np

from ...hdl.spec.errors import MareyError
from ..model.model import Llama
from ..model.reference import Reference
from ..text.sampling import Sampler, sample_text


def calibrate(model: Llama, seed: int, *, moments: bool = False, batch: int = 32, steps: int = 256) -> dict[str, np.ndarray]:
    """Largest magnitudes of the reference's intermediate values, by name; for q, k, v and o by head and channel.

    `logits.y` is the largest logit in units of the last norm's int8 result; `final.scalar` the largest of those units.
    With `moments` also, as NAME.moment, the sums of products [K, K] of the inputs of matrices: norms' y, o and h.
    MareyError for weights of which nothing sensible comes.
    """
    largest: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(()))
    unit = {}

    def observe(name, value):
        flat = np.abs(value)
        if name == "final.gained":
            unit["peak"] = flat.max(axis=-1, keepdims=True)
        elif name == "final.rms":
            unit["scalar"] = unit["peak"] / 127 / value
            largest["final.scalar"] = np.maximum(largest["final.scalar"], unit["scalar"].max())
        head = name.rpartition(".")[2]
        largest[name] = np.maximum(largest[name], flat.max(axis=0) if head in "qkvo" else flat.max())
        if moments and head in "yoh":
            inputs = value.reshape(len(value), -1).astype(np.float64)
            largest[f"{name}.moment"] = largest[f"{name}.moment"] + inputs.T @ inputs
        if head == "k":
            for side, sign in (("high", 1), ("low", -1)):
                extreme = (sign * value).max(axis=0)
                largest[f"{name}.{side}"] = np.maximum(largest.get(f"{name}.{side}", extreme), extreme)
        if head == "logits":
            largest["logits.y"] = np.maximum(largest["logits.y"], (flat / unit["scalar"]).max())

    steps = min(steps, model.config.seq_len)
    sample_text(Reference(model, batch, observe), steps, Sampler(1.0, 1.0, seed), batch)
    if not all(np.isfinite(value).all() for value in largest.values()):
        raise MareyError("this model's values overflow or vanish on text that it writes itself: its weights are damaged, or "
                         "not those of a trained model")
    return dict(largest)
