"""Tokenizers from lists of pieces, which llama2.c and GGUF files have, and such lists from
tokenizers.
"""

import copy
import json
import warnings
from pathlib import Path

from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend

from ..errors import FormatError, FormatWarning
from ..text.tokenizer import BYTE, SPACE, Tokenizer

LONGEST = 1 << 10
"""Characters of a piece; a longer one is taken to be damaged."""
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
END_OF_TEXT = "<|endoftext|>"
"""GPT-2's special token, which begins and ends a text."""
PRE_TOKENIZERS = {
    "gpt-2": lambda: pre_tokenizers.ByteLevel(add_prefix_space=False),
    "smollm": lambda: pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False)]),
    "llama-bpe": lambda: _split(LLAMA3),
    "qwen2": lambda: _split(QWEN2),
}
"""Makers of the component that cuts a text into words before byte-level merging.

They have the names that llama.cpp has for them in `tokenizer.ggml.pre`.
"""


def sentencepiece(pieces: list[str], scores: list[float], special: set[int], bos: int | None, unknown: int = 0,
                  prefix: bool = True, verbatim: set[int] = frozenset()) -> Tokenizer:
    """A tokenizer that merges as SentencePiece does: the merge whose result has the highest score
    is made first.

    `pieces`, `scores`: by token id; a piece spells a space as `SPACE` and a byte as <0x..>.
    `special`: ids of tokens that are found in a text as a whole and add nothing to it; `verbatim`:
    ids of tokens that are found as a whole and are text. `bos`: the id that is put before a text,
    or None. `unknown`: the id for what no piece spells. `prefix`: a space is put before a text.
    Hugging Face converts a Llama's tokenizer to the same. FormatError for a piece that is too long.
    """
    names, vocabulary = _distinct(pieces)
    plain = {name: token for name, token in vocabulary.items()
             if token not in special and token != unknown and not BYTE.fullmatch(name)}
    merges = [(-scores[token], token, name[:cut], name[cut:]) for name, token in plain.items() for cut in range(1, len(name))
              if name[:cut] in plain and name[cut:] in plain]
    merges.sort(key=lambda merge: merge[:2])
    backend = Backend(models.BPE(vocabulary, [merge[2:] for merge in merges], unk_token=names[unknown], fuse_unk=True,
                                 byte_fallback="<0x00>" in vocabulary))
    backend.normalizer = normalizers.Sequence([*([normalizers.Prepend(SPACE)] if prefix else []),
                                               normalizers.Replace(" ", SPACE)])
    backend.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(),
                                         *([decoders.Strip(" ", 1, 0)] if prefix else [])])
    _mark(backend, names, special, verbatim, bos)
    return Tokenizer(backend)


def byte_level(pieces: list[str], merges: list[tuple[str, str]], special: set[int], verbatim: set[int], bos: int | None,
               words: str) -> Tokenizer:
    """A tokenizer that spells bytes as letters, as GPT-2 does.

    `pieces`: by token id. `merges`: pairs of pieces, the first merge first. `words`: a name in
    `PRE_TOKENIZERS`. The others are as for `sentencepiece`. FormatError for a merge whose result is
    no piece.
    """
    names, vocabulary = _distinct(pieces)
    for merge in merges:
        if not {*merge, "".join(merge)} <= vocabulary.keys():
            raise FormatError(f"its merge {' '.join(merge)[:40]!r} makes no token")
    backend = Backend(models.BPE(vocabulary, merges, ignore_merges=words == "llama-bpe"))
    backend.pre_tokenizer = PRE_TOKENIZERS[words]()
    backend.decoder = decoders.ByteLevel()
    _mark(backend, names, special, verbatim, bos)
    return Tokenizer(backend)


def scores(tokenizer: Tokenizer, size: int | None = None) -> list[float]:
    """A score by token id, for a tokenizer that merges pieces: the earlier a piece is merged, the
    higher its score.

    `size`: as for `pieces`.
    """
    merges = tokenizer.about["model"]["merges"]
    rank = {"".join(merge): -float(at) for at, merge in reversed(list(enumerate(merges)))}
    return [rank.get(piece, -float(len(merges))) for piece in pieces(tokenizer, size)]


