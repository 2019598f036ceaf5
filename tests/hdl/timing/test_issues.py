"""The rules for one issue and for the sequencer's state: each over drawn values, on both sides of its edge."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.hdl.spec.isa import WAIT_BITS, Address, Function, MxmBlocks, Reduce, Sfu, Source, To, isa_of
from marey.hdl.spec.packing import pack_program
from marey.hdl.spec.protocol import Space
from marey.hdl.timing import ProgramError, blocks, check, trace, violations, vxm_beat
from marey.hdl.timing.issues import MOST_CYCLES, issue_violations
from marey.hdl.vxm import Vxm
from marey.sim.emulator import EmulatedTile
from tests.configs import CONFIGS, GATED, MEMORY, any_config, codes, op

FULL = [config for config in CONFIGS + GATED if not config.compact]
COMPACT = [config for config in CONFIGS + GATED if config.compact]
full, compact = st.sampled_from(FULL), st.sampled_from(COMPACT)
positions = st.integers(0, 65535)
PERIOD = {"turns": "a NOP with turns", "paced": "a paced instruction", "sfu": "an SFU with a count"}


def broken(config, program, *, count=1, **how):
    """What the rules of `issues` find in a program."""
    found = issue_violations(config, list(trace(config, program, count=count, **how)), count)
    assert all("\n" not in str(violation) and str(violation).startswith("cycle ") for violation in found)
    return [violation.what for violation in found]


def paced(config, kind):
    """An instruction whose cycles depend on the period."""
    if kind == "turns":
        return op(config, "NOP", turns=2)
    if kind == "sfu":
        return op(config, "SFU", 40, function=Sfu.RSQRT, into=32, count=2)
    return op(config, "VXM", 60, outer=2, paced=1)


@given(config=any_config, kind=st.sampled_from(sorted(PERIOD)), value=st.integers(0, 31), set_before=st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_run_sets_its_own_period(config, kind, value, set_before):
    """A period that an earlier run has set, or none, is not one of this run; nor is a period of 0."""
    if kind == "turns" and config.compact:
        kind = "sfu"
    program = [op(config, "PERIOD", value=value)] * set_before + [paced(config, kind), op(config, "HALT")]
    found = broken(config, program)
    if not set_before:
        assert len(found) == 1 and found[0].startswith(PERIOD[kind]) and "before any PERIOD" in found[0]
    elif value:
        assert found == []
    elif kind != "sfu":
        assert found
    else:
        assert violations(config, program)


@given(config=full, position=positions, value=st.integers(-64, 63), times=st.integers(0, 255))
@settings(max_examples=40, deadline=None)
def test_a_period_fits_into_its_register(config, position, value, times):
    product = blocks(config, position) * times
    fits = max(product, product + value) < 1 << isa_of(config).count_bits
    program = [op(config, "PERIOD", value=value, times=times), op(config, "HALT")]
    assert (broken(config, program, position=position) == []) == fits


@given(config=full, position=positions, number=st.integers(1, 7))
@settings(max_examples=40, deadline=None)
def test_a_pause_in_blocks_fits_into_its_register(config, position, number):
    filled = blocks(config, position)
    fits = filled < 1 << isa_of(config).count_bits and filled << number - 1 < 1 << WAIT_BITS
    program = [op(config, "NOP", blocks=number), op(config, "HALT")]
    assert (broken(config, program, position=position) == []) == fits


@given(config=full, position=positions, shift=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_a_count_in_blocks_fits_into_its_bits(config, position, shift):
    fits = blocks(config, position) << shift < 1 << isa_of(config).count_bits
    program = [op(config, "MXM", inner=shift, blocks=MxmBlocks.INNER), op(config, "HALT")]
    assert (broken(config, program, position=position) == []) == fits


@given(config=compact, name=st.sampled_from(("inner", "middle")), value=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_a_count_from_a_register_is_not_0(config, name, value):
    bits = isa_of(config).count_bits
    program = [op(config, "SET", register=3, value=value << bits - 1), op(config, "MXM", **{name: Address(0, 3)}),
               op(config, "HALT")]
    assert (broken(config, program) == []) == (value % 2 == 1)


@given(config=any_config, count=st.integers(2, 4), more=st.integers(0, 1))
@settings(max_examples=40, deadline=None)
def test_a_run_does_not_leave_a_loop_that_goes_on(config, count, more):
    """A loop's counter keeps its turns for the next run, so neither a token nor a run ends in the middle of a loop."""
    program = [op(config, "NOP"), op(config, "LOOP", count=count, target=0), op(config, "HALT")]
    assert broken(config, program) == []
    # The jump leaves the loop in its second turn.
    leaving = [op(config, "LOOP", count=count, target=2), op(config, "HALT"), op(config, "TOKEN", target=1), op(config, "HALT")]
    found = broken(config, leaving, count=1 + more)
    assert found[0].startswith("a TOKEN within a loop: loop counter 0")
    assert found[-1].startswith("the run ends within a loop")


