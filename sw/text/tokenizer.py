"""Tokenizers: text to token ids and back. The library `tokenizers` encodes; its JSON describes a
tokenizer completely.
"""

import codecs
import json
import re
from collections.abc import Iterator

from tokenizers import Tokenizer as Backend

from ..errors import FormatError

JSON_LIMIT = 1 << 26
"""Bytes of a JSON text; a larger one is not read. The largest vocabularies take a quarter of it."""
MOST_TOKENS = 1 << 20
"""Tokens of a vocabulary; a larger one is taken to be damaged."""
SPACE = "▁"
"""How SentencePiece spells a space."""
SURROGATE = 0xDC00
"""Python has a byte of a command line that is not UTF-8 as this code point plus the byte."""
BYTE = re.compile("<0x([0-9A-F]{2})>")
"""How SentencePiece spells a byte that is no text."""
ABLE = {
    "normalizer": {"Sequence", "Prepend", "Replace", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Strip",
                   "StripAccents"},
    "pre_tokenizer": {"Sequence", "ByteLevel", "Digits", "Split", "Metaspace"},
    "post_processor": {"Sequence", "TemplateProcessing", "ByteLevel"},
    "decoder": {"Sequence", "ByteLevel", "Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"},
    "model": {"BPE", "Unigram"},
}
"""The components of the library, by section of its JSON, whose tokens Marey can decode one by one.
"""


class Tokenizer:
    """A tokenizer: a text to token ids, and token ids to a text, all at once or one by one.

    Members: `about`, the library's JSON of it. `added`: tokens that are found in a text as a whole,
    special ones among them, by id. `pieces`: the bytes that each token adds to a text, by id; none
    for a special token. `byte_level`: whether it spells every byte as a letter, as GPT-2 does; else
    it spells spaces as SentencePiece does. `strips`: whether it puts a space before a text, which
    decoding takes away. FormatError for a kind that Marey cannot stream.
    """

    def __init__(self, backend: Backend):
        self._backend = backend
        self.about = json.loads(backend.to_str())
        _check(self.about)
        self.byte_level = "ByteLevel" in _kinds(self.about["decoder"])
        self.strips = not self.byte_level and not backend.decoder.decode([SPACE + "x"]).startswith(" ")
        self.added = backend.get_added_tokens_decoder()
        self.pieces = dict(self._pieces())
        model = self.about["model"]
        unigram = model["type"] == "Unigram"
        self._unknown = model["unk_id"] if unigram else self.vocabulary().get(model["unk_token"])

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        """The tokenizer that the text of a `tokenizer.json` describes.

        FormatError if it describes none, or one whose tokens Marey cannot decode one by one.
        """
        if len(text) > JSON_LIMIT:
            raise FormatError(f"a tokenizer of {len(text)} characters, too large to be one")
        try:
            about = json.loads(text)
        except (ValueError, RecursionError):
            raise FormatError("damaged, or no JSON") from None
        _check_raw(about)
        try:
            backend = Backend.from_str(text)
        except Exception as error:  # the library raises nothing narrower
            raise FormatError(f"no tokenizer of the tokenizers library: "
                              f"{' '.join(str(error).split())[:200]}") from None
        backend.no_truncation()
        backend.no_padding()
        return cls(backend)

    def to_json(self) -> str:
        """The JSON text from which `from_json` makes the same tokenizer."""
        return self._backend.to_str()

    def vocabulary(self) -> dict[str, int]:
        """Token ids by the names that the library has for them."""
        return self._backend.get_vocab()

    def encode(self, text: str, begin: bool = True) -> list[int]:
        """Token ids of a text. With `begin`, the tokens that this tokenizer puts before a text come
        first.

        FormatError for a text that is not Unicode, such as bytes of a command line that were not
        UTF-8.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            byte = ord(text[error.start]) - SURROGATE
            found = f"the byte 0x{byte:02x}" if 0 <= byte < 256 else f"U+{ord(text[error.start]):04X}"
            raise FormatError(f"the text is not UTF-8: its character {error.start + 1} is {found}") from None
        return self._backend.encode(text, add_special_tokens=begin).ids

    def unencodable(self, text: str) -> list[str]:
        """The characters of a text that the vocabulary has no tokens for, each once, in their
        order.

        `encode` puts the unknown token in their place, or drops them.
        """
        return [character for character in dict.fromkeys(text) if self._loses(character)]

    def _loses(self, character: str) -> bool:
        tokens = self.encode(character, begin=False)
        if self._unknown in tokens:
            return True
        said = b"".join(self.pieces.get(token, b"") for token in tokens)
        if self.byte_level and not self.about["normalizer"]:
            return said.strip(b" ") != character.encode().strip(b" ") and not set(tokens) & self.added.keys()
        return not said and not character.isspace() and not self.about["normalizer"]

    def decode(self, tokens: list[int]) -> str:
        """The text of token ids."""
        stream = self.stream()
        return "".join(map(stream, tokens)) + stream.rest()

    def stream(self) -> "Stream":
        """A decoder for one token at a time."""
        return Stream(self)

    def spelling(self, token: int) -> str:
        """How a single token is shown to people: its text, or the name of a special one."""
        if token in self.added:
            return self.added[token].content
        return self.pieces.get(token, b"").decode(errors="replace")

    def _pieces(self) -> Iterator[tuple[int, bytes]]:
        # Each letter becomes the characters that Latin-1 encodes as its bytes.
        letters = {chr(code): chr(code).encode() for code in range(256)} | byte_letters()
        latin = str.maketrans({letter: data.decode("latin-1") for letter, data in letters.items()})
        fallback = "ByteFallback" in _kinds(self.about["decoder"])
        for name, token in self.vocabulary().items():
            if token in self.added:
                yield token, b"" if self.added[token].special else name.encode()
            elif self.byte_level:
                try:
                    yield token, name.translate(latin).encode("latin-1")
                except UnicodeEncodeError:  # it has a character that is no letter of a byte
                    yield token, b"".join(letters.get(letter) or letter.encode() for letter in name)
            elif fallback and (byte := BYTE.fullmatch(name)):
                yield token, bytes.fromhex(byte[1])
            else:
                yield token, name.replace(SPACE, " ").encode()


class Stream:
    """A decoder: called with a token id, it returns the text that is complete by then."""

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = False

    def __call__(self, token: int) -> str:
        piece = self._tokenizer.pieces.get(token, b"")
        first, self._begun = not self._begun, bool(piece)  # after a special token a text begins anew
        return self._decoder.decode(piece.removeprefix(b" ") if first and self._tokenizer.strips else piece)

    def rest(self) -> str:
        """A replacement character if the last character never became whole, else nothing."""
        return self._decoder.decode(b"", final=True)


def byte_letters() -> dict[str, bytes]:
    """The byte of each letter in GPT-2's spelling: a byte that prints in Latin-1 is itself, others
    are U+0100 and on.
    """
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printed]
    letters = {chr(byte): bytes([byte]) for byte in printed}
    return letters | {chr(256 + n): bytes([byte]) for n, byte in enumerate(others)}


def _nodes(section) -> Iterator[dict]:
    """The components in a section of the library's JSON: sequences, and what they contain."""
    waiting = [section]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if isinstance(node.get("type"), str):
                yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _kinds(section) -> set[str]:
    return {node["type"] for node in _nodes(section)}


