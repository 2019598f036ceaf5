"""The kernel of matrix products, with the operations that the VXM does on the results' way into
memory."""

from dataclasses import replace
from itertools import pairwise

from ....hdl.spec.integer import MANTISSA_BITS
from ....hdl.spec.isa import Address, Instruction, Op, To
from ....hdl.timing import mxm_interval
from ...model.graph import Kind, Operation
from ..builder import Builder, moved_by
from ..distances import stream_offset
from ..layout import RESULT_BUFFERS
from ..steps import Step, best, step
from .heads import cache_values
from .norm import measured


def linear(builder: Builder, operation: Operation) -> list[Step]:
    """Multiplies the input by a matrix; the operation that reads the result decides where it goes.

    If an ADD reads it, the VXM adds the residual to the results on their way; a pass before the
    product adds the bias to the residual. Values go to the KV cache: directly, if W-RAM can be
    written at the time, else through the buffer `v`.
    """
    region = builder.graph.layer if operation in builder.graph.layer else builder.graph.end
    product = _Product(builder, operation, builder.graph.producer(operation.inputs[0], region))
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
    if reader.kind is Kind.CHOOSE:
        plus |= builder.place.argmax
    return product.steps(builder.place.results(RESULT_BUFFERS[reader.kind]), **plus)


def _values(builder, operation, product, plus):
    """The product that makes this position's values, and the way of the values to the cache or to
    the buffer `v`.

    `plus`: operands that add the bias, or {}.
    """
    config, layout = builder.config, builder.layout
    if builder.place.streamed:
        return product.steps(builder.place.results("v"), narrow=1, **plus)
    if layout.values_wait:
        narrow = {} if product.by_group else {"narrow": 1}
        return product.steps(builder.buffer["v"], **narrow, **plus) + cache_values(builder)
    beats = config.beats_per_result
    by_round = {"x_hop": beats} if plus else {}
    return product.steps(builder.registers.address("value"), middle=1, outer=product.matrix.results, y_hop=beats,
                         dst_hop=layout.value_hop * beats, to=To.VALUES, narrow=1, **plus, **by_round)


def _add_bias(builder, operation, x, bias):
    """A pass that adds a bias to the residual, or to the part of it that this chunk's results are
    added to."""
    count = builder.place.matrix(operation.name).results * builder.config.beats_per_result
    return builder.vector_pass(f"{operation.name}: bias", count, x=x, plus=1, y=bias, y_step=1, dst=x)


