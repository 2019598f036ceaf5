"""What the VXM of a chained tile does with the results of a matrix before it takes the next ones: see `marey.hdl.spec.chained`.

On a tile with one engine of the VXM each pass over a vector is time in which the MXM waits, unless the pass is a part of the
instruction that takes a product's results. Squares of the residual, SILU, and the turning of queries and keys can be that,
where inputs are static, so that nothing else lies between the product and the pass.
"""

from ...hdl.spec.chained import inner_beats
from ...hdl.spec.isa import Then
from ..model.graph import Graph, Kind, Operation
from ..model.integer_graph import keys_at_once
from .matrix import Matrix


def then_of(layout, linear: Operation) -> Then:
    """What the VXM does with the results of a LINEAR of a layer. `layout`: a `Layout` whose matrices have their places."""
    graph, then = layout.graph, Then.NOTHING
    static = all(norm.output.static for norm in graph.of_kind(Kind.NORM))
    if not (layout.config.chained and static and linear in graph.layer) or linear.gated:
        return then
    reader = graph.readers(linear.output.name, graph.layer)[0]
    if reader.kind is Kind.ADD:
        then = Then.SQUARES
    elif linear.bias:  # its operand is where the results go
        return then
    elif reader.kind is Kind.ACTIVATE and reader.function == "silu":
        then = Then.SILU
    elif reader.kind is Kind.ROTATE and keys_at_once(graph) and _turns(layout):
        then = Then.TURN
    return then if _has_time(layout.config, layout.matrices[linear.name], then) else Then.NOTHING


def is_chained(layout) -> bool:
    """Whether the VXM goes on with the results of any matrix."""
    return any(then_of(layout, linear) is not Then.NOTHING for linear in layout.linears)


def turned(layout) -> bool:
    """Whether the VXM turns queries and keys between the results of the product that makes them, where they are."""
    return any(then_of(layout, linear) is Then.TURN for linear in layout.linears)


def _turns(layout):
    """Whether a head has as many results as TURN can count: whole ones, a power of two."""
    results, rest = divmod(layout.head, layout.config.cols)
    return rest == 0 and results & results - 1 == 0


def _has_time(config, matrix: Matrix, then: Then) -> bool:
    """Whether the VXM is done with a result before the next comes."""
    return matrix.groups == 1 and not matrix.first and matrix.rate >= inner_beats(config, then)


def makes_squares(layout, norm: Operation) -> bool:
    """Whether the sum of squares that a NORM needs is made within the product before it. Before the first layer it is
    made by a pass."""
    linear = _summand(layout.graph, norm)
    return linear is not None and then_of(layout, linear) is Then.SQUARES


def _summand(graph: Graph, norm: Operation) -> Operation | None:
    """The LINEAR whose results are added to the residual that a NORM reads; for the first NORM of a layer, that of the layer
    before."""
    adds = [each for each in graph.layer if each.kind is Kind.ADD]
    before = [each for each in adds if each.output.name == norm.inputs[0] and norm in graph.layer[graph.layer.index(each):]]
    add = (before or adds)[-1]
    producer = graph.producer(add.inputs[1], graph.layer)
    return producer if producer.kind is Kind.LINEAR else None
