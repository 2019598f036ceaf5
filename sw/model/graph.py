"""The token as a graph: the operations that make one token of a model, and the values between them.

A graph has three regions: `begin` makes the residual vector from the token and its position, `layer` is applied once for
each layer, and `end` makes the logits and chooses the next token. A family (see `marey.sw.model.families`) writes the graph;
the float reference, the quantiser, the golden integer model and the compiler walk it. The quantiser adds the operations
that only integers need (`Kind.QUANTISE`), and `check` says between passes whether a graph is legal.
"""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ...hdl.spec.errors import MareyError
from .config import ModelConfig


class GraphError(MareyError):
    """A graph that breaks a rule; one line that names the operation and the rule."""


class Number(enum.Enum):
    """Kinds of numbers that a value is made of. The float reference computes all of them in float32."""

    INDEX = "a token or a position"
    ANGLES = "a rotation for each pair of channels of a head"
    WIDE = "16-bit integers in a unit of the value's own"
    NARROW = "8-bit integers in a unit of the value's own, which may be a scalar computed at run time"


class Kind(enum.Enum):
    """Kinds of operations."""

    EMBED = "a row of a table, by the token"
    POSITION = "the input plus a row of a table, by the position"
    ANGLES = "the rotations of the position"
    NORM = "the input divided by its root mean square; a layer norm subtracts the mean first"
    LINEAR = "a matrix times the input, plus a bias if there is one"
    HEAD_NORM = "queries and keys, each head divided by its root mean square, times gains"
    ROTATE = "queries and keys turned by the rotations of the position (rotary embedding)"
    SPLIT = "queries and keys as they are, rounded to what attention reads"
    SCORES = "products of queries with the keys of all positions so far; keeps this position's keys"
    SOFTMAX = "exponentials of the scores and their sum, by head"
    VALUES = "the values of all positions so far, averaged by the softmax; keeps this position's values"
    ADD = "the sum of two values"
    RESCALE = "the residual in the units of the next layer"
    ACTIVATE = "a function of each channel"
    MULTIPLY = "the product of two values, channel by channel"
    QUANTISE = "8-bit integers that use their whole range, and the scalar that undoes it"
    JOIN = "8-bit integers and behind them, twice, the sums of their groups in 8 bits"
    CHOOSE = "the token with the largest logit"


class Phase(enum.Enum):
    """Phases of a token, by which reports and timetables group operations."""

    EMBEDDING = "embedding"
    NORM = "norm"
    QKV = "QKV"
    SCORES = "scores"
    SOFTMAX = "softmax"
    VALUES = "values"
    OUTPUT = "output"
    FFN = "FFN"
    CLASSIFIER = "classifier"
    CONTROL = "control"


