"""Mutations of Python source: rules and timing, compiler, golden model and emulator, with the tests that are to find them."""

import random
import time
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from unittest import mock

from .forked import forked
from .result import Result, first_failure
from .source import change, count

ROOT = Path(__file__).parents[2]
PARTS = {
    "timing": ("hdl/timing/*.py", [
        *(f"tests/hdl/timing/test_{name}.py" for name in ("rules", "unit", "addresses", "walk", "prove", "issues")),
        "tests/test_programs.py", "tests/hdl/dram/test_move.py"]),
    "emulator": ("sim/emulator.py", ["tests/test_programs.py", "tests/sim/test_emulator.py", "tests/hdl/dram/test_move.py"]),
    "golden": ("sw/quant/golden.py", [
        "tests/sw/quant/test_golden.py::test_linear_is_its_definition",
        "tests/sw/quant/test_golden.py::test_groups_are_added_up_one_after_another",
        *(f"tests/sw/compiler/test_{name}.py" for name in ("balanced", "gpt2", "families", "lowering")),
        "tests/sw/quant/test_affine.py", "tests/sw/quant/test_golden.py"]),
    "compiler": ("sw/compiler/**/*.py", [
        *(f"tests/test_pins.py::test_{name}_are_pinned" for name in (
            "programs_of_drawn_models_on_some_tiles", "schedules_of_the_default_model")),
        *(f"tests/sw/compiler/test_{name}.py" for name in (
            "network", "balanced", "pipelined", "schedule", "scheduler", "lowering", "cache_regions", "pace", "gpt2",
            "families", "streaming", "external", "blocks"))]),
}
"""By part: its source, and its tests, the quick ones first."""
LIMIT_S = 900
"""Seconds after which tests count as tests that hang, and so find the mutation."""


def results(part: str, amount: int, seed: int, skip: set[int], folder: Path) -> Iterator[Result]:
    """Looks for `amount` mutations of a part, drawn with a seed, but those whose numbers are in `skip`."""
    pattern, tests = PARTS[part]
    places = [(path, number) for path in sorted(ROOT.glob(pattern)) for number in range(count(path.read_text()))]
    drawn = random.Random(f"{seed} {part}").sample(places, min(amount, len(places)))
    if 0 not in skip:
        begun = time.monotonic()
        if failed := forked(lambda: first_failure(tests), LIMIT_S, folder / "check.log"):
            raise AssertionError(f"{part}: {failed} fails without a mutation")
        yield Result(part, 0, "", "none", "", "", None, round(time.monotonic() - begun, 1))
    for number, (path, index) in enumerate(drawn, 1):
        if number in skip:
            continue
        planted, begun = change(path.read_text(), index), time.monotonic()
        name = str(path.relative_to(ROOT))
        found = forked(lambda path=path, planted=planted: _failure(path, planted.tree, tests), LIMIT_S, folder / "check.log")
        yield Result(part, number, name, f"{planted.was} -> {planted.becomes}", f"{name}:{planted.line}", str(index), found,
                     round(time.monotonic() - begun, 1))


def _failure(path, tree, tests):
    """The first test that fails if a module is made of `tree`."""
    real = SourceFileLoader.get_code

    def get_code(loader, name):
        return compile(tree, loader.path, "exec") if Path(loader.path).resolve() == path else real(loader, name)

    with mock.patch.object(SourceFileLoader, "get_code", get_code):
        return first_failure(tests)
