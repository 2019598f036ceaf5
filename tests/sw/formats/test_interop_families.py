"""Llama 3, Mistral, Qwen2 and Qwen3, as transformers makes them and llama.cpp computes them.

The shapes are those of real models, with fewer layers, channels and tokens. `pip install -e '.[interop]'` brings both.
"""

import json
import subprocess
import sys

import numpy as np
import pytest

from marey.sw.formats import gguf, load_model, load_shape
from marey.sw.quant.golden import Golden
from marey.sw.quant.quantise import quantise
from tests.sw.formats.test_interop import LLAMA_CPP, logits
from tests.vocabularies import byte_level

pytestmark = pytest.mark.slow

COUNT = 100
"""Tokens of a text: beyond the windows and the trained contexts below."""
COMMON = {"vocab_size": 400, "num_hidden_layers": 2, "max_position_embeddings": 256, "intermediate_size": 112,
          "bos_token_id": 0, "eos_token_id": 0, "rms_norm_eps": 1e-5}
HEADS = {"hidden_size": 128, "num_attention_heads": 4, "num_key_value_heads": 1}
LLAMA3 = {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64}
MODELS = {
    "Llama 3.2": ("Llama", HEADS | {"rope_theta": 500000.0, "rope_scaling": LLAMA3, "tie_word_embeddings": True}),
    "Llama, linear": ("Llama", HEADS | {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}),
    "Mistral 7B": ("Mistral", HEADS | {"sliding_window": 48, "rope_theta": 10000.0}),
    "Mistral Nemo": ("Mistral", HEADS | {"sliding_window": None, "head_dim": 48, "rope_theta": 1e6}),
    "Qwen2.5": ("Qwen2", {"hidden_size": 112, "num_attention_heads": 7, "num_key_value_heads": 1, "rope_theta": 1e6,
                          "tie_word_embeddings": True}),
    "Qwen3": ("Qwen3", HEADS | {"head_dim": 64, "num_key_value_heads": 2, "rope_theta": 1e6, "tie_word_embeddings": True}),
}
TRANSFORMERS = """
import json, sys, torch, transformers
folder, name, settings, count = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])
torch.manual_seed(0)
model = getattr(transformers, name + "ForCausalLM")(getattr(transformers, name + "Config")(**settings)).eval()
with torch.no_grad():
    for values in model.parameters():
        values.add_(0.1 * torch.randn_like(values))
model.save_pretrained(folder)
tokens = torch.randint(1, 400, (1, count))
with torch.no_grad():
    print(json.dumps({"tokens": tokens[0].tolist(), "logits": model(tokens).logits[0].tolist()}))
"""


def run(script, *arguments):
    """What a script prints last, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", MODELS)
def test_the_same_logits(tmp_path, name):
    """Logits as transformers has them up to the end of the context, and llama.cpp's choice of tokens, from a GGUF file."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    kind, settings = MODELS[name]
    found = run(TRANSFORMERS, tmp_path / "m", kind, json.dumps(COMMON | settings), COUNT)
    model = load_model(tmp_path / "m")
    context = min(COUNT, model.config.seq_len)
    assert model.config.seq_len == (settings.get("sliding_window") or 256) and load_shape(tmp_path / "m") == model.config
    # Float32 sums in another order.
    np.testing.assert_allclose(logits(model, found["tokens"][:context]), np.array(found["logits"])[:context], atol=1e-3)
    # The integers follow them: root mean square error below a fifth of the deviation, for random models of few channels.
    exact = np.array(found["logits"])[:context]
    integers = Golden(quantise(model)).texts(np.array([found["tokens"][:context]]), 0)[0]
    assert np.sqrt(np.mean((integers - exact) ** 2)) < 0.2 * exact.std()
    gguf.write(tmp_path / "m.gguf", model, byte_level("qwen2"))
    assert load_model(tmp_path / "m.gguf").config == model.config
    pytest.importorskip("xllamacpp")
    text = "Once upon a time, there was 12 é dog"
    made = run(LLAMA_CPP, tmp_path / "m.gguf", text)
    assert made["tokens"] == byte_level("qwen2").encode(text)
    each = logits(load_model(tmp_path / "m.gguf"), made["tokens"] + made["made"][:-1])[-len(made["made"]):]
    each[:, model.config.eos] = each.min()  # llama.cpp was told to go on
    assert each.argmax(axis=1).tolist() == made["made"] and len(each) == 20