@dataclass(frozen=True)
class Value:
    """A vector of `size` channels. If `heads` is not 0, it is made of that many heads, one after
    another. If `groups` is not 0, it is made of that many groups of channels, one after another, each of
    which has a scalar of its own at run time. If `first` is not 0, the first so many channels have a scalar,
    and the others another. `static`: 8-bit integers that have no scalar at run time, though a NORM or a MULTIPLY makes
    them."""

    name: str
    size: int
    number: Number
    heads: int = 0
    groups: int = 0
    first: int = 0
    static: bool = False

    @property
    def scalars(self) -> int:
        """Scalars that it has at run time, if it has any: one for each group or half of its channels."""
        return 2 if self.first else max(1, self.groups)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation of a token.

    `inputs`: names of values. `weights`: names of the weights; in a layer, without the prefix
    "layers.N.". Several matrices of a LINEAR are concatenated by rows (outputs). `bias`: names of
    the biases, likewise, or empty. `function`: "silu" or "gelu" for an ACTIVATE, "rms" or "layer"
    for a NORM. `scaled`: the result of a LINEAR is multiplied by the scalar of its input.
    A LINEAR with a second input is `gated`.
    """

    kind: Kind
    name: str
    inputs: tuple[str, ...]
    output: Value
    phase: Phase
    weights: tuple[str, ...] = ()
    bias: tuple[str, ...] = ()
    function: str = ""
    scaled: bool = False

    @property
    def gated(self) -> bool:
        """Whether it is a LINEAR whose results are multiplied by its second input, channel by channel."""
        return self.kind is Kind.LINEAR and len(self.inputs) > 1


@dataclass(frozen=True)
class Graph:
    """The operations of a token, by region; `begin` and each layer make "x", the residual, which the
    next region reads."""

    config: ModelConfig
    begin: tuple[Operation, ...]
    layer: tuple[Operation, ...]
    end: tuple[Operation, ...]

    @property
    def operations(self) -> tuple[Operation, ...]:
        """All operations in order; an operation of the layer region is listed once, not for each
        layer."""
        return self.begin + self.layer + self.end

    @property
    def values(self) -> tuple[Value, ...]:
        """All values that operations make, in order."""
        return tuple(operation.output for operation in self.operations)

    def find(self, name: str) -> Operation | None:
        """The operation of this name, or None."""
        return next((operation for operation in self.operations if operation.name == name), None)

    def of_kind(self, *kinds: Kind) -> Iterator[Operation]:
        """The operations of these kinds, from `operations`."""
        return (operation for operation in self.operations if operation.kind in kinds)

    def producer(self, value: str, region: tuple[Operation, ...]) -> Operation | None:
        """The operation in a region whose output is the value, or None."""
        return next((operation for operation in region if operation.output.name == value), None)

    def readers(self, value: str, region: tuple[Operation, ...]) -> list[Operation]:
        """The operations in a region that read a value."""
        return [operation for operation in region if value in operation.inputs]

    def inputs(self, operation: Operation) -> int:
        """Channels of the operation's first input, without the sums that a JOIN puts behind them. KeyError
        if the input is the token or the position."""
        made = {each.output.name: each for each in self.operations}
        source = made[operation.inputs[0]]
        return made[source.inputs[0]].output.size if source.kind is Kind.JOIN else source.output.size

    def macs(self, position: int, wanted: bool = True) -> int:
        """Useful multiply-accumulates of the token at a position: those that the model needs,
        without padding or masked positions.

        `wanted`: the token that follows is computed. Within a prompt it is not, so the operations
        of the region `end` are left out.
        """
        return sum(self.macs_of(operation, position) for operation in self.operations
                   if wanted or operation not in self.end)

    def macs_of(self, operation: Operation, position: int) -> int:
        """Useful multiply-accumulates of one operation of the token at a position, in all layers
        together."""
        config = self.config
        times = config.n_layers if operation in self.layer else 1
        match operation.kind:
            case Kind.LINEAR if operation.weights:
                return times * operation.output.size * self.inputs(operation)
            case Kind.SCORES | Kind.VALUES:
                return times * config.heads_dim * (position + 1)
        return 0


@dataclass(frozen=True)
class Rule:
    """What is legal for one kind of operation.

    `inputs`, `output`: the kinds of numbers that it reads and makes; a static output has 8 bits. `gate`: those that it
    also reads if its output is static. `weights`: fewest and most weights. `functions`: the names that `Operation.function`
    may have; `biased`: those with which it may have a bias.
    """

    inputs: tuple[Number, ...]
    output: Number
    weights: tuple[int, int] = (0, 0)
    functions: tuple[str, ...] = ("",)
    biased: tuple[str, ...] = ()
    gate: tuple[Number, ...] = ()


_I, _W, _N = Number.INDEX, Number.WIDE, Number.NARROW
LEGAL = {
    Kind.EMBED: Rule((_I,), _W, (1, 1)),
    Kind.POSITION: Rule((_W, _I), _W, (1, 1)),
    Kind.ANGLES: Rule((_I,), Number.ANGLES),
    Kind.NORM: Rule((_W,), _N, (0, 1), ("rms", "layer"), biased=("layer",)),
    Kind.LINEAR: Rule((_N,), _W, (0, 2), biased=("",), gate=(_W,)),
    Kind.HEAD_NORM: Rule((_W,), _W, (2, 2)),
    Kind.ROTATE: Rule((_W, Number.ANGLES), _W),
    Kind.SPLIT: Rule((_W,), _W),
    Kind.SCORES: Rule((_W,), _W),
    Kind.SOFTMAX: Rule((_W,), _N),
    Kind.VALUES: Rule((_N, _W), _N),
    Kind.ADD: Rule((_W, _W), _W),
    Kind.RESCALE: Rule((_W,), _W),
    Kind.ACTIVATE: Rule((_W,), _W, functions=("silu", "gelu")),
    Kind.MULTIPLY: Rule((_W, _W), _W),
    Kind.QUANTISE: Rule((_W,), _N),
    Kind.JOIN: Rule((_N, _W), _N),
    Kind.CHOOSE: Rule((_W,), _I),
}
"""What is legal, by kind of operation."""


def check(graph: Graph, integers: bool = False) -> Graph:
    """Checks a graph and returns it. GraphError names the first operation that breaks a rule.

    Rules: each value is made once, before it is read; numbers are of the kinds that `LEGAL` names;
    both operands of a sum or a product have the size of the result; `begin` and `layer` each make
    the residual "x" of `dim` channels; the last operation chooses the next token.

    `integers`: the graph is one of `integer_graph`. In any other graph a LINEAR may also read
    16-bit numbers, because the QUANTISE before it is not there yet.
    """
    known = {name: Value(name, 1, Number.INDEX) for name in ("token", "position")}
    for region in (graph.begin, graph.layer, graph.end):
        made = set()
        for operation in region:
            check_operation(operation, known, integers)
            if operation.output.name in made:
                raise GraphError(f"{operation.name}: {operation.output.name} is made twice")
            made.add(operation.output.name)
            known[operation.output.name] = operation.output
        if region is not graph.end and ("x" not in made or known["x"].size != graph.config.dim):
            raise GraphError(f"{region[-1].name if region else 'an empty region'}: the residual x must have "
                             f"{graph.config.dim} channels")
    if not graph.end or graph.end[-1].kind is not Kind.CHOOSE:
        raise GraphError("the last operation must be CHOOSE, the choice of the next token")
    return graph


def check_operation(operation: Operation, known: Mapping[str, Value], integers: bool,
                    legal: Mapping[Kind, Rule] = LEGAL) -> None:
    """GraphError if an operation breaks its rule in the table `legal`. `known`: values that are made before it, by name;
    `integers`: as for `check`."""
    rule = legal[operation.kind]

    def require(condition, what):
        if not condition:
            raise GraphError(f"{operation.name} ({operation.kind.name}): {what}")

    for name in operation.inputs:
        require(name in known, f"{name} is read before it is made")
    numbers = tuple(known[name].number for name in operation.inputs)
    if operation.kind is Kind.LINEAR and not integers and numbers == (Number.WIDE,):
        numbers = rule.inputs
    inputs = rule.inputs + rule.gate * operation.output.static
    require(numbers == inputs, f"its inputs must be {', '.join(number.value for number in inputs)}")
    number = Number.NARROW if operation.output.static else rule.output
    require(operation.output.number is number, f"its output must be {number.value}")
    require(rule.weights[0] <= len(operation.weights) <= rule.weights[1], f"{len(operation.weights)} weights")
    require(operation.function in rule.functions, f"function {operation.function!r}")
    require(not operation.bias or (operation.function in rule.biased and not operation.gated), "such an operation has no bias")
    if operation.kind in (Kind.ADD, Kind.MULTIPLY) or operation.gated:
        sizes = [known[name].size for name in operation.inputs[int(operation.gated):]]
        require(set(sizes) == {operation.output.size}, f"sizes {sizes} and {operation.output.size} differ")
