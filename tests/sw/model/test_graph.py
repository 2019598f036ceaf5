"""What is a legal graph, and how many multiply-accumulates a token takes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marey.sw.errors import FormatError
from marey.sw.model.config import ModelConfig
from marey.sw.model.families import FAMILIES, graph_of, weight_shapes
from marey.sw.model.graph import LEGAL, GraphError, Kind, Number, Operation, Phase, Value, check
from marey.sw.model.integer_graph import INTEGER, integer_graph
from tests.models import shapes

LLAMA = ModelConfig(dim=32, hidden_dim=44, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=50, seq_len=40)
GPT2 = replace(LLAMA, n_kv_heads=4, family="gpt2")
GRAPHS = {"llama": graph_of(LLAMA), "gpt2": graph_of(GPT2), "qwen3": graph_of(replace(LLAMA, family="qwen3", head_width=12))}
INTEGERS = {name: integer_graph(graph) for name, graph in GRAPHS.items()} | {
    "balanced llama": integer_graph(GRAPHS["llama"], balanced=True),
    "llama with offsets": integer_graph(GRAPHS["llama"], balanced=True, offsets=True),
    "static llama": integer_graph(GRAPHS["llama"], static=True),
    "gated llama": integer_graph(GRAPHS["llama"], static=True, gated=True)}
EXTRA = Operation(kind=Kind.ADD, name="extra", inputs=("x", "x"), output=Value("extra", 32, Number.WIDE), phase=Phase.FFN)
"""An operation that is legal wherever there is a residual."""


def regions(graph, change):
    """The graph with each region as `change(name of the region, its operations)` returns it."""
    return replace(graph, **{name: tuple(change(name, getattr(graph, name))) for name in ("begin", "layer", "end")})


def changed(graph, name, **fields):
    """The graph with other fields in one operation."""
    return regions(graph, lambda _, operations: [replace(each, **fields) if each.name == name else each for each in operations])


def operations():
    """Each operation of each family, float and with integers: (graph, whether it is of integers, operation)."""
    return [pytest.param(graph, integers, operation, id=f"{family}-{operation.name}{'-int' * integers}")
            for integers, graphs in ((False, GRAPHS), (True, INTEGERS)) for family, graph in graphs.items()
            for operation in graph.operations]


def refused(graph, message, integers=False):
    """Checks that the graph is refused in one line that matches `message`."""
    with pytest.raises(GraphError, match=message) as caught:
        check(graph, integers)
    assert "\n" not in str(caught.value)


def test_every_kind_has_a_rule_and_an_example():
    used = {operation.kind for graph in (*GRAPHS.values(), *INTEGERS.values()) for operation in graph.operations}
    assert used == LEGAL.keys() == set(Kind)


@given(shapes(), st.sampled_from(sorted(FAMILIES)))
def test_graphs_of_every_family_are_legal(shape, family):
    """Float graphs, and those that the quantiser makes of them."""
    kv_heads = shape.n_heads if family == "gpt2" else shape.n_kv_heads
    graph = graph_of(replace(shape, family=family, n_kv_heads=kv_heads))
    assert check(graph) is graph
    assert check(integer_graph(graph), integers=True)


def test_families_that_do_not_exist():
    with pytest.raises(FormatError, match="no family of models is called 'mamba': there are llama, gpt2"):
        graph_of(replace(LLAMA, family="mamba"))


# The rules of an operation.


@pytest.mark.parametrize(("graph", "integers", "operation"), operations())
def test_inputs_must_have_been_made(graph, integers, operation):
    for index in range(len(operation.inputs)):
        inputs = [*operation.inputs]
        inputs[index] = "nothing"
        refused(changed(graph, operation.name, inputs=tuple(inputs)),
                rf"^{operation.name} \({operation.kind.name}\): nothing is read before it is made$", integers)


def test_a_value_is_read_before_it_is_made():
    """Operations in the wrong order."""
    def reverse(name, operations):
        return operations[::-1] if name == "layer" else operations

    refused(regions(GRAPHS["llama"], reverse), "ffn_add .*: middle is read before it is made")


@pytest.mark.parametrize(("graph", "integers", "operation"), operations())
def test_inputs_must_be_numbers_of_their_kind(graph, integers, operation):
    """Another kind of number in the place of each input, in turn. A LINEAR of a float graph takes 8 and 16 bits."""
    made = {"token": Number.INDEX, "position": Number.INDEX} | {each.output.name: each.output.number
                                                                 for each in graph.operations}
    region = next(name for name in ("begin", "layer", "end") if operation in getattr(graph, name))
    earlier = [*graph.begin, *(graph.layer if region == "end" else ())] if region != "begin" else []
    for each in getattr(graph, region):
        if each is operation:
            break
        earlier.append(each)
    known = ["token", *(each.output.name for each in earlier)]
    tried = 0
    for index, name in enumerate(operation.inputs):
        for other in {made[each]: each for each in known if made[each] is not made[name]}.values():
            inputs = [*operation.inputs]
            inputs[index] = other
            wrong = changed(graph, operation.name, inputs=tuple(inputs))
            tried += 1
            if operation.kind is Kind.LINEAR and not integers and made[other] in (Number.WIDE, Number.NARROW):
                assert check(wrong)
            else:
                refused(wrong, rf"^{operation.name} \({operation.kind.name}\): its inputs must be ", integers)
    assert tried or region == "begin"


@pytest.mark.parametrize(("graph", "integers", "operation"), operations())
def test_inputs_must_be_as_many_as_the_rule_says(graph, integers, operation):
    for inputs in (operation.inputs + operation.inputs[-1:], operation.inputs[:-1]):
        refused(changed(graph, operation.name, inputs=inputs), f"^{operation.name} .*: its inputs must be ", integers)


@pytest.mark.parametrize(("graph", "integers", "operation"), operations())
def test_outputs_must_be_numbers_of_their_kind(graph, integers, operation):
    for number in set(Number) - {operation.output.number}:
        refused(changed(graph, operation.name, output=replace(operation.output, number=number)),
                rf"^{operation.name} \({operation.kind.name}\): its output must be {operation.output.number.value}$", integers)


@pytest.mark.parametrize(("graph", "integers", "operation"), operations())
def test_weights_must_be_as_many_as_the_rule_says(graph, integers, operation):
    least, most = LEGAL[operation.kind].weights
    for count in range(4):
        found = changed(graph, operation.name, weights=("embedding",) * count)
        if least <= count <= most:
            assert check(found, integers)
        else:
            refused(found, rf"^{operation.name} \({operation.kind.name}\): {count} weights$", integers)


@pytest.mark.parametrize(("graph", "integers", "operation"), operations())
def test_functions_are_those_of_the_kind(graph, integers, operation):
    for function in {"", "silu", "gelu", "rms", "layer", "relu"}:
        found = changed(graph, operation.name, function=function, bias=())
        if function in LEGAL[operation.kind].functions:
            assert check(found, integers)
        else:
            refused(found, rf"^{operation.name} \({operation.kind.name}\): function '{function}'$", integers)


@pytest.mark.parametrize(("graph", "integers", "operation"), operations())
def test_a_bias_is_for_products_and_layer_norms(graph, integers, operation):
    found = changed(graph, operation.name, bias=("bias",))
    if (operation.kind is Kind.LINEAR and not operation.gated) or operation.function == "layer":
        assert check(found, integers)
    else:
        refused(found, rf"^{operation.name} \({operation.kind.name}\): such an operation has no bias$",
                    integers)


@pytest.mark.parametrize(("graph", "integers", "operation"),
                         [each for each in operations() if each.values[2].kind in (Kind.ADD, Kind.MULTIPLY)])
def test_sums_and_products_have_one_size(graph, integers, operation):
    refused(changed(graph, operation.name, output=replace(operation.output, size=7)),
            rf"^{operation.name} .*: sizes \[(\d+), \1\] and 7 differ$", integers)
    for name in operation.inputs:
        if producer := graph.producer(name, graph.layer):
            shorter = changed(graph, producer.name, output=replace(producer.output, size=7))
            refused(shorter, r"sizes \[.*\] and \d+ differ$", integers)


# The rules of a graph.


def test_a_value_is_made_once():
    for name, graph in GRAPHS.items():
        refused(changed(graph, "v", output=replace(graph.find("v").output, name="qk")), "^v: qk is made twice$")
        twice = regions(graph, lambda name, operations: [*operations, EXTRA, replace(EXTRA, name="again")]
                        if name == "layer" else operations)
        refused(twice, "^again: extra is made twice$")
        assert check(regions(graph, lambda name, operations: [*operations, EXTRA] if name == "layer" else operations)), name


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
@pytest.mark.parametrize("region", ["begin", "layer"])
def test_the_next_region_finds_a_residual(graph, region):
    """Each of the first two regions makes x itself, as wide as the model."""
    message = "the residual x must have 32 channels$"

    last = next(each for each in reversed(getattr(graph, region)) if each.output.name == "x")
    wide = Operation(kind=Kind.EMBED, name=last.name, inputs=("token",), output=Value("x", 64, Number.WIDE),
                     phase=Phase.EMBEDDING, weights=("embedding",))
    refused(changed(graph, last.name, output=replace(last.output, name="y")), message)
    refused(regions(graph, lambda name, operations: () if name == region else operations), "^an empty region: " + message)
    refused(regions(graph, lambda name, operations: [wide if name == region and each is last else each for each in operations]),
            message)


def test_a_token_ends_with_a_choice():
    graph = GRAPHS["gpt2"]
    for end in ((), graph.end[:-1], (*graph.end, replace(EXTRA, name="more"))):
        refused(replace(graph, end=end), "^the last operation must be CHOOSE, the choice of the next token$")


def test_what_the_quantiser_adds():
    """8-bit inputs for each LINEAR, of a value that another operation has made, and heads without a rotation."""
    for family, graph in INTEGERS.items():
        added = [each.name for each in graph.operations if each.output.name.endswith(INTEGER)]
        assert added == ([] if family in ("static llama", "gated llama") else
                         ["heads", "hidden"] if family == "gpt2" else ["hidden"])
    for graph in GRAPHS.values():
        refused(graph, "^w2 .*: its inputs must be 8-bit integers", integers=True)


# Useful multiply-accumulates.


def test_macs_of_models_that_people_know():
    stories = graph_of(ModelConfig(dim=64, hidden_dim=172, n_layers=5, n_heads=8, n_kv_heads=4, vocab_size=512, seq_len=512))
    assert [stories.macs(position) for position in (0, 100)] == [259_328 + 640, 259_328 + 640 * 101]
    gpt2 = graph_of(ModelConfig(dim=768, hidden_dim=3072, n_layers=12, n_heads=12, n_kv_heads=12, vocab_size=50257,
                                seq_len=1024, family="gpt2"))
    assert gpt2.macs(0) == 12 * 12 * 768**2 + 50257 * 768 + 12 * 2 * 768


@given(shapes(), st.sampled_from(sorted(FAMILIES)), st.integers(0, 20))
def test_macs_are_the_weights_of_matrices_and_the_cache(shape, family, position):
    config = replace(shape, family=family, n_kv_heads=shape.n_heads if family == "gpt2" else shape.n_kv_heads)
    graph = graph_of(config)
    matrices = {name: size[0] * size[1] for name, size in weight_shapes(config).items()
                if len(size) == 2 and name not in ("embedding", "positions", "classifier")}
    inside, classifier = sum(matrices.values()), config.vocab_size * config.dim
    attention = 2 * config.n_layers * config.dim * (position + 1)
    assert graph.macs(position) == inside + classifier + attention
    assert graph.macs(position, wanted=False) == inside + attention
    assert graph.macs(position) == sum(graph.macs_of(operation, position) for operation in graph.operations)
