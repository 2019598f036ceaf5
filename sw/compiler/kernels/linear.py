"""The kernel of matrix products, with the operations that the VXM does on the results' way into
memory."""

from dataclasses import dataclass, replace
from itertools import pairwise

from ....hdl.spec.integer import MANTISSA_BITS, SUMMAND_SHIFT
from ....hdl.spec.isa import Address, Instruction, Op, Then, To
from ....hdl.timing import mxm_interval
from ...model.graph import Kind, Operation
from ...model.integer_graph import WEIGHT_GROUP, WHOLE, early
from ..buffers import RESULT_BUFFERS
from ..builder import Builder, moved_by
from ..chained import then_of
from ..distances import stream_offset
from ..steps import Step, best, step
from .chain import chain
from .heads import cache_values
from .int8 import turns_between
from .join import sums_place, sums_step
from .norm import first_scalar, measured, second_half


def linear(builder: Builder, operation: Operation, cuts: tuple[int, ...] = ()) -> list[Step]:
    """Multiplies the input by a matrix; the operation that reads the result decides where it goes.

    If it is gated, the VXM multiplies the results by the gate, which is in `up`, on their way to `gate` as int8. If an ADD
    reads it, the VXM adds the residual to the results on their way; a pass before the product adds the bias to the
    residual. Values go to the KV cache: directly, if W-RAM can be written at the time, else through the buffer `v`. `cuts`:
    granules of the results at which the passes between the products of two halves are cut, so that the second product can
    begin before they have ended.
    """
    region = builder.graph.layer if operation in builder.graph.layer else builder.graph.end
    product = _Product(builder, operation, builder.graph.producer(operation.inputs[0], region), cuts)
    if operation.gated:
        return product.steps(builder.buffer["gate"], narrow=1)
    reader = builder.graph.readers(operation.output.name, region)[0]
    bias = builder.place.constant(f"{operation.name}_bias") if operation.bias else None
    if reader.kind is Kind.JOIN:
        dst, epilogue = sums_place(builder, operation)
        return product.steps(dst, **epilogue)
    if reader.kind is Kind.ADD and builder.layout.offsets:
        return product.steps(builder.buffer["gained"]) + _added(builder, reader, product)
    if reader.kind is Kind.ADD:
        x = builder.place.results("x")
        first = [] if bias is None else [step(_add_bias(builder, operation, x, bias))]
        *parts, last = measured(builder, reader.output.name)
        if parts:
            product.parts, last = [*parts, last], (0, 0, {})
        return first + product.steps(x, plus=1, x=x, x_step=1, **last[2])
    plus = {} if bias is None else {"plus": 1, "x": bias, "x_step": 1}
    if reader.kind is Kind.VALUES:
        return _values(builder, operation, product, plus)
    if reader.kind is Kind.CHOOSE:
        plus |= builder.place.argmax
    buffer = "up" if product.then is Then.SILU and builder.layout.gated else RESULT_BUFFERS[reader.kind]
    return product.steps(builder.place.results(buffer), **plus)


def scaled_later(builder: Builder, operation: Operation) -> bool:
    """Whether a pass multiplies the results of a LINEAR, which are sums of groups of weights, by its input's scalar."""
    matrix, region = builder.place.matrix(operation.name), builder.graph.layer
    scalars = builder.graph.producer(operation.inputs[0], region).output.scalars
    return operation.scaled and matrix.groups > 1 and scalars == 1 and not matrix.first


def _values(builder, operation, product, plus):
    """The product that makes this position's values, and the way of the values to the cache or to
    the buffer `v`.

    `plus`: operands that add the bias, or {}.
    """
    config, layout = builder.config, builder.layout
    if builder.place.streamed:
        return product.steps(builder.place.results("v"), narrow=1, **plus)
    whole = layout.value_head == layout.head
    if whole and scaled_later(builder, operation) and config.wide_beats == 1 and config.wram_ports == 2:
        return product.cached(builder.registers.address("value"), layout.value_hop * config.beats_per_result, plus)
    if layout.values_wait:
        narrow = {} if product.by_group else {"narrow": 1}
        return product.steps(builder.buffer["v"], **narrow, **plus) + cache_values(builder)
    beats = config.beats_per_result
    by_round = {"x_hop": beats} if plus else {}
    return product.steps(builder.registers.address("value"), middle=1, outer=product.matrix.results, y_hop=beats,
                         dst_hop=layout.value_hop * beats, to=To.VALUES, narrow=1, **plus, **by_round)


