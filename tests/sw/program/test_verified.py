"""The verdict on a program in the cache: it is used for the same program only, and a program with a fault has none."""

from dataclasses import replace

import pytest

from marey.hdl.timing import ProgramError
from marey.sw.compiler.compile import compile_model
from marey.sw.program import verified
from marey.sw.program.program import Program
from tests.configs import ROOMY


@pytest.fixture(autouse=True)
def calls(tmp_path, monkeypatch):
    """The programs that were checked, with a cache of the test's own in which every verdict is kept."""
    found, verify = [], verified.verify
    monkeypatch.setenv("MAREY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(verified, "WORTH_KEEPING_S", 0)
    monkeypatch.setattr(verified, "verify", lambda program: found.append(program) or verify(program))
    return found


def test_a_legal_program_is_checked_once(tiny_model, tmp_path, calls):
    program = compile_model(tiny_model, ROOMY[2])
    program.save(tmp_path / "tiny.marey")
    for _ in range(2):
        Program.load(tmp_path / "tiny.marey")
    assert calls == [program]
    verified.verify_once(replace(program, model=replace(program.model, context=program.model.context - 1)))
    assert len(calls) == 2


@pytest.mark.parametrize("depth", [1 << 15, 300])
def test_a_program_with_a_fault_is_refused_each_time(tiny_model, depth, calls):
    """A resident and a streamed one."""
    program = compile_model(tiny_model, replace(ROOMY[0], wram_depth=depth))
    instructions = list(program.image.instructions)
    at = max(range(len(instructions)), key=lambda pc: instructions[pc].wait)
    instructions[at] = replace(instructions[at], wait=0)
    wrong = replace(program, image=replace(program.image, instructions=instructions))
    for _ in range(2):
        with pytest.raises(ProgramError):
            verified.verify_once(wrong)
    assert len(calls) == 3 and bool(program.stream) == (depth == 300)


def test_a_damaged_verdict_counts_for_nothing(tiny_model, tmp_path, calls):
    compile_model(tiny_model, ROOMY[0])
    (verdict,) = (tmp_path / "cache").glob(f"*{verified.SUFFIX}")
    verdict.write_text("damaged")
    compile_model(tiny_model, ROOMY[0])
    assert len(calls) == 2
