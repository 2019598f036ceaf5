"""The page of cycles: it is up to date, and its distances are those of a run."""

import re
from pathlib import Path

from marey.hdl.cycles import CONTROL, SHOWN, SLICES, cycles_page
from marey.hdl.spec.config import preset
from marey.hdl.spec.isa import isa_of
from marey.hdl.timing import trace

PAGE = Path(__file__).parents[2] / "docs" / "cycles.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text() == cycles_page(), "run make docs"


def test_next_issues_are_those_of_a_run():
    """Holds each row against a walk; left out are ADD and SFU, which do not run by themselves."""
    for section, name in zip(PAGE.read_text().split("## ")[1:], SHOWN, strict=True):
        isa = isa_of(preset(name))
        rows = dict(re.findall(r"^\| `(.+?)` \| (\d+) ", section, re.MULTILINE))
        assert len(rows) == len(CONTROL) + len(SLICES)
        for text, cycles in rows.items():
            if text.startswith(("HALT", "ADD", "SFU")):
                continue
            *_, last, halt = trace(isa.config, [isa.parse(text), isa.parse("HALT")], token=5, position=5)
            assert halt.cycle - last.cycle == int(cycles), (name, text)
