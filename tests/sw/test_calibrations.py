"""The cache of quantised models: the same integers from the file, a new calibration where there is no sound file."""

from dataclasses import replace

import numpy as np
import pytest

from marey.sw.cli import calibrations
from marey.sw.cli.calibrations import quantised
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.quant.golden import Golden
from marey.sw.quant.quantise import quantise

SHAPE = ModelConfig(dim=16, hidden_dim=24, n_layers=2, n_heads=2, n_kv_heads=1, vocab_size=260, seq_len=8)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def calls(monkeypatch):
    """The calibrations that were made."""
    made = []

    def counted(*arguments, **options):
        made.append(arguments)
        return quantise(*arguments, **options)

    monkeypatch.setattr(calibrations, "quantise", counted)
    return made


def assert_equal(one, other):
    """The same logits and scales, and the same facts for the compiler."""
    goldens = Golden(one, 3), Golden(other, 3)
    for position in range(4):
        results = [golden.integers(np.array([1, 5, 7]), position) for golden in goldens]
        assert all(np.array_equal(mine, others) for mine, others in zip(*results, strict=True)), position
    assert (one.config, one.graph, one.groups, one.uniform) == (other.config, other.graph, other.groups, other.uniform)
    assert one.logit_unit == other.logit_unit and one.shifts == other.shifts


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("bits", [8, 4])
def test_the_file_has_what_calibration_gave(folder, calls, bits, tied):
    model = tiny_model(replace(SHAPE, tied=tied))
    made, kept = quantised(model, bits=bits, group=16), quantised(model, bits=bits, group=16)
    assert len(calls) == 1
    assert_equal(made, kept)


def test_another_model_is_calibrated(folder, calls):
    for seed in range(2):
        quantised(tiny_model(SHAPE, seed), bits=8, group=16)
    quantised(tiny_model(SHAPE), bits=4, group=16)
    assert len(calls) == 3 and len(list(folder.iterdir())) == 3


def test_a_damaged_file_is_made_again(folder, calls):
    model = tiny_model(SHAPE)
    made = quantised(model, bits=8, group=16)
    (file,) = folder.iterdir()
    sound = file.read_bytes()
    for content in (b"", sound[:100], sound[:len(sound) // 2], sound[:600] + bytes([sound[600] ^ 1]) + sound[601:]):
        file.write_bytes(content)
        before = len(calls)
        assert_equal(made, quantised(model, bits=8, group=16))
        assert len(calls) == before + 1 and file.read_bytes() == sound


def test_without_a_folder_it_calibrates(tmp_path, monkeypatch, calls):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "file"))
    quantised(tiny_model(SHAPE), bits=8, group=16)
    assert len(calls) == 1


def test_the_oldest_goes_when_there_is_no_room(folder, calls, monkeypatch):
    quantised(tiny_model(SHAPE), bits=8, group=16)
    (first,) = folder.iterdir()
    monkeypatch.setattr(calibrations, "MOST_BYTES", int(1.5 * first.stat().st_size))
    quantised(tiny_model(SHAPE, 1), bits=8, group=16)
    (second,) = folder.iterdir()
    assert second != first
