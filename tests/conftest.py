"""What tests share: the real model, tiny ones, and whether there is a compiler."""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

from marey.sim.build import missing
from marey.sw.formats import load_model
from marey.sw.formats.tiny import write_tiny
from tests.browser import Browser

# CI draws the same examples every time, so that what it says of a change is due to the change; others explore.
settings.register_profile("ci", derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")

# Amaranth makes many objects that live as long as a test: with Python's own threshold, a third of the time in which it
# writes Verilog goes to the search for garbage.
gc.set_threshold(100_000, 10, 10)

STORIES = Path(__file__).parents[2] / "shared" / "models" / "stories260K.bin"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A headless browser; what asks for it is skipped where there is none."""
    with Browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="session")
def stories() -> Path:
    """The stories260K checkpoint, its tokenizer beside it."""
    if not STORIES.exists():
        pytest.skip(f"the real model is not at {STORIES.name}: put shared/models beside the repository")
    return STORIES


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """A tiny random checkpoint, its tokenizer beside it."""
    return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_model(tiny):
    return load_model(tiny)


@pytest.fixture(scope="session")
def compiler():
    """Skips where Verilator's backend cannot be had."""
    if why := missing():
        pytest.skip(why)


@pytest.fixture(scope="module")
def unproved():
    """No proof of the rules whenever a program is compiled or loaded, which takes most of the time of a small model."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("compiler.compile", "program.program"):
            patch.setattr(f"marey.sw.{module}.verify_once", lambda program: None)
        yield
