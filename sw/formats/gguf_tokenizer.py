"""Tokenizers in GGUF metadata: `tokenizer.ggml.*`, kinds `llama` (SentencePiece's merges by score)
and `gpt2` (byte-level).
"""

from pathlib import Path

from gguf import GGUFWriter, Keys, TokenType

from ..errors import FormatError
from ..model.config import ModelConfig
from ..text.tokenizer import BYTE, SPACE, Tokenizer
from . import vocabulary
from .gguf_file import File

EOS_KEYS = (Keys.Tokenizer.EOS_ID, Keys.Tokenizer.EOT_ID, Keys.Tokenizer.EOM_ID)
"""Keys of the tokens that end a text, a turn, a message: each ends the answer of a model."""
CURE = "name another with --tokenizer FILE"
"""The end of an error that another tokenizer would cure."""


def facts(file: File) -> dict:
    """`vocab_size`, `bos` and `eos` of a ModelConfig, from the metadata. FormatError if they are
    damaged.
    """
    ends = [token for key in EOS_KEYS if (token := file.get(key, -1)) != -1]
    return {"vocab_size": len(file.get_list(Keys.Tokenizer.LIST, str)), "bos": file.get(Keys.Tokenizer.BOS_ID, 1),
            "eos": tuple(dict.fromkeys(ends)) or (2,)}


def read(file: File, vocab_size: int) -> Tokenizer:
    """The tokenizer in a file's metadata. FormatError for another kind, or another model's."""
    pieces = file.get_list(Keys.Tokenizer.LIST, str)
    if len(pieces) != vocab_size:
        raise FormatError(f"{file.path}: {len(pieces)} pieces for a vocabulary of {vocab_size}: {CURE}")
    types = file.get_list(Keys.Tokenizer.TOKEN_TYPE, int, [TokenType.NORMAL] * vocab_size)
    special = {token for token, kind in enumerate(types) if kind == TokenType.CONTROL}
    verbatim = {token for token, kind in enumerate(types) if kind == TokenType.USER_DEFINED}
    kind = file.get(Keys.Tokenizer.MODEL)
    try:
        if kind == "llama":
            return _sentencepiece(file, pieces, special, verbatim)
        if kind == "gpt2":
            return _byte_level(file, pieces, special, verbatim)
    except FormatError as error:
        raise FormatError(f"{file.path}: {str(error).removeprefix(f'{file.path}: ')}") from None
    raise FormatError(f"{file.path}: its tokenizer is of kind {str(kind)[:40]!r}, and Marey reads 'llama' "
                      f"(SentencePiece) and 'gpt2' (byte-level): {CURE}")


def write(writer: GGUFWriter, path: Path, tokenizer: Tokenizer, config: ModelConfig) -> None:
    """Adds a tokenizer to the metadata. FormatError, beginning with `path`, if the format has no
    place for it.
    """
    pieces = vocabulary.pieces(tokenizer, config.vocab_size)
    unknown = tokenizer.vocabulary().get(tokenizer.about["model"].get("unk_token"))
    if vocabulary.is_sentencepiece(tokenizer):
        writer.add_tokenizer_model("llama")
        writer.add_token_list(pieces)
        writer.add_token_scores(vocabulary.scores(tokenizer, config.vocab_size))
        writer.add_add_space_prefix(tokenizer.strips)
        if unknown is not None:
            writer.add_unk_token_id(unknown)
    elif tokenizer.byte_level and (words := vocabulary.words(tokenizer)):
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(words)
        writer.add_token_list(pieces)
        writer.add_token_merges([" ".join(merge) for merge in tokenizer.about["model"]["merges"]])
    else:
        raise FormatError(f"{path}: GGUF has no place for this tokenizer that Marey knows: write a folder")
    writer.add_token_types([_type(tokenizer, token, piece, unknown) for token, piece in enumerate(pieces)])
    begin = tokenizer.encode("")
    if begin not in ([], [config.bos]):
        raise FormatError(f"{path}: GGUF has no place for a tokenizer that begins a text with tokens "
                          f"{begin}, and not with the model's {config.bos}: write a folder")
    writer.add_add_bos_token(bool(begin))
    writer.add_bos_token_id(config.bos)
    if len(config.eos) > len(EOS_KEYS):
        raise FormatError(f"{path}: GGUF has no place for {len(config.eos)} tokens that end a text: write a "
                          "folder")
    for key, token in zip(EOS_KEYS, config.eos, strict=False):
        writer.add_uint32(key, token)


def _sentencepiece(file, pieces, special, verbatim):
    scores = file.get_list(Keys.Tokenizer.SCORES, float)
    unknown = file.get(Keys.Tokenizer.UNK_ID, 0)
    if len(scores) != len(pieces) or any(score != score for score in scores) or not isinstance(unknown, int) \
            or not 0 <= unknown < len(pieces):
        raise FormatError(f"{len(scores)} scores for {len(pieces)} pieces, or values that are not numbers: "
                          f"damaged: {CURE}")
    return vocabulary.sentencepiece(
        pieces, scores, special or {1, 2}, _bos(file, True, len(pieces)), unknown,
        bool(file.get(Keys.Tokenizer.ADD_PREFIX, True)), {token for token in verbatim if SPACE not in pieces[token]})


def _byte_level(file, pieces, special, verbatim):
    words = file.get(Keys.Tokenizer.PRE, "default")
    if words not in vocabulary.PRE_TOKENIZERS:
        raise FormatError(f"its tokenizer cuts a text into words as {str(words)[:40]!r} does, and Marey "
                          f"knows {', '.join(vocabulary.PRE_TOKENIZERS)}: {CURE}")
    merges = [tuple(merge.split(" ")) for merge in file.get_list(Keys.Tokenizer.MERGES, str)]
    if not all(len(merge) == 2 for merge in merges):
        raise FormatError(f"a merge of its tokenizer does not have two pieces: {CURE}")
    return vocabulary.byte_level(pieces, merges, special, verbatim, _bos(file, words == "llama-bpe", len(pieces)), words)


def _bos(file, default, size):
    """The id of the token that is put before a text, or None. FormatError for an id that is
    damaged.
    """
    token = file.get(Keys.Tokenizer.BOS_ID, 1)
    if not file.get(Keys.Tokenizer.ADD_BOS, default):
        return None
    if not isinstance(token, int) or not 0 <= token < size:
        raise FormatError(f"the token that begins a text is {str(token)[:40]}, expected 0 to {size - 1}: "
                          f"{CURE}")
    return token


def _type(tokenizer, token, piece, unknown):
    if token == unknown:
        return TokenType.UNKNOWN
    if token in tokenizer.added:
        return TokenType.CONTROL if tokenizer.added[token].special else TokenType.USER_DEFINED
    if token not in tokenizer.pieces:
        return TokenType.UNUSED
    return TokenType.BYTE if BYTE.fullmatch(piece) and not tokenizer.byte_level else TokenType.NORMAL
