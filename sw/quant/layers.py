"""Where a model's integers lose precision: what saturates, and the error against float, layer by layer."""

from collections import Counter

import numpy as np

from ..model.graph import Graph
from ..model.model import Model
from ..model.reference import Reference
from .fold import fold_layer_norms
from .golden import TOGETHER, Golden
from .model import QuantisedModel

MOST_TOKENS = 1024
"""Tokens of a text that are looked at, at most, since the residual of all of them is kept."""


class _Record:
    """What a golden model tells, by place: the residual behind it, and counts of what saturates there."""

    def __init__(self, graph: Graph):
        self._begin = {operation.name for operation in graph.begin} | {operation.output.name for operation in graph.begin}
        self.residual: dict[str | int, list[np.ndarray]] = {}
        self.saturated, self.of = Counter(), Counter()

    def _place(self, layer, name):
        return ("begin" if name in self._begin else "end") if layer is None else layer

    def made(self, layer, name, value):
        if name == "x":
            self.residual.setdefault(self._place(layer, name), []).append(value)

    def limited(self, layer, name, count, of):
        self.saturated[self._place(layer, name), name] += count
        self.of[self._place(layer, name), name] += of


def layers(model: Model, integers: QuantisedModel, tokens: np.ndarray) -> list[dict]:
    """For each place, "begin", the layers from 0 on and "end": {"layer": the place, "error", "saturated"}.

    "error": that of the residual behind the place, by channel: the root mean square of the difference between integers and
    float, divided by that of float; of these the median. None at the end, which makes no residual. "saturated":
    {operation: {"count", "of"}} for operations of whose `of` values some saturated; beside the graph's operations "keys"
    and "cached values". `tokens`: rows of them, [batch, n].
    """
    batch = len(tokens)
    tokens = tokens[:, :max(1, MOST_TOKENS // batch)]
    record, exact = _Record(integers.graph), {}

    def observe(name, value):
        layer, _, local = name.rpartition(".")
        if local == "x":
            exact.setdefault(int(layer) if layer else "begin", []).append(value)

    # In integers, layer norms are folded away, and the residual has no mean.
    reference, golden = Reference(fold_layer_norms(model), batch, observe), Golden(integers, batch, record)
    for position in range(tokens.shape[1]):
        reference.step(tokens[:, position], position)
    together = max(1, TOGETHER // batch)
    for start in range(0, tokens.shape[1], together):
        golden.texts(tokens[:, start:start + together], start)
    errors = _errors(integers, exact, record.residual, batch)
    return [{"layer": place, "error": errors.get(place), "saturated": _saturated(record, place)} for place in [*exact, "end"]]


def _errors(integers, exact, found, batch):
    """{place: error of the residual behind it}; see `layers`."""
    wanted = np.array([np.stack(values, axis=1) for values in exact.values()], np.float64)
    made = np.array([np.concatenate([part.reshape(batch, -1, part.shape[-1]) for part in parts], axis=1)
                     for parts in found.values()]) * integers.residual_units[:, None, None]
    size = np.sqrt((wanted**2).mean(axis=(1, 2), keepdims=True)) + 1e-30  # [places, 1, 1, dim]
    errors = np.sqrt(((wanted - made) ** 2).mean(axis=(1, 2))) / size[:, 0, 0]
    return dict(zip(exact, np.median(errors, axis=1).tolist(), strict=True))


def _saturated(record, place):
    return {name: {"count": count, "of": record.of[place, name]}
            for (at, name), count in record.saturated.items() if at == place and count}
