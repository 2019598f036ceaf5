"""What Marey writes, read by llama.cpp and transformers, whose formats they are. `pip install -e
'.[interop]'` brings them.
"""

import json
import subprocess
import sys

import numpy as np
import pytest

from marey.sw.formats import gguf, huggingface, load_model, load_tokenizer
from marey.sw.formats.sources import SourceError, located
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.model.reference import Reference
from marey.sw.quant.fold import fold_layer_norms
from marey.sw.quant.golden import Golden
from marey.sw.quant.quantise import quantise
from tests.vocabularies import byte_level

pytestmark = pytest.mark.slow

TEXT = "Once upon a time, there was 12 é <s>dog"
BYTE_LEVEL = ModelConfig(dim=64, hidden_dim=96, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=400, seq_len=64, bos=0,
                         eos=(0,), rope_theta=50000.0, tied=False)
LLAMA_CPP = """
import json, sys, urllib.request, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel, params.warmup = sys.argv[1], 64, 1, False
server = xllamacpp.Server(params)
def post(path, body):
    request = urllib.request.Request(server.listening_address + path, json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=60))
tokens = post("/tokenize", {"content": sys.argv[2], "add_special": True, "parse_special": True})["tokens"]
made = post("/completion", {"prompt": tokens, "top_k": 1, "n_predict": 20, "ignore_eos": True, "return_tokens": True})["tokens"]
print(json.dumps({"tokens": tokens, "made": made}))
"""
TRANSFORMERS = """
import json, sys, torch, transformers
tokens = transformers.PreTrainedTokenizerFast(tokenizer_file=sys.argv[1] + "/tokenizer.json")(sys.argv[2])["input_ids"]
model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
with torch.no_grad():
    print(json.dumps({"tokens": tokens, "logits": model(torch.tensor([tokens])).logits[0].tolist()}))
"""


@pytest.fixture(params=["stories260K", "byte level"])
def model(request):
    """A model and its tokenizer, of either kind."""
    if request.param == "byte level":
        return tiny_model(BYTE_LEVEL), byte_level(vocab_size=400)
    stories = request.getfixturevalue("stories")
    return load_model(stories), load_tokenizer(None, stories, 512)


def run(script, *arguments):
    """What a script prints last, in a process of its own, where its library's warnings are its own.
    """
    done = subprocess.run([sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def logits(model, tokens):
    """The reference's, [positions, vocab]."""
    reference = Reference(model)
    return np.concatenate([reference.step(np.array([token]), position) for position, token in enumerate(tokens)])


@pytest.mark.parametrize("dtype", ["F32", "Q8_0", "Q4_0"])
def test_llama_cpp(tmp_path, model, dtype):
    """The same tokens of a text, and the same that follow; a model in fewer bits is held to what
    Marey reads of it.
    """
    pytest.importorskip("xllamacpp")
    written, tokenizer = model
    gguf.write(tmp_path / "m.gguf", written, tokenizer, dtype)
    found = run(LLAMA_CPP, tmp_path / "m.gguf", TEXT)
    assert found["tokens"] == tokenizer.encode(TEXT)
    read = load_model(tmp_path / "m.gguf")
    each = logits(read, found["tokens"] + found["made"][:-1])[-len(found["made"]):]
    each[:, read.config.eos] = each.min()  # so that it goes on
    # llama.cpp rounds activations to 8 bits where weights have 8 or 4: what it chooses is the likeliest, or all but.
    chosen = np.take_along_axis(each, np.array(found["made"])[:, None], axis=1)[:, 0]
    margin = 0 if dtype == "F32" else 0.05
    assert len(each) == 20 and (each.max(axis=1) - chosen <= margin * np.ptp(each, axis=1)).all()


def test_a_file_that_llama_cpp_made(tmp_path):
    """SmolLM2-135M-Instruct, Q4_1, as a package ships it: asked in its own tokens, it answers."""
    try:
        path = located("smollm2")
    except SourceError as error:
        pytest.skip(str(error))
    model = load_model(path)
    tokenizer = load_tokenizer(None, path, model.config.vocab_size)
    prompt = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    tokens, reference = tokenizer.encode(prompt), Reference(model)
    asked = len(tokens)
    for position in range(asked + 20):
        logits = reference.step(np.array([tokens[position]]), position)
        if position >= asked - 1:
            tokens.append(int(logits[0].argmax()))
            if tokens[-1] in model.config.eos:
                break
    assert tokenizer.decode(tokens[asked:]) == "The capital of France is Paris."


def test_transformers(tmp_path, model):
    """The same tokens of a text, and the same logits but for the order in which float32 products
    are added.
    """
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    written, tokenizer = model
    huggingface.write(tmp_path / "m", written, tokenizer)
    found = run(TRANSFORMERS, tmp_path / "m", TEXT)
    assert found["tokens"] == tokenizer.encode(TEXT)
    np.testing.assert_allclose(found["logits"], logits(load_model(tmp_path / "m"), found["tokens"]), atol=1e-3)


GPT2 = """
import json, sys, torch, transformers
config = transformers.GPT2Config(n_embd=48, n_layer=2, n_head=3, n_positions=64, vocab_size=400, bos_token_id=0,
                                 eos_token_id=0, activation_function=sys.argv[2])
torch.manual_seed(0)
model = transformers.GPT2LMHeadModel(config).eval()
with torch.no_grad():
    for values in model.parameters():
        values.add_(0.1 * torch.randn_like(values))
model.save_pretrained(sys.argv[1])
tokens = torch.randint(400, (1, 24))
with torch.no_grad():
    print(json.dumps({"tokens": tokens[0].tolist(), "logits": model(tokens).logits[0].tolist()}))
"""


@pytest.mark.parametrize("activation", ["gelu_new", "gelu_pytorch_tanh"])
def test_a_gpt2_that_transformers_made(tmp_path, activation):
    """Written by transformers and read by Marey: the same logits, but for the order of float32
    sums. And back again.
    """
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    found = run(GPT2, tmp_path / "m", activation)
    model = load_model(tmp_path / "m")
    expected = np.array(found["logits"])
    np.testing.assert_allclose(logits(model, found["tokens"]), expected, atol=1e-3)
    np.testing.assert_allclose(logits(fold_layer_norms(model), found["tokens"]), expected, atol=1e-3)
    golden = Golden(quantise(model))
    integers = np.concatenate([golden.step(np.array([token]), position) for position, token in enumerate(found["tokens"])])
    # Of a random model with few channels; see test_golden.py's test of the same.
    assert np.sqrt(np.mean((integers - expected) ** 2)) < 0.05 * np.std(expected)
    huggingface.write(tmp_path / "again", model, byte_level("gpt-2"))
    again = run(TRANSFORMERS, tmp_path / "again", TEXT)
    assert again["tokens"] == byte_level("gpt-2").encode(TEXT)
    np.testing.assert_allclose(again["logits"], logits(model, again["tokens"]), atol=1e-3)
