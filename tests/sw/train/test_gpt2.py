"""A GPT-2 that PyTorch trains is, as a folder, the same model, and runs on the tile."""

import json

import click
import numpy as np
import pytest

from marey.hdl.spec.config import preset
from marey.sim.endpoint import Endpoint
from marey.sw.compiler.compile import compile_quantised
from marey.sw.formats import load_model, load_tokenizer
from marey.sw.model.config import ModelConfig
from marey.sw.model.reference import Reference
from marey.sw.quant.quantise import quantise
from marey.sw.runtime.driver import Device
from marey.sw.views.evaluate import evaluate
from tests.greedy import greedy_steps
from tests.vocabularies import byte_level

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install 'marey[train]'")

SHAPE = ModelConfig(dim=24, hidden_dim=40, n_layers=2, n_heads=3, n_kv_heads=3, vocab_size=400, seq_len=16, family="gpt2")


def test_the_folder_says_what_the_network_says(tmp_path):
    from marey.sw.train import gpt2

    torch.manual_seed(5)
    network = gpt2.Network(SHAPE)
    with torch.no_grad():
        for values in network.parameters():  # else biases were 0 and gains 1
            values.add_(0.1 * torch.randn_like(values))
    gpt2.write(tmp_path / "m", gpt2.checkpoint(network), byte_level("gpt-2"))
    model, tokens = load_model(tmp_path / "m"), torch.randint(SHAPE.vocab_size, (1, 12))
    assert model.config == SHAPE
    expected = network(tokens)[0].detach().numpy()[0]
    reference = Reference(model)
    found = np.stack([reference.step(tokens[:, position].numpy(), position)[0] for position in range(12)])
    # Two float32 implementations of one sum.
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(("family", "word"), [("llama", "written as a file, and a folder is there"),
                                              ("gpt2", "written as a folder, and a file is there")])
def test_what_cannot_be_written_is_refused_before_the_training(tmp_path, family, word):
    from marey.sw.train.__main__ import main

    path = tmp_path / "there"
    path.mkdir() if family == "llama" else path.write_text("")
    with pytest.raises(click.UsageError, match=word):
        main(["-o", str(path), "--family", family, "--steps", "1"], standalone_mode=False)


@pytest.mark.slow
def test_a_trained_model_on_the_tile(tmp_path):
    """From the seed to tokens: it learns, its integers are as good, and the tile says what they say in the cycles predicted."""
    from marey.sw.train.__main__ import main

    folder, log, text = tmp_path / "m", tmp_path / "log.json", tmp_path / "text.txt"
    main(["-o", str(folder), "--family", "gpt2", "--steps", "80", "--log", str(log)], standalone_mode=False)
    (point,) = json.loads(log.read_text())["curve"]
    # A network that knows nothing is at the logarithm of 384 words, 5.95.
    assert point["held_out"] < 5
    model, tile = load_model(folder), preset("sim8x8_gelu")
    quantised = quantise(model)
    program = compile_quantised(quantised, tile, load_tokenizer(None, folder, model.config.vocab_size))
    assert program.mode == "resident" and program.model.context == 128
    with Device(Endpoint(tile), tile) as device:
        device.load(program)
        found = list(greedy_steps(program, quantised, device, 12))
    assert [cycles for _, cycles in found] == [program.cycles(position) for position in range(12)]
    text.write_text("Once upon a time, there was a little girl named Lily. She had a red ball. " * 12)
    result = evaluate(folder, text, quants=("int8",))
    assert result["int8"]["ratio"] < 1.02 and result["int8"]["top1_agreement"] > 0.9
