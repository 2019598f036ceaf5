"""Kernels of networks: functions from an operation to steps."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ...hdl.spec.command import SLICES
from ...hdl.spec.integer import HEAD_FILL_SHIFT, HEAD_ROOT_SHIFT, MANTISSA_BITS, UNIT_SQUARE_SHIFT
from ...hdl.spec.isa import Function, Instruction, Op, Reduce, Sfu, To, isa_of
from ...hdl.timing import mxm_interval
from ..model.graph import Kind, Operation
from ..quant.network import QuantisedNetwork
from .builder import ABSMAX
from .distances import stream_offset
from .network_attention import QUERIES, AttentionBuilder
from .network_layout import FACTORS, HIGH, LOW, NetworkLayout
from .registers import Registers
from .steps import Step, step

REDUCED = ABSMAX + 1
"""The scalar register of the reductions of a NORM."""
FUNCTIONS = {"silu": Function.SILU, "gelu": Function.GELU, "gelu_erf": Function.GELU}
"""Functions of the VXM, by the name of an ACTIVATE's function."""


@dataclass(frozen=True)
class NetworkBuilder:
    """What the kernels share: the network's integers, its layout, its address registers, and the
    operation whose kernel runs."""

    model: QuantisedNetwork
    layout: NetworkLayout
    registers: Registers
    operation: Operation = field(default=None)

    def op(self, op: Op, note: str = "", **operands) -> Instruction:
        """An instruction that belongs to the operation, if it is for a slice."""
        note = f"{self.operation.name}{note and ': '}{note}"
        made = isa_of(self.layout.config).make(op, note=note, **operands)
        return replace(made, operation=self.operation.name) if op in SLICES else made

    def vector_pass(self, note: str, value: str, **operands) -> Instruction:
        """A VXM that goes through a value, padding included; it writes to MEM unless told otherwise."""
        usual = {"engine": 1} if self.layout.config.engines > 1 else {}
        count = self.layout.granules_of(self.layout.network.values[value])
        return self.op(Op.VXM, note, **usual | {"x_step": 1, "inner": count, "to": To.MEM} | operands)

    def at(self, value: str) -> int:
        """The granule at which a value begins."""
        return self.layout.buffers[value]

    @property
    def measured(self) -> dict:
        """Operands with which the last instruction that writes the operation's result finds its
        largest magnitude; none unless a QUANTISE reads it."""
        readers = self.layout.network.readers(self.operation.output.name)
        quantised = any(each.kind is Kind.QUANTISE for each in readers)
        return {"reduce": Reduce.ABSMAX, "into": ABSMAX} if quantised else {}


    def attention(self, scores: Operation) -> AttentionBuilder:
        """The builder of the kernels of an attention, by its SCORES."""
        part = next(part for part in self.layout.network.attentions() if part[0] == scores)
        _, softmax, values = part
        buffer = {"q": self.at(scores.name + QUERIES), "score": self.at(scores.output.name),
                  "o": self.at(values.output.name)}
        return AttentionBuilder(self.layout.network, part, self.model.attentions[scores.name],
                                self.layout.attentions[scores.name], buffer, self.layout.constants,
                                self.layout.scalars[softmax.name], self.registers)


def steps_of(builder: NetworkBuilder, operation: Operation) -> list[Step]:
    """The steps of an operation, from the kernel of its kind. An EMBED has none: the host writes the
    row. Neither has a SOFTMAX, see `attention.Attention`."""
    if operation.kind in (Kind.EMBED, Kind.SOFTMAX):
        return []
    return KERNELS[operation.kind](replace(builder, operation=operation), operation)


def quantise(builder: NetworkBuilder, operation: Operation) -> list[Step]:
    """Brings a value to int8; its factor and its step are scalars. What the host has written is
    measured first."""
    (source,), scalar = operation.inputs, builder.layout.scalars[operation.name]
    made = builder.layout.network.producer(source)
    by_host = [] if made and made.kind is not Kind.EMBED else [step(builder.vector_pass(
        "largest", source, x=builder.at(source), to=To.NOWHERE, reduce=Reduce.ABSMAX, into=ABSMAX))]
    return [*by_host,
            step(builder.op(Op.SFU, "int8 scale", function=Sfu.QUANTISE, a=ABSMAX, into=scalar)),
            step(builder.vector_pass("to int8", source, x=builder.at(source), scalar=scalar,
                                     dst=builder.at(operation.output.name), narrow=1))]


