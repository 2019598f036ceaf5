"""Feed-forward networks: what is legal, and what only integers need."""

from dataclasses import replace

import numpy as np
import pytest

from marey.sw.model.graph import GraphError, Kind, Number
from marey.sw.model.network import Network, check_network, integer_network, with_heads
from marey.sw.model.network_reference import run
from tests.networks import attending, every_kind, operation, with_weights

NETWORK = every_kind(6, 5)


def refused(network, what):
    with pytest.raises(GraphError, match=what):
        check_network(network)


def test_a_legal_network_is_returned():
    assert check_network(NETWORK) is NETWORK
    assert {each.kind for each in NETWORK.operations} == {
        Kind.LINEAR,
        Kind.ACTIVATE,
        Kind.NORM,
        Kind.ADD,
        Kind.MULTIPLY,
    }


def test_what_is_illegal_is_named():
    first, *rest = NETWORK.operations
    refused(Network(NETWORK.source, ()), "without operations")
    refused(replace(NETWORK, operations=tuple(rest)), "read before it is made")
    refused(replace(NETWORK, operations=(first, *NETWORK.operations)), "is made twice")
    refused(
        replace(NETWORK, operations=(replace(first, kind=Kind.ROTATE, weights=(), bias=()),)),
        "not in a network",
    )
    refused(replace(NETWORK, operations=(first, replace(rest[0], function="tanh"))), "function 'tanh'")
    attention = attending(2, 4)
    scores, softmax, values = attention.attentions()[0]
    refused(replace(attention, operations=(*attention.operations[:3], softmax)), "before it is made")
    first_three = attention.operations[:3]
    refused(replace(attention, operations=(*first_three, scores, first_three[0])), "made twice")
    relu = operation(Kind.ACTIVATE, "between", ["q"], 8, function="relu")
    apart = (*first_three, scores, relu, softmax, values)
    refused(replace(attention, operations=apart), "must follow a SCORES")
    refused(replace(attention, positions=0), "number of its positions")
    late = replace(operation(Kind.EMBED, "late", ["in"], 6), weights=("table",))
    refused(replace(NETWORK, operations=(first, late)), "its inputs must be a token")


def test_each_value_that_a_matrix_reads_becomes_int8_right_behind_what_makes_it():
    made = integer_network(NETWORK)
    assert [each.kind for each in made.operations].count(Kind.QUANTISE) == len(
        {each.inputs[0] for each in NETWORK.of_kind(Kind.LINEAR)})
    for number, each in enumerate(made.operations):
        if each.kind is Kind.QUANTISE:
            before = made.operations[number - 1].output.name if number else made.source.name
            assert each.inputs == (before,) and each.output.number is Number.NARROW
    assert made.macs() == NETWORK.macs() == 5 * 6 + 5 * 5 + 5 * 5


def test_the_reference_computes_each_kind():
    model = with_weights(NETWORK, 3)
    x, seen = np.linspace(-1, 1, 12).reshape(2, 6), {}
    made = run(model, x, seen.__setitem__)
    assert np.array_equal(made, seen[NETWORK.result.name]) and set(seen) == set(NETWORK.values)
    assert seen["relu"].min() >= 0 and np.array_equal(seen["relu"], np.maximum(seen["first"], 0))
    assert np.allclose(seen["silu"], seen["sum"] / (1 + np.exp(-seen["sum"])))
    gains, bias = (model.arrays[name] for name in ("norm.gain", "norm.bias"))
    assert np.allclose((((seen["norm"] - bias) / gains) ** 2).mean(axis=1), 1, atol=1e-3)  # the epsilon


def test_attention_sees_the_positions_before():
    model = with_weights(attending(2, 4, positions=5), 1)
    x = np.random.default_rng(1).normal(size=(2, 5, 6))
    whole, first = run(model, x), run(model, x[:, :3])
    assert np.allclose(whole[:, :3], first) and not np.allclose(whole[:, 3:], np.roll(whole, 1, 1)[:, 3:])
    seen = {}
    run(model, x, seen.__setitem__)
    q, k, v = (seen[name].reshape(2, 5, 2, 4) for name in "qkv")
    for at in range(5):
        products = np.einsum("bhc,bnhc->bhn", q[:, at], k[:, :at + 1]) / 2
        weights = np.exp(products) / np.exp(products).sum(axis=-1, keepdims=True)
        expected = np.einsum("bhn,bnhc->bhc", weights, v[:, :at + 1])
        assert np.allclose(seen["averaged"].reshape(2, 5, 2, 4)[:, at], expected)
    with pytest.raises(ValueError, match="sequences of 6, and the network has 5 positions"):
        run(model, np.zeros((1, 6, 6)))


def test_each_value_has_the_heads_as_which_attention_reads_it():
    network = attending(2, 4)
    assert {name: network.values[name].heads for name in ("in", "q", "k", "v", "averaged", "sum", "out")} == {
        "in": 0, "q": 2, "k": 2, "v": 2, "averaged": 2, "sum": 2, "out": 0}
    (scores, softmax, values), first = network.attentions()[0], network.operations[:3]
    other = replace(scores, name="other", output=replace(scores.output, name="others", heads=4))
    more = (other, replace(softmax, name="s", inputs=("others",), output=replace(softmax.output, name="w")),
            replace(values, name="a", inputs=("w", "v"), output=replace(values.output, name="b")))
    with pytest.raises(GraphError, match="other: q would have 4 heads, and elsewhere 2"):
        with_heads(replace(network, operations=(*first, scores, softmax, values, *more)))