@given(config=compact, source=st.sampled_from(Source), right=st.integers(0, 6), again=st.booleans(),
       place=st.sampled_from(("nop", "inner", "middle")))
@settings(max_examples=40, deadline=None)
def test_no_cycle_depends_on_the_token_or_a_part_of_a_block(config, source, right, place, again):
    index = op(config, "INDEX", register=2, source=source, right=right, bits=1, times=1, value=1)
    add = [op(config, "ADD", register=2, value=1)]
    used = op(config, "NOP", register=2) if place == "nop" else op(config, "MXM", 60, **{place: Address(0, 2)})
    cleared = [op(config, "SET", register=2, value=1)] if again else []
    legal = again or (source is Source.POSITION and 1 << right >= config.block)
    found = broken(config, [index, *add, *cleared, used, op(config, "HALT")])
    assert (found == []) == legal
    if not legal:
        assert "address register 2" in found[0] and ("token" if source is Source.TOKEN else "position") in found[0]


@given(config=any_config, inner=st.integers(1, 6), middle=st.integers(1, 4), interval=st.integers(1, 8),
       function=st.sampled_from(Function))
@settings(max_examples=40, deadline=None)
def test_pairs_are_whole(config, inner, middle, interval, function):
    """Both beats of a pair come one after the other, in one round, and multiply."""
    if function is Function.GELU and not config.gelu:
        function = Function.SILU
    program = [op(config, "VXM", 200, pair=1, inner=inner, middle=middle, interval=interval, function=function),
               op(config, "HALT")]
    legal = inner * middle % 2 == 0 and (inner % 2 == 0 or interval <= inner) and function is Function.MULTIPLY
    assert (broken(config, program) == []) == legal


@given(config=st.sampled_from(GATED), function=st.sampled_from(Function))
@settings(max_examples=40, deadline=None)
def test_functions_take_16_bits(config, function):
    program = [op(config, "VXM", stream=1, function=function), op(config, "HALT")]
    assert (broken(config, program) == []) == (function is Function.MULTIPLY)


@given(config=st.sampled_from([config for config in CONFIGS if config.wide_words > 1]), inner=st.integers(1, 6),
       fetch=st.integers(0, 1))
@settings(max_examples=40, deadline=None)
def test_halves_of_weights_come_in_twos(config, inner, fetch):
    """Unless one beat reads both."""
    program = [op(config, "MXM", wide=1, inner=inner, fetch=fetch), op(config, "HALT")]
    assert (broken(config, program) == []) == (inner % config.wide_beats == 0 and not fetch)


@given(config=any_config, inner=st.integers(1, 4), middle=st.integers(1, 4), interval=st.integers(1, 6),
       period=st.integers(1, 31), slice_=st.sampled_from(("MXM", "VXM")))
@settings(max_examples=40, deadline=None)
def test_rounds_do_not_overlap(config, inner, middle, interval, period, slice_):
    how = {"interval": interval} if slice_ == "VXM" else {}
    turn = max(inner, interval if how else config.beats_per_result)
    program = [op(config, "PERIOD", value=period), op(config, slice_, outer=2, inner=inner, middle=middle, paced=1, **how),
               op(config, "HALT")]
    assert (broken(config, program) == []) == (period >= (middle - 1) * turn + inner)
    # One round has no next one that could begin too early.
    one = op(config, slice_, outer=1, inner=inner, middle=middle, paced=1, **how)
    assert broken(config, [program[0], one, program[-1]]) == []


