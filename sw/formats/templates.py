"""Chat templates in GGUF metadata and in Hugging Face folders.

A folder has the template in `chat_template.jinja`, or in older ones in `tokenizer_config.json`,
which also names the special tokens.
"""

import json
from collections.abc import Callable
from pathlib import Path

from gguf import GGUFWriter, Keys

from ..errors import FormatError
from ..text.chat import LIMIT, ChatTemplate
from .gguf_file import File
from .json_file import read_json, read_utf8

SPECIAL_IDS = {"bos_token": Keys.Tokenizer.BOS_ID, "eos_token": Keys.Tokenizer.EOS_ID,
               "unk_token": Keys.Tokenizer.UNK_ID, "pad_token": Keys.Tokenizer.PAD_ID}
"""Keys of GGUF metadata that have the ids of special tokens, by the names of these in templates."""
TEMPLATE, TOKENIZER_CONFIG, SPECIAL = "chat_template.jinja", "tokenizer_config.json", "special_tokens_map.json"
CONFIG_LIMIT_BYTES = 1 << 24
"""A tokenizer_config.json lists each added token, and can be long."""
ABSENT = "{}"


def read_gguf(file: File) -> ChatTemplate | None:
    """The template in a GGUF file's metadata; None if it has none. FormatError if it is damaged."""
    source = file.get(Keys.Tokenizer.CHAT_TEMPLATE, ABSENT)
    if source == ABSENT:
        return None
    if not isinstance(source, str):
        raise FormatError(f"{Keys.Tokenizer.CHAT_TEMPLATE} is no text: damaged")
    pieces, special = file.get_list(Keys.Tokenizer.LIST, str), {}
    for name, key in SPECIAL_IDS.items():
        token = file.get(key, -1)
        if isinstance(token, int) and 0 <= token < len(pieces):
            special[name] = pieces[token]
    return ChatTemplate(source, special)


def write_gguf(writer: GGUFWriter, template: ChatTemplate) -> None:
    """Adds a template to the metadata; special tokens stand there by their ids already."""
    writer.add_chat_template(template.source)


def read_folder(folder: Path) -> ChatTemplate | None:
    """The template in a folder; None if it has none. FormatError if it is damaged."""
    about = _json(folder / TOKENIZER_CONFIG)
    source = about.get("chat_template")
    if (folder / TEMPLATE).is_file():
        source = read_utf8(folder / TEMPLATE, 4 * LIMIT)
    if isinstance(source, list):
        named = {each.get("name"): each.get("template") for each in source if isinstance(each, dict)}
        source = named.get("default")
    if source is None:
        return None
    if not isinstance(source, str):
        raise FormatError(f"{folder / TOKENIZER_CONFIG}: its chat_template is no text: damaged")
    return ChatTemplate(source, _special(_json(folder / SPECIAL)) | _special(about))


def write_folder(new: Callable[[str], Path], template: ChatTemplate) -> None:
    """Writes a template to a folder, and the special tokens that it names; `new(name)` is the path
    to write a file of that name to.
    """
    new(TEMPLATE).write_text(template.source, encoding="utf-8")
    about = {"tokenizer_class": "PreTrainedTokenizerFast", **template.special}
    new(TOKENIZER_CONFIG).write_text(json.dumps(about, indent=2) + "\n")


def _json(path: Path) -> dict:
    return read_json(path, CONFIG_LIMIT_BYTES) if path.is_file() else {}


def _special(about: dict) -> dict[str, str]:
    """Texts of special tokens, by name, from a JSON file that has each as a text or as an object."""
    found = {}
    for name, token in about.items():
        text = token.get("content") if isinstance(token, dict) else token
        if name.endswith("_token") and isinstance(text, str):
            found[name] = text
    return found
