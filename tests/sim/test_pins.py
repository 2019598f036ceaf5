"""The RTL of a tile at its UART's pins, in Verilator, also behind a pseudo-terminal as a virtual
board is."""

import threading

import numpy as np
import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from marey.boards.virtual import serve
from marey.hdl import verilog
from marey.hdl.link.flash import FlashLoader
from marey.hdl.serial import SerialTile
from marey.hdl.spec.packing import pack_program
from marey.hdl.spec.protocol import Register, Space
from marey.sim.pins import TOP, Pins, PinsTransport
from marey.sim.port import PortTransport
from marey.sim.terminal import Terminal
from marey.sw.program.program import Program
from marey.sw.runtime.burn import flash_image
from marey.sw.runtime.driver import Device
from marey.sw.runtime.link import Link, LinkError
from tests.configs import CONFIGS, codes, op

CONFIG = CONFIGS[1]
CLOCK, BAUD = 1.05e6, 115_200
"""A slow clock, so that the link's time-out is few cycles."""
QUIET = 20_000


PROGRAM = Program.from_instructions(CONFIG, [op(CONFIG, "NOP", 20), op(CONFIG, "HALT")])
"""Burned in."""
FLASH = """
module flash(input clk, input select, input clock, input out, output reg into);
  reg [7:0] content [0:SIZE-1];
  initial begin CONTENT end
  reg awake = 0, last = 0;
  reg [31:0] command = 0, got = 0, sent = 0;
  wire [31:0] at = command[23:0] + sent / 8;
  always @(posedge clk) begin
    last <= clock;
    if (!select) begin
      if (got == 8 && command == 'hAB) awake <= 1;
      got <= 0; sent <= 0; command <= 0;
    end else if (clock && !last && got < 32) begin
      command <= {command[30:0], out}; got <= got + 1;
    end else if (!clock && last && got == 32 && awake && command[31:24] == 3) begin
      into <= at < SIZE ? content[at][7 - sent % 8] : 1'b1; sent <= sent + 1;
    end
  end
endmodule
"""
"""An SPI flash in mode 0, which sleeps until it is woken."""