def _added(builder, operation, product):
    """Steps of an ADD whose second operand has units of its own, in `gained`: they bring it to the residual's units, and
    add it to the residual."""
    count, gained, x, rate = builder.dim_granules, builder.buffer["gained"], builder.buffer["x"], product.matrix.rate
    factors = {"y": builder.place.constant(operation.name), "y_step": 1, "by_vector": 1, "shift": SUMMAND_SHIFT}
    ((_, _, reduced),) = measured(builder, operation.output.name)
    return [best(builder.spread(f"{operation.name}: units", count, rate, x=gained, dst=gained, **factors)),
            best(builder.spread(operation.name, count, rate, x=gained, plus=1, y=x, y_step=1, dst=x, **reduced))]


def _add_bias(builder, operation, x, bias):
    """A pass that adds a bias to the residual, or to the part of it that this chunk's results are
    added to."""
    count = builder.place.matrix(operation.name).results * builder.config.beats_per_result
    return builder.vector_pass(f"{operation.name}: bias", count, x=x, plus=1, y=bias, y_step=1, dst=x)


@dataclass(frozen=True)
class _Span:
    """Groups of inputs, `first` to `end` - 1, whose products are shifted by `shift`. `scalar`: register of the
    inputs' scalar, or of the first group's if the next has the next one (`hop` = 1)."""

    first: int
    end: int
    shift: int
    scalar: int
    hop: int = 0

    def part(self, first: int, end: int) -> "_Span":
        """Some of its groups."""
        return replace(self, first=first, end=end, scalar=self.scalar + self.hop * (first - self.first))