def pieces(tokenizer: Tokenizer, size: int | None = None) -> list[str]:
    """The pieces by token id, as the vocabulary spells them.

    `size`: tokens of the model; ids that its tokenizer lacks get the piece [PADid].
    """
    names = {token: name for name, token in tokenizer.vocabulary().items()}
    return [names.get(token, f"[PAD{token}]") for token in range(size or max(names) + 1)]


def is_sentencepiece(tokenizer: Tokenizer) -> bool:
    """Whether pieces and scores describe all of a tokenizer, since it merges pieces of text."""
    return not tokenizer.byte_level and tokenizer.about["model"]["type"] == "BPE"


def words(tokenizer: Tokenizer) -> str | None:
    """The name in `PRE_TOKENIZERS` for how a byte-level tokenizer cuts a text into words; None if
    it has none.
    """
    for name, make in PRE_TOKENIZERS.items():
        backend = Backend(models.BPE())
        backend.pre_tokenizer = make()
        if json.loads(backend.to_str())["pre_tokenizer"] == tokenizer.about["pre_tokenizer"]:
            return name
    return None


def fitted(tokenizer: Tokenizer, vocab_size: int, path: Path) -> Tokenizer:
    """The tokenizer for a model whose vocabulary has this size; `path` is the tokenizer's file, for
    messages.

    Added tokens beyond the vocabulary, such as one for padding, are left out with a FormatWarning.
    FormatError if a piece is beyond it: the tokenizer belongs to another model.
    """
    largest = max(tokenizer.pieces, default=0)
    if largest < vocab_size:
        return tokenizer
    padding = {token: added.content for token, added in tokenizer.added.items() if token >= vocab_size}
    begin = {token for token in tokenizer.encode("") if token >= vocab_size}
    if begin or any(token >= vocab_size and token not in padding for token in tokenizer.pieces):
        raise FormatError(f"{path}: it has a token {largest}, but the model has a vocabulary of "
                          f"{vocab_size}: this tokenizer "
                          "belongs to another model; name another with --tokenizer FILE")
    about = copy.deepcopy(tokenizer.about)
    about["added_tokens"] = [added for added in about["added_tokens"] if added["id"] not in padding]
    if isinstance(about["model"]["vocab"], dict):
        pieces = about["model"]["vocab"].items()
        about["model"]["vocab"] = {name: token for name, token in pieces if token not in padding}
    warnings.warn(f"{path}: {len(padding)} tokens are beyond the model's vocabulary of {vocab_size} and are "
                  f"left out: {', '.join(map(repr, padding.values()))[:80]}", FormatWarning, stacklevel=2)
    return Tokenizer.from_json(json.dumps(about))


def _split(pattern: str) -> pre_tokenizers.PreTokenizer:
    """The component that cuts a text into what a pattern matches, and spells bytes as letters."""
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _distinct(pieces):
    """Names by token id, and ids by name. The library knows tokens by name, so pieces with the same
    spelling get new names.
    """
    vocabulary: dict[str, int] = {}
    for token, piece in enumerate(pieces):
        if len(piece) > LONGEST:
            raise FormatError(f"piece {token} has {len(piece)} characters, expected {LONGEST} at most: "
                              "damaged?")
        while piece in vocabulary:
            piece = f"<unused {token}: {piece}>"
        vocabulary[piece] = token
    return {token: name for name, token in vocabulary.items()}, vocabulary


def _mark(backend, names, special, verbatim, bos):
    """Adds the special and the verbatim tokens to a tokenizer, and puts `bos` before a text."""
    backend.add_special_tokens([AddedToken(names[token], special=True, normalized=False) for token in sorted(special)])
    backend.add_tokens([AddedToken(names[token], normalized=False) for token in sorted(verbatim)])
    if bos is not None:
        backend.post_processor = processors.TemplateProcessing(single=f"{names[bos]} $A", special_tokens=[(names[bos], bos)])
