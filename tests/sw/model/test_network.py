"""Feed-forward networks: what is legal, and what only integers need."""

from dataclasses import replace

import numpy as np
import pytest

from marey.sw.model.graph import GraphError, Kind, Number
from marey.sw.model.network import Network, check_network, integer_network
from marey.sw.model.network_reference import run
from tests.networks import every_kind, operation, with_weights

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
        replace(NETWORK, operations=(replace(first, kind=Kind.SCORES, weights=(), bias=()),)),
        "not in a network",
    )
    refused(replace(NETWORK, operations=(first, replace(rest[0], function="tanh"))), "function 'tanh'")
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
