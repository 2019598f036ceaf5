"""The quantiser: a pass over a model's graph that gives each value a unit and each matrix integers.

Weights are int8 with a scale per output channel, or int4 with one per output channel and group of input channels. Every
constant factor on the way (norms, head scales, 1/sqrt(head_dim), log2(e)) goes into these 16-bit factors, so that what is
left at run time are the scalars of vectors. Static ranges, and what GPTQ needs to know of the inputs, come from a
calibration: the float reference, run on text sampled from the model.
"""

from dataclasses import dataclass

import numpy as np

from ...hdl.spec.integer import GATE_UNIT, MANTISSA_BITS, SQUARE_SHIFT
from ..model.graph import Kind
from ..model.integer_graph import INTEGER, integer_graph
from ..model.model import Model, full_name
from .calibrate import RESIDUAL, calibrate
from .fold import fold_layer_norms
from .gptq import Integers, gptq, nearest, on_grid
from .model import FRACTION, Linear, QuantisedModel

HEADROOM = 2.0
"""Static int16 ranges are this much wider than the largest value that calibration saw; int8 ranges are not, since
clipping a rare value costs less there than a coarser step for all."""
BALANCE = 0.5
"""Exponent of key range / query range in the steps of keys: SmoothQuant's alpha (Xiao et al., 2023)."""
GROUP = 16
"""Inputs that share a scale where weights have 4 bits and lie on no grid of their own."""
FULL_SCALE = 16384
"""The largest logit that calibration saw, in int16 units, where logits have the scale of their input."""


def quantise(model: Model, bits: int = 8, seed: int = 0, group: int = GROUP) -> QuantisedModel:
    """The integer model of a float model, calibrated on text that the float model writes with `seed`.

    Weights of 4 `bits` that lie on a grid (of a whole row, or of groups) stay as they are; others are rounded by GPTQ in
    groups of `group` inputs, a power of two, which the tile's rows have to divide.
    """
    model = fold_layer_norms(model)
    return _Quantiser(model, bits, group, calibrate(model, seed, moments=bits == 4)).run()


@dataclass
class _Units:
    """The units of values: `steps[name]` has, for each layer, what an integer is worth: one number, or one a channel."""

    steps: dict[str, list]

    def __getitem__(self, name):
        return self.steps[name.removesuffix(INTEGER)]


