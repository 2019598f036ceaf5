"""From a design to a bitstream, and to a netlist at its pins, on each FPGA family.

The design is small and uses a part of each kind that a tile uses: the link, memories and
multipliers. For each word that comes over the UART it answers another, computed from products and
from memories that start with known contents.
"""

import json
import random

import numpy as np
import pytest
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from marey.boards import flow, tools
from marey.boards.all import BOARDS
from marey.boards.slices import slices
from marey.boards.virtual import virtual_board
from marey.hdl.dram import DramEngine, Pins
from marey.hdl.dram.pins import address_width
from marey.hdl.parts.dot import DotProduct
from marey.hdl.parts.product import Product
from marey.hdl.serial import SerialLink
from marey.sim.pins import PinsTransport

DEPTH, WIDE_DEPTH = 600, 300
INIT = [random.Random(index).getrandbits(16) for index in range(DEPTH)]
WIDE = [random.Random(-index).getrandbits(36) for index in range(WIDE_DEPTH)]


class Sample(wiring.Component):
    """Answers the n-th word w, counted from 1, as `expected` computes it.

    The answer is a * b ^ a * a >> 8 ^ memory[n] ^ wide[n] ^ s, its low 32 bits. a and b are the low
    and the high half of w, signed; the first a of each product has w's highest byte on top. s is
    the dot product of w's 4 bytes and of w's lowest 20 bits, 5 at a time, all signed. Then memory[n
    + 1] becomes b, and wide[n + 1] becomes w.
    """

    def __init__(self, clock_hz, baud):
        self._link = SerialLink(clock_hz, baud)
        super().__init__({"rx_line": In(1, init=1), "tx_line": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.link = link = self._link
        m.submodules.memory = memory = Memory(shape=16, depth=DEPTH, init=INIT)
        m.submodules.wide = wide = Memory(shape=36, depth=WIDE_DEPTH, init=WIDE)
        m.d.comb += [link.rx_line.eq(self.rx_line), self.tx_line.eq(link.tx_line)]
        count, word, waited = Signal(range(WIDE_DEPTH)), Signal(32), Signal(2)
        # The tile's own parts: a synthesis once replaced the cells in them by others.
        m.submodules.product = product = Product(24, registered=False)
        m.submodules.square = square = Product(24, registered=True)
        m.submodules.dot = dot = DotProduct(4, 5)
        reads, writes = [part.read_port() for part in (memory, wide)], [part.write_port() for part in (memory, wide)]
        m.d.comb += [
            *(port.addr.eq(count) for port in reads), *(port.addr.eq(count + 1) for port in writes),
            writes[0].data.eq(word[16:]), writes[1].data.eq(word),
            link.tx.payload.eq(product.y ^ square.y >> 8 ^ reads[0].data ^ reads[1].data[:32] ^ dot.sum),
            *(part.a.eq(Cat(word[:16], word[24:])) for part in (product, square)), product.b.eq(word[16:]), square.b.eq(word),
            dot.a.eq(word), dot.b.eq(word),
        ]
        with m.FSM():
            with m.State("TAKE"):
                m.d.comb += link.rx.ready.eq(1)
                m.d.sync += word.eq(link.rx.payload)
                with m.If(link.rx.valid):
                    m.d.sync += count.eq(count + 1)
                    m.next = "READ"
            with m.State("READ"):
                m.next = "WAIT"
            with m.State("WAIT"):
                m.d.sync += waited.eq(waited + 1)
                with m.If(waited == DotProduct.latency(1)):
                    m.d.sync += waited.eq(0)
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += link.tx.valid.eq(1)
                with m.If(link.tx.ready):
                    m.d.comb += [port.en.eq(1) for port in writes]
                    m.next = "TAKE"
        return m


def signed_bits(value, bits):
    """The lowest `bits` bits of a value, as a signed number."""
    return (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


def expected(words):
    """The answers of a `Sample` to a list of words."""
    memory, wide, answers = list(INIT), list(WIDE), []
    for count, word in enumerate(words, 1):
        a, b = signed_bits(word >> 24 << 16 | word & 0xFFFF, 24), signed_bits(word >> 16, 16)
        square = a * signed_bits(word, 16)
        total = sum(signed_bits(word >> 8 * index, 8) * signed_bits(word >> 5 * index, 5) for index in range(4))
        answers.append((a * b ^ square >> 8 ^ memory[count] ^ wide[count] ^ total) & 0xFFFFFFFF)
        memory[count + 1], wide[count + 1] = word >> 16, word
    return answers


@pytest.fixture(scope="module", params=["icebreaker", pytest.param("ulx3s-45f", marks=pytest.mark.slow)])
def built(request, tmp_path_factory):
    """A board, and a folder with its synthesised Sample."""
    tools.find("yosys")
    board, folder = BOARDS[request.param], tmp_path_factory.mktemp(request.param)
    flow.design(board, folder, Sample(board.clock_hz, board.baud))
    flow.synthesise(board, folder)
    return board, folder


def test_the_netlist_at_its_pins(compiler, built):
    """The netlist of the vendor's cells computes what the source says, from power-up, block RAMs'
    contents included."""
    board, folder = built
    transport = PinsTransport(virtual_board(board, folder), 200_000, 4000)
    words = [random.Random(index).getrandbits(32) for index in range(40)]
    # The reset after power-up lasts longer than a byte.
    transport.drain()
    found = []
    for word in words:
        transport.send(np.array([word], np.uint32))
        found += transport.receive(1).tolist()
    assert found == expected(words)
    transport.close()


class Echo(wiring.Component):
    """Sends back the line that it receives, one clock cycle later."""

    rx_line: In(1, init=1)
    tx_line: Out(1, init=1)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.tx_line.eq(self.rx_line)
        return m


@pytest.mark.parametrize("name", [
    name if name in ("upduino", "hx8k") else pytest.param(name, marks=pytest.mark.slow) for name in BOARDS])
def test_the_clock_and_the_pins_of_a_board(name, tmp_path):
    """Place and route finds the PLL's input, and each pin."""
    tools.find("yosys")
    board = BOARDS[name]
    flow.design(board, tmp_path, Echo())
    flow.synthesise(board, tmp_path)
    assert flow.place(board, tmp_path)["clock_mhz_met"] >= board.clock_hz / 1e6
    assert flow.pack(board, tmp_path).exists()


class Stored(wiring.Component):
    """For each word from the UART, writes a burst that is made of it to the board's SDRAM, at the address in the word's upper
    half, reads it back, and answers with the sum of its words."""

    def __init__(self, board):
        self._board = board
        super().__init__({"rx_line": In(1, init=1), "tx_line": Out(1, init=1), "sdram": Out(Pins(board.tile.memory.part))})

    def elaborate(self, platform):
        m = Module()
        timing = self._board.tile.memory
        m.submodules.link = link = SerialLink(self._board.clock_hz, self._board.baud)
        m.submodules.engine = engine = DramEngine(timing)
        wiring.connect(m, engine.pins, wiring.flipped(self.sdram))
        word, total, number, took = Signal(32), Signal(32), Signal(3), Signal(2)
        m.d.comb += [link.rx_line.eq(self.rx_line), self.tx_line.eq(link.tx_line), engine.count.eq(1),
                     engine.address.eq(word[16:]), engine.word.eq(word[:16] * (number + 1)), link.tx.payload.eq(total)]
        m.d.sync += took.eq(Cat(engine.soon, took))
        with m.If(took[-1]):
            m.d.sync += number.eq(number + 1)
        with m.If(engine.arrived):
            m.d.sync += total.eq(total + engine.data)
        with m.FSM():
            with m.State("waits"):
                m.d.comb += link.rx.ready.eq(1)
                with m.If(link.rx.valid):
                    m.d.sync += [word.eq(link.rx.payload), total.eq(0), number.eq(0)]
                    m.next = "writes"
            for state, write, after in (("writes", 1, "written"), ("reads", 0, "read")):
                with m.State(state), m.If(engine.ready):
                    m.d.comb += [engine.start.eq(1), engine.write.eq(write)]
                    m.next = after
            for state, after in (("written", "reads"), ("read", "late"), ("late", "answers")):
                # The last words come some cycles after the engine is done.
                wait = Signal(4, name=f"wait_{state}")
                with m.State(state), m.If(~engine.busy):
                    m.d.sync += wait.eq(wait + 1)
                    with m.If(wait.all()):
                        m.next = after
            with m.State("answers"):
                m.d.comb += link.tx.valid.eq(1)
                with m.If(link.tx.ready):
                    m.next = "waits"
        return m


@pytest.fixture(scope="module", params=[name for name, board in BOARDS.items() if board.tile.memory])
def stored(request, tmp_path_factory):
    """A board with SDRAM, and a folder with its synthesised `Stored`."""
    tools.find("yosys")
    board, folder = BOARDS[request.param], tmp_path_factory.mktemp(request.param)
    flow.design(board, folder, Stored(board))
    flow.synthesise(board, folder)
    return board, folder


@pytest.mark.slow
def test_each_pin_of_the_sdram_has_its_registers_beside_it(stored):
    """In the cell of the pin, and the clock is met."""
    board, folder = stored
    assert flow.place(board, folder)["clock_mhz_met"] >= board.clock_hz / 1e6
    cells, part = json.loads((folder / "report.json").read_text())["utilization"], board.tile.memory.chip.part
    # Those at the top and the bottom of the device have another name.
    used = cells["IOLOGIC"]["used"] + cells["SIOLOGIC"]["used"]
    assert used == len(("clk", "we", "cas", "ras")) + len(("ba0", "ba1")) + address_width(part) + part.bus_bits


@pytest.mark.slow
def test_the_chip_at_the_pins_of_a_netlist(compiler, stored):
    """What the netlist writes to the model of the chip, it reads there, over several refreshes; no rule is broken."""
    board, folder = stored
    transport = PinsTransport(virtual_board(board, folder), 2_000_000, 40_000)
    transport.drain()
    mask = (1 << board.tile.memory.part.bus_bits) - 1
    for word in [random.Random(index).getrandbits(32) for index in range(12)]:
        transport.send(np.array([word], np.uint32))
        expected = sum((word & 0xFFFF) * number & mask for number in range(1, 9)) & 0xFFFFFFFF
        assert transport.receive(1).tolist() == [expected]
    transport.close()


@pytest.mark.slow
def test_what_a_component_takes(built):
    """A component uses at least what the components in it use."""
    board, folder = built
    found = slices(board, folder)
    assert found["marey"]["bram"] >= 2 and found["marey"]["dsp"] == found["inside"]["dsp"] == (8 if board.is_ecp5 else 6)
    link, parts = found["inside.link"], [found[f"inside.link.{name}"] for name in
                                         ("receiver", "gatherer", "splitter", "transmitter")]
    assert all(link[resource] >= sum(part[resource] for part in parts) for resource in link)
    assert all(part["ff"] > 0 and part["lut"] > 0 for part in parts) and link["ff"] < found["inside"]["ff"]


def test_the_bitstream(built):
    """It is placed, routed and packed, and meets its clock; synthesis is not repeated."""
    board, folder = built
    made = (folder / "marey.json").stat().st_mtime
    flow.synthesise(board, folder)
    assert (folder / "marey.json").stat().st_mtime == made
    result = flow.place(board, folder)
    assert result["clock_mhz_met"] >= board.clock_hz / 1e6
    assert result["resources"]["bram"] >= 2 and result["resources"]["dsp"] == (8 if board.is_ecp5 else 6)
    assert any(name.startswith("inside.") for name in result["critical_path"]), result["critical_path"]
    assert flow.pack(board, folder).stat().st_size > 50_000
