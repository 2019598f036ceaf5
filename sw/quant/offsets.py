"""The matrices of a balanced model's layers where weights have 4 bits: each has offsets, see `affine.py`.

The inputs of such a matrix have sums of their groups behind them (`Kind.JOIN`). Its results have units of their own, also
where they are added to the residual: they are sums of many groups, each of which is rounded, and parts of a sum may be
larger than the whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...hdl.spec.integer import MANTISSA_BITS, SUMMAND_SHIFT
from ..model.graph import Graph, Operation
from ..model.integer_graph import SUMS, WEIGHT_GROUP, bare
from ..model.model import Model, full_name
from .affine import affine_gptq, on_affine_grid, with_offsets
from .calibrate import tokens_of
from .fixed_point import linears, with_common_shift
from .gptq import Integers, moment_of
from .model import Linear

SUMS_HEADROOM, LEAST_SUMS = 12, 64
"""The largest sum that 16 or 8 bits hold, over the root mean square of such sums in calibration; and the least root mean
square, in units of 16 bits. Between the two, layers have the same unit, so that their offsets have multipliers of a
similar size."""
SUMMAND_HEADROOM, LEAST_SUMMAND = 12, 32
"""The largest part of a sum that 16 bits hold, over the largest whole in calibration; and the least number that brings a
result to the residual's units."""


@dataclass
class Units:
    """The units of values: `steps[name][layer]` is the real value of an integer step, one number or
    [channels]."""

    steps: dict[str, list]

    def __getitem__(self, name: str) -> list:
        return self.steps[bare(name)]


def recorded_name(value: str, layer: int | None) -> str:
    """The name under which calibration has recorded a value."""
    return value if layer is None else f"{layer}.{value}"


@dataclass(frozen=True)
class Offsets:
    """Makes the matrices of a model's layers. `graph`: the integer graph. `ranges`: the result of `calibrate`. `units`: of
    values; the units of sums and of what is added to the residual are added to them."""

    model: Model
    graph: Graph
    ranges: Mapping[str, np.ndarray]
    units: Units

    def on_grid(self, readers: Sequence[Operation], region: tuple[Operation, ...]) -> bool:
        """Whether the weights of these LINEAR operations are those of a layer and lie on a grid in all layers."""
        layers = range(self.graph.config.n_layers) if region is self.graph.layer else []
        weights = (weight for layer in layers for reader in readers for weight in self.model.of(reader, layer))
        return bool(layers) and all(on_affine_grid(weight, WEIGHT_GROUP) is not None for weight in weights)

    def summand(self, operation: Operation, residual: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """The numbers that bring the second operand of an ADD to the units of the `residual`, [dim] for each layer; sets the
        units of that operand."""
        units = self.units.steps[operation.inputs[1]] = []
        vectors = {}
        for layer, unit in enumerate(residual):
            wanted = self.ranges[f"{layer}.{operation.inputs[1]}.channels"] * SUMMAND_HEADROOM / 32767 / unit
            factors = np.clip(np.ceil(wanted * 2.0**SUMMAND_SHIFT), LEAST_SUMMAND, 32767)
            vectors[full_name(operation.name, layer)] = factors.astype(np.int16)
            units.append(unit * factors * 2.0**-SUMMAND_SHIFT)
        return vectors

    def linears_of(self, operation: Operation) -> list[Linear]:
        """A LINEAR operation in every layer: one with weights, or one that makes the sums of an input's groups."""
        source = bare(operation.inputs[0])
        return self._with_offsets(operation, source) if operation.weights else self._sums(operation, source)

    def _sums(self, operation, source):
        """Sums of inputs with scalars have 16 bits, and are brought to 8 bits later; those of attention's output have 8."""
        value = self.graph.producer(operation.inputs[0], self.graph.layer).output
        weight = (np.arange(value.size) // WEIGHT_GROUP == np.arange(operation.output.size)[:, None]).astype(np.int8)
        sizes = []
        for layer, unit in enumerate(self.units[source]):
            moment = self._moment(source, layer, np.broadcast_to(unit, value.size))
            largest = np.einsum("gi,ij,gj->g", weight, moment, weight, optimize=True).max()
            sizes.append(max(float(np.sqrt(largest / tokens_of(self.model))), 1e-9))
        sizes = np.array(sizes)
        if operation.scaled:
            finest = sizes * SUMS_HEADROOM / 32767
            units = np.clip(finest.max(), finest, sizes / LEAST_SUMS)
            made = Integers(weight, np.ones((value.groups, len(weight))), value.size // value.groups)
        else:
            units = np.maximum(sizes * SUMS_HEADROOM / 127, 1)
            made = Integers(weight, np.ones((1, 1)), value.size)
        self.units.steps[source + SUMS] = list(units)
        return linears([made] * len(units), list(1 / units), [None] * len(units), operation.scaled, True)

    def _with_offsets(self, operation, source):
        found, biases, outputs = [], [], self.units[operation.output.name]
        for layer, (unit, output, sums) in enumerate(zip(
                self.units[source], outputs, self.units.steps[source + SUMS], strict=True)):
            weight = np.concatenate(self.model.of(operation, layer)) * unit
            grid = on_affine_grid(weight, WEIGHT_GROUP)
            if grid is None:
                moment = self._moment(source, layer, np.broadcast_to(unit, weight.shape[1]))
                grid = affine_gptq(weight, moment, WEIGHT_GROUP)
            found.append(with_offsets(grid, sums, 1 / output))
            bias = self.model.bias(operation, layer)
            biases.append(None if bias is None else np.clip(np.rint(bias / output), -32768, 32767).astype(np.int16))
        steps, shift = with_common_shift([each for _, each, _ in found])
        offsets, offset_shift = with_common_shift([each for _, _, each in found])
        less = MANTISSA_BITS * operation.scaled
        return [Linear(weight, np.concatenate([step, offset]), shift - less, WEIGHT_GROUP, bias=bias,
                       offset_groups=len(offset), offset_shift=offset_shift - less)
                for (weight, _, _), step, offset, bias in zip(found, steps, offsets, biases, strict=True)]

    def _moment(self, source, layer, unit):
        return moment_of(self.ranges, recorded_name(source, layer), unit)
