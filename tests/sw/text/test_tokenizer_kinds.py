"""Tokenizers of every kind: any text comes back, token by token too, through every format that has
a place for them.
"""

import json
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, pre_tokenizers

from marey.hdl.spec.config import preset
from marey.sim.endpoint import Endpoint
from marey.sw.compiler.compile import compile_model
from marey.sw.errors import FormatError, FormatWarning
from marey.sw.formats import gguf, huggingface, llama2c, load_model, load_tokenizer
from marey.sw.formats.tiny import tiny_model, tiny_tokenizer
from marey.sw.formats.vocabulary import PRE_TOKENIZERS, sentencepiece
from marey.sw.model.config import ModelConfig
from marey.sw.program.program import Program
from marey.sw.runtime.driver import Device
from marey.sw.runtime.generate import generate
from marey.sw.text.tokenizer import SPACE, Tokenizer, byte_letters
from marey.sw.train.tokenizer import train_tokenizer
from tests.vocabularies import byte_level, unigram

KINDS = {"sentencepiece": tiny_tokenizer, "unigram": unigram,
         **{f"byte level, {words}": lambda words=words: byte_level(words) for words in PRE_TOKENIZERS}}
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=SPACE), max_size=30)
SMOL = ModelConfig(dim=32, hidden_dim=44, n_layers=1, n_heads=4, n_kv_heads=2, vocab_size=400, seq_len=64, bos=0, eos=(0, 1))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=100, deadline=None)
@given(text=TEXT)
def test_any_text_comes_back(kind, text):
    """Whole, and token by token, when no character comes before it is complete."""
    tokenizer = KINDS[kind]()
    if kind == "unigram":
        text = text.lstrip(" ")  # it takes a text's first space for the one that it puts there
    assume(not any(added.content in text for added in tokenizer.added.values()))  # special tokens are no text
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text
    stream, said = tokenizer.stream(), ""
    for token in tokens:
        said += stream(token)
        assert text.startswith(said)
    assert said == text and stream.rest() == ""


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50, deadline=None)
@given(text=st.text("once upon a tim2é你🙂.,'", max_size=30))
def test_decodes_as_the_library_does(kind, text):
    tokenizer = KINDS[kind]()
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == Backend.from_str(tokenizer.to_json()).decode(tokens)


def test_letters_of_bytes_are_the_librarys():
    letters = byte_letters()
    assert set(letters) == set(pre_tokenizers.ByteLevel.alphabet()) and b"".join(sorted(letters.values())) == bytes(range(256))
    for letter, byte in letters.items():
        assert decoders.ByteLevel().decode([letter]) == byte.decode(errors="replace")


def test_a_character_that_never_becomes_whole():
    tokenizer = byte_level()
    first, *_ = tokenizer.encode("你")
    stream = tokenizer.stream()
    assert (stream(first), stream(tokenizer.encode("a")[0]), stream(first), stream.rest()) == ("", "�a", "", "�")


def test_special_tokens_begin_a_text_and_mean_nothing_in_one():
    assert byte_level().encode("") == [] and tiny_tokenizer().encode("") == unigram().encode("") == [1]
    tokens = byte_level().encode("a<|endoftext|>b")
    assert tokens[1] == 0 and byte_level().decode(tokens) == "ab"
    assert tiny_tokenizer().encode("a", begin=False) == tiny_tokenizer().encode("a")[1:]
    assert tiny_tokenizer().decode([1, *tiny_tokenizer().encode("once"), 2, *tiny_tokenizer().encode("upon")]) == "onceupon"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "unigram"])
def test_through_gguf(tmp_path, kind):
    tokenizer = KINDS[kind]()
    begin = tokenizer.encode("")
    config = replace(SMOL, vocab_size=max(tokenizer.pieces) + 1, bos=begin[0] if begin else 0)
    gguf.write(tmp_path / "m.gguf", tiny_model(config), tokenizer)
    assert load_model(tmp_path / "m.gguf").config == config
    again = load_tokenizer(None, tmp_path / "m.gguf", config.vocab_size)
    for text in ("Once upon a time, 12 you're  é 你 🙂", "a->  b", "", " x", "<|im_start|>no<s>"):
        assert again.encode(text) == tokenizer.encode(text)
        assert again.decode(again.encode(text)) == tokenizer.decode(again.encode(text))


@pytest.mark.parametrize("kind", ["unigram", "byte level, smollm"])
def test_through_a_folder_and_a_program(tmp_path, kind):
    """The same text from the tile, with the model's own tokens to begin and end it."""
    tokenizer = KINDS[kind]()
    config = replace(SMOL, vocab_size=max(tokenizer.pieces) + 3)
    huggingface.write(tmp_path / "hf", tiny_model(config), tokenizer)
    model, found = load_model(tmp_path / "hf"), load_tokenizer(None, tmp_path / "hf", config.vocab_size)
    assert model.config == config and found.to_json() == tokenizer.to_json()
    compile_model(model, preset("tiny4x8"), found, kind).save(tmp_path / "p.marey")
    program = Program.load(tmp_path / "p.marey")
    assert program.tokenizer.to_json() == tokenizer.to_json() and program.model.shape == config
    for prompt in ("", "a small é"):
        with Device(Endpoint(program.config), program.config) as device:
            device.load(program)
            said = generate(device, program, prompt, 3)
        assert said.prompt_tokens == (tokenizer.encode(prompt) or [0])
        assert said.text == tokenizer.decode(said.prompt_tokens + said.tokens) and not {0, 1} & set(said.tokens)


def test_pieces_that_are_spelled_the_same():
    """The first of them is found in a text; the others keep their numbers, and their names do not
    meet.
    """
    tokenizer = sentencepiece(["<unk>", "<s>", "</s>", SPACE, "a", "<unused 6: a>", "a", "a"], [0.0] * 8, {1, 2}, 1)
    assert tokenizer.encode("a") == [1, 3, 4] and set(tokenizer.pieces) == set(range(8))


