"""Every type of tensor that docs/models.md promises, read in a process that imports the product and
nothing else.
"""

import json
import re
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter, quants

from marey.sw.errors import FormatError
from marey.sw.formats import gguf, gguf_file, load_model, load_shape, safetensors_folder
from marey.sw.formats.tiny import tiny_model, tiny_tokenizer
from marey.sw.model.families import weight_shapes
from tests.sw.formats.test_gguf import SMALL, close, metadata
from tests.sw.formats.test_huggingface import convert

PAGE = (Path(__file__).parents[3] / "docs" / "models.md").read_text()
CONFIG = replace(SMALL, dim=256, hidden_dim=256, n_layers=1, tied=True)
"""Rows of 256 values: the largest block of any type."""
NUMPY = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
CHILD = """
import sys
import numpy as np
from marey.sw.formats import load_model, load_tokenizer
for path in sys.argv[1:]:
    model = load_model(path)
    load_tokenizer(None, path, model.config.vocab_size)
    np.save(path + ".npy", model["embedding"])
foreign = {"torch", "transformers", "pytest", "hypothesis", "cocotb"} & sys.modules.keys()
assert not foreign, foreign
"""


def promised(row):
    """The types in the page's list, which begins with "- **row**:"."""
    found = re.search(rf"- \*\*{row}\*\*: (.*?)\n(?:\n|- )", PAGE, re.DOTALL)
    return re.findall(r"\w+", found[1])


def test_the_page_names_the_types_that_are_read():
    assert promised("GGUF") == list(gguf_file.TYPES) and promised("safetensors") == list(safetensors_folder.TYPES)


def encoded(kind, shape, rng):
    """Bytes of a tensor of a type, from small random values or, where the library cannot make them,
    small random bytes.
    """
    kind = GGMLQuantizationType[kind]
    try:
        return quants.quantize(rng.standard_normal(shape).astype(np.float32), kind)
    except NotImplementedError:
        block, size = GGML_QUANT_SIZES[kind]
        return rng.integers(0, 60, (shape[0], shape[1] // block * size), np.uint8)  # 16-bit floats below 1


def write_gguf(path, kind, rng):
    """A GGUF file whose matrices are of one type; returns the embedding as the library reads it."""
    writer = GGUFWriter(path, "llama")
    metadata(writer, embedding_length=CONFIG.dim, feed_forward_length=CONFIG.hidden_dim, block_count=1)
    gguf.gguf_tokenizer.write(writer, path, tiny_tokenizer(CONFIG.vocab_size), CONFIG)
    for name, shape in weight_shapes(CONFIG).items():
        if len(shape) == 1:
            writer.add_tensor(gguf.tensor_name(name), np.ones(shape, np.float32))
            continue
        content = encoded(kind, shape, rng)
        writer.add_tensor(gguf.tensor_name(name), content, raw_dtype=GGMLQuantizationType[kind])
        if name == "embedding":
            found = quants.dequantize(content, GGMLQuantizationType[kind])
    close(writer)
    return found


def test_all_types_in_a_process_of_the_product_alone(tmp_path):
    """What this file imports must not be what makes a reader work."""
    rng, expected = np.random.default_rng(0), {}
    for kind in promised("GGUF"):
        expected[tmp_path / f"{kind}.gguf"] = write_gguf(tmp_path / f"{kind}.gguf", kind, rng)
    model, tokenizer = tiny_model(CONFIG), tiny_tokenizer(CONFIG.vocab_size)
    for kind in promised("safetensors"):
        for shards in (1, 3):
            folder = convert(tmp_path / f"{kind}-{shards}", model, tokenizer, NUMPY[kind], shards)
            expected[folder] = model["embedding"].astype(NUMPY[kind]).astype(np.float32)
    run = subprocess.run([sys.executable, "-c", CHILD, *map(str, expected)], capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr[-3000:]
    for path, values in expected.items():
        assert np.array_equal(np.load(f"{path}.npy"), values), path.name


@pytest.mark.parametrize("kind", ["F8_E4M3", "F8_E5M2", "F8_E8M0", "I8", "F64"])
def test_other_types_of_safetensors_are_refused_by_name(tmp_path, kind):
    folder = convert(tmp_path / "m", tiny_model(SMALL), tiny_tokenizer(SMALL.vocab_size))
    path = folder / "model.safetensors"
    content = path.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    header, data = json.loads(content[8:8 + length]), content[8 + length:]
    first, last = header["model.norm.weight"]["data_offsets"]
    size = {"F64": 8}.get(kind, 1)
    header["model.norm.weight"] |= {"dtype": kind, "data_offsets": [len(data), len(data) + size * SMALL.dim]}
    # A header must leave no byte unused, so the old bytes become a tensor that is ignored.
    header["model.layers.0.self_attn.rotary_emb.inv_freq"] = {"dtype": "F32", "shape": [SMALL.dim],
                                                              "data_offsets": [first, last]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data + bytes(size * SMALL.dim))
    for read in (load_model, load_shape):
        with pytest.raises(FormatError, match=rf"model.norm.weight is of type {kind}, and Marey reads F32, F16, BF16"):
            read(folder)


@pytest.mark.parametrize("kind", ["I8", "F64", "Q8_K", "NVFP4"])
def test_other_types_of_gguf_are_refused_by_name(tmp_path, kind):
    writer = GGUFWriter(tmp_path / "m.gguf", "llama")
    metadata(writer, embedding_length=CONFIG.dim, feed_forward_length=CONFIG.hidden_dim, block_count=1)
    writer.add_token_list([f"t{n}" for n in range(CONFIG.vocab_size)])
    for name, shape in weight_shapes(CONFIG).items():
        if name == "layers.0.wq":
            block, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
            values = np.zeros((shape[0], shape[1] // block * size), np.uint8)
            writer.add_tensor(gguf.tensor_name(name), values, raw_dtype=GGMLQuantizationType[kind])
        else:
            writer.add_tensor(gguf.tensor_name(name), np.ones(shape, np.float32))
    close(writer)
    for read in (load_model, load_shape):
        with pytest.raises(FormatError, match=f"blk.0.attn_q.weight is of type {kind}, and Marey reads F32"):
            read(tmp_path / "m.gguf")
