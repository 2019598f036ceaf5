"""Calibration: how large the float model's intermediate values get, on text that it writes itself."""

from collections import defaultdict

import numpy as np

from .model import Llama
from .reference import Reference
from .sampling import Sampler, sample_text


def calibrate(model: Llama, seed: int, batch: int = 32, steps: int = 256) -> dict[str, np.ndarray]:
    """Largest magnitudes of the reference's intermediate values, by name; for q, k, v and o by head and channel.

    `.y` entries are the largest results of a product in units of its int8 input (the input's scalar is 1).
    """
    largest: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(()))
    unit = {}

    def observe(name, value):
        if name.endswith(".gained"):
            unit["peak"] = np.abs(value).max(axis=-1, keepdims=True)
        elif name.endswith(".rms"):
            unit["scalar"] = unit["peak"] / 127 / value
        flat = np.abs(value)
        head = name.rpartition(".")[2]
        now = flat.max(axis=0) if head in "qkvo" else flat.max()
        largest[name] = np.maximum(largest[name], now)
        if head == "k":
            for side, sign in (("high", 1), ("low", -1)):
                extreme = (sign * value).max(axis=0)
                largest[f"{name}.{side}"] = np.maximum(largest.get(f"{name}.{side}", extreme), extreme)
        if head in ("q", "k", "v", "a", "b", "logits"):
            bare = flat / unit["scalar"].reshape(-1, *[1] * (value.ndim - 1))
            largest[f"{name}.y"] = np.maximum(largest[f"{name}.y"], bare.max(axis=0) if head in "qkv" else bare.max())
        if head == "h":
            unit["hidden"] = np.abs(value).max(axis=-1, keepdims=True) / 127
            bare = value / unit["scalar"]
            largest[f"{name}.bare"] = np.maximum(largest[f"{name}.bare"], np.abs(bare).max())
        if head == "out":
            largest[f"{name}.y"] = np.maximum(largest[f"{name}.y"], (flat / unit["hidden"]).max())

    steps = min(steps, model.config.seq_len)
    sample_text(Reference(model, batch, observe), steps, Sampler(1.0, 1.0, seed), batch)
    return dict(largest)
