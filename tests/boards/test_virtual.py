"""Virtual boards: the netlist at its pins, over a pseudo-terminal, tells the story that the RTL
tells."""

import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest

from marey.boards import flow
from marey.boards.all import BOARDS
from marey.boards.virtual import serve, simulated_hz, virtual_board
from marey.hdl.spec.config import Config
from marey.sim.backends import open_transport
from marey.sim.port import PortTransport
from marey.sim.terminal import Terminal
from marey.sw.cli.compiling import compile_file
from marey.sw.compiler.compile import compile_quantised
from marey.sw.formats import DEFAULT_MODEL
from marey.sw.formats.tiny import tiny_model
from marey.sw.model.config import ModelConfig
from marey.sw.quant.quantise import quantise
from marey.sw.runtime import loading
from marey.sw.runtime.driver import Device
from marey.sw.runtime.external import ExternalMemory, ExternalMemoryError
from marey.sw.runtime.link import LinkError

SMALL = Config(name="small", rows=4, cols=4, lanes=1, wram_depth=256, mem_depth=256, program_depth=128)
"""A tile whose netlist is built and simulated in minutes."""
MODEL = ModelConfig(dim=8, hidden_dim=8, n_layers=1, n_heads=1, n_kv_heads=1, vocab_size=16, seq_len=24)
PATIENCE = 600


def story(device, count):
    """[(token, cycles)] of `count` steps, from the first token on."""
    token, steps = 1, []
    for position in range(count):
        before = device.tally.measured
        (token,) = device.run(token, position)
        steps.append((token, device.tally.measured - before))
    return steps


def on_the_rtl(program, count=16):
    """`story` on the RTL of the tile alone."""
    with Device(open_transport(program.config, "verilator"), program.config) as device:
        device.load(program)
        steps = story(device, count)
    assert [cycles for _, cycles in steps] == [program.cycles(position) for position in range(count)]
    return steps


@contextmanager
def at_its_pins(board, folder, program=None):
    """A function that opens a device on the netlist at its pins, over a pseudo-terminal, as a host does that is started."""
    flow.design(board, folder)
    flow.synthesise(board, folder)
    pins, terminal, ended = virtual_board(board, folder, program), Terminal(), threading.Event()
    server = threading.Thread(target=serve, args=(pins, simulated_hz(board), terminal, ended.is_set))
    server.start()
    try:
        yield lambda: Device(PortTransport(terminal.name, board.baud, PATIENCE), board.tile)
    finally:
        ended.set()
        server.join()
        terminal.close()
    print(f"{board.name}: {pins.cycles:,} clock cycles")


def on_the_board(board, folder, program, *, burned, count=16):
    """`story` on the netlist at its pins, over a pseudo-terminal."""
    with at_its_pins(board, folder, program if burned else None) as opened, opened() as device:
        (device.adopt if burned else device.load)(program)
        steps = story(device, count)
    print(f"{board.name}: tokens and their cycles {steps}")
    return steps


@pytest.mark.slow
def test_sixteen_tokens_of_a_virtual_up5k(compiler, tmp_path):
    """From power-up, by the code that talks to hardware, with the RTL's tokens and the compiler's
    cycles."""
    board = replace(BOARDS["icebreaker"], tile=SMALL)
    program = compile_quantised(quantise(tiny_model(MODEL)), SMALL)
    assert on_the_board(board, tmp_path, program, burned=False) == on_the_rtl(program)


@pytest.mark.slow
def test_sixteen_tokens_of_a_virtual_ecp5(compiler, tmp_path):
    """Its program is in its block RAMs at power-up, and is not loaded; the RTL's tokens, the
    compiler's cycles."""
    board = replace(BOARDS["ulx3s-85f"], tile=SMALL)
    program = compile_quantised(quantise(tiny_model(MODEL)), SMALL)
    assert on_the_board(board, tmp_path, program, burned=True) == on_the_rtl(program)


