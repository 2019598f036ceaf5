"""Families on the tile: biases, scaled rotary embeddings, norms of queries and keys, heads of any width: logits and tokens
are the golden model's, in the predicted cycles."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from marey.hdl.spec.config import preset
from marey.sim import verilator
from marey.sim.endpoint import Endpoint
from marey.sw.compiler.compile import compile_quantised
from marey.sw.compiler.layout import CompileError
from marey.sw.formats.tiny import tiny_model, tiny_tokenizer
from marey.sw.model.config import ModelConfig
from marey.sw.model.reference import Reference
from marey.sw.model.rotary import llama3_factors
from marey.sw.quant.golden import Golden
from marey.sw.quant.quantise import quantise
from marey.sw.runtime.decoder import Decoder
from marey.sw.runtime.driver import Device
from marey.sw.runtime.prefill import HostPrefill
from marey.sw.runtime.verify import GoldenReference, Verifier
from marey.sw.text.sampling import Sampler
from tests.configs import INT4, ONE_PORT, ROOMY, any_shape
from tests.outliers import outlier_model

SHAPE = ModelConfig(dim=32, hidden_dim=44, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=300, seq_len=48, tied=False)
SCALED = {"llama3": llama3_factors(8, 10000.0, 8.0, 1.0, 4.0, 16), "linear": (4.0,) * 4}
KINDS = {**{name: {"rope_factors": factors} for name, factors in SCALED.items()}, "qwen2": {"family": "qwen2"},
         "qwen3": {"family": "qwen3"}}


def check(program, model, prompt, transport=Endpoint):
    """Three tokens behind a prompt, of which the tile runs the last two itself, and the host those before."""
    program = replace(program, tokenizer=tiny_tokenizer())
    reference = GoldenReference(model)
    with Device(transport(program.config), program.config) as device:
        device.load(program)
        HostPrefill(reference, program).fill(device.session, prompt[:-2], 0)
        decoder = Decoder(device, program, Verifier(reference, logits=True))
        decoder.tokens = prompt[:-2]
        made = [ran.made for ran in decoder.decode(prompt, 2, Sampler())]
        assert len(made) == 3 and decoder.verifier.token_count == 2
        assert device.tally.measured == device.tally.predicted


@settings(max_examples=4, deadline=None, phases=set(Phase) - {Phase.shrink})
@given(data=st.data())
def test_any_shape(data):
    """Also beyond position 32, where the angles are products of two tables' entries."""
    kind, shape = data.draw(st.sampled_from(sorted(KINDS))), data.draw(any_shape(48))
    width = 2 * data.draw(st.integers(1, 9))
    factors = np.random.default_rng(width).uniform(1, 9, width // 2) if "rope_factors" in KINDS[kind] else ()
    shape = replace(shape, seq_len=48, head_width=width, **KINDS[kind] | {"rope_factors": tuple(factors)})
    config = data.draw(st.sampled_from(ROOMY + INT4 + ONE_PORT))
    model = quantise((outlier_model if data.draw(st.booleans()) else tiny_model)(shape), config.weight_bits,
                     cache_bits=config.cache_bits)
    try:
        program = compile_quantised(model, config)
    except CompileError:
        assume(False)
    count = program.model.context - data.draw(st.integers(2, 4))
    check(program, model, np.random.default_rng(1).integers(0, shape.vocab_size, count).tolist())


@pytest.mark.parametrize("kind", ["llama3", "qwen3"])
def test_streamed(kind):
    shape = replace(SHAPE, **KINDS[kind])
    model = quantise(tiny_model(shape))
    program = compile_quantised(model, replace(ROOMY[0], wram_depth=400))
    assert program.mode == "streamed"
    check(program, model, list(range(1, program.model.context - 2)))


@pytest.mark.parametrize("kind", ["llama3", "qwen3"])
def test_on_the_rtl(compiler, kind):
    model = quantise(tiny_model(replace(SHAPE, **KINDS[kind])))
    check(compile_quantised(model, preset("tiny4x8")), model, list(range(1, 40)), verilator.open_tile)


@pytest.mark.parametrize("kind", KINDS)
def test_the_integers_follow_float32(kind):
    """Root mean square error of the logits below 5 % of their standard deviation: all values have 8 bits, and there are few
    channels."""
    model = tiny_model(replace(SHAPE, **KINDS[kind]))
    tokens = np.random.default_rng(2).integers(0, 300, (4, 48))
    reference, golden = Reference(model, 4), Golden(quantise(model), 4)
    exact = np.stack([reference.step(tokens[:, position], position) for position in range(48)], axis=1)
    assert np.sqrt(np.mean((golden.texts(tokens, 0) - exact) ** 2)) < 0.05 * exact.std()