class _Quantiser:
    """One pass over the model; `ranges` are calibrate's."""

    def __init__(self, model: Model, bits: int, group: int, ranges: dict[str, np.ndarray]):
        self.model, self.bits, self.group, self.ranges = model, bits, group, ranges
        self.config, self.graph = model.config, integer_graph(model.graph)
        self.layers = range(model.config.n_layers)
        self.residual_unit = _unit(ranges[RESIDUAL])
        # A norm divides by the root of the mean square, and the sum of squares lacks SQUARE_SHIFT bits.
        self.root = np.sqrt(model.config.dim / 2.0**SQUARE_SHIFT)
        self.linears: dict[str, Linear] = {}
        self.vectors: dict[str, np.ndarray] = {}
        self.shifts: dict[str, int] = {}
        self.units = _Units({})

    def run(self) -> QuantisedModel:
        """The integer model: units first, in the order of the token, then matrices."""
        graph, config = self.graph, self.config
        for region in (graph.begin, graph.layer, graph.end):
            for operation in region:
                self._give_units(operation, region)
        for region in (graph.layer, graph.end):
            for operation in region:
                if operation.kind is Kind.LINEAR:
                    self._linear(operation, region)
        classifier, bare = self.linears["classifier"], self.units["logits"][0]
        if config.tied:
            embedding = Integers(classifier.weight, classifier.multiplier * 2.0**-classifier.shift * bare, classifier.group)
        else:
            (embedding,) = self._integers([self.model["embedding"]], [np.eye(config.dim)], [2 * self.group, self.group])
        (factor,), self.shifts["embedding"] = _common([embedding.scale * 2.0**self.residual_unit])
        epsilon = config.norm_eps * config.dim * 4.0**self.residual_unit / 2.0**SQUARE_SHIFT
        return QuantisedModel(
            config=config, graph=graph, bits=self.bits, embedding=embedding.values, embedding_factor=factor,
            embedding_group=embedding.group, residual_unit=self.residual_unit, epsilon=int(np.clip(round(epsilon), 1, 65535)),
            shifts=self.shifts, vectors=self.vectors, logit_unit=self._logit_scale(bare), linears=self.linears)

    def _logit_scale(self, bare):
        """What a logit of 1 with a scale of 1 is worth; leaves the shift that makes the last scalar an int16 scale."""
        if self.graph.find("classifier").scaled:
            # Logits are in their own unit, and their scale is 1, as an int16 of 14 bits.
            self.shifts["choice"] = 0
            return float(bare * 2.0**-14)
        constant = self.units[self.graph.find("classifier").inputs[0]][0]
        self.shifts["choice"] = int(np.ceil(np.log2(float(self.ranges["final.scalar"]) / constant))) + 1
        return float(constant * bare * 2.0 ** (self.shifts["choice"] - 14))

    # Units of values

    def _give_units(self, operation, region):
        """The unit of what an operation makes, where no reader has asked for one, and its vectors and shifts."""
        layers = self.layers if region is self.graph.layer else [None]
        name = operation.output.name.removesuffix(INTEGER)
        match operation.kind:
            case Kind.EMBED | Kind.ADD:
                unit = [2.0**-self.residual_unit] * len(layers)
            case Kind.POSITION:
                unit = [2.0**-self.residual_unit]
                table = np.rint(self.model.of(operation)[0] * 2.0**self.residual_unit)
                self.vectors[operation.name] = np.clip(table, -32768, 32767).astype(np.int16)
            case Kind.NORM:
                unit = [self._norm(operation, region)] * len(layers)
            case Kind.SCORES:
                unit = self._attention(operation, region)
            case Kind.VALUES:
                unit = self._averages(operation, region)
            case Kind.ACTIVATE:
                self.units.steps[operation.inputs[0]] = unit = [2.0**-GATE_UNIT] * len(layers)
            case Kind.MULTIPLY:
                unit = [self._product(operation)] * len(layers)
            case Kind.LINEAR if region is self.graph.end:
                unit = [2.0**-_unit(self.ranges[name]) if operation.scaled else self._largest_logit()]
            case Kind.LINEAR if any(reader.kind is Kind.ADD for reader in self.graph.readers(name, region)):
                unit = [2.0**-self.residual_unit] * len(layers)
            case _:
                return
        self.units.steps[name] = unit

    def _largest_logit(self):
        """The unit of logits without their input's scalar, in units of the input's."""
        return float(self.ranges["logits.integers"]) / FULL_SCALE

    def _norm(self, operation, region):
        """Gains as int16 and their shift; returns what a vector's scalar of 1 is worth. Norms without gains take their
        vectors as they are."""
        layers = self.layers if region is self.graph.layer else [None]
        names = [full_name(operation.name, layer) for layer in layers]
        gains = [gain for layer in layers for gain in self.model.of(operation, layer)]
        if all((gain == 1).all() for gain in gains):
            self.vectors |= {name: np.ones(1, np.int16) for name in names}
            self.shifts[operation.name] = 0
            return self.root
        exponent = 14 - int(np.ceil(np.log2(max(np.abs(gain).max() for gain in gains))))
        seen = [_seen(operation.output.name, layer) for layer in layers]
        largest = max(float(self.ranges[f"{name}.gained"]) for name in seen) * 2.0 ** (self.residual_unit + exponent)
        self.shifts[operation.name] = shift = max(0, -_unit(largest))
        self.vectors |= {name: np.rint(gain * 2.0**exponent).astype(np.int16) for name, gain in zip(names, gains, strict=True)}
        return 2.0 ** (shift - exponent) * self.root

    def _product(self, operation):
        """The unit of a product, from its range; one operand of which is an activation."""
        for name in operation.inputs:
            if name not in self.units.steps:
                self.units.steps[name] = [2.0**-_unit(self._range(name))] * len(self.layers)
        bits = [-int(np.log2(self.units[name][0])) for name in operation.inputs]
        unit = _unit(self._range(operation.output.name))
        self.shifts[operation.name] = sum(bits) - unit
        return 2.0**-unit

    def _range(self, name):
        """The largest magnitude of a value in any layer."""
        return max(float(self.ranges[f"{layer}.{name}"]) for layer in self.layers)

    def _attention(self, operation, region):
        """Steps of queries and keys by head and channel; offsets of keys, and the factors of scores."""
        config, source = self.config, operation.inputs[0].removesuffix(INTEGER)
        group = config.n_heads // config.n_kv_heads
        steps = [self._head_steps(f"{layer}.{source}") for layer in self.layers]
        unit = [np.concatenate([q.ravel(), k.ravel()]) / 2.0**FRACTION for q, k in steps]
        # Rotation keeps the units of its input.
        for name in (source, self.graph.producer(operation.inputs[0], region).inputs[0]):
            self.units.steps[name] = unit
        # A step of q times a step of k is the same for all channels of a head; scores count 2**-8 of an octave.
        worth = [(q * k.repeat(group, axis=0))[:, 0] / np.sqrt(config.head_dim) * np.log2(np.e) * 256 for q, k in steps]
        factors, self.shifts[operation.name] = _common(worth)
        for layer, (factor, (_, k)) in enumerate(zip(factors, steps, strict=True)):
            high, low = (self.ranges[f"{layer}.{source}.{side}"][config.n_heads:] for side in ("high", "low"))
            offset = np.clip(np.rint(-((high - low) / 2) / k), -32768, 32767).astype(np.int16)
            self.vectors |= {f"layers.{layer}.score": factor, f"layers.{layer}.key_offset": offset}
        return [2.0**-8] * len(self.layers)

    def _head_steps(self, name):
        """What a step of int8 is worth in queries and keys: by head and channel, [heads, head_dim] each.

        Keys and queries turn in pairs, so a pair of channels has one step, and the product of a query's step and a key's is
        the same for all pairs of a head: what makes the keys of a pair finer makes its queries coarser. `BALANCE` says in
        which proportion.
        """
        config = self.config
        group = config.n_heads // config.n_kv_heads
        largest = np.maximum(self.ranges[name][:config.n_heads], 1e-9)
        high, low = (self.ranges[f"{name}.{side}"][config.n_heads:] for side in ("high", "low"))
        spread = np.maximum(high + low, 1e-9) / 2
        q, k = (x.reshape(len(x), -1, 2).max(axis=2) for x in (largest, spread))
        balance = (k / q.reshape(len(k), group, -1).max(axis=1)) ** BALANCE
        k = (k / balance).max(axis=1, keepdims=True) * balance
        balance = balance.repeat(group, axis=0)
        q = (q * balance).max(axis=1, keepdims=True) / balance
        return [step / 127 for step in (q.repeat(2, axis=1), k.repeat(2, axis=1))]

    def _averages(self, operation, region):
        """Steps of values, one a channel where weights have 8 bits, and those of attention's output, some bits finer."""
        config, source = self.config, operation.inputs[1]
        group = config.n_heads // config.n_kv_heads
        largest = [np.maximum(self.ranges[f"{layer}.{source}"], 1e-9) for layer in self.layers]
        if self.bits == 4:
            # One step for all values of a layer: what stands on a grid in the matrix behind attention stays there.
            largest = [np.full_like(each, each.max()) for each in largest]
        steps = [each / 127 for each in largest]
        self.units.steps[source] = [_shortest(step.ravel()) for step in steps]
        # As many bits as leave room for the largest output in every layer, up to 4.
        room = min(np.min(127 * step.repeat(group, axis=0) / np.maximum(
            self.ranges[f"{layer}.{operation.output.name}"], 1e-9)) for layer, step in enumerate(steps))
        self.shifts[operation.name] = gain = max(0, min(int(np.floor(np.log2(room))), 4))
        return [(step.repeat(group, axis=0) / 2.0**gain).ravel() for step in steps]

    # Matrices

    def _linear(self, operation, region):
        """The integers of a LINEAR in every layer, whose results have the unit of its output."""
        layers = self.layers if region is self.graph.layer else [None]
        names = [full_name(operation.name, layer) for layer in layers]
        source = operation.inputs[0].removesuffix(INTEGER)
        inputs, outputs = self.units[source], self.units[operation.output.name]
        weights = [np.concatenate(self.model.of(operation, layer)) if len(operation.weights) > 1 else
                   self.model.of(operation, layer)[0] for layer in layers]
        # What an integer input is worth goes into the factors if it is one number, else into the columns.
        columns = [np.ndim(unit) > 0 for unit in inputs]
        weights = [weight * unit if by_column else weight
                   for weight, unit, by_column in zip(weights, inputs, columns, strict=True)]
        moments = [self._moment(_seen(source, layer), unit if by_column else 1)
                   for layer, unit, by_column in zip(layers, inputs, columns, strict=True)]
        bare = operation.name == "classifier" and not operation.scaled
        factors = [(1 if by_column or bare else unit) / output
                   for unit, by_column, output in zip(inputs, columns, outputs, strict=True)]
        # A group of what follows attention is a head, wherever the tile has it.
        from_heads = self.graph.producer(source, region).kind is Kind.VALUES
        made = self._integers(weights, moments, [self.config.head_dim] if from_heads else [2 * self.group, self.group])
        biases = [self.model.bias(operation, layer) for layer in layers]
        biases = [None if bias is None else np.clip(np.rint(bias / output), -32768, 32767).astype(np.int16)
                  for bias, output in zip(biases, outputs, strict=True)]
        self.linears |= dict(zip(names, _linears(made, factors, biases, operation.scaled), strict=True))

    def _moment(self, name, unit):
        """Sums of products of a matrix's integer inputs, or None where rounding does not look at them."""
        return self.ranges[f"{name}.moment"] / np.outer(unit, unit) if self.bits == 4 else None

    def _integers(self, weights, moments, groups):
        """Matrices, one a layer, as integers, with the same groups in all layers: the first that keep the weights as they are,
        or else the last."""
        if self.bits == 8:
            return [nearest(weight, self.bits) for weight in weights]
        for group in (weights[0].shape[1], *groups):
            found = [on_grid(weight, self.bits, group) for weight in weights]
            if None not in found:
                return found
        return [gptq(weight, moment, self.bits, group) for weight, moment in zip(weights, moments, strict=True)]


