"""The quantiser: a pass over a model's graph that gives each value a unit and each matrix integers.

Weights are int8 with a scale per output channel, or int4 with one per output channel and group of
input channels. Every constant factor (norms, head scales, 1/sqrt(head_dim), log2(e)) is multiplied
into these scales, which become 16-bit factors; only the scalars of vectors are computed at run
time. Static ranges, and the moments of the inputs that GPTQ needs, come from a calibration: the
float reference, run on text sampled from the model.
"""

from itertools import pairwise

import numpy as np

from ...hdl.spec.integer import GAIN_RANGE_SHIFT, GATE_UNIT, PRODUCT_RANGE_SHIFT
from ...sim.progress import progress
from ..model.graph import Kind
from ..model.integer_graph import WEIGHT_GROUP, bare, early, integer_graph, keys_at_once, matrices_reading, may_have_offsets
from ..model.model import Model, full_name
from .affine import MOST_OFFSET
from .calibrate import calibrate, expected_s
from .fixed_point import linears, snapped, unit_bits, with_common_shift
from .fold import fold_layer_norms, untied
from .gains import gains_in_matrices
from .gptq import Integers, moment_of, nearest_by_channel, rounded
from .heads import SHORT_HEADROOM, head_gains, head_units, score_integers, value_integers
from .logits import logit_scale, logit_unit
from .model import FRACTION, Linear, QuantisedModel
from .offsets import Offsets, Units, recorded_name
from .order import ordered
from .residual import Residual, by_block, filled_unit, gains_of, model_residuals, product_units, smoothing
from .static import gated_linears, int8_shift, may_be_gated, product_integers

GROUP = 16
"""Inputs that share a scale if weights have 4 bits and do not lie on a grid."""


def quantise(model: Model, bits: int = 8, seed: int = 0, group: int = GROUP, ranges: dict | None = None,
             pipelined: bool = False, apart: bool = True, cache_bits: int = 8, static: bool = False) -> QuantisedModel:
    """The integer model of a float model, calibrated on text that the float model writes with `seed`.

    `bits`: of a weight, 8 or 4. With 4, weights that already lie on a grid (one step for each row, or for each
    group) keep their values; others are rounded by GPTQ in groups of `group` inputs, which must be a power of two and
    a multiple of the tile's rows. If the residual is balanced, groups have `WEIGHT_GROUP` inputs and an offset
    (`affine.py`), and the tables of tokens have 8 bits. `pipelined`: see `integer_graph`; weights must have 8 bits.
    `apart`: a pipelined model's classifier is a matrix of its own, with halves, even if it is the embedding in `model`.
    `cache_bits`: of a cached key or value, 8 or 4. `static`: see `integer_graph`.
    `ranges`: those of `calibrate`. MareyError if it finds values that are not finite, GraphError if norms cannot be folded.
    """
    model = fold_layer_norms(model)
    with progress("calibrating the model", expected_s(model)):
        ranges = ranges or calibrate(model, seed, moments=bits == 4)
        residuals = model_residuals(model, ranges, bits == 8 or may_have_offsets(model.graph))
        if residuals[0].balanced:
            model, ranges = ordered(untied(model), ranges, WEIGHT_GROUP if bits == 4 else 1)
        elif pipelined and apart:
            model = untied(model)
        return _Quantiser(model, bits, group, ranges, residuals, pipelined, cache_bits, static).run()


