"""The network that is trained is the model that is quantised."""

import json

import numpy as np
import pytest

from marey.sw.formats import gguf
from marey.sw.formats.tiny import tiny_tokenizer
from marey.sw.model.config import ModelConfig
from marey.sw.model.reference import Reference

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install 'marey[train]'")

SHAPE = ModelConfig(dim=32, hidden_dim=64, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=64, seq_len=16)


def test_the_checkpoint_says_what_the_network_says(tmp_path):
    from marey.sw.train.network import Network, checkpoint, write

    torch.manual_seed(5)
    network = Network(SHAPE)
    write(tmp_path / "m.gguf", checkpoint(network), tiny_tokenizer(SHAPE.vocab_size))
    model = gguf.read(tmp_path / "m.gguf")
    tokens = torch.randint(SHAPE.vocab_size, (1, 12))
    expected = network(tokens)[0].detach().numpy()[0]
    reference = Reference(model)
    found = np.stack([reference.step(tokens[:, position].numpy(), position)[0] for position in range(12)])
    # Two float32 implementations of one sum.
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_weights_learn_on_their_grid():
    from marey.sw.train.network import LIMIT, Matrix

    torch.manual_seed(5)
    matrix, target = Matrix(8, 32, 0.1), torch.randn(8, 32) * 0.1
    optimizer = torch.optim.Adam(matrix.parameters(), lr=1e-2)
    first = None
    for _ in range(200):
        loss = (matrix() - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first = first or loss.item()
    integers, step = matrix.grid()
    assert torch.equal(integers, integers.round()) and integers.abs().max() <= LIMIT
    torch.testing.assert_close(integers * step, matrix())
    assert loss.item() < first


def test_a_training_repeats_and_learns(tmp_path):
    from marey.sw.train.__main__ import main

    files = []
    for name in ("one", "two"):
        main(["-o", str(tmp_path / f"{name}.gguf"), "--log", str(tmp_path / "log.json"), "--steps", "20"],
             standalone_mode=False)
        files.append((tmp_path / f"{name}.gguf").read_bytes())
    assert files[0] == files[1]
    (point,) = json.loads((tmp_path / "log.json").read_text())["curve"]
    # A network that knows nothing is at the logarithm of 384 words, 5.95.
    assert point["step"] == 20 and point["loss"] < 5.8