def linear(builder: NetworkBuilder, operation: Operation) -> list[Step]:
    """Multiplies a vector by a matrix and adds the bias.

    The scalar of the vector is multiplied into the factors first, while the product is under way.
    """
    layout, name, (source,) = builder.layout, operation.name, operation.inputs
    config, matrix, out = layout.config, layout.matrices[operation.name], operation.output.name
    scalar, factors = layout.scalars[source] + 1, layout.buffers[name + FACTORS]
    interval = mxm_interval(config, {"inner": matrix.inner, "fetch": 0})
    plus = {"plus": 1, "x": layout.constants[operation.bias[0]], "x_step": 1} if operation.bias else {}
    multiply = builder.op(Op.MXM, act=builder.at(source) // config.granules_per_word, wgt=matrix.word,
                          inner=matrix.inner, middle=matrix.results, wgt_step=matrix.inner)
    take = builder.op(Op.VXM, stream=1, by_vector=1, y=factors, y_step=1, inner=config.beats_per_result,
                      middle=matrix.results, interval=interval, shift=builder.model.linears[name].shift,
                      scalar=scalar, to=To.MEM, dst=builder.at(out), **plus, **builder.measured)
    return [step(builder.vector_pass("factors", out, x=layout.constants[name], scalar=scalar, bare=1,
                                     shift=MANTISSA_BITS, dst=factors)),
            step(multiply, take, offsets=(0, stream_offset(config, matrix.inner)))]


def activate(builder: NetworkBuilder, operation: Operation) -> list[Step]:
    """A function of each channel. A ReLU takes two passes, which saturate: see `network_golden.relu`."""
    (source,), dst = operation.inputs, builder.at(operation.output.name)
    if operation.function != "relu":
        function = FUNCTIONS[operation.function]
        return [step(builder.vector_pass("", source, function=function, x=builder.at(source), dst=dst,
                                         shift=MANTISSA_BITS, **builder.measured))]
    low, high = (builder.layout.constants[name] for name in (LOW, HIGH))
    return [step(builder.vector_pass("saturate", source, x=builder.at(source), plus=1, y=low, dst=dst)),
            step(builder.vector_pass("back", source, x=dst, plus=1, y=high, dst=dst, **builder.measured))]


def add(builder: NetworkBuilder, operation: Operation) -> list[Step]:
    """The sum of two values."""
    return [_of_two(builder, operation, plus=1)]


def multiply(builder: NetworkBuilder, operation: Operation) -> list[Step]:
    """The product of two values, channel by channel."""
    return [_of_two(builder, operation, by_vector=1, shift=builder.model.shifts[operation.name])]


def _of_two(builder, operation, **how):
    one, other = map(builder.at, operation.inputs)
    made = operation.output.name
    return step(builder.vector_pass("", made, x=one, y=other, y_step=1, dst=builder.at(made), **how,
                                    **builder.measured))


def norm(builder: NetworkBuilder, operation: Operation) -> list[Step]:
    """Divides a value by its root mean square, as `integer.normalised`, then multiplies by the
    gains and adds the bias."""
    (source,), dst, constants = operation.inputs, builder.at(operation.output.name), builder.layout.constants
    scalar = builder.layout.scalars[operation.name]

    def one_pass(what, **operands):
        return step(builder.vector_pass(what, source, **operands))

    def root(what, function):
        return step(builder.op(Op.SFU, what, function=function, a=REDUCED, into=scalar))

    reduced = {"to": To.NOWHERE, "into": REDUCED}
    shift = builder.model.shifts[operation.name]
    last = {"gains": {"y": constants[operation.name], "by_vector": 1, "shift": shift}}
    for name in operation.bias:
        last["bias"] = {"plus": 1, "y": constants[name]}
    end = list(last)[-1]
    return [
        one_pass("largest", x=builder.at(source), reduce=Reduce.ABSMAX, **reduced),
        root("1/largest", Sfu.RECIPROCAL),
        one_pass("fill 16 bits", x=builder.at(source), scalar=scalar, shift=HEAD_FILL_SHIFT, dst=dst),
        one_pass("squares", x=dst, y=dst, by_vector=1, y_step=1, shift=UNIT_SQUARE_SHIFT, reduce=Reduce.SUM,
                 **reduced),
        root("1/rms", Sfu.RSQRT),
        one_pass("normalise", x=dst, scalar=scalar, shift=HEAD_ROOT_SHIFT, dst=dst),
        *(one_pass(what, x=dst, y_step=1, dst=dst, **operands, **(builder.measured if what == end else {}))
          for what, operands in last.items()),
    ]


def scores(builder: NetworkBuilder, operation: Operation) -> list[Step]:
    """The scores of an attention, a section's last steps: keys and values go to the cache before."""
    (_, _, values), (q, k) = builder.attention(operation).part, operation.inputs
    return builder.attention(operation).scores(*map(builder.at, (q, k, values.inputs[1])))


def values(builder: NetworkBuilder, operation: Operation) -> list[Step]:
    """The result of an attention in its unit, a section's first step; `attention.Attention` makes it
    in steps of the cached values."""
    at, name = builder.at(operation.output.name), operation.name
    (scores,) = (first for first, _, last in builder.layout.network.attentions() if last == operation)
    return [step(builder.vector_pass("unit", operation.output.name, x=at, dst=at, by_vector=1, y_step=1,
                                     y=builder.layout.constants[name],
                                     shift=builder.model.attentions[scores.name].output.shift,
                                     **builder.measured))]


KERNELS: dict[Kind, Callable[[NetworkBuilder, Operation], list[Step]]] = {
    Kind.QUANTISE: quantise, Kind.LINEAR: linear, Kind.ACTIVATE: activate, Kind.ADD: add,
    Kind.MULTIPLY: multiply, Kind.NORM: norm, Kind.SCORES: scores, Kind.VALUES: values}
