"""llama2.c tokenizer files: https://github.com/karpathy/llama2.c, `tokenizer.py`.

A file has an int32, the bytes of the longest piece; then for each piece a float32 score, an int32
length, and its bytes.
"""

import struct
from pathlib import Path

from ...sim.files import write_file
from ..errors import FormatError
from ..text.tokenizer import JSON_LIMIT, SPACE, Tokenizer
from . import vocabulary

BOS, EOS = 1, 2
"""Tokens that begin and end a text; the format fixes them."""
SPECIAL = {BOS: b"\n<s>\n", EOS: b"\n</s>\n"}
"""Their pieces in the format's tokenizer files."""
BYTES_FROM = 3
"""Pieces 3 to 258 of a tokenizer stand for single bytes, if piece 3 is one of `FIRST_BYTE`."""
FIRST_BYTE = (b"<0x00>", b"\0")


def read_tokenizer(path: Path, vocab_size: int) -> Tokenizer:
    """The tokenizer in a file. FormatError for anything else, and for a vocabulary that is not the
    model's.
    """
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    if path.stat().st_size > JSON_LIMIT:
        raise FormatError(f"{path}: {path.stat().st_size} bytes, too large to be a llama2.c tokenizer")
    pieces, scores = _records(path, path.read_bytes())
    if len(pieces) != vocab_size or len(pieces) < BYTES_FROM:
        raise FormatError(f"{path}: {len(pieces)} pieces, but the model has a vocabulary of {vocab_size}: "
                          "this tokenizer belongs to another model")
    has_bytes = len(pieces) >= BYTES_FROM + 256 and pieces[BYTES_FROM] in FIRST_BYTE
    names = [piece.decode(errors="replace").replace(" ", SPACE) for piece in pieces]
    names[:BYTES_FROM] = ["<unk>", "<s>", "</s>"]
    if has_bytes:
        names[BYTES_FROM:BYTES_FROM + 256] = [f"<0x{byte:02X}>" for byte in range(256)]
    try:
        return vocabulary.sentencepiece(names, scores, {BOS, EOS}, BOS)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None


def write_tokenizer(path: Path, tokenizer: Tokenizer, vocab_size: int | None = None) -> None:
    """Writes a tokenizer file. FormatError for a tokenizer that pieces and scores do not describe
    completely.
    """
    write_file(path, tokenizer_bytes(path, tokenizer, vocab_size))


def tokenizer_bytes(path: Path, tokenizer: Tokenizer, vocab_size: int | None = None) -> bytes:
    """The bytes that `write_tokenizer` writes to a path, or the same FormatError."""
    if not vocabulary.is_sentencepiece(tokenizer) or tokenizer.encode("") != [BOS]:
        raise FormatError(f"{path}: llama2.c's format has no place for this tokenizer, only for one that "
                          "merges pieces by "
                          "their scores, as SentencePiece does: write a .gguf file, or a folder")
    pieces = [piece.replace(SPACE, " ").encode() for piece in vocabulary.pieces(tokenizer, vocab_size)]
    for token, piece in SPECIAL.items():
        pieces[token] = piece
    scores = vocabulary.scores(tokenizer, vocab_size)
    records = (struct.pack("<fi", score, len(piece)) + piece for piece, score in zip(pieces, scores, strict=True))
    return struct.pack("<i", max(map(len, pieces))) + b"".join(records)


def _records(path, content):
    """Pieces and scores of a tokenizer file. FormatError if it is damaged."""
    pieces, scores, position = [], [], 4
    longest = struct.unpack_from("<i", content)[0] if len(content) >= 4 else 0
    if not 0 < longest <= vocabulary.LONGEST:
        raise FormatError(f"{path}: header says the longest piece has {longest} bytes: no llama2.c tokenizer")
    while position < len(content):
        if position + 8 > len(content):
            raise FormatError(f"{path}: ends in the middle of piece {len(pieces)}: truncated")
        score, length = struct.unpack_from("<fi", content, position)
        position += 8
        if not 0 <= length <= longest or position + length > len(content) or score != score:
            raise FormatError(f"{path}: piece {len(pieces)} has score {score} and {length} bytes, of at most "
                              f"{longest} and with {len(content) - position} left: truncated or damaged")
        pieces.append(content[position:position + length])
        scores.append(score)
        position += length
    return pieces, scores
