"""The cache's keys and values stay apart: a program whose registers are swapped is refused."""

from dataclasses import replace

import pytest

from marey.hdl.spec.isa import Address, Op
from marey.hdl.timing import ProgramError
from marey.sw.compiler.cache_regions import check_cache, regions
from marey.sw.compiler.compile import compile_quantised, schedule
from marey.sw.compiler.plan import lay_out_model
from marey.sw.formats.tiny import tiny_model
from marey.sw.quant.outline import Outline
from marey.sw.quant.quantise import quantise
from tests.configs import INT4, MODELS, ONE_PORT, ROOMY

SHAPE = next(iter(MODELS))
STREAMED = replace(ROOMY[0], wram_depth=900, mem_depth=1 << 14)


@pytest.fixture(scope="module")
def outlines():
    return {bits: Outline.of(quantise(tiny_model(SHAPE), bits)) for bits in (4, 8)}


def swapped(instructions, one, other):
    """Instructions in which two address registers have changed places, where they are used."""
    places = {one: other, other: one}

    def moved(value):
        return replace(value, base=places.get(value.base, value.base)) if isinstance(value, Address) else value

    return [replace(instruction, operands={name: moved(value) for name, value in instruction.operands.items()})
            for instruction in instructions]


@pytest.mark.parametrize("config", [*ROOMY, *INT4, *ONE_PORT, STREAMED], ids=lambda config: config.name)
def test_keys_and_values_that_change_places_are_refused(outlines, config):
    """Registers 3 and 4 hold the places of the position's key and value, in resident and in streamed programs."""
    outline = replace(outlines[config.weight_bits], cache_bits=config.cache_bits)
    layout = lay_out_model(config, outline)
    program = schedule(layout, outline)
    check_cache(program, layout)
    keys, values = regions(layout)
    assert not {word for span in keys for word in range(*span)} & {word for span in values for word in range(*span)}
    wrong = replace(program, image=replace(program.image, instructions=swapped(program.image.instructions, 3, 4)))
    with pytest.raises(ProgramError, match=r"are not all (keys|values) of the cache") as caught:
        check_cache(wrong, layout)
    assert "\n" not in str(caught.value)


def test_every_compiled_program_is_checked(monkeypatch):
    seen = []
    monkeypatch.setattr("marey.sw.compiler.compile.check_cache", lambda program, layout: seen.append(layout))
    program = compile_quantised(quantise(tiny_model(SHAPE)), ROOMY[0])
    assert len(seen) == 1 and any(instruction.op is Op.MXM for instruction in program.image.instructions)
