"""The default model's vocabulary: letters, and what byte-pair encoding merges them to on the grammar's own text."""

import string
from itertools import islice

from tokenizers import Regex, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from ..formats.vocabulary import sentencepiece
from ..text.tokenizer import SPACE, Tokenizer
from .grammar import stories

SPECIAL = ("<unk>", "<s>", "</s>")
ALPHABET = [*string.ascii_letters, *" .,!?'\"-"]
"""Has a token each, used or not: a prompt may have other words."""
WORD = r" ?\w+| ?[^\w\s]+"
"""What is merged within: a word or a run of marks, with the space before it."""


def train_tokenizer(vocab_size: int, seed: int, count: int = 10_000) -> Tokenizer:
    """A tokenizer without byte pieces; the merges' order becomes the pieces' scores."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(WORD), "isolated")
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=list(SPECIAL), initial_alphabet=ALPHABET,
                                  show_progress=False)
    backend.train_from_iterator((" " + story for story in islice(stories(seed), count)), trainer)
    pieces = sorted(backend.get_vocab().items(), key=lambda piece: piece[1])
    return sentencepiece([piece.replace(" ", SPACE) for piece, _ in pieces], [-float(index) for _, index in pieces], {1, 2}, 1)
