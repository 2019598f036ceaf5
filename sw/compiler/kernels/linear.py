"""The kernel of matrix products, with what follows them on the way into memory."""

from dataclasses import replace
from itertools import pairwise

from ....hdl.spec.isa import Address, Instruction, Op, Reduce, To
from ....hdl.timing import mxm_interval
from ...model.graph import Kind, Operation
from ..builder import Builder
from ..distances import stream_offset
from ..steps import Step, best, step
from .heads import cache_values
from .norm import measured

BUFFERS = {Kind.ROTATE: "qk", Kind.SPLIT: "qk", Kind.ACTIVATE: "gate", Kind.MULTIPLY: "up", Kind.CHOOSE: "logits",
           Kind.VALUES: "v"}
"""Buffers that results go to, by the kind of operation that reads them."""


def linear(builder: Builder, operation: Operation) -> list[Step]:
    """A matrix times its input; the reader of the result says where it goes.

    Results that are added to the residual are added on the way, their bias a pass earlier. Values go to the KV cache, as
    they come if W-RAM takes them.
    """
    region = builder.graph.layer if operation in builder.graph.layer else builder.graph.end
    product = _Product(builder, operation, builder.graph.producer(operation.inputs[0], region).kind)
    reader = builder.graph.readers(operation.output.name, region)[0]
    bias = None
    if operation.bias:
        bias = builder.place.constant(f"{operation.name}_bias")
    if reader.kind is Kind.ADD:
        x = builder.place.results("x")
        first = [] if bias is None else [step(_add_bias(builder, operation, x, bias))]
        return first + product.steps(x, plus=1, x=x, x_step=1, **measured(builder, reader.output.name))
    plus = {} if bias is None else {"plus": 1, "x": bias, "x_step": 1}
    if reader.kind is Kind.VALUES:
        return _values(builder, operation, product, plus)
    if reader.kind is Kind.CHOOSE and builder.place.chunks == 1:
        plus["reduce"] = Reduce.ARGMAX
    return product.steps(builder.place.results(BUFFERS[reader.kind]), **plus)


def _values(builder, operation, product, plus):
    """This position's values, to the cache or to the buffer that they wait in."""
    config, layout = builder.config, builder.layout
    if builder.place.streamed:
        return product.steps(builder.place.results("v"), narrow=1, **plus)
    if layout.halves > 1 or config.wram_ports == 1:
        # Halves are written one after the other, and one port while no product is read.
        return product.steps(builder.buffer["v"], narrow=1, **plus) + cache_values(builder)
    beats = config.beats_per_result
    by_round = {"x_hop": beats} if plus else {}
    return product.steps(builder.registers.address("value"), middle=1, outer=product.matrix.results, y_hop=beats,
                         dst_hop=layout.value_hop * beats, to=To.VALUES, narrow=1, **plus, **by_round)


def _add_bias(builder, operation, x, bias):
    """A pass that adds a bias to the part of the residual that a product adds to, before it does."""
    count = builder.place.matrix(operation.name).results * builder.config.beats_per_result
    return builder.vector_pass(f"{operation.name}: bias", count, x=x, plus=1, y=bias, y_step=1, dst=x)


