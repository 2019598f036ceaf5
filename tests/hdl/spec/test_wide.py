"""Words of 8-bit values in a W-RAM of 4-bit weights: each half in its place, as the table in `wide` says."""

import numpy as np
import pytest

from marey.hdl.spec.wide import from_words, to_words
from tests.configs import CONFIGS, INT4


@pytest.mark.parametrize("config", [*CONFIGS, *INT4], ids=lambda config: config.name)
def test_halves_are_in_their_places(config):
    values = np.random.default_rng(0).integers(-128, 128, (5, config.cols, config.rows)).astype(np.int8)
    words = to_words(config, values)
    assert np.array_equal(from_words(config, words.swapaxes(0, 1)).swapaxes(0, 1), values)
    if config.wide_words == 1:
        assert np.array_equal(words, values)
        return
    assert words.min() >= -8 and words.max() <= 7
    half = config.rows // 2
    for (word, column, row), value in np.ndenumerate(values):
        low, high = (2 * word, row), (2 * word + 1, row)
        if config.paired:
            low, high = (2 * word + row // half, row), (2 * word + row // half, (row + half) % config.rows)
        assert (words[low[0], column, low[1]] & 15) + 16 * words[high[0], column, high[1]] == value