@pytest.mark.slow
def test_a_streamed_model_on_a_virtual_hx8k(compiler, tmp_path):
    """The board's own tile, with a model that does not fit it."""
    board = BOARDS["hx8k"]
    shape = replace(MODEL, dim=16, hidden_dim=24, n_layers=2, n_heads=2, n_kv_heads=1, vocab_size=32)
    program = compile_quantised(quantise(tiny_model(shape)), board.tile)
    assert program.stream
    assert on_the_board(board, tmp_path, program, burned=False, count=4) == on_the_rtl(program, 4)


TALL = replace(SMALL, rows=8, lanes=2, wram_depth=64, program_depth=256)
SDRAM = {"ulx3s-85f-sdram": replace(TALL, sdram=1, sdram_mhz=70, sdram_rate=2),
         "colorlight-i9-sdram": replace(TALL, sdram=3, sdram_mhz=80)}
"""Small tiles with the memory of a board."""
CYCLES_PER_BIT = 4
"""The fewest of the UART: most of the cycles that are simulated are the link's."""
PIECE_BURSTS = 32


def flip(memory, burst):
    """Flips a bit of a burst of external memory."""
    octets = memory.read(burst, memory.entry_bursts)
    octets[5] ^= 1 << 3
    memory.write(burst, octets)


@pytest.mark.slow
@pytest.mark.parametrize("name", SDRAM)
def test_a_model_in_the_sdram_of_a_virtual_board(compiler, tmp_path, monkeypatch, name):
    """Its segments go over the terminal into the chip at the netlist's pins: a host that goes away in the middle of it goes
    on where it was, and another finds them there. Tokens and cycles are the RTL's. A bit that is flipped in the chip is
    found by the checksum of its segment."""
    board = BOARDS[name]
    board = replace(board, tile=SDRAM[name], baud=round(board.clock_hz / CYCLES_PER_BIT))
    shape = replace(MODEL, dim=16, hidden_dim=16, seq_len=12)
    program = compile_quantised(quantise(tiny_model(shape)), board.tile)
    assert program.stream.external
    expected = on_the_rtl(program, 8)
    monkeypatch.setattr(loading, "PIECE_BURSTS", PIECE_BURSTS)
    pieces, write = [], ExternalMemory.write

    def cut(memory, first, octets):
        if len(octets) > memory.entry_bursts * memory.burst_bytes:
            pieces.append(first)
            if len(pieces) == 3:
                raise LinkError("the host goes away")
        write(memory, first, octets)

    monkeypatch.setattr(ExternalMemory, "write", cut)
    with at_its_pins(board, tmp_path) as opened:
        with opened() as device, pytest.raises(LinkError, match="goes away"):
            device.load(program)
        with opened() as device:
            device.load(program)
            # What came before the cut is not sent again.
            segments, memory = loading.segments_of(board.tile, program.stream), board.tile.memory.part
            bursts = sum(segment.octets.size for segment in segments) // memory.burst_bytes
            assert pieces == [*range(0, 3 * PIECE_BURSTS, PIECE_BURSTS), *range(2 * PIECE_BURSTS, bursts, PIECE_BURSTS)]
            pieces.clear()
            device.load(program)
            assert pieces == []
            assert story(device, 8) == expected
            assert loading.verify_external(device.session, program) == len(segments)
            flip(ExternalMemory(device.session, (program.stream.segment, program.model.scale)), segments[2].first)
            with pytest.raises(ExternalMemoryError, match=f"segment 3 of {len(segments)} .*: 1 bytes differ from burst "
                                                          f"{segments[2].first} on"):
                loading.verify_external(device.session, program)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["icebreaker", "ulx3s-45f-int4", "ulx3s-85f"])
def test_the_default_model_on_a_virtual_board(compiler, tmp_path, name):
    """The default model on the board's own tile, burned into an ECP5. docs/virtual.md has the last
    results."""
    board = BOARDS[name]
    program = compile_file(DEFAULT_MODEL, None, board.tile)
    assert on_the_board(board, tmp_path, program, burned=board.is_ecp5) == on_the_rtl(program)
