"""Tokenizers of each kind that people have, trained here on a few stories."""

from functools import cache
from itertools import islice

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from marey.sw.formats.vocabulary import PRE_TOKENIZERS
from marey.sw.text.tokenizer import SPACE, Tokenizer
from marey.sw.train.grammar import stories


def _text():
    return islice(stories(0), 100)


@cache
def byte_level(words: str = "smollm", vocab_size: int = 400) -> Tokenizer:
    """As SmolLM's: bytes as letters, no token before a text, one that ends it, and two that are found as a whole."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = PRE_TOKENIZERS[words]()
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(_text(), trainers.BpeTrainer(
        vocab_size=vocab_size - 1, special_tokens=["<|endoftext|>", "<|im_start|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    backend.add_tokens(["->  "])
    return Tokenizer(backend)


@cache
def unigram(vocab_size: int = 400) -> Tokenizer:
    """As SentencePiece's unigram models are converted: pieces with probabilities, bytes for what has none."""
    backend = Backend(models.Unigram())
    backend.normalizer = normalizers.Replace(" ", SPACE)
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.train_from_iterator(_text(), trainers.UnigramTrainer(
        vocab_size=vocab_size - 256, unk_token="<unk>", special_tokens=["<unk>", "<s>", "</s>"], show_progress=False))
    pieces = sorted(backend.get_vocab().items(), key=lambda piece: piece[1])
    bytes_ = [(f"<0x{byte:02X}>", 0.0) for byte in range(256)]
    scored = [(name, -1.0 - token) for name, token in pieces]
    whole = Backend(models.Unigram(scored[:3] + bytes_ + scored[3:], unk_id=0, byte_fallback=True))
    whole.pre_tokenizer = backend.pre_tokenizer
    whole.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(),
                                       decoders.Strip(" ", 1, 0)])
    whole.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    whole.add_special_tokens(["<s>", "</s>"])
    return Tokenizer(whole)
