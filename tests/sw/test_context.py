"""The context: what is asked for, or as much as fits, up to a limit."""

import json
from dataclasses import replace

import pytest

from marey.hdl.spec.config import preset
from marey.sw.compiler.layout import CompileError
from marey.sw.compiler.plan import MOST_POSITIONS, check_shape, lay_out_model
from marey.sw.formats.tiny import write_tiny
from marey.sw.model.config import ModelConfig
from marey.sw.quant.outline import outline_of_shape
from tests.configs import INT4, ROOMY
from tests.sw.commands import marey, refused

LONG = ModelConfig(dim=32, hidden_dim=32, n_layers=1, n_heads=2, n_kv_heads=1, vocab_size=260, seq_len=4 * MOST_POSITIONS)
EMULATOR = ("--backend", "emulator", "--config", "sim8x8")


def context(config, shape, asked=None):
    """Positions of a layout, and whether it is resident."""
    layout = lay_out_model(config, outline_of_shape(shape, config.weight_bits), asked)
    return layout.context, not hasattr(layout, "why")


def test_the_largest_that_fits_up_to_the_limit():
    assert context(preset("lpu16x16"), LONG) == (MOST_POSITIONS, True)
    assert context(preset("lpu16x16"), LONG, 3 * MOST_POSITIONS) == (3 * MOST_POSITIONS, True)
    assert context(preset("lpu16x16"), replace(LONG, seq_len=100)) == (112, True)
    assert context(ROOMY[0], replace(LONG, seq_len=4096))[0] < MOST_POSITIONS


def test_what_is_asked_for_is_made_or_refused():
    assert context(ROOMY[0], LONG, 50) == (52, True)
    with pytest.raises(CompileError, match="with 4096 positions the model needs"):
        context(ROOMY[0], LONG, 4096)
    with pytest.raises(CompileError, match=f"the model has {LONG.seq_len} positions"):
        context(preset("lpu16x16"), LONG, LONG.seq_len + 1)


def test_streamed_models_too():
    config = replace(ROOMY[0], wram_depth=200)
    assert context(config, replace(LONG, dim=64, seq_len=64), 20) == (32, False)


def test_on_the_command_line(tmp_path):
    model, program = write_tiny(tmp_path, replace(LONG, seq_len=64)), tmp_path / "tiny.marey"
    assert marey("compile", model, "-o", program, "--context", 24).exit_code == 0
    told = marey("generate", "x", "--model", model, "--context", 24, "--steps", 40, "--json", *EMULATOR)
    assert json.loads(told.stdout)["ended_by"] == "context"
    rows = json.loads(marey("fit", model, "--context", 24, "--json").stdout)["targets"]
    assert {row["positions"] for row in rows if row["config"] == "sim8x8"} == {24}
    refused("generate", "x", "--model", model, "--context", 65, *EMULATOR, word="--context must be 1 to 64, not 65")
    refused("fit", model, "--context", 65, word="--context must be 1 to 64, not 65")
    refused("chat", program, "--context", 32, "--backend", "emulator", word="was compiled with a context of 24")


@pytest.mark.parametrize(("config", "entries", "cure"), [
    (ROOMY[0], 1 << 17, r"choose a tile with token_bits=17$"),
    (ROOMY[0], (1 << 20) + 1, "no tile has more than 20"),
    (INT4[3], 1 << 17, "choose a tile with token_bits=17 that is not compact")], ids=["wider", "too wide", "compact"])
def test_a_large_vocabulary_is_refused_with_a_cure_that_helps(config, entries, cure):
    with pytest.raises(CompileError, match=cure):
        check_shape(config, outline_of_shape(replace(LONG, vocab_size=entries)))
