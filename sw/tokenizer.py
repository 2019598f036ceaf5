"""Tokenizers: text to token ids and back. Byte-pair encoding is the `tokenizers` library's."""

import struct
from pathlib import Path

from tokenizers import Tokenizer as Backend
from tokenizers import models

from .errors import FormatError
from .sampling import BOS, EOS

BYTES_FROM = 3
"""Pieces 3 to 258 stand for single bytes, in SentencePiece's numbering, if the first of them is called so."""
FIRST_BYTE = (b"<0x00>", b"\0")


class Tokenizer:
    """A SentencePiece-style BPE vocabulary, with byte fallback if it has the pieces for it.

    `pieces`: bytes of each token; `scores`: of two possible merges the one whose result scores higher is made first;
    `bytes`: the tokens that stand for single bytes.
    """

    def __init__(self, pieces: list[bytes], scores: list[float]):
        self.pieces, self.scores = pieces, scores
        has_bytes = len(pieces) >= BYTES_FROM + 256 and pieces[BYTES_FROM] in FIRST_BYTE
        self.bytes = range(BYTES_FROM, BYTES_FROM + 256 * has_bytes)
        vocabulary, merges = {}, []
        for index, piece in enumerate(pieces):
            # A byte's own piece is spelled as the library expects it; damaged UTF-8 is no text and never matched.
            name = f"<0x{index - BYTES_FROM:02X}>" if index in self.bytes else piece.decode(errors="replace")
            vocabulary.setdefault(name if name not in vocabulary else f"<unused {index}>", index)
        for name, index in vocabulary.items():
            for cut in range(1, len(name)) if index >= self.bytes.stop else ():
                left, right = vocabulary.get(name[:cut]), vocabulary.get(name[cut:])
                if left is not None and right is not None and min(left, right) >= BYTES_FROM:
                    merges.append((-scores[index], index, name[:cut], name[cut:]))
        merges.sort(key=lambda merge: merge[:2])
        self._backend = Backend(models.BPE(vocabulary, [merge[2:] for merge in merges], byte_fallback=has_bytes,
                                           unk_token=next(iter(vocabulary)), fuse_unk=True))

    @classmethod
    def read(cls, path: Path, vocab_size: int) -> "Tokenizer":
        """llama2.c's tokenizer file: int32 longest piece, then float32 score, int32 length and bytes of each piece.

        FormatError for anything else, and for a vocabulary that is not the model's.
        """
        if not path.is_file():
            raise FormatError(f"{path}: no such file")
        content = path.read_bytes()
        pieces, scores, position = [], [], 4
        longest = struct.unpack_from("<i", content)[0] if len(content) >= 4 else 0
        if not 0 < longest <= 1 << 16:
            raise FormatError(f"{path}: header says the longest piece has {longest} bytes: no llama2.c tokenizer")
        while position < len(content):
            if position + 8 > len(content):
                raise FormatError(f"{path}: ends in the middle of piece {len(pieces)}: truncated")
            score, length = struct.unpack_from("<fi", content, position)
            position += 8
            if not 0 <= length <= longest or position + length > len(content) or score != score:
                raise FormatError(f"{path}: piece {len(pieces)} has score {score} and {length} bytes, of at most {longest} "
                                  f"and with {len(content) - position} left: truncated or damaged")
            pieces.append(content[position:position + length])
            scores.append(score)
            position += length
        if len(pieces) != vocab_size:
            raise FormatError(f"{path}: {len(pieces)} pieces, but the model has a vocabulary of {vocab_size}: "
                              "this tokenizer belongs to another model")
        return cls(pieces, scores)

    def write(self, path: Path) -> None:
        """Writes llama2.c's tokenizer file."""
        records = (struct.pack("<fi", score, len(piece)) + piece
                   for piece, score in zip(self.pieces, self.scores, strict=True))
        path.write_bytes(struct.pack("<i", max(map(len, self.pieces))) + b"".join(records))

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, BOS first; a text begins with a space, as SentencePiece has it."""
        return [BOS, *(self._backend.encode(" " + text).ids if text else [])]

    def decode(self, tokens: list[int]) -> str:
        """The text of tokens; BOS and EOS stand for nothing."""
        stream = self.stream()
        return "".join(stream(token) for token in tokens) + stream.rest()

    def stream(self) -> "Stream":
        """A decoder that is fed one token at a time."""
        return Stream(self)


class Stream:
    """Decodes token by token: call it with a token, get the text that is complete by then."""

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._pending = b""
        self._begun = False

    def __call__(self, token: int) -> str:
        if token in (BOS, EOS):
            self._begun = False
            return ""
        piece = self._tokenizer.pieces[token]
        if token in self._tokenizer.bytes:
            piece = bytes([token - BYTES_FROM])
        if not self._begun:
            piece = piece.removeprefix(b" ")
            self._begun = True
        self._pending += piece
        try:
            text, self._pending = self._pending.decode(), b""
        except UnicodeDecodeError as error:
            # Wait for the rest of a character that has begun; give up one that cannot be.
            if error.reason != "unexpected end of data":
                text, self._pending = self._pending.decode(errors="replace"), b""
            else:
                text = self._pending[:error.start].decode()
                self._pending = self._pending[error.start:]
        return text

    def rest(self) -> str:
        """What is left of a character that never became whole."""
        text, self._pending = self._pending.decode(errors="replace"), b""
        return text