class _Product:
    """The product of an operation's matrix and an int8 vector; the VXM's first engine takes the
    results.

    `source`: the operation that makes the input. Attention's output is in the buffer `o`, a gated product in `gate`, any
    other input in `input`. `by_group`: groups of inputs have scalars of their own. `scalar`: register of
    the input's scalar, or of the first group's. `inner`: words of a group of inputs. `interval`: cycles
    from one result to the next. `spans`: its groups. `cuts`: see `linear`.
    """

    def __init__(self, builder: Builder, operation: Operation, source: Operation, cuts: tuple[int, ...]):
        self.builder, self.operation, self.name = builder, operation, operation.name
        self.matrix, self.shift = builder.place.matrix(self.name), builder.shifts[self.name]
        self.source, self.parts, self.cuts, self.then = source, [], cuts, then_of(builder.layout, operation)
        kind = builder.layout.source(operation)
        self.inputs = {Kind.VALUES: "o", Kind.LINEAR: "gate"}.get(kind, "whole" if source.name.endswith(WHOLE) else "input")
        self.by_group = source.output.scalars > 1
        self.scalar = builder.scalar if source.kind is Kind.NORM else builder.step
        if source.output.groups:
            self.scalar = builder.group_scalars
        self.inner = self.matrix.group_inner
        self.beats = self.inner * self.matrix.beats
        self.interval = mxm_interval(builder.config, {"inner": self.beats, "fetch": 0})
        self.spans = self._spans(source)

    def _spans(self, source):
        """The groups, by scalar and shift. Where sums stand behind the inputs, some groups of weights share the scalar of
        a group of inputs, and the sums have a scalar and a shift of their own."""
        groups = self.matrix.groups
        if source.kind is not Kind.JOIN:
            return [_Span(0, groups, self.shift, self.scalar, int(self.by_group))]
        layout, shift = self.builder.layout, self.builder.shifts[f"{self.name} offsets"]
        kind = layout.source(self.operation)
        end, scalars = layout.vector(kind) // WEIGHT_GROUP, max(1, source.output.groups - 1)
        shared = end // scalars
        return [*(_Span(index * shared, (index + 1) * shared, self.shift, self.scalar + index) for index in range(scalars)),
                _Span(end, groups, shift, sums_step(self.builder, source) if self.by_group else 0)]

    def steps(self, dst: Address | int, **epilogue) -> list[Step]:
        """The steps of the product; its results go to granules from `dst` on.

        `epilogue`: operands of the VXM that takes the results (with several groups, those of the
        last), such as `plus` and the operands of what is added, `reduce`, `to`, `narrow`.

        If the results are multiplied by the input's scalar, a pass multiplies the matrix's factors by
        it before the product, and the factors of each group by the group's. But if several groups have
        one scalar, a pass multiplies the sums by it.
        """
        builder, name = self.builder, self.name
        constant = builder.buffer["up"] if self.operation.gated else builder.place.constant(name)
        if self.matrix.first:
            return (self._early if early(builder.graph, self.operation) else self._both_halves)(dst, constant, epilogue)
        if not self.operation.scaled:
            return self._parts(dst, constant, epilogue)
        count = self.matrix.results * builder.config.beats_per_result
        if self.by_group or self.matrix.groups == 1:
            factors = builder.buffer["factors"] + builder.layout.factors[name]
            scaling = {"x": constant, "scalar": self.scalar, "bare": 1, "shift": MANTISSA_BITS, "dst": factors}
            if self.by_group:
                return [*map(best, self._factors_by_group(count, scaling)), *self._parts(dst, factors, epilogue)]
            count = 1 if name in builder.layout.uniform else count
            passes = builder.spread(f"{name}: factors", count, self.interval, builder.rate(self.operation), **scaling)
            return [best(passes), *self._parts(dst, factors, epilogue)]
        sums, plus = self._sums(dst, epilogue)
        passes = builder.spread(f"{name}: scale", count, self.interval, x=sums, dst=dst, scalar=self.scalar,
                                shift=builder.outline.rescales[self.name], **epilogue, **plus)
        return [*self._parts(sums, constant, {}), best(passes)]

    def cached(self, dst: Address, hop: int, plus: dict) -> list[Step]:
        """The steps of a product that is `scaled_later`, with values of 8 bits to the cache: a round for each result,
        `hop` apart from `dst` on. `plus`: operands that add a bias, or {}."""
        builder, name, sums, beats = self.builder, self.name, self.builder.buffer["v"], self.builder.config.beats_per_result
        if plus:
            plus = {"plus": 1, "y": plus["x"], "y_step": 1, "y_hop": beats}
        scale = builder.op(Op.VXM, f"{name}: scale", **builder.second_engine, x=sums, x_step=1, x_hop=beats, inner=beats,
                           outer=self.matrix.results, dst=dst, dst_hop=hop, scalar=self.scalar, narrow=1, to=To.VALUES,
                           shift=builder.outline.rescales[name], **plus)
        return [*self._parts(sums, builder.place.constant(name), {}), step(scale)]

    def _sums(self, dst, epilogue):
        """(where sums go that a pass multiplies by a scalar, on their way to `dst`; operands of that pass that add what
        `epilogue` adds, which is taken out of it)."""
        if not epilogue.pop("plus", 0):
            return dst, {}
        plus = {"plus": 1, "y": epilogue.pop("x"), "y_step": epilogue.pop("x_step")}
        return self.builder.buffer["gained"] if plus["y"] == dst else dst, plus

    def _both_halves(self, dst, constant, plus) -> list[Step]:
        """The product of an input in two halves whose scalars are both known. `plus`: operands that add a
        bias, or {}."""
        builder, matrix = self.builder, self.matrix
        count = matrix.results * builder.config.beats_per_result
        factors = builder.buffer["factors"] + builder.layout.factors[self.name]
        first, second = builder.group_scalars, builder.group_scalars + 1
        scaled = {"bare": 1, "shift": MANTISSA_BITS, "outer": 2, "x_hop": count, "dst_hop": count, "scalar_hop": 1}
        return [
            best([builder.vector_pass(f"{self.name}: factors", count, x=constant, scalar=first, dst=factors, **scaled | turn)
                  for turn in turns_between(builder, count, matrix.group_inner)]),
            self._part(0, matrix.first, dst, factors, self.shift, {"scalar": first} | plus, [(0, count, {})]),
            self._part(matrix.first, matrix.inner, dst, factors + count, self.shift,
                       {"plus": 1, "x": dst, "x_step": 1, "scalar": second}, [(0, count, {})])]

    def _early(self, dst, constant, epilogue):
        """The product of an input in two halves: see `Linear`. The first half's runs while the second half
        gets 8 bits, in the gaps of its results; then a pass multiplies it by its scalar."""
        builder, name, matrix = self.builder, self.name, self.matrix
        count, first, rate = matrix.results * builder.config.beats_per_result, matrix.first, matrix.first
        factors = builder.buffer["factors"] + builder.layout.factors[name]
        scalar, hop = (builder.group_scalars, 1) if self.source.kind is Kind.NORM else (builder.group_steps + 1, 2)
        sums, plus = self._sums(dst, epilogue)
        passes = []
        for at, end in pairwise([0, *self.cuts, count]):
            moved = {"y": moved_by(plus["y"], at)} if plus else {}
            passes.append(best(builder.spread(
                f"{name}: factors", end - at, rate, x=moved_by(constant, count + at), scalar=scalar + hop, bare=1,
                shift=MANTISSA_BITS, dst=factors + at)))
            passes.append(best(builder.spread(
                f"{name}: half", end - at, matrix.group_inner, x=moved_by(sums, at), dst=moved_by(dst, at), scalar=scalar,
                shift=builder.outline.rescales[name], **plus | moved)))
        return [
            self._part(0, first, sums, constant, builder.outline.first_shifts[name], {}, [(0, count, {})]),
            *second_half(builder, self.source, rate),
            passes[0], *first_scalar(builder, self.source), *passes[1:],
            self._part(first, matrix.inner, dst, factors, self.shift,
                       {"plus": 1, "x": dst, "x_step": 1, "scalar": scalar + hop} | epilogue, self.parts or [(0, count, {})])]

    def _part(self, first, end, dst, factors, shift, more, parts):
        """The MXM and VXM instructions of the product of the words `first` to `end` - 1 of the input; `parts`:
        [(first granule, granule after the last, operands)] of its results."""
        builder, config, matrix, inner = self.builder, self.builder.config, self.matrix, end - first
        word, beats, interval = builder.place.word(self.name), config.beats_per_result, max(inner, config.beats_per_result)
        mxm = builder.op(Op.MXM, self.name, act=builder.word(self.inputs) + first, wgt=moved_by(word, first), inner=inner,
                         middle=matrix.results, wgt_step=matrix.inner)
        taken, offsets = [], []
        for at, stop, operands in parts:
            moved = {"x": moved_by(more["x"], at)} if "x" in more else {}
            taken.append(builder.op(Op.VXM, self.name, stream=1, by_vector=1, y=moved_by(factors, at), y_step=1, inner=beats,
                                    middle=(stop - at) // beats, interval=interval, shift=shift, to=To.MEM,
                                    dst=moved_by(dst, at), **more | moved | operands))
            offsets.append(stream_offset(config, inner) + at // beats * interval)
        return step(mxm, *taken, offsets=(0, *offsets))

    def _factors_by_group(self, count, scaling):
        """Steps, each as a list of choices, that multiply each group's factors by the group's scalar: a pass for the first
        group of inputs, whose scalar is there before the others, with one for the rest; and a step for the sums of groups.

        The passes go in turns that fit the gaps of the stream, or at once if the stream leaves no room.
        `count`: granules of a group's factors. `scaling`: operands of a pass.
        """
        if len(self.spans) == 1:
            (whole,) = self.spans
            return [self._factor_passes([whole.part(0, 1), whole.part(1, whole.end)], count, 1, scaling)]
        first, *others, sums = self.spans
        rest = [replace(others[0], end=others[-1].end, hop=1)] if others else []
        return [self._factor_passes([first, *rest], count, first.end, scaling),
                self._factor_passes([sums], count, sums.end - sums.first, scaling)]

    def _factor_passes(self, spans, count, shared, scaling):
        """Choices of a step that multiplies the factors of some spans by their scalars; `shared` groups share each."""
        config, beats, size = self.builder.config, self.builder.config.beats_per_result, count * shared
        free = range(beats, self.interval - beats + 1) if config.engines > 1 and not self.short else ()
        turns = [{"inner": inner, "middle": size // inner, "interval": self.interval} for inner in free if size % inner == 0]
        choices = []
        for turn in turns or [{}]:
            passes, offsets = [], [0]
            for span in spans:
                rounds = (span.end - span.first) // shared
                several = {"outer": rounds, "x_hop": size, "dst_hop": size, "scalar_hop": 1} if rounds > 1 else {}
                moved = {"x": moved_by(scaling["x"], count * span.first), "dst": scaling["dst"] + count * span.first}
                passes.append(self.builder.vector_pass(f"{self.name}: factors", size, **scaling | moved | several | turn
                                                       | {"scalar": span.scalar}))
                offsets.append(offsets[-1] + rounds * (turn["middle"] * turn["interval"] if turn else size))
            choices.append(step(*passes, offsets=tuple(offsets[:-1])))
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
        if self.parts:
            scalars = {"scalar": self.scalar} if early else {}
            return [self._part(0, matrix.inner, dst, factors, self.shift, epilogue | scalars, self.parts)]
        wide = {"wide": 1} if matrix.halves > 1 else {}
        mxm = builder.op(Op.MXM, self.name, act=builder.word(self.inputs), wgt=builder.place.word(self.name), inner=self.beats,
                         middle=matrix.results, wgt_step=matrix.inner * matrix.halves, outer=groups, act_hop=inner,
                         wgt_hop=inner * matrix.halves, wrap=groups, paced=int(short), **wide)
        take = builder.op(Op.VXM, self.name, stream=1, by_vector=1, y=factors, y_step=1, y_hop=granules,
                          inner=config.beats_per_result, middle=matrix.results, interval=self.interval, outer=groups,
                          paced=int(short), shift=self.shift, to=To.MEM, dst=dst)
        offset = stream_offset(config, self.beats)
        period = builder.added_cycles if short else matrix.results * self.interval
        added = {"plus": 1, "x": dst, "x_step": 1}
        # First groups of VXM instructions. The first group adds what the epilogue adds, a bias or the sums in MEM, or nothing;
        # the others add to the sums; the last may have an epilogue. Groups with the same operands share an instruction.
        start, last = ({name: value for name, value in epilogue.items() if (name in added) == own} for own in (True, False))
        firsts = sorted({0} | ({1} if groups > 1 and start != added else set()) | ({groups - 1} if last else set())
                        | {span.first for span in self.spans})
        uniform = {"y_step": 0, "y_hop": 0} if self.name in builder.layout.uniform else {}
        spans, taken = list(pairwise([*firsts, groups])), []
        for first, end in spans:
            span = next(each for each in self.spans if first < each.end).part(first, end)
            y = replace(take["y"], offset=take["y"].offset + first * granules)
            more = (added if first else start) | (last if end == groups else {}) | uniform
            if early:
                more |= {"scalar": span.scalar, "scalar_hop": span.hop}
            taken.append(builder.op(Op.VXM, self.name, **take.operands | {
                "outer": end - first, "y": y, "shift": span.shift} | more | chain(builder, self.then, take["dst"])))
        if config.engines > 1 and not short:
            return [step(mxm, *taken, offsets=(0, *(offset + first * period for first in firsts)))]
        # With one engine, a VXM must leave the engine before the next one enters, so each VXM has an MXM of
        # its own.
        return [step(self._part_of(mxm, first, end), take, offsets=(0, offset))
                for (first, end), take in zip(spans, taken, strict=True)]

    def _part_of(self, mxm: Instruction, first: int, end: int) -> Instruction:
        """The MXM `mxm`, but only for the groups `first` to `end` - 1."""
        act, wgt = (replace(mxm[name], offset=mxm[name].offset + first * self.inner) for name in ("act", "wgt"))
        return self.builder.op(Op.MXM, self.name, **mxm.operands | {"act": act, "wgt": wgt, "outer": end - first})