def _check_raw(about) -> None:
    """FormatError for components whose tokens Marey cannot decode one by one.

    This comes before the library sees the JSON: it panics at some components, and makes tables as
    long as the largest token id.
    """
    if not isinstance(about, dict) or not isinstance(about.get("model"), dict):
        raise FormatError("no JSON object with a model in it")
    for section, able in ABLE.items():
        if unable := _kinds(about.get(section)) - able:
            raise FormatError(f"its {section} is {', '.join(sorted(unable))[:80]!r}, and Marey knows "
                              f"{', '.join(sorted(able))}")
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if about["model"].get(name):
            raise FormatError(f"its model has a {name}, which Marey cannot do")
    vocabulary, added = about["model"].get("vocab"), about.get("added_tokens")
    tokens = [*(vocabulary.values() if isinstance(vocabulary, dict) else ()),
              *(token.get("id") for token in (added if isinstance(added, list) else ()) if isinstance(token, dict))]
    if not all(isinstance(token, int) and 0 <= token < MOST_TOKENS for token in tokens):
        raise FormatError(f"its vocabulary has tokens that are not numbers from 0 to {MOST_TOKENS - 1}: "
                          "damaged?")


def _check(about: dict) -> None:
    """FormatError for mistakes that the library accepts, and that would be errors or panics later.
    """
    if not about["decoder"]:
        raise FormatError("it has no decoder, so nothing says how its tokens become text")
    for node in _nodes(about["post_processor"]):
        for item in (*node.get("single", ()), *node.get("pair", ())):
            name = item.get("SpecialToken", {}).get("id")
            if name is not None and name not in node["special_tokens"]:
                raise FormatError(f"its post_processor puts in {name!r}, which it does not define")
    model = about["model"]
    unknown = model.get("unk_token")
    lacks_unknown = model["type"] == "Unigram" and model["unk_id"] is None
    if lacks_unknown or (unknown is not None and unknown not in model["vocab"]):
        raise FormatError("its model has no token for what is in none of its pieces")