class _Product:
    """The product of an operation's matrix and an int8 vector; the VXM's first engine takes the
    results.

    `source`: the operation that makes the input. Attention's output is in the buffer `o`, any other
    input in `input`. `by_group`: each group of inputs has a scalar of its own. `scalar`: register of
    the input's scalar, or of the first group's. `inner`: words of a group of inputs. `interval`: cycles
    from one result to the next.
    """

    def __init__(self, builder: Builder, operation: Operation, source: Operation):
        self.builder, self.operation, self.name = builder, operation, operation.name
        self.matrix, self.shift = builder.place.matrix(self.name), builder.shifts[self.name]
        self.inputs = "o" if source.kind is Kind.VALUES else "input"
        self.by_group = source.output.groups > 1
        self.scalar = builder.scalar if source.kind is Kind.NORM else builder.step
        if source.output.groups:
            self.scalar = builder.group_scalars
        self.inner = self.matrix.group_inner
        self.interval = mxm_interval(builder.config, {"inner": self.inner, "fetch": 0})

    def steps(self, dst: Address | int, **epilogue) -> list[Step]:
        """The steps of the product; its results go to granules from `dst` on.

        `epilogue`: operands of the VXM that takes the results (with several groups, those of the
        last), such as `plus` and the operands of what is added, `reduce`, `to`, `narrow`.

        If the results are multiplied by the input's scalar, a pass multiplies the matrix's factors by
        it before the product, and the factors of each group by the group's. But if several groups have
        one scalar, a pass multiplies the sums by it.
        """
        builder, name = self.builder, self.name
        constant = builder.place.constant(name)
        if not self.operation.scaled:
            return self._parts(dst, constant, epilogue)
        count = self.matrix.results * builder.config.beats_per_result
        if self.by_group or self.matrix.groups == 1:
            factors = builder.buffer["factors"] + builder.layout.factors[name]
            scaling = {"x": constant, "scalar": self.scalar, "bare": 1, "shift": MANTISSA_BITS, "dst": factors}
            if self.by_group:
                passes = self._factors_by_group(count, scaling)
            else:
                passes = builder.spread(f"{name}: factors", 1 if name in builder.layout.uniform else count, self.matrix.inner,
                                        **scaling)
            return [best(passes), *self._parts(dst, factors, epilogue)]
        sums, plus = dst, {}
        if epilogue.pop("plus", 0):
            plus = {"plus": 1, "y": epilogue.pop("x"), "y_step": epilogue.pop("x_step")}
            if plus["y"] == dst:
                sums = builder.buffer["gained"]
        passes = builder.spread(f"{name}: scale", count, self.interval, x=sums, dst=dst, scalar=self.scalar,
                                shift=builder.outline.rescales[self.name], **epilogue, **plus)
        return [*self._parts(sums, constant, {}), best(passes)]

    def _factors_by_group(self, count, scaling):
        """Choices of two passes that multiply each group's factors by the group's scalar: one for the
        first group, whose scalar is there before the others, and one for the rest.

        The passes go in turns that fit the gaps of the stream, or at once if the stream leaves no room.
        `count`: granules of a group's factors. `scaling`: operands of a pass.
        """
        config, beats = self.builder.config, self.builder.config.beats_per_result
        free = range(beats, self.interval - beats + 1) if config.engines > 1 and not self.short else ()
        turns = [{"inner": inner, "middle": count // inner, "interval": self.interval} for inner in free if count % inner == 0]
        rest = {"x": moved_by(scaling["x"], count), "dst": scaling["dst"] + count, "scalar": scaling["scalar"] + 1,
                "outer": self.matrix.groups - 1, "x_hop": count, "dst_hop": count, "scalar_hop": 1}
        choices = []
        for turn in turns or [{}]:
            first, others = (self.builder.vector_pass(f"{self.name}: factors", count, **scaling | groups | turn)
                             for groups in ({}, rest))
            choices.append(step(first, others, offsets=(0, first["middle"] * max(first["interval"], first["inner"]))))
        return choices

    @property
    def short(self) -> bool:
        """Whether a group's product is so short that its results are not in MEM yet when the next
        group's come, so that a period keeps the groups apart."""
        return self.matrix.groups > 1 and self.matrix.results * self.interval < self.builder.added_cycles

    def _parts(self, dst, factors, epilogue):
        """The MXM and VXM instructions. With several groups, each but the first adds its part to
        the sums in MEM.

        `factors`: address of the factors.
        """
        builder, config, matrix, inner = self.builder, self.builder.config, self.matrix, self.inner
        groups, granules, short = matrix.groups, matrix.results * config.beats_per_result, self.short
        early = self.operation.scaled and (self.by_group or groups == 1)
        scalars = {"scalar": self.scalar, "scalar_hop": int(self.by_group)} if early else {}
        mxm = builder.op(Op.MXM, self.name, act=builder.word(self.inputs), wgt=builder.place.word(self.name), inner=inner,
                         middle=matrix.results, wgt_step=matrix.inner, outer=groups, act_hop=inner, wgt_hop=inner,
                         wrap=groups, paced=int(short))
        take = builder.op(Op.VXM, self.name, stream=1, by_vector=1, y=factors, y_step=1, y_hop=granules,
                          inner=config.beats_per_result, middle=matrix.results, interval=self.interval, outer=groups,
                          paced=int(short), shift=self.shift, to=To.MEM, dst=dst)
        offset = stream_offset(config, inner)
        period = builder.added_cycles if short else matrix.results * self.interval
        added = {"plus": 1, "x": dst, "x_step": 1}
        # First groups of VXM instructions. The first group does not add to sums in MEM, unless the epilogue
        # adds to all results; the last group may have an epilogue. Groups with the same operands share an
        # instruction.
        firsts = sorted({0} | ({1} if groups > 1 and not epilogue.get("plus") else set())
                        | ({groups - 1} if epilogue.keys() - added.keys() else set()))
        uniform = {"y_step": 0, "y_hop": 0} if self.name in builder.layout.uniform else {}
        spans, taken = list(pairwise([*firsts, groups])), []
        for first, end in spans:
            y = replace(take["y"], offset=take["y"].offset + first * granules)
            more = (added if first or epilogue.get("plus") else {}) | (epilogue if end == groups else {}) | uniform | scalars
            if self.by_group:
                more["scalar"] += first
            taken.append(builder.op(Op.VXM, self.name, **take.operands | {"outer": end - first, "y": y} | more))
        if config.engines > 1:
            return [step(mxm, *taken, offsets=(0, *(offset + first * period for first in firsts)))]
        # With one engine, a VXM must leave the engine before the next one enters, so each VXM has an MXM of
        # its own.
        return [step(self._part_of(mxm, first, end), take, offsets=(0, offset))
                for (first, end), take in zip(spans, taken, strict=True)]

    def _part_of(self, mxm: Instruction, first: int, end: int) -> Instruction:
        """The MXM `mxm`, but only for the groups `first` to `end` - 1."""
        act, wgt = (replace(mxm[name], offset=mxm[name].offset + first * self.inner) for name in ("act", "wgt"))
        return self.builder.op(Op.MXM, self.name, **mxm.operands | {"act": act, "wgt": wgt, "outer": end - first})
