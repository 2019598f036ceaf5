"""SmolLM2-135M-Instruct, a real language model, whole on the preset for language models: what it takes, and what it says."""

import time
from dataclasses import replace
from pydoc_data.topics import topics

import numpy as np
import pytest

from marey.hdl.spec.config import preset
from marey.sim.backends import open_transport
from marey.sw.cli import calibrations
from marey.sw.cli.compiling import compile_model_file
from marey.sw.compiler.compile import schedule
from marey.sw.compiler.integers import integers_for
from marey.sw.compiler.plan import lay_out_model
from marey.sw.formats import load_model, load_shape, load_tokenizer
from marey.sw.formats.sources import SourceError, located
from marey.sw.model.reference import Reference
from marey.sw.program.verified import verify
from marey.sw.quant.golden import Golden
from marey.sw.quant.outline import outline_of_shape
from marey.sw.runtime.conversation import prompt_tokens, question
from marey.sw.runtime.driver import Device
from marey.sw.runtime.generate import generate
from marey.sw.runtime.verify import GoldenReference, Verifier
from marey.sw.views.evaluate import score
from tests.real_models import config_folder

CONFIG = preset("lpu16x16")
INT4 = replace(CONFIG, name="lpu16x16_int4", weight_bits=4, mem_depth=1 << 19)
LOADED_S, RULES_S, TOKEN_S = 20, 20, 5
"""Seconds of CPU time, at most: to put the weights into the simulator, to check the rules, and for a token in Verilator."""


def utilisation(program, position):
    """The MAC floor of the token at a position over its predicted cycles."""
    return program.graph.macs(position) / CONFIG.macs / program.cycles(position)


@pytest.mark.slow
def test_the_rules_of_thirty_layers(tmp_path):
    """They are decided for all of 2,048 positions in seconds; the utilisation is near the floor at all of them."""
    shape = load_shape(config_folder(tmp_path / "smollm2", "SmolLM2-135M-Instruct"))
    outline = outline_of_shape(shape, CONFIG.weight_bits)
    program, begun = schedule(lay_out_model(CONFIG, outline), outline), time.process_time()
    assert len(verify(program)) == 2048 // CONFIG.block + 3 * len(program.entries)
    assert time.process_time() - begun < RULES_S
    for position in (0, 127, 1023):
        assert utilisation(program, position) > 0.95


def smollm2():
    """The model's file, fetched if need be; without a network the test skips."""
    try:
        return located("smollm2")
    except SourceError as error:
        pytest.skip(f"there is no SmolLM2 here: {error}")


def compiled_for(config):
    return compile_model_file(smollm2(), None, config)


@pytest.fixture(scope="module")
def compiled():
    return compiled_for(CONFIG)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["verilator", "emulator"])
def test_it_answers(compiler, compiled, backend):
    """Each token is the golden model's, in the cycles predicted. The weights are there in seconds, and a token takes some."""
    program = compiled.program
    assert program.mode == "resident" and program.model.context == 2048
    for position in (0, 127, 1023):
        assert utilisation(program, position) > 0.95
    with Device(open_transport(CONFIG, backend), CONFIG) as device:
        begun = time.process_time()
        device.load(program)
        loaded = time.process_time() - begun
        prompt = prompt_tokens(program, program.template, question("What is the capital of France?"))
        verifier, begun = Verifier(GoldenReference(compiled.quantised)), time.process_time()
        result = generate(device, program, prompt, 30, verifier=verifier)
        seconds = (time.process_time() - begun) / len(result.steps)
    print(f"{backend}: loaded in {loaded:.1f} s, {seconds:.2f} s a token with the golden model's, {result.utilisation:.1%}, "
          f"{result.text!r}")
    assert result.verified_count >= len(result.tokens) > 3
    assert result.predicted_cycles == result.measured_cycles
    assert loaded < LOADED_S and seconds < TOKEN_S
    assert result.text == "The capital of France is Paris."


@pytest.mark.slow
def test_weights_of_4_bits(compiler):
    """With the 4 bits of the file, each token is the golden model's, too, in the cycles predicted."""
    compiled = compiled_for(INT4)
    assert compiled.quantised.offsets and compiled.program.mode == "resident"
    with Device(open_transport(INT4, "verilator"), INT4) as device:
        device.load(compiled.program)
        prompt = prompt_tokens(compiled.program, compiled.program.template, question("What is the capital of France?"))
        result = generate(device, compiled.program, prompt, 8, verifier=Verifier(GoldenReference(compiled.quantised)))
    print(f"{result.measured_cycles:,} cycles, {len(result.steps)} steps, {result.text!r}")
    assert result.verified_count >= len(result.tokens) > 3
    assert result.predicted_cycles == result.measured_cycles


@pytest.mark.slow
@pytest.mark.parametrize(("config", "most"), [(CONFIG, 1.02), (INT4, 1.10)], ids=["int8", "int4"])
def test_english_that_it_did_not_write(config, most):
    """Perplexity over float32's on 4,064 tokens of Python's own documentation, KV cache included, 32 texts of 127 tokens."""
    path = smollm2()
    model = load_model(path)
    integers = calibrations.quantised(model, **integers_for(config, model.config, model))
    words = load_tokenizer(None, path, model.config.vocab_size).encode("\n\n".join(topics[name] for name in sorted(topics)),
                                                                       begin=False)
    starts = np.linspace(0, len(words) - 128, 32).astype(int)
    texts = np.array([[model.config.bos, *words[start:start + 127]] for start in starts])
    losses = [score({"float32": Reference(model, 8), "integers": Golden(integers, 8)}, rows)[0] for rows in np.split(texts, 4)]
    more = np.concatenate([found["integers"] - found["float32"] for found in losses], axis=1)
    ratio, error = np.exp(more.mean()), more.std() / np.sqrt(more.size)
    print(f"{config.name}: x{ratio:.4f} +- {error:.4f} on {more.size} tokens")
    assert ratio < most
