"""Every command about a tile, on every preset: it succeeds, or says in one line why it cannot."""

import pytest

from marey.hdl.spec.config import PRESETS
from marey.sw.formats.tiny import write_tiny
from marey.sw.model.config import ModelConfig
from tests.sw.commands import marey

SMALL = ModelConfig(dim=8, hidden_dim=8, n_layers=1, n_heads=1, n_kv_heads=1, vocab_size=260, seq_len=16)
SLOW = ("ecp5_8x8_sdram", "ecp5_8x8_int4_sdram32")
"""Presets that are like another but for a width: `make test-slow` has them."""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("small"), SMALL)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in PRESETS])
def test_every_command(name, small, tmp_path):
    program, by_hand, source = tmp_path / "small.marey", tmp_path / "halt.marey", tmp_path / "halt.asm"
    source.write_text("HALT\n")
    emulator, first = ["--backend", "emulator"], ["--position", 0]
    commands = {
        "compile": [small, "-o", program, "--config", name], "run": [program, "--steps", 2, *emulator],
        "generate": ["x", "--model", small, "--steps", 2, "--config", name, *emulator],
        "disasm": [program], "report": [program, *first], "timetable": [program, *first, "--text"],
        "asm": [source, "-o", by_hand, "--config", name], "bench": ["--config", name, *emulator],
    }
    refused = set()
    for verb, arguments in commands.items():
        result = marey(verb, *arguments)
        assert result.exit_code in (0, 2), (verb, result.output, result.exception)
        if result.exit_code:
            assert result.stderr.startswith("marey: ") and len(result.stderr.splitlines()) == 1
            refused.add(verb)
    assert not refused
