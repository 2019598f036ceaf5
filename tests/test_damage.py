"""Damaged lines: right results or one LinkError, and no hang."""

import pytest

from marey.sim import verilator
from marey.sim.endpoint import Endpoint
from tests.damage import campaign, main


@pytest.mark.parametrize(("open_tile", "frames"), [(verilator.open_tile, 3000), (Endpoint, 1000)], ids=["rtl", "endpoint"])
def test_a_short_campaign_finds_nothing(open_tile, frames):
    """Fixed seeds; `python -m tests.damage` draws others, for as many frames as it is told to."""
    found = campaign(frames, 5, open_tile=open_tile)
    assert found.failures == [], found.report()
    assert found.damaged > 0.05 * frames and min(found.kinds.values()) > 0 and found.ends["run"] > 0.02 * frames


@pytest.mark.slow
def test_a_long_campaign_finds_nothing():
    assert main(["--frames", "100000", "--seed", "1"]) == 0

