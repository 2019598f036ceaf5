"""External memory is loaded once, goes on where a load was cut off, and a bit that changes in it is found and named."""

from dataclasses import replace

import numpy as np
import pytest

from marey.hdl.spec.dram_parts import BURST
from marey.sim.endpoint import Endpoint
from marey.sw.compiler.compile import compile_quantised
from marey.sw.formats.tiny import tiny_model
from marey.sw.quant.quantise import quantise
from marey.sw.runtime import loading
from marey.sw.runtime.driver import Device
from marey.sw.runtime.external import ExternalMemory, ExternalMemoryError
from marey.sw.runtime.link import LinkError
from tests.configs import MODELS, ROOMY
from tests.greedy import greedy_steps


@pytest.fixture(scope="module")
def model():
    return quantise(tiny_model(next(iter(MODELS))))


@pytest.fixture(scope="module")
def program(model):
    return compile_quantised(model, replace(ROOMY[4], name="external", sdram=1, wram_depth=128))


@pytest.fixture(scope="module")
def endpoint(program):
    return Endpoint(program.config)


@pytest.fixture
def written(monkeypatch):
    """Bursts that are written to external memory: (first, count) each, without the header's and the pattern's."""
    found, write = [], ExternalMemory.write

    def kept(memory, first, octets):
        count = len(octets) // memory.burst_bytes
        if count > memory.entry_bursts:
            found.append((first, count))
        write(memory, first, octets)

    monkeypatch.setattr(ExternalMemory, "write", kept)
    monkeypatch.setattr(loading, "PIECE_BURSTS", 300)
    return found


def test_a_load_goes_on_where_it_was_cut_off(program, model, endpoint, written, monkeypatch):
    device, move = Device(endpoint, program.config), ExternalMemory._move
    pieces = -(-len(loading.image_of(program.config, program.stream)) // 16 // 300)

    def cut(memory, **operands):
        if len(written) > 2:
            raise LinkError("the cable is out")
        move(memory, **operands)

    with monkeypatch.context() as patch:
        patch.setattr(ExternalMemory, "_move", cut)
        with pytest.raises(LinkError, match="the cable is out"):
            device.load(program)
    assert [first for first, _ in written] == [0, 300, 600] and pieces > 4
    written.clear()
    device.load(program)
    assert [first for first, _ in written] == [300 * piece for piece in range(2, pieces)]
    written.clear()
    device.load(program)
    assert written == []
    assert len(list(greedy_steps(program, model, device, 2))) == 2


def test_a_bit_that_changes_is_found_and_named(program, endpoint, written):
    device, sdram = Device(endpoint, program.config), endpoint.tile.sdram
    device.load(program)
    count = loading.verify_external(device.session, program)
    assert count == len(loading.segments_of(program.config, program.stream))
    segment = loading.segments_of(program.config, program.stream)[9]
    sdram[segment.first * BURST + 77] ^= 1 << 5
    name = f"{segment.run.section.name}; layer 1, chunk 0"
    with pytest.raises(ExternalMemoryError, match=rf"segment 10 of {count} \({name}\) has "
                                                  rf"CRC-32 \w+ and not \w+: 1 bytes differ from burst {segment.first + 9} on"):
        loading.verify_external(device.session, program)
    loading.forget_external(device.session)
    device.load(program)
    assert len(written) > 4 and loading.verify_external(device.session, program) == count


def test_the_header_of_another_model_is_not_taken_for_this_one_s(program, endpoint, written):
    device = Device(endpoint, program.config)
    other = replace(program.stream, constants=np.where(program.stream.constants == 7, 8, program.stream.constants))
    device.load(program)
    loading.load_external(device.session, other)
    assert written[-1][0] > 0
    written.clear()
    device.load(program)
    assert written[0][0] == 0