class _Product:
    """A matrix of an operation times the int8 vector in a buffer, taken by the VXM's engine 0.

    `interval`: cycles from one result to the next. Inputs behind attention are in the buffer `o`, all others in `input`.
    """

    def __init__(self, builder: Builder, operation: Operation, source: Kind):
        self.builder, self.operation, self.name = builder, operation, operation.name
        self.matrix, self.shift = builder.place.matrix(self.name), builder.shifts[self.name]
        self.inputs = "o" if source is Kind.VALUES else "input"
        self.scalar = builder.scalar if source is Kind.NORM else builder.step
        self.inner = self.matrix.inner // self.matrix.groups
        self.interval = mxm_interval(builder.config, {"inner": self.inner, "fetch": 0})

    def steps(self, dst: Address | int, **epilogue) -> list[Step]:
        """The product to granules `dst`. `epilogue`: operands of the VXM instruction that takes its last part, or its only
        one: `plus` and what it adds, `reduce`, `to`, `narrow`.

        The mantissa of the input's scalar goes into the matrix's factors first, or, if they are of several groups, to the
        sums.
        """
        builder, name = self.builder, self.name
        constant = builder.place.constant(name)
        if not self.operation.scaled:
            return self._parts(dst, constant, epilogue)
        count = self.matrix.results * builder.config.beats_per_result
        if self.matrix.groups == 1:
            factors = builder.buffer["factors"] + builder.layout.factors[name]
            passes = builder.spread(f"{name}: factors", 1 if name in builder.layout.uniform else count, self.matrix.inner,
                                    x=constant, scalar=self.scalar, bare=1, shift=15, dst=factors)
            return [best(passes), *self._parts(dst, factors, {"scalar": self.scalar} | epilogue)]
        sums, plus = dst, {}
        if epilogue.pop("plus", 0):
            plus = {"plus": 1, "y": epilogue.pop("x"), "y_step": epilogue.pop("x_step")}
            if plus["y"] == dst:
                sums = builder.buffer["gained"]
        passes = builder.spread(f"{name}: scale", count, self.interval, x=sums, dst=dst, scalar=self.scalar,
                                shift=builder.outline.rescales[self.name], **epilogue, **plus)
        return [*self._parts(sums, constant, {}), best(passes)]

    def _parts(self, dst, factors, epilogue):
        """MXM and VXM; the parts of groups one after another, each added to what is there."""
        builder, config, matrix, inner = self.builder, self.builder.config, self.matrix, self.inner
        groups, granules = matrix.groups, matrix.results * config.beats_per_result
        short = groups > 1 and matrix.results * self.interval < builder.added_cycles
        mxm = builder.op(Op.MXM, self.name, act=builder.word(self.inputs), wgt=builder.place.word(self.name), inner=inner,
                         middle=matrix.results, wgt_step=matrix.inner, outer=groups, act_hop=inner, wgt_hop=inner,
                         wrap=groups, paced=int(short))
        take = builder.op(Op.VXM, self.name, stream=1, by_vector=1, y=factors, y_step=1, y_hop=granules,
                          inner=config.beats_per_result, middle=matrix.results, interval=self.interval, outer=groups,
                          paced=int(short), shift=self.shift, to=To.MEM, dst=dst)
        offset = stream_offset(config, inner)
        period = builder.added_cycles if short else matrix.results * self.interval
        added = {"plus": 1, "x": dst, "x_step": 1}
        # All groups but the first add to what is there, and the first may, too; the last may have another use besides.
        firsts = sorted({0} | ({1} if groups > 1 and not epilogue.get("plus") else set())
                        | ({groups - 1} if epilogue.keys() - added.keys() else set()))
        uniform = {"y_step": 0, "y_hop": 0} if self.name in builder.layout.uniform else {}
        spans, taken = list(pairwise([*firsts, groups])), []
        for first, end in spans:
            y = replace(take["y"], offset=take["y"].offset + first * granules)
            more = (added if first or epilogue.get("plus") else {}) | (epilogue if end == groups else {}) | uniform
            taken.append(builder.op(Op.VXM, self.name, **take.operands | {"outer": end - first, "y": y} | more))
        if config.engines > 1:
            return [step(mxm, *taken, offsets=(0, *(offset + first * period for first in firsts)))]
        # With one engine a part's VXM leaves before the next one's comes, and so each has an MXM of its own.
        return [step(self._part_of(mxm, first, end), take, offsets=(0, offset))
                for (first, end), take in zip(spans, taken, strict=True)]

    def _part_of(self, mxm: Instruction, first: int, end: int) -> Instruction:
        """The MXM of some groups."""
        act, wgt = (replace(mxm[name], offset=mxm[name].offset + first * self.inner) for name in ("act", "wgt"))
        return self.builder.op(Op.MXM, self.name, **mxm.operands | {"act": act, "wgt": wgt, "outer": end - first})
