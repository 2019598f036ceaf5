"""Weights placed in a simulator are those that come over the link: the same contents, tokens and cycles."""

import numpy as np
import pytest

from marey.hdl.spec.config import preset
from marey.hdl.spec.packing import pack_wram
from marey.sim.endpoint import Endpoint
from marey.sim.pysim import PysimTransport
from marey.sim.transport import Placing
from marey.sim.verilator import open_tile
from marey.sw.compiler.compile import compile_model
from marey.sw.formats.tiny import tiny_model
from marey.sw.runtime import session
from marey.sw.runtime.driver import Device
from tests.configs import INT4, MODELS, ONE_PORT, ROOMY

TILES = [ROOMY[3], INT4[0], preset("tiny4x8")]
"""Words of 8 bytes; of 4 bits in two banks; of 4 bytes. Other tests simulate these tiles too."""


def loaded(program, opener):
    """A device that holds a program, and zeros in the rest of W-RAM, which is undefined at first."""
    device, config = Device(opener(program.config), program.config), program.config
    assert device.transport.place_weights(0, np.zeros((config.wram_depth, config.cols, config.rows), np.int8))
    device.load(program)
    return device


def told(device, count):
    """The tokens of some runs, and the cycles of each."""
    token, found = 1, []
    for position in range(count):
        (token,) = device.run(token, position)
        found.append((token, device.tally.measured))
    return found


@pytest.mark.parametrize("opener", [open_tile, Endpoint], ids=["verilator", "emulator"])
@pytest.mark.parametrize("config", TILES, ids=lambda config: config.name)
def test_placed_weights_are_those_of_the_link(compiler, config, opener, monkeypatch):
    """At once, and later: in the end all of W-RAM is alike, with the keys and values that the runs have written."""
    program, ends, words = compile_model(tiny_model(next(iter(MODELS))), config), [], []
    for least in (1 << 40, 1):
        monkeypatch.setattr(session, "PLACED_BYTES", least)
        device = loaded(program, opener)
        words.append(device.link.words_sent)
        ends.append((told(device, 10), _contents(device.transport)))
    assert ends[0][0] == ends[1][0]
    np.testing.assert_array_equal(ends[0][1], ends[1][1])
    assert words[0] - words[1] > len(pack_wram(config, program.image.weights))


def _contents(transport):
    """W-RAM, int8 [words, cols, rows]."""
    if isinstance(transport, Endpoint):
        return transport.tile.wram.transpose(1, 0, 2)
    return transport.placed(0, transport._config.wram_depth)


@pytest.mark.parametrize("opener", [open_tile, Endpoint], ids=["verilator", "emulator"])
def test_weights_of_any_place_come_to_it(compiler, opener):
    """Also across two banks; beyond the end none is written."""
    config, rng = INT4[0], np.random.default_rng(1)
    tile = opener(config)
    expected = np.zeros((config.wram_depth, config.cols, config.rows), np.int8)
    assert tile.place_weights(0, expected)
    for first, count in ((2040, 20), (0, 3), (config.wram_depth - 1, 1)):
        weights = rng.integers(-8, 8, (count, config.cols, config.rows)).astype(np.int8)
        expected[first:first + count] = weights
        assert tile.place_weights(first, weights)
    assert not tile.place_weights(config.wram_depth - 1, np.zeros((2, config.cols, config.rows), np.int8))
    np.testing.assert_array_equal(_contents(tile), expected)


def test_tiles_that_cannot_be_placed_are_loaded_over_the_link(compiler, monkeypatch):
    """A W-RAM with one port; a closed simulation says that it is closed; Amaranth's simulator has no such method."""
    monkeypatch.setattr(session, "PLACED_BYTES", 1)
    tile = open_tile(ONE_PORT[1])
    weights = np.zeros((1, ONE_PORT[1].cols, ONE_PORT[1].rows), np.int8)
    assert not tile.place_weights(0, weights)
    device = Device(tile, ONE_PORT[1])
    before = device.link.words_sent
    device.session.load_weights(weights)
    assert device.link.words_sent > before
    assert not issubclass(PysimTransport, Placing)
