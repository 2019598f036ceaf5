"""Programs, quantised models and Verilog have the digests in `tests/pins.json`."""

import json

import pytest

from marey.hdl.spec.config import PRESETS
from marey.sw.formats import DEFAULT_MODEL
from tests import pins

PINS = json.loads(pins.FILE.read_text())


def test_the_verilog_of_some_presets_is_pinned():
    found = pins.verilog_digests(pins.QUICK_PRESETS)
    assert len(found) == 2 and found == {name: PINS["verilog"][name] for name in found}


@pytest.mark.slow
def test_the_verilog_of_every_preset_is_pinned():
    assert pins.verilog_digests() == PINS["verilog"]


def test_programs_of_drawn_models_on_some_tiles_are_pinned():
    found = dict(pins.drawn_digests(pins.QUICK_TILES))
    assert len(found) == 30 and found == {name: PINS["drawn"][name] for name in found}


@pytest.mark.slow
def test_programs_of_drawn_models_on_every_tile_are_pinned():
    assert dict(pins.drawn_digests()) == PINS["drawn"]


def test_schedules_of_the_default_model_are_pinned():
    expected = {name: digest for name, digest in PINS["shapes"].items() if name.startswith(DEFAULT_MODEL.stem + " ")}
    assert len(expected) == len(PRESETS) and dict(pins.shape_digests(DEFAULT_MODEL)) == expected


def test_schedules_of_stories260k_are_pinned(stories):
    expected = {name: digest for name, digest in PINS["shapes"].items() if name.startswith(stories.stem)}
    assert len(expected) == len(PRESETS) and dict(pins.shape_digests(stories)) == expected


@pytest.mark.slow
@pytest.mark.parametrize(("path", "config"), pins.REAL, ids=lambda value: getattr(value, "stem", value))
def test_whole_programs_of_real_models_are_pinned(path, config):
    if not path.exists():
        pytest.skip(f"{path.name} is not there: put shared/models beside the repository")
    assert pins.real_digests(path, PRESETS[config]) == PINS["real"][f"{path.stem} on {config}"]
