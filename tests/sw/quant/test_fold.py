"""Folding layer norms: the folded model computes the same logits, without layer norms and their
weights."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.model.families import graph_of
from marey.sw.model.graph import Graph, GraphError, Kind
from marey.sw.model.model import Model
from marey.sw.quant.fold import fold_layer_norms, folded
from tests.models import logits, shapes

SHAPE = ModelConfig(dim=24, hidden_dim=40, n_layers=2, n_heads=3, n_kv_heads=3, vocab_size=37, seq_len=12, family="gpt2")


def rewritten(model, name, **fields):
    """The model, with some fields of the operation `name` replaced in its graph."""
    graph = model.graph
    regions = [tuple(replace(each, **fields) if each.name == name else each for each in region)
               for region in (graph.begin, graph.layer, graph.end)]
    return Model(model.config, model.weights, Graph(model.config, *regions))


def assert_equal(folded, model):
    """Both models compute the same logits, up to float32 rounding.

    Folding is exact, but products of other weights are rounded differently. The tolerance is 2e-5 of
    the largest logit for each layer: room for the rounding errors, 2**-24 each, of some hundred sums.
    """
    expected, found = logits(model, 8), logits(folded, 8)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * max(1, np.abs(expected).max()) * model.config.n_layers)


@settings(max_examples=30, deadline=None)
@given(shape=shapes(), grouped=st.booleans(), seed=st.integers(0, 99))
def test_a_folded_model_says_the_same(shape, grouped, seed):
    """For any shape, tied or not; also with fewer KV heads than heads, which the family's graph
    allows."""
    shape = replace(shape, family="gpt2", n_kv_heads=shape.n_kv_heads if grouped else shape.n_heads)
    model = tiny_model(shape, seed)
    folded = fold_layer_norms(model)
    assert_equal(folded, model)
    assert not folded.config.tied and replace(folded.config, tied=shape.tied) == shape


def test_norms_and_biases_of_a_folded_model():
    """Norms have neither gains nor biases; keys and values have no biases; all that is added to the
    residual has the mean 0."""
    folded = fold_layer_norms(tiny_model(SHAPE))
    for norm in folded.graph.of_kind(Kind.NORM):
        assert (norm.function, norm.weights, norm.bias) == ("rms", (), ())
    for layer in range(SHAPE.n_layers):
        bias = folded.bias(folded.graph.find("qk"), layer)
        assert bias[:SHAPE.dim].any() and not bias[SHAPE.dim:].any()
        for name in ("wo", "w2"):
            # float64 sums, rounded to float32 once.
            assert np.abs(folded[f"layers.{layer}.{name}"].mean(axis=0)).max() < 1e-7
            assert abs(folded[f"layers.{layer}.{name}_bias"].mean()) < 1e-7
    assert folded.graph.find("v").bias == ()
    for name in ("embedding", "positions"):
        assert np.abs(folded[name].mean(axis=1)).max() < 1e-6
    classifier = folded.graph.find("classifier")
    assert classifier.bias == ("classifier_bias",) and classifier.scaled


def test_the_graph_does_not_depend_on_the_weights():
    """The folded graph of a model whose biases are 0, and that of the shape alone, are those of any
    model."""
    model = tiny_model(SHAPE)
    weights = {name: values * (not name.endswith("_bias")) for name, values in model.weights.items()}
    plain = fold_layer_norms(Model(SHAPE, weights))
    assert plain.graph == fold_layer_norms(model).graph == folded(graph_of(SHAPE))
    assert_equal(plain, Model(SHAPE, weights))


def test_a_model_without_layer_norms_stays_as_it_is():
    for model in (tiny_model(replace(SHAPE, family="llama")), fold_layer_norms(tiny_model(SHAPE))):
        assert fold_layer_norms(model) is model


def test_weights_of_the_model_stay_as_they_are():
    model = tiny_model(SHAPE)
    before = {name: values.copy() for name, values in model.weights.items()}
    fold_layer_norms(model)
    assert all(np.array_equal(values, before[name]) for name, values in model.weights.items())


@pytest.mark.parametrize("norm", ["attention_norm", "ffn_norm", "final_norm"])
def test_other_norms_beside_layer_norms_are_refused(norm):
    """A model with an RMS norm among its layer norms is refused."""
    model = rewritten(tiny_model(SHAPE), norm, function="rms", bias=())
    with pytest.raises(GraphError, match=f"{norm}: .* all norms must be layer norms") as caught:
        fold_layer_norms(model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["v", "qk", "w1", "classifier"])
def test_a_product_that_reads_the_residual_itself_is_refused(name):
    """In the folded model it would read a residual without its mean."""
    model = rewritten(tiny_model(SHAPE), name, inputs=("x" if name != "w1" else "middle",))
    with pytest.raises(GraphError, match=f"{name}: only layer norms and sums may read the residual") as caught:
        fold_layer_norms(model)
    assert "\n" not in str(caught.value)
