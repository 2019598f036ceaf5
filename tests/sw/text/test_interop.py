"""Tokens and chat templates, as llama.cpp and transformers have them. `pip install -e '.[interop]'` brings them."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from marey.sw.formats import gguf, load_template, load_tokenizer
from marey.sw.formats.sources import SourceError, located
from marey.sw.formats.tiny import tiny_model
from marey.sw.formats.vocabulary import PRE_TOKENIZERS
from marey.sw.model.config import ModelConfig
from marey.sw.text.chat import ChatTemplate
from tests.sw.text.test_chat import LLAMA3, MISTRAL, SMOLLM2, SPECIAL, SYSTEM, TURNS
from tests.texts import hard_texts
from tests.vocabularies import byte_level

pytestmark = pytest.mark.slow

SHAPE = ModelConfig(dim=32, hidden_dim=32, n_layers=1, n_heads=1, n_kv_heads=1, vocab_size=400, seq_len=64, bos=0, eos=(0,))
LLAMA_CPP = """
import json, sys, urllib.request, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel, params.warmup = sys.argv[1], 64, 1, False
server = xllamacpp.Server(params)
def tokens(text):
    body = json.dumps({"content": text, "add_special": False, "parse_special": True}).encode()
    request = urllib.request.Request(server.listening_address + "/tokenize", body, {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=60))["tokens"]
print(json.dumps([tokens(text) for text in json.load(sys.stdin)]))
"""
TRANSFORMERS = """
import json, sys
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
def text(source, special, messages):
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), chat_template=source, **special)
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
print(json.dumps([text(*each) for each in json.load(sys.stdin)]))
"""


def answer(script, about, *arguments):
    """What a script makes of an object, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", script, *map(str, arguments)], input=json.dumps(about), capture_output=True,
                          text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def assert_as_llama_cpp(path, tokenizer, texts):
    for text, tokens in zip(texts, answer(LLAMA_CPP, texts, path), strict=True):
        assert tokenizer.encode(text, begin=False) == tokens, text


@pytest.fixture(scope="module")
def smollm2():
    try:
        return located("smollm2")
    except SourceError as error:
        pytest.skip(str(error))


def test_the_tokens_of_smollm2(smollm2):
    """llama.cpp's, of prose, code, emoji, spaces and special tokens; and the text comes back."""
    pytest.importorskip("xllamacpp")
    tokenizer = load_tokenizer(None, smollm2, 49152)
    texts = hard_texts(("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<repo_name>"))
    assert_as_llama_cpp(smollm2, tokenizer, texts)
    assert all(tokenizer.decode(tokenizer.encode(text)) == text for text in hard_texts())


@pytest.mark.parametrize("words", PRE_TOKENIZERS)
def test_the_tokens_of_each_way_to_cut_words(tmp_path, words):
    pytest.importorskip("xllamacpp")
    tokenizer = byte_level(words)
    gguf.write(tmp_path / "m.gguf", tiny_model(SHAPE), tokenizer)
    assert_as_llama_cpp(tmp_path / "m.gguf", load_tokenizer(None, tmp_path / "m.gguf", 400), hard_texts(("<|im_start|>",)))


def test_templates_as_transformers_has_them(smollm2):
    pytest.importorskip("transformers")
    own = load_template(smollm2)
    assert own.source == SMOLLM2
    templates = [own, *(ChatTemplate(source, SPECIAL) for source in (SMOLLM2, LLAMA3, MISTRAL)),
                 replace(own, source="{% for m in messages %}{{ m | tojson(indent=1) }}{% if loop.last %}{% break %}{% endif %}"
                                     "{% endfor %}\n  {% generation %}{{ eos_token }}\n{% endgeneration %}\n")]
    cases = [(template, messages) for template in templates for messages in (TURNS, TURNS[:1], SYSTEM + TURNS)
             if (template.source, messages[0]["role"]) != (MISTRAL, "system")]
    found = answer(TRANSFORMERS, [(template.source, dict(template.special), messages) for template, messages in cases])
    assert [template.render(messages) for template, messages in cases] == found