class SelfLoading(wiring.Component):
    """A tile behind a UART that first loads itself from a flash, as in `marey.boards.top`."""

    def __init__(self):
        super().__init__({"rx_line": In(1, init=1), "tx_line": Out(1, init=1),
                          "select": Out(1), "clock": Out(1), "out": Out(1), "into": In(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.tile = tile = SerialTile(CONFIG, CLOCK, BAUD)
        m.submodules.loader = loader = FlashLoader(0)
        wiring.connect(m, loader.words, tile.first)
        m.d.comb += [tile.rx_line.eq(self.rx_line), self.tx_line.eq(tile.tx_line), tile.loading.eq(~loader.done),
                     self.select.eq(loader.select), self.clock.eq(loader.clock), self.out.eq(loader.out),
                     loader.into.eq(self.into)]
        return m


@pytest.fixture(scope="module")
def text():
    content = flash_image(PROGRAM)
    rows = " ".join(f"content[{index}] = {byte};" for index, byte in enumerate(content))
    flash = FLASH.replace("SIZE", str(len(content))).replace("CONTENT", rows)
    wrapper = (f"module {TOP}(input clk, input rx, output tx);\n  wire select, clock, out, into;\n"
               "  flash flash(.clk(clk), .select(select), .clock(clock), .out(out), .into(into));\n"
               f"  {verilog.TOP} tile(.clk(clk), .rst(1'b0), .rx_line(rx), .tx_line(tx), .select(select), .clock(clock),\n"
               "    .out(out), .into(into));\nendmodule\n")
    return wrapper + flash + verilog.convert(SelfLoading())


@pytest.fixture
def pins(compiler, text):
    pins = Pins(text, "a tile at its pins", CLOCK / BAUD)
    yield pins
    pins.close()


def works(link):
    """Writes, reads back, runs."""
    words = np.arange(1, 65, dtype=np.uint32) * 0x0305 & 0xFFFF
    link.write(Space.MEM, 0, words)
    assert np.array_equal(link.read(Space.MEM, 0, 64), words)
    link.write(Space.PROGRAM, 0, pack_program(CONFIG, codes(CONFIG, [op(CONFIG, "NOP", 7), op(CONFIG, "HALT")])))
    link.start(0)
    assert link.wait() == (11, 0, [])


def test_from_power_up(pins):
    """The tile has loaded itself before the host sends a word.

    It ignores the line meanwhile, but not later.
    """
    pins.send(b"\x00" * 9)
    pins.run(30_000)
    with Device(PinsTransport(pins, QUIET, QUIET), CONFIG) as device:
        device.adopt(PROGRAM)
        device.run(count=0)
        assert device.tally.measured == device.tally.predicted == 24


@pytest.mark.parametrize("off", [-0.02, 0, 0.02])
def test_the_link_at_the_pins(pins, off):
    """The host's rate may be off by 2 %, beside the error that the division of the board's clock
    leaves."""
    pins.set_bit(CLOCK / BAUD * (1 + off))
    works(Link(PinsTransport(pins, QUIET, QUIET), CONFIG))


def test_a_word_takes_the_time_that_its_bits_take(pins):
    link = Link(PinsTransport(pins, QUIET, QUIET), CONFIG)
    before = pins.cycles
    link.read(Space.REGISTER, 0, 6)
    # Four words there; a head of three, six and a CRC back. A byte back takes ten bits of 9 cycles and one.
    bits = 4 * 40 * CLOCK / BAUD + 10 * 4 * (10 * 9 + 1)
    assert bits - 45 <= pins.cycles - before <= bits + 60


@pytest.mark.parametrize("spoilt", [b"\x55", b"\x4d\x00", b"M" * 7, bytes(range(256))])
def test_stray_bytes_are_got_over(pins, spoilt):
    """Stray bytes between frames shift the words only until a silence; the request is repeated, and
    obeyed."""
    link = Link(PinsTransport(pins, QUIET, QUIET), CONFIG)
    pins.send(spoilt)
    assert link.registers()[Register.CONFIG] == CONFIG.hash
    works(link)


def test_a_lost_byte_is_got_over(pins):
    """One byte of a frame's payload lost: it is sent again."""
    transport = PinsTransport(pins, QUIET, QUIET)
    link, send, lost = Link(transport, CONFIG), pins.send, []

    def lossy(data):
        if len(data) > 100 and not lost:
            lost.append(data[50])
            data = data[:50] + data[51:]
        send(data)

    pins.send = lossy
    works(link)
    assert lost and link.registers()[Register.LINK_FAULTS] == 1


def test_a_wrong_rate_is_silence_or_damage_and_then_right(pins):
    pins.set_bit(CLOCK / BAUD * 3)
    transport = PinsTransport(pins, QUIET, QUIET)
    with pytest.raises(LinkError, match="--baud"):
        Link(transport, CONFIG)
    pins.set_bit(CLOCK / BAUD)
    works(Link(transport, CONFIG))


def test_behind_a_terminal(pins):
    """The serial port's code against the pins.

    A wrong rate gives one line; the right one works again.
    """
    terminal, ended = Terminal(), threading.Event()
    board = threading.Thread(target=serve, args=(pins, CLOCK, terminal, ended.is_set))
    board.start()
    try:
        for baud in (BAUD, 38400, BAUD):
            transport = PortTransport(terminal.name, baud, 2.5)
            if baud == BAUD:
                works(Link(transport, CONFIG))
            else:
                with pytest.raises(LinkError, match="--baud"):
                    Link(transport, CONFIG)
            transport.close()
    finally:
        ended.set()
        board.join()
        terminal.close()
