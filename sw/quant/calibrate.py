"""Calibration: measures how large the float model's values become on text that it writes itself."""

import numpy as np
from threadpoolctl import threadpool_limits

from ...hdl.spec.errors import MareyError
from ..model.graph import Graph, Kind
from ..model.model import Model
from ..model.reference import Reference
from ..text.sampling import Sampler, sample_text
from .fold import fold_layer_norms

RANGE_BITS = 12
"""Significant bits of a range."""
STEPS, FEWER_STEPS, MANY_MACS = 256, 48, 20_000_000
"""Tokens of a text that a model writes for its calibration; and those that a model writes which takes
more than MANY_MACS multiply-accumulates a token, so that calibration ends within two minutes."""
TOKENS, FEWER_TOKENS = 4096, 1536
"""Tokens of all texts together, at most, of a model and of one that takes more than MANY_MACS."""
LEAST_S, MACS_PER_S = 10, 10e9
"""For an estimate of calibration's time: seconds that even a small model takes, and multiply-accumulates a second of a
large one, both on two cores."""
RESIDUAL = "residual"
"""Name of the record that all residual values of a token share: embedded rows and sums."""


def calibrate(model: Model, seed: int, *, moments: bool = False, batch: int | None = None) -> dict[str, np.ndarray]:
    """The largest magnitude of each value of the float reference, by name; in layer 3, "3.gate".

    Records, float64:

    - The values that attention reads and makes (queries with keys, also before their norm, values,
      outputs): [heads, head_dim].
    - All other values: one number each. All residual values share the record `RESIDUAL`. Scores, whose units follow
      from those of queries and keys, and the weights of a softmax, which are 1 at most, have no record.
    - Queries with keys, also NAME.high and NAME.low: the maximum of each channel, and the maximum
      of its negative, [heads, head_dim].
    - Residual values, results of norms, and values that a MULTIPLY or an ADD reads or makes, also
      NAME.channels: the largest magnitude of each channel.
    - Each norm, also NAME.gained: the largest magnitude of its input times the gains; and NAME.inverse_rms: the
      largest 1 / root mean square of an input.
    - "final.scalar": the largest unit of the final norm's 8-bit result. "logits.integers": the
      largest logit divided by that unit.
    - With `moments`, NAME.moment: the sum X.T @ X over all inputs of a matrix, [K, K].

    `seed`: of the sampled text. `batch`: number of texts, that of `texts_of` if None. MareyError if a value is not finite.

    A pair of channels of a query or a key is turned by an angle that grows with the position, so how large a channel
    becomes depends on the position, even if the text is the same. Texts are shorter than many contexts, so they begin at
    positions that are spread over the context (`_starts`), which changes nothing else.

    The same model has the same ranges on every machine: the reference computes in float64, whose
    last bits differ between processors and libraries, and ranges are rounded up to `RANGE_BITS`
    bits, which hides such differences.
    """
    records, batch = _Records(model.graph, moments), batch or texts_of(model)
    steps = steps_of(model)
    reference = Reference(model, batch, records.observe, np.float64, _starts(model, steps, batch))
    # A BLAS's threads wait for each other in a loop; where other programs run, that takes many times as long as the work.
    with threadpool_limits(1, "blas"):
        sample_text(reference, steps, Sampler(1.0, 1.0, seed), batch)
    return _checked(records.largest())


def ranges_of(model: Model, *, moments: bool) -> dict[str, np.ndarray]:
    """The records of `calibrate` for any model, as `quantise` takes them with the seed 0."""
    return calibrate(fold_layer_norms(model), 0, moments=moments)


