"""Damages model and tokenizer files at random and reads them, in a process whose address space is small.

    python -m tests.fuzz FOLDER SEED COUNT

makes good files in FOLDER, and COUNT damaged ones, each from SEED and its number alone; with seed 0 also files whose
headers claim more than there is. A reader must read a file, or refuse it with a FormatError of one line. Anything else is
printed, and the damaged file stays in FOLDER.
"""

import json
import random
import resource
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from marey.sw.errors import FormatError, FormatWarning
from marey.sw.formats import gguf, huggingface, llama2c, load_model, load_template, load_tokenizer
from marey.sw.formats.tiny import tiny_model, tiny_tokenizer
from marey.sw.model.config import ModelConfig
from marey.sw.text.chat import ChatTemplate
from tests.sw.formats.test_llama2c import versioned
from tests.vocabularies import byte_level, unigram

ROOM = 512 << 20
"""Bytes of address space that reading may take beyond what the process has when it begins."""
LONGEST = 600
"""Characters of a line for a person."""
NUMBERS = [0, 1, 2, 3, 7, 31, 127, 255, 256, 1 << 15, (1 << 16) - 1, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40,
           (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
VALUES = [None, True, False, 0, -1, 1, 1.5, -0.0, 1e308, 1 << 31, 1 << 63, 1 << 70, "", "x", "▁", "\0", "<0x00>", "$A",
          "é" * 3000, [], {}, [[]], [{}], {"": None}, [0] * 1000, float("nan"), float("inf"), {"type": "Sequence"},
          {"type": "ByteLevel"},
          {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": False},
          {"type": "Precompiled", "precompiled_charsmap": "AAAA"}, {"type": "BPE"}, {"type": "Unigram", "vocab": []}]
MODEL = ModelConfig(dim=32, hidden_dim=64, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=400, seq_len=16, tied=False)
TEMPLATE = ChatTemplate("{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}<|im_start|>"
                        "{{ m['content'] | trim }}{% endif %}{% endfor %}{{ {'a': [1, 2]} | tojson(indent=2) }}")


def corpus(folder: Path) -> dict[str, tuple[Path, Callable[[Path], None]]]:
    """Good files, by name, and what reads each once it is damaged."""
    folder.mkdir(exist_ok=True)
    model, words = tiny_model(MODEL), tiny_tokenizer(400)
    llama2c.write(folder / "m.bin", model, words)
    for version in (1, 2):
        (folder / f"m{version}.bin").write_bytes(versioned(model, version, 32)[0])
    for dtype in ("F32", "Q8_0", "Q4_0"):
        gguf.write(folder / f"{dtype}.gguf", model, words, dtype)
    gguf.write(folder / "smol.gguf", model, byte_level(vocab_size=400), template=TEMPLATE)
    huggingface.write(folder / "one", model, byte_level(vocab_size=400), TEMPLATE)
    qwen = tiny_model(replace(MODEL, family="qwen3", head_width=20, rope_factors=(2.0,) * 10))
    gguf.write(folder / "qwen.gguf", qwen, byte_level("qwen2"))
    huggingface.write(folder / "qwen", qwen, byte_level("qwen2"))
    whole, huggingface.SHARD = huggingface.SHARD, 1 << 16
    huggingface.write(folder / "many", model, words)
    huggingface.SHARD = whole
    gpt2_folder(folder / "gpt2")
    (folder / "one" / "generation_config.json").write_text('{"eos_token_id": [0, 1]}')
    (folder / "unigram.json").write_text(unigram(400).to_json())
    files = {name: (folder / name, _model) for name in (
        "m.bin", "m1.bin", "m2.bin", "F32.gguf", "Q8_0.gguf", "Q4_0.gguf", "smol.gguf", "qwen.gguf")}
    for name in ("one/config.json", "one/model.safetensors", "one/tokenizer.json", "many/model.safetensors.index.json",
                 "many/tokenizer.json", "many/model-00002-of-00003.safetensors", "one/generation_config.json",
                 "one/tokenizer_config.json", "one/chat_template.jinja", "qwen/config.json", "gpt2/config.json",
                 "gpt2/model.safetensors", "gpt2/vocab.json", "gpt2/merges.txt"):
        files[name] = folder / name, lambda path: _model(path.parent)
    for name in ("unigram.json", "tokenizer.bin"):
        files[name] = folder / name, lambda path: _speak(load_tokenizer(path, path, 400))
    return files


def gpt2_folder(folder: Path) -> None:
    """Writes a folder of the GPT-2 family, with its tokenizer in GPT-2's own two files."""
    huggingface.write(folder, tiny_model(replace(MODEL, family="gpt2", n_kv_heads=4)), byte_level("gpt-2"))
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(byte_level("gpt-2").vocabulary()))
    (folder / "merges.txt").write_text("".join(" ".join(merge) + "\n" for merge in model["merges"]))


def _model(path):
    """Reads a model, and its tokenizer if it is not a file that has none."""
    model = load_model(path)
    if path.suffix != ".bin":
        _speak(load_tokenizer(None, path, model.config.vocab_size))
        if template := load_template(path):
            with suppress(FormatError):
                template.render([{"role": "user", "content": "x"}])


def _speak(tokenizer):
    tokenizer.decode([*tokenizer.encode("Once upon a tïme, 12 dogs"), 0, 1, 399, 1 << 20])


def damage(content: bytes, others: list[bytes], json_too: bool, rng: random.Random) -> bytes:
    """A file's content, changed in one to three places."""
    for _ in range(rng.randint(1, 3)):
        if json_too and rng.random() < 0.7:
            content = _damage_json(content, rng)
            continue
        near = min(len(content), rng.choice([64, 1024, 20_000, len(content)]))
        at, length = rng.randrange(near + 1), rng.choice([1, 4, 8, 100])
        size = rng.choice([1, 4, 8])
        number = (rng.choice(NUMBERS) % (1 << 8 * size)).to_bytes(size, "little")
        match rng.randrange(7):
            case 0:
                content = content[:at]
            case 1 if content:
                at = min(at, len(content) - 1)
                content = content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1:]
            case 2:
                content = content[:at] + number + content[at + size:]
            case 3:
                content = content[:at] + content[at + length:]
            case 4:
                content = content[:at] + content[at:at + length] + content[at:]
            case 5:
                content = content[:at] + rng.randbytes(length) + content[at:]
            case 6:
                content = content[:at] + rng.choice(others)[at:]
    return content


def _damage_json(content, rng):
    """Another value, or none, at any place of a JSON text."""
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return content
    node, steps = tree, rng.randint(0, 5)
    while isinstance(node, (dict, list)) and node:
        key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        if steps == 0 or not isinstance(node[key], (dict, list)) or not node[key]:
            if rng.random() < 0.2:
                del node[key]
            else:
                node[key] = rng.choice(VALUES)
            break
        node, steps = node[key], steps - 1
    return json.dumps(tree).encode()


def bombs(good: dict[str, bytes]) -> dict[str, tuple[bytes, int, str]]:
    """Files whose headers claim more than there is, or that are mostly holes: content, size in bytes, whose place they take."""
    huge = 1 << 40
    key = (1).to_bytes(8, "little") + b"a"
    head = b"GGUF" + (3).to_bytes(4, "little") + (0).to_bytes(8, "little") + (1).to_bytes(8, "little")
    array = head + key + (9).to_bytes(4, "little")
    found = {
        "an array of bytes": (array + (0).to_bytes(4, "little") + (1 << 27).to_bytes(8, "little"), 1 << 28, "F32.gguf"),
        "arrays of arrays": (array + ((9).to_bytes(4, "little") + (1).to_bytes(8, "little")) * 100_000, 0, "F32.gguf"),
        "a string": (head + key + (8).to_bytes(4, "little") + (1 << 62).to_bytes(8, "little"), 1 << 20, "F32.gguf"),
        "a text of nothing": (b"", huge, "one/tokenizer.json"), "nothing but a size": (b"", huge, "tokenizer.bin"),
        "a configuration of nothing": (b"", huge, "one/config.json"),
        "brackets": (b"[" * 1_000_000, 0, "one/config.json"), "objects": (b'{"a":' * 1_000_000, 0, "one/tokenizer.json"),
        "long numbers": (b'{"hidden_size":' + b"9" * 500_000 + b"}", 0, "one/config.json"),
        "an index of nothing": (b"", huge, "many/model.safetensors.index.json"),
        "a checkpoint of nothing": (good["m.bin"][:28], huge, "m.bin"),
    }
    for count in (1 << 20, 1 << 32, (1 << 63) - 1, (1 << 64) - 1):
        size = count.to_bytes(8, "little")
        found[f"{count} tensors"] = good["F32.gguf"][:8] + size + good["F32.gguf"][16:], 0, "F32.gguf"
        found[f"{count} keys"] = good["F32.gguf"][:16] + size + good["F32.gguf"][24:], 1 << 28, "F32.gguf"
        found[f"a header of {count}"] = size + good["one/model.safetensors"][8:], 1 << 28, "one/model.safetensors"
    return found


def read(path: Path, reader: Callable[[Path], None], content: bytes, size: int = 0) -> str | None:
    """What is wrong with how a reader takes a damaged file, of `size` bytes or more, in the place of `path`; or None."""
    good = path.with_name(path.name + ".good")
    path.rename(good)
    try:
        path.write_bytes(content)
        if size > len(content):
            with path.open("r+b") as file:
                file.truncate(size)
        reader(path)
    except FormatError as error:
        line = str(error)
        if "\n" in line or len(line) > LONGEST + len(str(path)) or str(path.parent) not in line:
            return f"says {line!r}"
    except BaseException:  # a panic of the tokenizers library is no Exception
        return traceback.format_exc()
    finally:
        good.replace(path)
    return None


def main(folder: Path, seed: int, count: int) -> int:
    """The number of files that were not taken as they should be."""
    warnings.simplefilter("ignore", FormatWarning)
    files, failures = corpus(folder), 0
    contents = {name: path.read_bytes() for name, (path, _) in files.items()}
    for path, reader in files.values():
        reader(path)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))

    def cases():
        if seed == 0:
            for what, (content, size, name) in bombs(contents).items():
                yield what, name, content, size
        for number in range(count):
            rng = random.Random(f"{seed} {number}")
            name = rng.choice(list(files))
            yield number, name, damage(contents[name], list(contents.values()), name.endswith(".json"), rng), 0

    for case, name, content, size in cases():
        if wrong := read(*files[name], content, size):
            failures += 1
            kept = folder / f"failed-{seed}-{failures}-{Path(name).name}"
            kept.write_bytes(content)
            print(f"seed {seed}, {case}, {name}, kept as {kept}: {wrong}", flush=True)
    print(f"{count} files, {failures} failures")
    return failures


if __name__ == "__main__":
    place = Path(sys.argv[1])
    shutil.rmtree(place, ignore_errors=True)
    sys.exit(main(place, int(sys.argv[2]), int(sys.argv[3])) > 0)
