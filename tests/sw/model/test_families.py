"""A family is told in few places: what schedules, drives and shows a token knows none of them."""

import re
from pathlib import Path

import pytest

SW = Path(__file__).parents[3] / "sw"
OF_ONE_FAMILY = re.compile(
    r"llama|gpt-?2|\brope|silu|gelu|bias|layer.?norm|Kind\.(POSITION|SPLIT|ANGLES|ROTATE)|(?<!www\.)w[123]\b", re.IGNORECASE)
"""What only some family has."""
ROOMS = [*(SW / "compiler" / f"{name}.py" for name in ("schedule", "cycles", "steps", "emit")),
         *(SW / "runtime").glob("*.py"), *(SW / "views").glob("*.py")]


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_scheduler_driver_and_views_know_no_family(path):
    found = [line for line in path.read_text(encoding="utf-8").splitlines() if OF_ONE_FAMILY.search(line)]
    assert not found
