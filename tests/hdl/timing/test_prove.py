"""The prover: what it proves breaks no rule, and it proves all that the compiler makes."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.hdl.spec.isa import Address, EncodingError, Op, Source, To, isa_of
from marey.hdl.timing import ProgramError, Prover, abridged, run_cycles, trace, violations
from marey.hdl.timing.prove import _together
from marey.sw.compiler.compile import compile_model
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from tests.configs import CONFIGS, INT4, ONE_PORT, ROOMY, op
from tests.programs import Author, any_configuration

DEEP = ModelConfig(dim=16, hidden_dim=20, n_layers=7, n_heads=2, n_kv_heads=1, vocab_size=40, seq_len=24)
TILES = [ROOMY[0], ROOMY[2], INT4[3], ONE_PORT[0]]


def legal(config, program, **run):
    """Whether `violations` finds none."""
    try:
        return violations(config, program, **run) == []
    except ProgramError:
        return False


@pytest.fixture(scope="module")
def deep():
    """The programs of a model of seven layers, by the name of the tile."""
    return {config.name: compile_model(tiny_model(DEEP), config) for config in TILES}


@pytest.mark.parametrize("config", TILES, ids=lambda config: config.name)
def test_programs_of_the_compiler_are_proved(deep, config):
    made = deep[config.name]
    program = made.image.instructions
    prover = Prover(config, program)
    for position, count in ((0, 1), (0, 0), *made.parts(7, 2), *made.parts(16, 3), (17, 1), (23, 1)):
        run = {"entry": made.entry(position), "position": position, "count": count}
        _, skipped = abridged(config, program, **run)
        assert [turns.times for turns in skipped] == [DEEP.n_layers - 3] * max(1, count)
        assert legal(config, program, **run) and prover.proves(**run) == run_cycles([*trace(config, program, **run)][-1])


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_program_with_a_fault_is_not_proved(deep, data):
    """One number of an instruction is changed: what is not legal then is not proved."""
    config = data.draw(st.sampled_from(TILES))
    program = list(deep[config.name].image.instructions)
    if not _change(config, program, data.draw):
        return
    run = {"position": data.draw(st.sampled_from((0, 9, 23))), "count": data.draw(st.sampled_from((0, 1, 2)))}
    if Prover(config, program).proves(**run):
        assert legal(config, program, **run)


def table(rows):
    """The rows of a run without the numbers of their parts, which differ from prover to prover."""
    facts = [getattr(rows, name).tolist() for name in ("unit", "issue", "issued", "first", "last", "low", "high")]
    return facts, rows.tokens


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_runs_walked_together_are_those_walked_alone(deep, data):
    """Their rows and cycles, or that there is no proof: for runs of different positions, counts and tokens, of a program of the
    compiler, in which a number may have been changed."""
    config = data.draw(st.sampled_from(TILES))
    program = list(deep[config.name].image.instructions)
    if data.draw(st.booleans()) and not _change(config, program, data.draw):
        return
    positions = st.lists(st.integers(0, 23), min_size=1, max_size=5)
    runs = [(0, position, count, position * token)
            for count, token in ((1, 1), (0, 0), (2, 1)) for position in data.draw(positions)]
    together, alone = Prover(config, program), [Prover(config, program) for _ in runs]
    found = [each for group in _together(runs) for each in together._rows(group)]
    expected = [each for prover, run in zip(alone, runs, strict=True) for each in prover._rows([run])]
    assert [each and (table(each[0]), each[1]) for each in found] == [each and (table(each[0]), each[1]) for each in expected]


def test_one_bad_run_among_others_is_found(deep):
    """The position is out of bounds in one run only; the others are proved."""
    config = CONFIGS[2]
    program = [op(config, "INDEX", 9, register=1, source=Source.POSITION, times=9),
               op(config, "VXM", 40, x=Address(0, 1), dst=Address(4, 1), to=To.MEM), op(config, "HALT")]
    prover, runs = Prover(config, program), [(0, position, 1, 0) for position in (3, 11, 13, 5)]
    assert [found is not None and prover._rules_hold(found[0]) for found in prover._rows(runs)] == [True, True, False, True]
    assert [position for _, position, _, _ in prover.check_all(runs[:2])] == [3, 11]
    with pytest.raises(ProgramError, match="address 121 is outside"):
        prover.check_all(runs)


def _change(config, program, draw):
    """Changes a number of an instruction of a program. False if it cannot be encoded then."""
    at = draw(st.integers(0, len(program) - 1))
    program[at] = _changed(program[at], draw)
    try:
        isa_of(config).encode(program[at])
    except EncodingError:
        return False
    return True


def _changed(instruction, draw):
    """The instruction with another wait, address or count."""
    name = draw(st.sampled_from(["wait", *(name for name, value in instruction.operands.items()
                                           if isinstance(value, (int, Address)))]))
    step = draw(st.sampled_from((-9, -2, -1, 1, 2, 9)))
    if name == "wait":
        return replace(instruction, wait=instruction.wait + step)
    value = instruction[name]
    changed = replace(value, offset=value.offset + step) if isinstance(value, Address) else value + step
    return replace(instruction, operands=instruction.operands | {name: changed})


@given(turns=st.integers(1, 12), step=st.integers(0, 9), start=st.integers(0, 30), fixed=st.integers(0, 63),
       near=st.integers(0, 30), width=st.integers(1, 4), read=st.booleans())
@settings(max_examples=60, deadline=None)
def test_what_goes_wrong_in_a_late_turn_is_found(turns, step, start, fixed, near, width, read):
    """In each turn a VXM writes further on in MEM, and another reads, or writes, one place too early, or not."""
    config = CONFIGS[0]
    moving, place = Address(0, 1), Address(fixed)
    writes = op(config, "VXM", near, x=60, inner=width, dst=moving, to=To.MEM)
    other = op(config, "VXM", 40, engine=1, x=place if read else 61, dst=62 if read else place, to=To.MEM)
    program = [op(config, "SET", 5, register=1, value=start), writes, other, op(config, "ADD", register=1, value=step),
               op(config, "LOOP", count=turns, target=1), op(config, "NOP", 60), op(config, "HALT")]
    # Where the register wraps in a turn that is left out, it is not known where it goes on.
    assert (bool(Prover(config, program).proves()) == legal(config, program)
            or (start + step * turns + width > config.granules and not Prover(config, program).proves()))


@given(start=st.integers(0, 60), fixed=st.integers(0, 60), turns=st.integers(1, 9), other=st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_a_register_that_is_set_behind_its_first_use_moves_once(start, fixed, turns, other):
    """The first turn has another address than all others, which read what a VXM before the loop writes, or not."""
    config = CONFIGS[0]
    program = [op(config, "SET", 5, register=1, value=start), op(config, "VXM", 9, dst=Address(other), to=To.MEM),
               op(config, "VXM", 40, engine=1, x=Address(0, 1), dst=62, to=To.MEM),
               op(config, "SET", 5, register=1, value=fixed), op(config, "LOOP", count=turns, target=2),
               op(config, "NOP", 60), op(config, "HALT")]
    assert bool(Prover(config, program).proves()) == legal(config, program)
    issues, skipped = abridged(config, program)
    assert len(issues) + sum(each.times * (each.end - each.first) for each in skipped) == len(list(trace(config, program)))
    assert not skipped or skipped[0].first > 5 or start == fixed


def test_the_end_of_memory_is_reached_in_a_late_turn_only():
    config = CONFIGS[2]
    program = [op(config, "SET", 5, register=1, value=0), op(config, "VXM", 40, x=Address(0, 1), dst=Address(4, 1), to=To.MEM),
               op(config, "ADD", register=1, value=9), op(config, "LOOP", count=14, target=1), op(config, "HALT")]
    assert config.granules == 120 and not legal(config, program)
    for count, proved in ((14, False), (13, True)):
        program[3] = op(config, "LOOP", count=count, target=1)
        assert bool(Prover(config, program).proves()) is proved
    with pytest.raises(ProgramError, match="address 121 is outside"):
        Prover(config, [*program[:3], op(config, "LOOP", count=14, target=1), *program[4:]]).check()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_drawn_programs_are_proved_only_if_they_are_legal(seed):
    rng, proved, sound = random.Random(seed), 0, 0
    for _ in range(40):
        config = any_configuration(rng)
        try:
            program = Author(config, rng).program()
        except (EncodingError, ValueError):
            continue
        run = {"position": rng.choice((0, 1, config.block)), "count": rng.choice((1, 2))}
        found, expected = bool(Prover(config, program).proves(**run)), legal(config, program, **run)
        assert expected or not found
        proved, sound = proved + found, sound + expected
    assert proved > 0.75 * sound  # the rest is decided by `violations`: right as well, but slower


@given(turns=st.lists(st.integers(1, 6), min_size=2, max_size=2), waits=st.lists(st.integers(0, 3), min_size=4, max_size=4),
       tokens=st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_an_abridged_run_takes_the_same_cycles(turns, waits, tokens):
    """Loops within loops, and several tokens."""
    config = CONFIGS[0]
    program = [op(config, "SET", register=1, value=3), op(config, "NOP", waits[0]),
               op(config, "ADD", waits[1], register=1, value=60), op(config, "LOOP", count=turns[0], target=2),
               op(config, "NOP", waits[2]), op(config, "LOOP", count=turns[1], target=1, counter=1),
               op(config, "VXM", 40, x=Address(0, 1), dst=Address(1), to=To.MEM), op(config, "TOKEN", waits[3], target=1),
               op(config, "HALT")]
    whole = list(trace(config, program, count=tokens))
    issues, skipped = abridged(config, program, count=tokens)
    assert run_cycles(issues[-1]) == run_cycles(whole[-1])
    left_out = sum(each.times * (each.end - each.first) for each in skipped)
    assert len(issues) + left_out == len(whole)
    kept = [issue for issue in whole if issue.op is Op.VXM]
    assert [issue.operands for issue in issues if issue.op is Op.VXM] == [issue.operands for issue in kept]