def _checked(largest: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Ranges rounded up, and moments as they are. MareyError if a value is not finite, or no logit
    differs from 0."""
    # What float32 cannot hold, no unit of the integer model can.
    with np.errstate(over="ignore", under="ignore"):
        held = [value.astype(np.float32) for value in largest.values()]
    if not all(np.isfinite(value).all() for value in held) or np.float32(largest["logits"]) == 0:
        raise MareyError("this model's values overflow or vanish on text that it writes itself: its weights are damaged, or "
                         "not those of a trained model")
    return {name: value if name.endswith(".moment") else _rounded_up(value) for name, value in largest.items()}


def steps_of(model: Model) -> int:
    """Tokens of each text that a model writes for its calibration."""
    return min(FEWER_STEPS if _large(model) else STEPS, model.config.seq_len)


def texts_of(model: Model) -> int:
    """Texts that a model writes for its calibration."""
    return max(1, (FEWER_TOKENS if _large(model) else TOKENS) // steps_of(model))


def tokens_of(model: Model) -> int:
    """Tokens of a model's calibration."""
    return texts_of(model) * steps_of(model)


def expected_s(model: Model) -> float:
    """Seconds that a calibration takes, estimated."""
    return LEAST_S + tokens_of(model) * model.graph.macs(0) / MACS_PER_S


def _large(model):
    """Whether a model takes so many multiply-accumulates that it writes less text."""
    return model.graph.macs(0) > MANY_MACS


def _starts(model, steps, texts):
    """The position at which each text begins, int [texts]: from 0 to the last one that leaves room for it, evenly spread; 0 in
    a model whose positions are learned, and in one whose texts are so short that it is better so (docs/integers.md)."""
    spread = any(model.graph.of_kind(Kind.ROTATE)) and not _large(model)
    return np.arange(texts) * (model.config.seq_len - steps) * spread // max(1, texts - 1)


def _rounded_up(value: np.ndarray) -> np.ndarray:
    """Rounds values away from 0, to `RANGE_BITS` significant bits."""
    mantissa, exponent = np.frexp(value)
    scaled = mantissa * 2.0**RANGE_BITS
    return np.ldexp(np.copysign(np.ceil(np.abs(scaled)), scaled), exponent - RANGE_BITS)


class _Watched:
    """Names of the values of a graph that calibration records in a special way.

    `residual`: recorded together. `channels`: recorded by channel, too. `inputs`: inputs of matrices,
    for moments. `keys`: queries with keys. `by_channel`: recorded by head and channel. `final`: the
    result of the final norm. `scores`: results of products with keys, whose shape depends on the position;
    `weights`: what a softmax makes of them.
    """

    def __init__(self, graph: Graph):
        self.residual = {operation.output.name for operation in graph.of_kind(Kind.EMBED, Kind.POSITION, Kind.ADD)}
        self.channels = self.residual | {operation.output.name for operation in graph.of_kind(Kind.NORM, Kind.MULTIPLY)} | {
            name for operation in graph.of_kind(Kind.MULTIPLY, Kind.ADD) for name in operation.inputs}
        self.inputs = {operation.inputs[0] for operation in graph.of_kind(Kind.LINEAR)}
        self.keys = {operation.inputs[0] for operation in graph.of_kind(Kind.SCORES)}
        averaged, normed = list(graph.of_kind(Kind.VALUES)), {each.inputs[0] for each in graph.of_kind(Kind.HEAD_NORM)}
        self.by_channel = self.keys | normed | {operation.inputs[1] for operation in averaged} | {
            operation.output.name for operation in averaged}
        self.unrecorded = {operation.output.name for operation in graph.of_kind(Kind.SCORES, Kind.SOFTMAX)}
        self.final = next(operation.output.name for operation in graph.end if operation.kind is Kind.NORM)


class _Extremes:
    """The largest and the smallest values that an array has had, element by element.

    Two calls of numpy for each array suffice so; records reduce the results once, at the end.
    """

    def __init__(self, value: np.ndarray):
        self.high, self.low = value.copy(), value.copy()

    def add(self, value: np.ndarray) -> None:
        """Takes account of another array, of the same shape."""
        np.maximum(self.high, value, out=self.high)
        np.minimum(self.low, value, out=self.low)

    def magnitudes(self) -> np.ndarray:
        """The largest magnitude of each element."""
        return np.maximum(self.high, -self.low)


class _Records:
    """What `calibrate` measures on the values of a token's graph; see there for the names of the records.

    Parameters: `graph`; `moments`, whether sums of X.T @ X are recorded, too.
    """

    def __init__(self, graph: Graph, moments: bool):
        self._watched = _Watched(graph)
        self._moments_wanted = moments
        self._extremes: dict[str, _Extremes] = {}
        self._moments: dict[str, np.ndarray] = {}
        self._numbers: dict[str, np.ndarray] = {}
        self._gained, self._rms = f"{self._watched.final}.gained", f"{self._watched.final}.rms"
        self._of_units = self._gained, self._rms, "logits"
        self._peak = self._scalar = np.zeros(())

    def observe(self, name: str, value: np.ndarray) -> None:
        """Takes account of a value; see `Reference`."""
        local = name.rpartition(".")[2]
        if local in self._watched.unrecorded:
            return
        if extremes := self._extremes.get(name):
            extremes.add(value)
        else:
            self._extremes[name] = _Extremes(value)
        if name in self._of_units:
            self._add_units(name, value)
        if self._moments_wanted and local in self._watched.inputs:
            inputs = value.reshape(len(value), -1).astype(np.float64)
            self._moments[f"{name}.moment"] = self._moments.get(f"{name}.moment", 0) + inputs.T @ inputs

    def _add_units(self, name, value):
        """Takes account of the units of the final norm's result, and of logits in them."""
        if name == self._gained:
            self._peak = np.abs(value).max(axis=-1, keepdims=True)
        elif name == self._rms:
            self._scalar = self._peak / 127 / value
            self._number("final.scalar", self._scalar.max())
        else:
            self._number("logits.integers", (np.abs(value) / self._scalar).max())

    def _number(self, name, number):
        self._numbers[name] = np.maximum(self._numbers.get(name, 0.0), number)

    def largest(self) -> dict[str, np.ndarray]:
        """The records, by name."""
        watched, found = self._watched, self._numbers | self._moments
        for name, extremes in self._extremes.items():
            local, magnitudes = name.rpartition(".")[2], extremes.magnitudes()
            if local in watched.channels:
                found[f"{name}.channels"] = magnitudes.max(axis=0)
            if local == "rms":
                found[f"{name.removesuffix('.rms')}.inverse_rms"] = (1 / extremes.low).max()
            if local in watched.keys:
                found |= {f"{name}.high": extremes.high.max(axis=0), f"{name}.low": (-extremes.low).max(axis=0)}
            recorded = RESIDUAL if local in watched.residual else name
            largest = magnitudes.max(axis=0 if local in watched.by_channel else None)
            found[recorded] = np.maximum(found.get(recorded, 0.0), largest)
        return found