class _Quantiser:
    """One pass over a model without layer norms; `ranges`: the result of `calibrate`."""

    def __init__(self, model: Model, bits: int, group: int, ranges: dict[str, np.ndarray], residuals: list[Residual],
                 pipelined: bool, cache_bits: int, static: bool):
        self.model, self.bits, self.group, self.ranges, self.residuals = model, bits, group, ranges, residuals
        self.balanced, self.cache_bits, self.config = residuals[0].balanced, cache_bits, model.config
        self.graph = integer_graph(model.graph, self.balanced, self.balanced and bits == 4, pipelined, static,
                                   static and may_be_gated(model, bits))
        self.layers = range(model.config.n_layers)
        self.linears: dict[str, Linear] = {}
        self.vectors: dict[str, np.ndarray] = {}
        self.shifts: dict[str, int] = {}
        self.units = Units({})
        self.offsets = Offsets(model, self.graph, ranges, self.units) if self.balanced and bits == 4 else None

    def run(self) -> QuantisedModel:
        """Makes the integer model: first the units of all values, in the order of the token, then
        the matrices."""
        graph, config = self.graph, self.config
        for region in (graph.begin, graph.layer, graph.end):
            for operation in region:
                self._set_units(operation, region)
        for operation in graph.of_kind(Kind.HEAD_NORM):
            gains, self.shifts[operation.name] = head_gains(self.model, operation, self.units[operation.output.name])
            self.vectors |= gains
        for region in (graph.layer, graph.end):
            for operation in region:
                if operation.kind is Kind.LINEAR and not operation.gated:
                    self._linear(operation, region)
        embedding = self._embedding()
        (factor,), self.shifts["embedding"] = with_common_shift([embedding.scale])
        whole_unit, self.shifts["choice"] = logit_scale(self.graph, self.ranges, self.units)
        return QuantisedModel(
            config=config, graph=graph, bits=self.bits, embedding=embedding.values, embedding_factor=factor,
            embedding_group=embedding.group, residual_units=np.array([residual.unit for residual in self.residuals]),
            epsilon=0 if self.balanced else self.residuals[0].epsilon,
            shifts=self.shifts, vectors=self.vectors, logit_unit=whole_unit,
            linears=self.linears, cache_bits=self.cache_bits)

    def _embedding(self):
        """The embedding as integers that count units of the residual; the classifier's, if the model
        is tied."""
        if self.config.tied:
            classifier, bare = self.linears["classifier"], self.units["logits"][0]
            scale = classifier.multiplier * 2.0**-classifier.shift * bare / self.residuals[0].unit
            return Integers(classifier.weight, scale, classifier.group)
        weight = self.model["embedding"] / self.residuals[0].unit
        if self.balanced:
            # A tile with weights of 4 bits holds a row in two parts of 4 bits.
            return nearest_by_channel(weight, MOST_OFFSET if self.bits == 4 else 127)
        (embedding,) = rounded([weight], [np.eye(self.config.dim)], self.bits, [2 * self.group, self.group])
        return embedding

    # Units of values

    def _set_units(self, operation, region):
        """Sets the unit of an operation's output, and the operation's vectors and shifts.

        Where a reader decides the unit, as SCORES for queries and keys, it is set with that reader.
        """
        layers = self.layers if region is self.graph.layer else [None]
        name = bare(operation.output.name)
        match operation.kind:
            case Kind.EMBED:
                unit = [self.residuals[0].unit]
            case Kind.POSITION:
                unit = [self.residuals[0].unit]
                table = np.rint(self.model.of(operation)[0] / self.residuals[0].unit)
                self.vectors[operation.name] = np.clip(table, -32768, 32767).astype(np.int16)
            case Kind.RESCALE:
                unit = self._layer_residual()
                self.vectors |= {full_name(operation.name, layer): residual.factors_from(before)
                                 for layer, (before, residual) in enumerate(pairwise(self.residuals))}
            case Kind.ADD:
                unit = self._layer_residual()
                if self.offsets:
                    self.vectors |= self.offsets.summand(operation, unit)
            case Kind.NORM if self.balanced:
                unit = self._balanced_norm(operation, region)
            case Kind.NORM:
                unit = self._norm(operation, region)
                if operation.output.static:
                    largest = [self.ranges[f"{recorded_name(name, layer)}.channels"] for layer in layers]
                    self.shifts[f"{operation.name} int8"] = shift = int8_shift(largest, unit)
                    unit = [each * 2.0**shift for each in unit]
            case Kind.HEAD_NORM:  # the unit of its result is set with SCORES
                name, unit = operation.inputs[0], [head_units(self.ranges, layer, operation) for layer in self.layers]
            case Kind.SCORES:
                unit = self._attention(operation, region)
            case Kind.VALUES:
                unit = self._averages(operation, region)
            case Kind.ACTIVATE:
                self.units.steps[operation.inputs[0]] = unit = [2.0**-GATE_UNIT] * len(layers)
            case Kind.MULTIPLY if self.balanced:
                unit = self._balanced_product(operation, region)
            case Kind.MULTIPLY if operation.output.static:
                unit = self._static_product(operation)
            case Kind.MULTIPLY:
                unit = [self._product(operation)] * len(layers)
            case Kind.LINEAR if operation.gated:
                unit = self._gated(operation)
            case Kind.LINEAR if region is self.graph.end:
                unit = [logit_unit(self.graph, self.ranges, self.units)]
            case Kind.LINEAR if any(reader.kind is Kind.ADD for reader in self.graph.readers(name, region)):
                if self.offsets:
                    return
                unit = self._layer_residual()
            case _:
                return
        self.units.steps[name] = unit

    def _layer_residual(self):
        """The units of the residual within each layer, when its first norm has read it."""
        return [residual.unit for residual in self.residuals[1:]]

    def _read_by(self, norm, region):
        """The residuals that a norm reads, in each layer: the first norm of a layer reads that of the layer before."""
        if region is self.graph.end:
            return self.residuals[-1:]
        return self.residuals[:-1] if norm.inputs[0] == "x" else self.residuals[1:]

    def _norm(self, operation, region):
        """Sets the int16 gains of a norm and their shift; returns the units of its output for a scalar of
        1, by layer.

        Where `gains_in_matrices` says so they go into the units, and so into the columns of the matrices that read
        the norm; the gains left are [1].
        """
        layers = self.layers if region is self.graph.layer else [None]
        names = [full_name(operation.name, layer) for layer in layers]
        gains, root = self._weights([operation], layers), self.residuals[0].root(self.config.dim)
        ones = all((gain == 1).all() for gain in gains)
        if not ones and not gains_in_matrices(self.graph, operation, self.bits, self.group, self.model):
            return [self._kept_gains(operation, layers, names, gains) * root] * len(layers)
        self.vectors |= {name: np.ones(1, np.int16) for name in names}
        self.shifts[operation.name] = 0
        return [root] * len(layers) if ones else [root * gain for gain in gains]

    def _kept_gains(self, operation, layers, names, gains):
        """Sets the int16 gains `names` of a norm and their shift; returns the unit of a step."""
        exponent = 14 - int(np.ceil(np.log2(max(np.abs(gain).max() for gain in gains))))
        recorded = [recorded_name(operation.output.name, layer) for layer in layers]
        largest = max(float(self.ranges[f"{name}.gained"]) for name in recorded)
        largest_integer = largest / self.residuals[0].unit[0] * 2.0**exponent
        self.shifts[operation.name] = shift = max(0, -unit_bits(largest_integer))
        self.vectors |= {name: np.rint(gain * 2.0**exponent).astype(np.int16)
                         for name, gain in zip(names, gains, strict=True)}
        return 2.0 ** (shift - exponent)

    def _balanced_norm(self, operation, region):
        """Like `_norm` for a balanced residual; returns the units of the output's channels, by
        layer."""
        layers = self.layers if region is self.graph.layer else [None]
        readers = matrices_reading(self.model.graph, operation.output.name)
        on_grid = bool(self.offsets) and self.offsets.on_grid(readers, region)
        gains, scaled, residuals = [], [], self._read_by(operation, region)
        for layer, residual in zip(layers, residuals, strict=True):
            ranges = self.ranges[f"{recorded_name(operation.output.name, layer)}.channels"]
            scale = np.ones(len(ranges)) if on_grid else smoothing(ranges, self._weights(readers, [layer]),
                                                                   of_layer=layer is not None)
            (gain,) = self.model.of(operation, layer) or [np.ones(self.config.dim)]
            gains.append(gain * residual.unit)
            scaled.append(gains[-1] / scale)
        roots = [residual.root(self.config.dim) for residual in residuals]
        integers = gains_of(scaled, roots)
        self.vectors["epsilon"] = np.array([residuals[0].epsilon], np.int16)
        for layer, residual, whole in zip(layers, residuals, integers, strict=True):
            self.vectors[full_name(operation.name, layer)] = whole
            self.vectors[full_name(f"{operation.name}_units", layer)] = residual.units
        units = [root * filled_unit(GAIN_RANGE_SHIFT) * gain / np.where(whole == 0, 1, whole)
                 for root, gain, whole in zip(roots, gains, integers, strict=True)]
        if on_grid:
            # One unit for all channels, that of the most precise gain, keeps the weights on their grid.
            units = [np.full_like(unit, unit[np.abs(whole).argmax()]) for unit, whole in zip(units, integers, strict=True)]
        return units

    def _weights(self, operations, layers):
        """The weights of some operations in some layers."""
        return [weight for layer in layers for operation in operations for weight in self.model.of(operation, layer)]

    def _product(self, operation):
        """The unit of a MULTIPLY's result; sets the operation's shift, and units of its inputs that
        have none yet."""
        for name in operation.inputs:
            if name not in self.units.steps:
                self.units.steps[name] = [2.0**-unit_bits(self._range(name))] * len(self.layers)
        bits = [-int(np.log2(self.units[name][0])) for name in operation.inputs]
        result_bits = unit_bits(self._range(operation.output.name))
        self.shifts[operation.name] = sum(bits) - result_bits
        return 2.0**-result_bits

    def _static_product(self, operation):
        """The units of an int8 MULTIPLY's result, by layer; sets the operation's shift, and the units of its second input."""
        known, other = operation.inputs
        largest, others = ([float(self.ranges[f"{layer}.{name}"]) for layer in self.layers]
                           for name in (operation.output.name, other))
        made, self.units.steps[other], self.shifts[operation.name] = product_integers(largest, others, self.units[known][0])
        return made

    def _gated(self, operation):
        """Adds a gated LINEAR to `linears`; returns the units of its results, by layer."""
        units = [one * other for one, other in zip(*(self.units[name] for name in operation.inputs), strict=True)]
        largest = [self.ranges[f"{layer}.{operation.output.name}"] for layer in self.layers]
        made, units = gated_linears(self._weights([operation], self.layers), self.bits, largest, units)
        self.linears |= {full_name(operation.name, layer): linear for layer, linear in enumerate(made)}
        return units

    def _balanced_product(self, operation, region):
        """The units of a MULTIPLY's result, by channel and layer, times its scalar; sets those of its input that has none yet.

        The units are multiplied into the weights before and behind.
        """
        made, (other,) = operation.output.name, [name for name in operation.inputs if name not in self.units.steps]
        (known,) = set(operation.inputs) - {other}
        readers = matrices_reading(self.model.graph, made)
        ranges, others = ([self.ranges[f"{layer}.{name}.channels"] for layer in self.layers] for name in (made, other))
        if self.offsets and self.offsets.on_grid(readers, region):  # channels of a group of weights have one unit
            scales, others = [np.ones(len(each)) for each in ranges], [by_block(each, WEIGHT_GROUP) for each in others]
        else:
            scales = [smoothing(largest, self._weights(readers, [layer])) for layer, largest in enumerate(ranges)]
        self.units.steps[other] = units = product_units(others, scales)
        unit = self.units[known][0] * filled_unit(PRODUCT_RANGE_SHIFT)
        return [each * unit for each in units]

    def _range(self, name):
        """The largest magnitude of a value over all layers."""
        return max(float(self.ranges[f"{layer}.{name}"]) for layer in self.layers)

    def _attention(self, operation, region):
        """Sets the units of queries and keys, the offsets of keys and the factors of scores; returns the unit of scores."""
        source = bare(operation.inputs[0])
        units, vectors, self.shifts[operation.name] = score_integers(
            self.config, self.ranges, source, self.cache_bits, SHORT_HEADROOM if self.balanced else 1.0,
            not keys_at_once(self.graph))
        # Rotation keeps the units of its input.
        for name in (source, self.graph.producer(operation.inputs[0], region).inputs[0]):
            self.units.steps[name] = units
        self.vectors |= vectors
        return [2.0**-8] * len(self.layers)

    def _averages(self, operation, region):
        """Sets the units of the cached values and the shift of VALUES; returns the units of
        attention's output."""
        source = operation.inputs[1]
        # With 4 bits one step for all values of a layer, so that a matrix behind attention that lies on a grid
        # still does.
        steps, units, self.shifts[operation.name] = value_integers(
            self.config, self.ranges, source, operation.output.name, self.bits == 4, self.cache_bits)
        # Values that are sums of several groups' products are rounded to 8 bits once, after the last.
        made = self.graph.producer(source, region).inputs[0]
        self.shifts["cached values"] = bits = FRACTION * (self.graph.producer(made, region).output.scalars > 1)
        self.units.steps[source] = [step * 2.0**-bits for step in steps]
        return units

    # Matrices

    def _linear(self, operation, region):
        """Adds a LINEAR, in every layer, to `linears`: its results are in the unit of its output."""
        layers = self.layers if region is self.graph.layer else [None]
        names = [full_name(operation.name, layer) for layer in layers]
        source = bare(operation.inputs[0])
        if self.offsets and region is self.graph.layer:
            self.linears |= dict(zip(names, self.offsets.linears_of(operation), strict=True))
            return
        inputs, outputs = self.units[source], self.units[operation.output.name]
        read = self.graph.producer(operation.inputs[0], region).output
        split = read.first or (read.size // read.groups if read.groups > 1 else 0)
        weights = [np.concatenate(self.model.of(operation, layer)) if len(operation.weights) > 1 else
                   self.model.of(operation, layer)[0] for layer in layers]
        # A unit of inputs is multiplied into the factors if it is one number, into the columns if it is a vector.
        columns = [np.ndim(unit) > 0 for unit in inputs]
        weights = [weight * unit if by_column else weight
                   for weight, unit, by_column in zip(weights, inputs, columns, strict=True)]
        bits = 8 if self.balanced else self.bits
        moments = [moment_of(self.ranges, recorded_name(source, layer), unit if by_column else 1) if bits == 4 else None
                   for layer, unit, by_column in zip(layers, inputs, columns, strict=True)]
        apart = operation.name == "classifier" and not operation.scaled
        factors = [(1 if by_column or apart else unit) / output
                   for unit, by_column, output in zip(inputs, columns, outputs, strict=True)]
        # The tile reorders and pads heads. So in the matrix behind attention a group is one head.
        from_heads = self.graph.producer(source, region).kind is Kind.VALUES
        sizes = [self.config.head_dim] if from_heads else [2 * self.group, self.group]
        made = rounded(weights, moments, bits, sizes, split)
        if self.balanced:
            made = snapped(made, weights, factors)
        biases = [self.model.bias(operation, layer) for layer in layers]
        biases = [None if bias is None else np.clip(np.rint(bias / output), -32768, 32767).astype(np.int16)
                  for bias, output in zip(biases, outputs, strict=True)]
        made = linears(made, factors, biases, operation.scaled, split > 0, early(self.graph, operation))
        self.linears |= dict(zip(names, made, strict=True))