def _seen(value, layer):
    """What calibration calls a value."""
    return value if layer is None else f"{layer}.{value}"


def _linears(made, factors, biases, scaled):
    """LINEAR operations, one a layer, whose results are `factors` times the product with integer inputs: one, or one an
    output. Those that are `scaled` are multiplied by their input's scalar besides."""
    factors = [integers.scale * factor for integers, factor in zip(made, factors, strict=True)]
    rescale = 0
    if scaled and len(made[0].scale) > 1:
        # No sum of parts saturates, whatever the inputs.
        rescale = min(_most(integers, factor) for integers, factor in zip(made, factors, strict=True))
        factors, scaled = [factor * 2.0**rescale for factor in factors], False
    multipliers, shift = _common(factors)
    if not all(multiplier.size == 1 for multiplier in multipliers):
        multipliers = [np.broadcast_to(multiplier, (len(multiplier), len(integers.values)))
                       for integers, multiplier in zip(made, multipliers, strict=True)]
    return [Linear(integers.values, multiplier, shift - MANTISSA_BITS * scaled, integers.group, rescale, bias)
            for integers, multiplier, bias in zip(made, multipliers, biases, strict=True)]


def _most(integers, factor):
    """The finest binary unit 2**-n in which no sum of parts of int8 inputs leaves 16 bits: n."""
    sums = np.add.reduceat(np.abs(integers.values.astype(np.int64)), range(0, integers.values.shape[1], integers.group), axis=1)
    return int(np.floor(np.log2(32767 / (128 * (sums.T * factor).sum(axis=0).max()))))


def _shortest(factors):
    """Factors of outputs, or the first, if all are the same."""
    return factors[:1] if np.ptp(factors) == 0 else factors


def _unit(largest):
    """The finest binary unit 2**-n in which `largest`, with headroom, fits 16 bits: n."""
    return int(np.floor(np.log2(32767 / (HEADROOM * max(float(largest), 1e-9)))))


def _common(factors):
    """int16 multipliers and the one shift that makes them factors (float arrays): the largest uses all 15 bits."""
    shift = int(np.clip(14 - np.ceil(np.log2(max(np.max(factor) for factor in factors))), 0, 47))
    return [np.minimum(np.rint(factor * 2.0**shift), 32767).astype(np.int16) for factor in factors], shift
