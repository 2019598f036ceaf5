"""Static inputs of matrices: the tile computes the golden model's integers, and the passes that need no unit are gone."""

from dataclasses import replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from marey.hdl.spec.config import preset
from marey.hdl.spec.isa import Op, Reduce, Sfu, To
from marey.sim.endpoint import Endpoint
from marey.sw.compiler.compile import compile_quantised
from marey.sw.compiler.integers import integers_for
from marey.sw.compiler.layout import CompileError
from marey.sw.compiler.plan import plan_streamed
from marey.sw.formats import DEFAULT_MODEL, load_model
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.model.graph import Kind
from marey.sw.model.model import Model
from marey.sw.quant.outline import Outline
from marey.sw.quant.quality import quality
from marey.sw.quant.quantise import quantise
from marey.sw.quant.static import may_be_gated
from marey.sw.runtime.driver import Device
from tests.configs import INT4, ONE_PORT, ROOMY
from tests.greedy import greedy_steps
from tests.models import without_gains

SHAPE = ModelConfig(dim=32, hidden_dim=44, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=40, seq_len=20)
TILES = [replace(config, gelu=1) for config in (ROOMY[0], ROOMY[3], INT4[0], INT4[3], ONE_PORT[1], ONE_PORT[3])]


def quantised(model, config):
    return quantise(model, config.weight_bits, cache_bits=config.cache_bits, static=True)


@settings(max_examples=6, deadline=None, phases=set(Phase) - {Phase.shrink})
@given(config=st.sampled_from(TILES), heads=st.sampled_from([1, 2, 4]), hidden=st.integers(20, 60), tied=st.booleans(),
       gains=st.booleans(), family=st.sampled_from(["llama", "qwen2", "qwen3", "gpt2"]))
def test_any_shape(config, heads, hidden, tied, gains, family):
    """With gains of norms, without, and in matrices; and with a hidden vector that no MULTIPLY makes."""
    drawn = tiny_model(ModelConfig(dim=8 * heads, hidden_dim=hidden, n_layers=2, n_heads=heads, n_kv_heads=heads,
                                   vocab_size=30, seq_len=20, tied=tied, family=family))
    model = quantised(drawn if gains or family != "llama" else without_gains(drawn), config)
    assert model.static and not model.balanced
    program = compile_quantised(model, config)
    with Device(Endpoint(config), config) as device:
        device.load(program)
        assert len(list(greedy_steps(program, model, device, 3))) == 3
        assert device.tally.measured == device.tally.predicted


def test_nothing_looks_for_a_largest_value_or_makes_a_scalar_but_for_the_norms_and_the_softmax():
    program = compile_quantised(quantised(without_gains(tiny_model(SHAPE)), ONE_PORT[1]), ONE_PORT[1])
    code = program.image.instructions
    assert not [each for each in code if each.op is Op.VXM and each["reduce"] is Reduce.ABSMAX]
    assert {each["function"] for each in code if each.op is Op.SFU} == {Sfu.RSQRT, Sfu.RECIPROCAL}


def test_the_graph_has_no_quantise_and_no_scaled_matrix():
    graph = quantised(tiny_model(SHAPE), ROOMY[0]).graph
    assert not list(graph.of_kind(Kind.QUANTISE)) and not any(each.scaled for each in graph.of_kind(Kind.LINEAR))
    assert {each.output.name for each in graph.operations if each.output.static} == {
        "attention_input", "ffn_input", "hidden", "final_input"}


def test_it_costs_little():
    ratios = [quality(tiny_model(SHAPE), quantise(tiny_model(SHAPE), static=static)) for static in (False, True)]
    assert 1 <= ratios[1] < 1.02 and ratios[1] < ratios[0] + 0.01


def test_a_matrix_with_one_step_multiplies_by_the_gate_on_its_way():
    """No pass makes the product, and the function's results are read as factors."""
    model = quantised(without_gains(tiny_model(SHAPE)), ONE_PORT[1])
    (gated,) = (each for each in model.graph.operations if each.gated)
    assert gated.name == "w3" and gated.inputs == ("ffn_input", "activated") and gated.output.static
    assert not list(model.graph.of_kind(Kind.MULTIPLY)) and "w3" not in model.uniform
    program = compile_quantised(model, ONE_PORT[1])
    passes = [each.operation for each in program.image.instructions if each.op is Op.VXM and not each["stream"]]
    assert passes.count("silu") == len(program.entries) and not {"w3", "gated"} & set(passes)


@pytest.mark.parametrize("config", [ROOMY[0], INT4[3], ONE_PORT[1], ONE_PORT[3]], ids=lambda config: config.name)
def test_keys_go_to_the_cache_as_they_are_turned(config):
    """No pass adds offsets to them, and MEM holds none."""
    model = quantised(tiny_model(SHAPE), config)
    assert not [name for name in model.vectors if "key_offset" in name]
    program = compile_quantised(model, config)
    turned = [each for each in program.image.instructions if each.op is Op.VXM and each["to"] is To.KEYS]
    assert turned and all(each["pair"] and not each["plus"] for each in turned)
    pairs = [each for each in program.image.instructions if each.op is Op.VXM and each["pair"]]
    assert len(pairs) == len(turned) + 2 * len(program.entries)


@pytest.mark.parametrize("change", ["steps", "bits", "bias"])
def test_other_matrices_do_not(change):
    """Those with a step for each output, with 8 bits, or with a bias."""
    model = without_gains(tiny_model(SHAPE), 1 if change == "steps" else None)
    if change == "bias":
        layer = tuple(replace(each, bias=("b3",)) if each.name == "w3" else each for each in model.graph.layer)
        model = Model(model.config, model.weights, replace(model.graph, layer=layer))
    assert not may_be_gated(model, 8 if change == "bits" else 4)
    assert may_be_gated(without_gains(tiny_model(SHAPE)), 4)


def test_the_way_of_a_gated_product_costs_little():
    plain = without_gains(tiny_model(SHAPE))
    assert 1 <= quality(plain, quantise(plain, 4, static=True)) < 1.02


@pytest.mark.parametrize(("config", "static"), [("up5k_4x4", True), ("hx8k_2x2", False), ("sim8x8_int4", False)])
def test_which_tiles_have_static_models(config, static):
    """Those whose VXM has one engine, for models that are resident there."""
    model = load_model(DEFAULT_MODEL)
    assert integers_for(preset(config), model.config, model)["static"] == static


def test_no_static_model_is_streamed():
    with pytest.raises(CompileError, match="inputs of matrices must have scalars"):
        plan_streamed(ROOMY[0], Outline.of(quantised(tiny_model(SHAPE), ROOMY[0])))
