"""Feed-forward networks to test with."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from marey.sw.model.graph import Kind, Number, Operation, Phase, Value
from marey.sw.model.network import POSITION, Network, Weights, check_network, with_heads


def operation(kind, name, inputs, size, **how):
    """An operation that makes a value of its own name."""
    return Operation(
        kind=kind,
        name=name,
        inputs=tuple(inputs),
        output=Value(name, size, Number.WIDE),
        phase=Phase.FFN,
        **how,
    )


def linear(name, source, size, bias=True):
    """A matrix with its bias."""
    return operation(
        Kind.LINEAR, name, [source], size, weights=(f"{name}.weight",), bias=(f"{name}.bias",) * bias
    )


def every_kind(inputs: int, size: int, gate: str = "silu") -> Network:
    """A network that has every kind of operation but EMBED."""
    return check_network(
        Network(
            Value("in", inputs, Number.WIDE),
            (
                linear("first", "in", size),
                operation(Kind.ACTIVATE, "relu", ["first"], size, function="relu"),
                operation(
                    Kind.NORM,
                    "norm",
                    ["relu"],
                    size,
                    function="rms",
                    weights=("norm.gain",),
                    bias=("norm.bias",),
                ),
                linear("second", "norm", size),
                operation(Kind.ADD, "sum", ["second", "relu"], size),
                operation(Kind.ACTIVATE, gate, ["sum"], size, function=gate),
                operation(Kind.MULTIPLY, "product", [gate, "norm"], size),
                linear("third", "product", size, bias=False),
            ),
            {"norm": 1e-5},
        )
    )


def attention(name: str, q: str, k: str, v: str, heads: int, size: int) -> list[Operation]:
    """The operations of an attention whose result is called by its name."""
    score = Value(f"{name}.score", heads, Number.WIDE, heads)
    weight = Value(f"{name}.weight", heads, Number.NARROW, heads)
    return [replace(operation(Kind.SCORES, f"{name}.scores", [q, k], 1), output=score),
            replace(operation(Kind.SOFTMAX, f"{name}.softmax", [score.name], 1), output=weight),
            operation(Kind.VALUES, name, [weight.name, v], size)]


def attending(heads: int, head: int, positions: int = 10, index: bool = False) -> Network:
    """A network with an attention between matrices, a sum with its queries, and a table of positions
    if its input is a token."""
    size, first, name = heads * head, [], "in"
    if index:
        first = [operation(Kind.EMBED, "row", ["in"], 6, weights=("table",)),
                 operation(Kind.EMBED, "place", [POSITION], 6, weights=("places",)),
                 operation(Kind.ADD, "both", ["row", "place"], 6)]
        name = "both"
    matrices = [linear(each, name, size) for each in "qkv"]
    last = [operation(Kind.ADD, "sum", ["averaged", "q"], size), linear("out", "sum", 5)]
    source = Value("in", 1, Number.INDEX) if index else Value("in", 6, Number.WIDE)
    return check_network(with_heads(Network(
        source, (*first, *matrices, *attention("averaged", "q", "k", "v", heads, size), *last),
        positions=positions, scale={"averaged.scores": head**-0.5})))


def with_weights(network: Network, seed: int = 0) -> Weights:
    """The network with random weights, whose values stay near 1."""
    rng, arrays = np.random.default_rng(seed), {}
    for each in network.operations:
        inputs = network.values[each.inputs[0]].size if each.kind is not Kind.EMBED else 0
        for name in (*each.weights, *each.bias):
            matrix = each.kind is Kind.LINEAR and name in each.weights
            arrays[name] = (
                rng.normal(size=(each.output.size, inputs)) / inputs**0.5
                if matrix
                else rng.normal(size=(20, each.output.size) if each.kind is Kind.EMBED else each.output.size)
            )
    return Weights(network, {name: values.astype(np.float32) for name, values in arrays.items()})


@st.composite
def networks(draw, gates=("silu", "relu")) -> Network:
    """A network of up to six operations, each of which reads values that are there; the input is a
    vector or a row."""
    size = draw(st.integers(1, 20))
    source = Value("in", size, Number.WIDE)
    operations, known = [], {"in": size}
    if draw(st.integers(0, 3)) == 0:
        source = Value("rows", 1, Number.INDEX)
        operations, known = [operation(Kind.EMBED, "row", ["rows"], size, weights=("table",))], {"row": size}
    epsilon = {}
    for number in range(draw(st.integers(1, 6))):
        name, read = f"v{number}", draw(st.sampled_from(sorted(known)))
        pairs = [other for other in sorted(known) if known[other] == known[read]]
        match draw(st.sampled_from(["linear", "linear", "function", "add", "multiply", "norm"])):
            case "linear":
                made = linear(name, read, draw(st.integers(1, 20)), draw(st.booleans()))
            case "function":
                made = operation(
                    Kind.ACTIVATE, name, [read], known[read], function=draw(st.sampled_from(gates))
                )
            case "add":
                made = operation(Kind.ADD, name, [read, draw(st.sampled_from(pairs))], known[read])
            case "multiply":
                made = operation(Kind.MULTIPLY, name, [read, draw(st.sampled_from(pairs))], known[read])
            case "norm":
                made = operation(
                    Kind.NORM,
                    name,
                    [read],
                    known[read],
                    function="rms",
                    weights=(f"{name}.gain",) * draw(st.booleans()),
                    bias=(f"{name}.bias",) * draw(st.booleans()),
                )
                epsilon[name] = 1e-5
        operations.append(made)
        known[name] = made.output.size
    return check_network(Network(source, tuple(operations), epsilon))
