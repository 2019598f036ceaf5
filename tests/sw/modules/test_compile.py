"""`marey.compile`: modules on the tile give the golden model's results, near the module's own, in
the predicted cycles."""


import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'marey[torch]'")

from marey.hdl.spec.config import preset  # noqa: E402 - behind the check for PyTorch
from marey.hdl.spec.errors import MareyError  # noqa: E402
from marey.sw.errors import FormatError  # noqa: E402
from marey.sw.modules import compile  # noqa: E402
from marey.sw.modules.errors import ModuleError  # noqa: E402
from tests.docs.pages import ROOT, blocks  # noqa: E402

nn = torch.nn
ROWS = 200
"""Digits that the tile reads; the golden model reads all that are not for training."""


def digits():
    """(images to train with, their digits, images to test with, their digits) of scikit-learn, in a
    fixed order."""
    data = pytest.importorskip(
        "sklearn.datasets", reason="scikit-learn is not installed: pip install 'marey[dev]'"
    )
    images, numbers = data.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    images, numbers = torch.tensor(images[order] / 16, dtype=torch.float32), torch.tensor(numbers[order])
    return images[:1300], numbers[:1300], images[1300:], numbers[1300:]


def classifier(images, numbers):
    """A classifier that is trained on them."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimiser = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(120):
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(images), numbers).backward()
        optimiser.step()
    return module


def test_digits_on_the_tile(compiler):
    """Handwritten digits: the tile is as good as the module, to half a per cent."""
    images, numbers, unseen, expected = digits()
    module = classifier(images, numbers)
    with torch.no_grad():
        exact = module(unseen)
    compiled = compile(module, images[:256])

    def accuracy(logits):
        return float((logits.argmax(1) == expected[:len(logits)]).float().mean())

    golden, tile = compiled.golden(unseen), compiled(unseen[:ROWS])
    tally = compiled.tile.tally
    compiled.close()
    assert accuracy(exact) > 0.95
    assert abs(accuracy(golden) - accuracy(exact)) <= 0.005
    assert torch.equal(tile, golden[:ROWS]) and abs(accuracy(tile) - accuracy(exact[:ROWS])) <= 0.005
    assert tally.measured == tally.predicted == ROWS * compiled.cycles and tally.runs == ROWS
    assert module.training


def test_a_compiled_module_tells_what_it_takes():
    module = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 3))
    compiled = compile(module, torch.randn(8, 2, 3), backend="emulator")
    report = compiled.report()
    assert compiled.program.config == preset("sim8x8_gelu") and report["cycles"] == compiled.cycles
    assert [row["name"] for row in report["phases"]] == ["1", "3", "end"]
    assert sum(row["cycles"] for row in report["phases"]) == compiled.cycles
    assert f"{compiled.cycles:,}" in report._repr_html_() and f"{compiled.cycles:,}" in compiled._repr_html_()
    timetable = compiled.timetable()
    assert "1: factors" in str(timetable) and timetable._repr_html_().startswith("<iframe srcdoc=")
    assert '"cycles":' + str(compiled.cycles) in timetable.html
    assert compiled(torch.randn(2, 2, 3)).shape == (2, 3)
    with pytest.raises(ValueError, match="vectors of 6 values, not of 7"):
        compiled(torch.randn(2, 7))


def test_rows_of_a_table():
    compiled = compile(
        nn.Sequential(nn.Embedding(9, 6), nn.Linear(6, 4)), torch.arange(9), backend="emulator"
    )
    found = compiled(torch.tensor([3, 8]))
    assert torch.equal(found, compiled.golden(torch.tensor([3, 8])))
    with pytest.raises(MareyError, match="the table has 9 rows"):
        compiled(torch.tensor([9]))


def llama(transformers, **more):
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            **{
                "vocab_size": 48,
                "hidden_size": 32,
                "intermediate_size": 40,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "max_position_embeddings": 24,
            }
            | more
        )
    )


def gpt2(transformers):
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=48, n_embd=32, n_layer=1, n_head=4, n_positions=24, bos_token_id=0, eos_token_id=0))


@pytest.mark.parametrize(
    ("make", "config"), [(llama, "sim8x8"), pytest.param(gpt2, "sim8x8_gelu", marks=pytest.mark.slow)]
)
def test_language_models_of_transformers(make, config):
    transformers = pytest.importorskip(
        "transformers", reason="transformers is not installed: pip install 'marey[dev]'"
    )
    torch.manual_seed(3)
    module, tokens = make(transformers), torch.randint(48, (2, 4))
    with torch.no_grad():
        exact = module.eval()(tokens).logits
    compiled = compile(module, tokens, backend="emulator")
    found = compiled(tokens).logits
    assert compiled.program.config == preset(config)
    assert torch.equal(found, compiled.golden(tokens).logits)
    # 8-bit weights and activations of a model that is not trained.
    assert (found - exact).abs().max() < 0.05 * exact.abs().max()
    assert compiled.tile.tally.measured == compiled.cycles == compiled.cycles_of(2, 4)
    assert compiled.report(3)["cycles"] == compiled.program.cycles(3) and "softmax" in str(
        compiled.timetable(3)
    )
    with pytest.raises(ModuleError, match="tokens 0 to 47, not 48 to 48"):
        compiled(torch.tensor([[48]]))


def test_language_models_that_marey_cannot_do_are_refused_as_their_files_are():
    transformers = pytest.importorskip(
        "transformers", reason="transformers is not installed: pip install 'marey[dev]'"
    )
    with pytest.raises(FormatError, match=r'LlamaForCausalLM\.config: hidden_act is "gelu"'):
        compile(llama(transformers, hidden_act="gelu"), torch.zeros(1, 2, dtype=torch.long))


def test_the_example_of_the_page(compiler, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    example, attention = blocks(ROOT / "docs" / "pytorch.md", "python")
    exec(example, made := {})
    assert made["logits"].shape == (5, 10) and f"{made['compiled'].cycles:,}" in capsys.readouterr().out
    assert "</html>" in (tmp_path / "timetable.html").read_text(encoding="utf-8")
    made["compiled"].close()
    exec(attention, made)
    assert made["made"].shape == (2, 20, 32) and len(made["compiled"].cycles) == 20
    assert str(made["compiled"].cycles) in capsys.readouterr().out
    made["compiled"].close()


def test_what_is_no_module_is_refused():
    with pytest.raises(ModuleError, match="not function and Tensor"):
        compile(test_rows_of_a_table, torch.zeros(1))
    with pytest.raises(ModuleError, match="not Linear and int"):
        compile(nn.Linear(1, 1), 3)