@given(config=any_config, a=st.integers(0, 31), count=st.integers(1, 40), function=st.sampled_from((Sfu.RSQRT, Sfu.QUANTISE)))
@settings(max_examples=40, deadline=None)
def test_an_sfu_reads_one_half(config, a, count, function):
    sfu = op(config, "SFU", function=function, a=a, into=32, count=count)
    program = [op(config, "PERIOD", value=20), sfu, op(config, "HALT")]
    assert (broken(config, program) == []) == (a + count <= config.scalars // 2)


@given(config=any_config, into=st.integers(1, 31), outer=st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_reductions_stay_in_their_half(config, into, outer):
    program = [op(config, "VXM", reduce=Reduce.SUM, into=into, outer=outer), op(config, "HALT")]
    assert (broken(config, program) == []) == (into + outer <= config.scalars // 2)


@pytest.mark.parametrize("how", [{"mask": 1}, {"to": To.KEYS}, {"to": To.VALUES}, {"reduce": Reduce.PICK, "into": 1}, {}],
                         ids=lambda how: "".join(map(str, how)) or "plain")
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_a_token_waits_for_those_that_use_the_last_one(config, how):
    """The first legal TOKEN is the one that issues when the last value has left; a plain VXM uses neither."""
    def program(wait):
        return [op(config, "VXM", wait, inner=8, **how), op(config, "TOKEN"), op(config, "HALT")]

    waits = [wait for wait in range(60) if not broken(config, program(wait))]
    if not how:
        assert waits == list(range(60))
        return
    first = waits[0]
    assert first > 0 and waits == list(range(first, 60))
    *_, token, _ = trace(config, program(first))
    last_beat = next(trace(config, program(0))).cycle + vxm_beat(config) + 7
    stage = Vxm.latency(config) - (how == {"mask": 1})
    assert token.cycle == last_beat + stage - (1 if config.compact else 0)


@pytest.mark.parametrize("how", [{"to": To.KEYS}, {"to": To.VALUES}, {"mask": 1}, {}],
                         ids=lambda how: "".join(map(str, how)) or "plain")
@pytest.mark.parametrize("config", MEMORY, ids=lambda config: config.name)
def test_a_step_waits_for_those_that_use_the_position(config, how):
    """As a TOKEN does; the runs of a program then differ in the position by the sum of its steps."""
    def program(wait, name, **operands):
        return [op(config, "VXM", wait, inner=8, **how), op(config, name, **operands), op(config, "HALT")]

    legal = [[wait for wait in range(24) if not broken(config, program(wait, name, **operands))]
             for name, operands in (("STEP", {"value": 3}), ("TOKEN", {}))]
    assert legal[0] == legal[1]
    if how:
        assert "a STEP changes the position, which an earlier instruction uses" in broken(config, program(0, "STEP"))[0]
    *_, last = trace(config, program(59, "STEP", value=65535), position=7)
    assert last.position == 6


def test_a_fetch_uses_the_token():
    config = CONFIGS[0]
    program = [op(config, "MXM", fetch=1, outer=4), op(config, "TOKEN"), op(config, "HALT")]
    assert "steps position and token" in broken(config, program)[0]
    assert broken(config, [replace(program[0], wait=5), *program[1:]]) == []
    # A product, however long, uses neither token nor position.
    assert broken(config, [op(config, "MXM", outer=40), *program[1:]]) == []


@given(config=any_config, position=st.sampled_from((65533, 65534, 65535)), count=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_tokens_are_wanted_and_have_positions(config, position, count):
    program = [op(config, "TOKEN", target=0), op(config, "HALT")]
    legal = count > 0 and position + count - 1 <= 65535
    if count == 0:
        program = [op(config, "TOKEN", target=1), op(config, "HALT")]
    assert (broken(config, program, position=position, count=count) == []) == legal


def test_an_instruction_that_takes_for_ever_is_refused():
    config = FULL[0]
    most = (1 << isa_of(config).count_bits) - 1
    program = [op(config, "VXM", inner=most, middle=most, outer=most), op(config, "HALT")]
    assert most**3 < MOST_CYCLES and "still at work" in str(violations(config, program)[-1])
    wide = replace(config, mem_depth=8192)
    most = (1 << isa_of(wide).count_bits) - 1
    with pytest.raises(ProgramError, match="the instruction works for"):
        check(wide, [op(wide, "VXM", inner=most, middle=most, outer=most), op(wide, "HALT")])


def test_the_emulator_refuses_what_has_no_meaning():
    config = CONFIGS[0]
    tile = EmulatedTile(config)
    tile.write(Space.PROGRAM, 0, pack_program(config, codes(config, [op(config, "NOP", turns=1), op(config, "HALT")])))
    with pytest.raises(ProgramError, match="cycle 3, instruction 0: a NOP with turns comes before any PERIOD"):
        tile.start(0)
