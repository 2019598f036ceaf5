"""Encodings: whatever is legal comes back, whatever is not is refused in one line."""

from dataclasses import replace

import pytest
from amaranth.hdl import Shape
from amaranth.lib import data
from hypothesis import given
from hypothesis import strategies as st

from marey.hdl.spec.isa import (
    COUNTS,
    WAIT_BITS,
    Address,
    EncodingError,
    Function,
    Instruction,
    Isa,
    MxmBlocks,
    Op,
    Reduce,
    Sfu,
    To,
    VxmBlocks,
    functions,
    members,
)
from tests.configs import CONFIGS, GATED, MEMORY, any_config


@st.composite
def instructions(draw, isa):
    op = draw(st.sampled_from(list(isa.operands)))
    operands, half = {}, isa.config.scalars // 2
    for name, member in isa.operands[op]:
        shape = member.shape
        if isinstance(shape, data.Layout):
            address = Address(*(draw(_number(shape[part].shape)) for part in ("offset", "base")))
            operands[name] = Address(1) if name in COUNTS and address == Address(0) else address  # a count is at least 1
        elif words := members(shape):
            operands[name] = draw(st.sampled_from(words))
        else:
            operands[name] = draw(_number(shape, 1 if name in (*COUNTS, "register") else None))
    blocks = operands.get("blocks")
    if isinstance(blocks, MxmBlocks | VxmBlocks) and blocks.value:
        operands[blocks.name.lower()] %= 4
    if op is Op.SFU:
        multiply = operands["function"] is Sfu.MULTIPLY
        upper = half if multiply else 0
        operands |= {"into": operands["into"] | half, "a": operands["a"] % half + upper, "b": (operands["b"] | half) * multiply}
    elif op is Op.INDEX and isa.config.compact:
        operands["bits"] = min(operands["bits"], 15 - operands["right"])
    elif op is Op.MOVE:
        # Whole entries: both kinds have at most two bursts in these configurations.
        operands["count"] = max(2, operands["count"] & ~1)
    elif op is Op.VXM:
        reduces = operands["reduce"] not in (Reduce.NONE, Reduce.ARGMAX)
        operands["into"] = max(1, operands["into"] % half) if reduces else 0
    return Instruction(op, draw(st.integers(0, (1 << WAIT_BITS) - 1)), operands)


def _number(shape, low=None):
    shape = Shape.cast(shape)
    least = -(1 << shape.width - 1) if shape.signed else 0
    return st.integers(least if low is None else low, least + (1 << shape.width) - 1)


@given(data=st.data(), config=any_config | st.sampled_from(MEMORY))
def test_round_trips(data, config):
    isa = Isa(config)
    instruction = data.draw(instructions(isa))
    assert isa.decode(isa.encode(instruction)) == instruction
    assert isa.parse(str(instruction)) == instruction


@given(data=st.data(), config=any_config | st.sampled_from(MEMORY))
def test_any_bits_are_one_instruction_or_none(data, config):
    isa = Isa(config)
    code = data.draw(st.integers(0, (1 << isa.width) - 1))
    try:
        assert isa.encode(isa.decode(code)) == code
    except EncodingError as error:
        assert "\n" not in str(error)


def test_zero_halts():
    for config in CONFIGS:
        assert Isa(config).decode(0) == Isa(config).make(Op.HALT)


@pytest.mark.parametrize("bad", [
    Instruction(Op.NOP, 1 << WAIT_BITS), Instruction(Op.NOP, -1), Instruction(Op.NOP, 0, {"count": 1}),
    Instruction(Op.SET, 0, {"register": 1}), Instruction(Op.SET, 0, {"register": 0, "value": 1}),
    Instruction(Op.SET, 0, {"register": 8, "value": 1}), Instruction(Op.SET, 0, {"register": 1, "value": 1 << 20}),
    Instruction(Op.LOOP, 0, {"counter": 0, "count": 0, "target": 0}),
    Instruction(Op.LOOP, 0, {"counter": 4, "count": 1, "target": 0}),
    Instruction(Op.HALT, 0, {"if_prompt": 2}), Instruction(Op.TOKEN, 0, {"target": Address(0)}),
    Instruction(Op.SET, 0, {"register": Address(1), "value": 1}),
])
def test_illegal_instructions(bad):
    with pytest.raises(EncodingError) as caught:
        Isa(CONFIGS[0]).encode(bad)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [
    "JUMP target=0", "NOP wait=", "NOP wait=-1", "NOP 5", "SET register=A1+0 value=1", "SET value=1", "NOP wait=A1+3",
    "LOOP counter=0 count=2 target=9999", "MXM act=A9+0", "VXM to=NOWHEN", "VXM to=1", "NOP turns=MEM", "VXM shift=99",
    "VXM reduce=MAX",
    "VXM reduce=SUM into=40", "SFU into=3", "VXM into=2", "MXM middle=9 blocks=MIDDLE", "MXM inner=0", "HALT count=1",
])
def test_bad_text(text):
    with pytest.raises(EncodingError) as caught:
        Isa(CONFIGS[0]).parse(text)
    assert "\n" not in str(caught.value)


def test_codes_out_of_range():
    isa = Isa(CONFIGS[0])
    for code in (-1, 1 << isa.width, len(Op)):
        with pytest.raises(EncodingError):
            isa.decode(code)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_a_function_that_the_tile_lacks_is_refused_with_the_cure(config):
    """In one line, whether it is made, parsed or decoded; a tile that has it takes the same."""
    isa, able = Isa(config), Isa(replace(config, gelu=1))
    cure = r"does not have function GELU: it takes a configuration with gelu=1$"
    instruction = able.make(Op.VXM, function=Function.GELU, shift=15, to=To.MEM)
    for refused in (lambda: isa.make(Op.VXM, function=Function.GELU), lambda: isa.encode(instruction),
                    lambda: isa.parse("VXM function=GELU shift=15")):
        with pytest.raises(EncodingError, match=cure) as caught:
            refused()
        assert "\n" not in str(caught.value)
    with pytest.raises(EncodingError, match="VXM has no function 3"):
        isa.decode(able.encode(instruction))
    assert able.decode(able.encode(instruction)) == able.parse(str(instruction)) == instruction


def test_functions_by_configuration():
    assert list(functions(CONFIGS[0])) == [Function.MULTIPLY, Function.EXP2, Function.SILU]
    assert list(functions(GATED[0])) == list(Function)
    assert Isa(CONFIGS[0]).width == Isa(replace(CONFIGS[0], gelu=1)).width


def test_operands_that_are_not_given():
    instruction = Isa(CONFIGS[0]).make(Op.VXM, to=To.MEM, x=5)
    assert instruction["inner"] == 1 and instruction["x"] == Address(5) and instruction["shift"] == 0
    assert str(instruction) == "VXM x=5 to=MEM"
