"""Ten models that people run, on the tile: folders and GGUF files of their shapes, with one layer, 400 tokens and random
weights, are computed bit for bit; and docs/models.md says so, and what becomes of the whole models.

`pytest -m slow tests/sw/formats/test_real_models.py` runs all; the smallest is a quick test.
"""

import re
from pathlib import Path

import numpy as np
import pytest

from marey.hdl.spec.config import preset
from marey.hdl.spec.errors import MareyError
from marey.sim.endpoint import Endpoint
from marey.sw.compiler.compile import compile_quantised
from marey.sw.formats import gguf, load_model, load_shape, load_tokenizer
from marey.sw.quant.quantise import quantise
from marey.sw.runtime.driver import Device
from marey.sw.runtime.prefill import HostPrefill
from marey.sw.runtime.verify import GoldenReference
from marey.sw.views.fit import Target, fit
from tests.models import assert_same
from tests.real_models import MODELS, config_folder, cut_folder

TILE = preset("lpu16x16")
PAGE = Path(__file__).parents[3] / "docs" / "models.md"
CUT = {"max_position_embeddings": 64}
"""Fewer positions, too, so that calibration is short."""
NARROWER = {name: {"intermediate_size": 2048} for name in MODELS if "7" in name or "8B" in name}
"""Of the largest models the feed-forward block is cut: they have 0.2 billion weights in a layer."""
QUICK = {"SmolLM2-135M-Instruct"}
WITHOUT_GGUF = {"gpt2"}
"""Models whose GGUF files Marey does not read."""


def is_exact(folder, name, **changes) -> str:
    """"bit-exact" if the tile computes a model of this shape, from its folder and its GGUF file; else why it is refused."""
    if "n_positions" in MODELS[name]:
        changes |= {"n_positions": 64, "n_ctx": 64}
    path = cut_folder(folder / "folder", name, **CUT, **changes)
    try:
        model = load_model(path)
        if name not in WITHOUT_GGUF:
            gguf.write(folder / "model.gguf", model, load_tokenizer(None, path, 400))
            assert_same(load_model(folder / "model.gguf"), model)
        integers = quantise(model)
        program = compile_quantised(integers, TILE)
    except MareyError as error:
        return f"refused: {error}"
    reference, prompt = GoldenReference(integers), np.random.default_rng(0).integers(0, 400, 38).tolist()
    with Device(Endpoint(TILE), TILE) as device:
        device.load(program)
        HostPrefill(reference, program).fill(device.session, prompt[:-2], 0)
        device.run(prompt[-2], 36, 0)
        made = device.run(prompt[-1], 37)
        expected, logits = reference.step(prompt)
        assert made == [expected] and np.array_equal(device.logits(), logits)
        assert device.tally.measured == device.tally.predicted
    return "bit-exact"


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in MODELS])
def test_a_layer_is_exact(tmp_path, name):
    changes = {"intermediate_size": 256} if name in QUICK else NARROWER.get(name, {})
    assert is_exact(tmp_path, name, **changes) == table()[name][1]


def whole(folder, name) -> str:
    """What becomes of the whole model on the tile, by its header."""
    try:
        (row,) = fit(load_shape(config_folder(folder, name)), [Target(TILE.name, TILE)])
    except MareyError as error:
        return f"refused: {error}"
    if row["mode"] == "no":
        return f"refused: {row['why']}"
    return f"{row['mode']}, {row['positions']:,} positions"


def table() -> dict[str, list[str]]:
    """The rows of the page's table, by model: shape, what becomes of a layer, and of the whole model."""
    section = PAGE.read_text().split("## Models that people run", 1)[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("| ")]
    return {row[0]: row[1:] for row in rows[1:]}


def shape_of(config) -> str:
    """A shape as the table has it."""
    heads = f"{config.n_heads} heads" + f" over {config.n_kv_heads}" * (config.n_kv_heads != config.n_heads)
    return (f"{config.n_layers} layers of {config.dim:,}, {heads} of {config.head_dim}, {config.hidden_dim:,} hidden, "
            f"{config.vocab_size:,} tokens")


def test_the_table_has_all_models(tmp_path):
    rows = table()
    assert list(rows) == list(MODELS) and len(rows) >= 10
    for name, (shape, exact, _) in rows.items():
        assert shape == shape_of(load_shape(config_folder(tmp_path / name, name))), name
        assert exact == "bit-exact" or re.match("refused: ", exact)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_table_says_what_becomes_of_the_whole(tmp_path, name):
    assert whole(tmp_path, name) == table()[name][2]
