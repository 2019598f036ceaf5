"""The default model's tokenizer: letters, and pieces that byte-pair encoding merges from them on
the grammar's text.
"""

import string
from itertools import islice

from tokenizers import Regex, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from ..formats.vocabulary import sentencepiece
from ..text.tokenizer import SPACE, Tokenizer
from .grammar import stories

SPECIAL = ("<unk>", "<s>", "</s>")
ALPHABET = [*string.ascii_letters, *" .,!?'\"-"]
"""Characters that have a token each, used or not, for a prompt may have other words."""
WORD = r" ?\w+| ?[^\w\s]+"
"""Pieces are merged within one match: a word or a run of marks, with the space before it."""


def train_tokenizer(vocab_size: int, seed: int, count: int = 10_000) -> Tokenizer:
    """A tokenizer without pieces for bytes, trained on `count` stories; a piece that is merged
    earlier has a higher score.
    """
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(WORD), "isolated")
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=list(SPECIAL), initial_alphabet=ALPHABET,
                                  show_progress=False)
    backend.train_from_iterator((" " + story for story in islice(stories(seed), count)), trainer)
    pieces = sorted(backend.get_vocab().items(), key=lambda piece: piece[1])
    return sentencepiece([piece.replace(" ", SPACE) for piece, _ in pieces], [-float(index) for _, index in pieces], {1, 2}, 1)