def test_formats_without_a_place_for_it_say_so(tmp_path):
    for write in (lambda: llama2c.write_tokenizer(tmp_path / "t.bin", byte_level()),
                  lambda: llama2c.write_tokenizer(tmp_path / "t.bin", unigram()),
                  lambda: gguf.write(tmp_path / "m.gguf", tiny_model(SMOL), unigram()),
                  lambda: llama2c.write(tmp_path / "m.bin", tiny_model(SMOL))):
        with pytest.raises(FormatError, match="no place"):
            write()


@pytest.mark.parametrize(("change", "word"), [
    (lambda about: about.update(decoder=None), "no decoder"),
    (lambda about: about.update(decoder={"type": "WordPiece", "prefix": "##", "cleanup": True}), "WordPiece"),
    (lambda about: about.update(normalizer={"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                                            "strip_accents": None, "lowercase": True}), "BertNormalizer"),
    (lambda about: about["model"].update(dropout=0.5), "dropout"),
    (lambda about: about["model"].update(end_of_word_suffix="</w>"), "end_of_word_suffix"),
    (lambda about: about["model"].update(merges=[["no", "such"]]), "out of vocabulary"),
    (lambda about: about["post_processor"].update(special_tokens={}), "does not define"),
    (lambda about: about["model"]["vocab"].update(more=400), "belongs to another model"),
    (lambda about: about.pop("model"), "no JSON object with a model"),
    (lambda about: about["model"].update(vocab=3), "no tokenizer of the tokenizers library"),
    (lambda about: about["model"]["vocab"].update(more=1 << 31), "not numbers from 0"),
    (lambda about: about["model"].update(unk_token="none"), "has no token for"),
    (lambda about: about.update(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}), "Precompiled"),
])
def test_a_tokenizer_file_that_does_not_do(tmp_path, change, word):
    about = json.loads(tiny_tokenizer(400).to_json())
    change(about)
    (tmp_path / "tokenizer.json").write_text(json.dumps(about))
    with pytest.raises(FormatError, match=word) as caught:
        load_tokenizer(tmp_path / "tokenizer.json", tmp_path, 400)
    assert "\n" not in str(caught.value) and "tokenizer.json" in str(caught.value)


@pytest.mark.parametrize("kind", ["sentencepiece", "byte level, gpt-2"])
@pytest.mark.parametrize("also_in_vocabulary", [True, False])
def test_padding_beyond_the_vocabulary_is_left_out(tmp_path, kind, also_in_vocabulary):
    """With a warning: a model has no row of the embedding for it."""
    tokenizer = KINDS[kind]()
    size = max(tokenizer.pieces) + 1
    about = json.loads(tokenizer.to_json())
    about["added_tokens"].append({"id": size, "content": "<pad>", "single_word": False, "lstrip": False, "rstrip": False,
                                  "normalized": False, "special": True})
    if also_in_vocabulary:
        about["model"]["vocab"]["<pad>"] = size
    (tmp_path / "tokenizer.json").write_text(json.dumps(about))
    with pytest.warns(FormatWarning, match=rf"tokenizer.json: 1 tokens are beyond .* {size} and are left out: '<pad>'"):
        found = load_tokenizer(tmp_path / "tokenizer.json", tmp_path, size)
    assert max(found.pieces) < size and found.encode("once upon a time") == tokenizer.encode("once upon a time")
    assert max(found.encode("a <pad> b")) < size
    # A model with as many rows as the tokenizer has tokens takes it as it is.
    assert load_tokenizer(tmp_path / "tokenizer.json", tmp_path, size + 1).encode("<pad>")[-1] == size


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50, deadline=None)
@given(text=TEXT)
def test_what_has_bytes_loses_nothing(kind, text):
    assert KINDS[kind]().unencodable(text) == []


@settings(max_examples=100, deadline=None)
@given(text=TEXT)
def test_characters_that_a_vocabulary_lacks(text):
    """Exactly those whose text does not come back from a vocabulary of letters without bytes."""
    tokenizer = train_tokenizer(300, 0, 200)
    assert tokenizer.unencodable(text) == [character for character in dict.fromkeys(text)
                                           if tokenizer.decode(tokenizer.encode("a" + character)) != "a" + character]
    assert tokenizer.unencodable("Once upon a 5ł") == ["5", "ł"]


def test_a_byte_level_vocabulary_that_lacks_bytes():
    """The library drops such bytes without a word."""
    about = json.loads(byte_level("gpt-2").to_json())
    first = next(letter for letter, byte in byte_letters().items() if byte == "é".encode()[:1])
    lost = about["model"]["vocab"].pop(first)
    about["model"]["merges"] = []
    about["model"]["vocab"] = {name: token for name, token in about["model"]["vocab"].items()
                               if first not in name and (len(name) == 1 or token < 3)}
    assert lost and Tokenizer.from_json(json.dumps(about)).unencodable("aé 你b") == ["é"]


@pytest.mark.parametrize(("text", "found"), [("a\udcffb", "character 2 is the byte 0xff"), ("\ud800", "character 1 is U+D800")])
def test_a_text_that_is_not_utf8(text, found):
    for kind in KINDS:
        with pytest.raises(FormatError, match="not UTF-8") as caught:
            KINDS[kind]().encode(text)
        assert found in str(caught.value)


def test_truncation_and_padding_are_not_ours():
    about = json.loads(byte_level().to_json())
    about["truncation"] = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    assert Tokenizer.from_json(json.dumps(about)).encode("once upon a time") == byte_level().encode("once upon a time")
