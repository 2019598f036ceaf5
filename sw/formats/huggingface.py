"""Hugging Face folders: `config.json`, weights in safetensors files, `generation_config.json`, and
a tokenizer.

The tokenizer is `tokenizer.json`, or else `vocab.json` and `merges.txt` as GPT-2 has them.
`huggingface_families` says how each `model_type` maps to Marey's models.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ...sim.files import new_contents
from ..errors import FormatError
from ..model.config import ModelConfig
from ..model.families import weight_shapes
from ..model.model import Model
from ..text.chat import ChatTemplate
from ..text.tokenizer import JSON_LIMIT, Tokenizer
from . import safetensors_folder, templates, vocabulary
from .checks import check_tensors
from .huggingface_families import FAMILIES
from .huggingface_family import Family
from .json_file import read_json, read_utf8
from .names import CONFIG, GENERATION, MERGES, TOKENIZER, VOCABULARY
from .safetensors_folder import SafetensorsFolder

CONFIG_LIMIT = 1 << 20
"""Bytes; a larger config.json is not read."""
Header = tuple[tuple[int, ...], str]
"""Shape and type of a tensor."""
SHARD = 1 << 30
"""Bytes in a file of weights that is written. A larger model is written as several files, for each
is in memory twice.
"""


def read(folder: Path) -> Model:
    """The model in a folder. FormatError for one that is damaged, or that Marey cannot do."""
    family, config = read_config(folder)
    files = SafetensorsFolder(folder, family.prefix)
    return assemble(str(folder), family, config, files.headers(), files.get)


def assemble(where: str, family: Family, config: ModelConfig, headers: Mapping[str, Header],
             get: Callable[[str], np.ndarray]) -> Model:
    """The model of a checkpoint's tensors. FormatError, which begins with `where`, for a tensor that is missing or wrong.

    `headers`: shape and type, one of `safetensors_folder.TYPES`, of each tensor, by name without the family's prefix.
    `get`: a tensor's values, float32.
    """
    _check_headers(where, family, config, headers)
    shapes, weights = weight_shapes(config), {}
    for tensor in family.tensors(config):
        weights |= tensor.split(get(tensor.name), shapes)
    return Model(config, weights)


def read_shape(folder: Path) -> ModelConfig:
    """The shape of the model in a folder, from `config.json` and the headers of its weights, which
    need not be there.

    FormatError for every model that `read` refuses without a look at its weights' values.
    """
    family, config = read_config(folder)
    files = SafetensorsFolder(folder, family.prefix)
    others = any((folder / name).is_file() for name in safetensors_folder.OTHER_WEIGHTS)
    if files.has_weights() or others:
        _check_headers(str(folder), family, config, files.headers())
    return config


def read_tokenizer(path: Path, vocab_size: int) -> Tokenizer:
    """The tokenizer in a `tokenizer.json`, or, where there is none, in the `vocab.json` and
    `merges.txt` beside it.

    FormatError for a kind that Marey cannot stream, or another model's.
    """
    if not path.is_file() and _is_gpt2(path.parent):
        path = path.with_name(VOCABULARY)
        return vocabulary.fitted(_gpt2_tokenizer(path, path.with_name(MERGES)), vocab_size, path)
    if not path.is_file() and path.with_name("tokenizer.model").is_file():
        raise FormatError(f"{path}: no such file, and Marey reads no tokenizer.model: convert it")
    text = read_utf8(path, JSON_LIMIT)
    try:
        tokenizer = Tokenizer.from_json(text)
    except FormatError as error:
        raise FormatError(f"{path}: {error}; or name another with --tokenizer FILE") from None
    return vocabulary.fitted(tokenizer, vocab_size, path)


def read_template(folder: Path) -> ChatTemplate | None:
    """The chat template in a folder; None if it has none. FormatError if it is damaged."""
    return templates.read_folder(folder)


def write(folder: Path, model: Model, tokenizer: Tokenizer, template: ChatTemplate | None = None) -> None:
    """Writes a folder, made if need be: float32 weights, config.json, tokenizer.json, and the chat
    template if there is one.

    They take the place of another model's files at the end, when all of them have been written.
    """
    config, family = model.config, FAMILIES[model.config.family]
    about = {
        "architectures": [family.architecture], "model_type": config.family, "torch_dtype": "float32",
        **{field: getattr(config, name) for name, field in family.fields.items()}, **family.about(config),
        "tie_word_embeddings": config.tied, "bos_token_id": config.bos,
        "eos_token_id": config.eos[0] if len(config.eos) == 1 else list(config.eos),
    }
    tensors = family.tensors(config)
    named = ((_full_name(family, tensor.name), tensor.join(model.weights)) for tensor in tensors)
    with new_contents(folder) as new:
        new(CONFIG).write_text(json.dumps(about, indent=2) + "\n")
        new(TOKENIZER).write_text(tokenizer.to_json(), encoding="utf-8")
        if template:
            templates.write_folder(new, template)
        written = safetensors_folder.write(new, named, SHARD)
    of_template = [] if template else [folder / templates.TEMPLATE, folder / templates.TOKENIZER_CONFIG]
    for old in (*safetensors_folder.files_of(folder), folder / GENERATION, *of_template):
        if old.name not in written:
            old.unlink(missing_ok=True)


def _full_name(family: Family, name: str) -> str:
    """A tensor's name as transformers writes it: the classifier stands outside of what the prefix
    names.
    """
    return name if name == "lm_head.weight" else family.prefix + name


def _check_headers(where: str, family: Family, config: ModelConfig, headers: Mapping[str, Header]) -> None:
    """FormatError if the tensors in the headers are not those that the model needs."""
    shapes = weight_shapes(config)
    ignored = family.ignored + (r"|lm_head\.weight" if config.tied else "")
    found = {name: header for name, header in headers.items() if not re.fullmatch(ignored, name)}
    expected = {tensor.name: tensor.shape(shapes) for tensor in family.tensors(config)}
    check_tensors(where, expected, found, safetensors_folder.TYPES)


def read_config(folder: Path) -> tuple[Family, ModelConfig]:
    """The family and the shape of the model in a folder, from its JSON files; its weights need not
    be there.

    FormatError for one that Marey cannot do.
    """
    path = folder / CONFIG
    found, where = read_json(path, CONFIG_LIMIT), f"{path}"
    if (folder / GENERATION).is_file():
        ends = read_json(folder / GENERATION, CONFIG_LIMIT).get("eos_token_id")
        if ends is not None:
            return parse_config(where, found | {"eos_token_id": ends}, f", with the end tokens of {GENERATION},")
    return parse_config(where, found)


def parse_config(where: str, found: dict, also: str = ":") -> tuple[Family, ModelConfig]:
    """The family and the shape of a model from the contents of its `config.json`. FormatError, which begins with `where`,
    for one that Marey cannot do. `also`: follows `where` in messages about numbers.
    """
    kind = found.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise FormatError(f"{where}: model_type is {json.dumps(kind)[:80]}, and Marey reads "
                          f"{', '.join(FAMILIES)}")
    family = FAMILIES[kind]
    for name, able in family.settings.items():
        if found.get(name, able[0]) not in able:
            raise FormatError(f"{where}: {name} is {json.dumps(found[name])[:80]}, and Marey can do only "
                              f"{' or '.join(map(json.dumps, able))}")
    if not isinstance(found.get("tie_word_embeddings", False), bool):
        raise FormatError(f"{where}: tie_word_embeddings is {json.dumps(found['tie_word_embeddings'])[:80]}, "
                          "expected true or false")
    return family, family.config(f"{where}{also}", found)


def _is_gpt2(folder: Path) -> bool:
    """Whether a folder has GPT-2's two tokenizer files. Other families have such files, too, and
    cut words otherwise.
    """
    if not (folder / VOCABULARY).is_file() or not (folder / CONFIG).is_file():
        return False
    return read_json(folder / CONFIG, CONFIG_LIMIT).get("model_type") == "gpt2"


def _gpt2_tokenizer(vocabulary_path: Path, merges_path: Path) -> Tokenizer:
    """The byte-level tokenizer in GPT-2's two files. FormatError if one is missing or damaged."""
    pieces = read_json(vocabulary_path, JSON_LIMIT)
    if sorted(pieces.values(), key=str) != sorted(range(len(pieces)), key=str):
        raise FormatError(f"{vocabulary_path}: its tokens are not the numbers from 0 to {len(pieces) - 1}: "
                          "damaged?")
    lines = read_utf8(merges_path, JSON_LIMIT).split("\n")
    merges = [tuple(line.split(" ")) for line in lines if line.strip() and not line.startswith("#version")]
    if not all(len(merge) == 2 for merge in merges):
        raise FormatError(f"{merges_path}: expected two pieces on each line: damaged?")
    special = {pieces[vocabulary.END_OF_TEXT]} if vocabulary.END_OF_TEXT in pieces else set()
    try:
        return vocabulary.byte_level(sorted(pieces, key=pieces.get), merges, special, set(), None, "gpt-2")
    except FormatError as error:
        raise FormatError(f"{merges_path}: {error}") from None
