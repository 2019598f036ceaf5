"""The serial line: bytes through a UART at either end's rate, words that find their places again."""

import pytest
from amaranth.lib.wiring import Component
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.hdl.link.uart import BITS, UartReceiver, UartTransmitter, divisor
from marey.hdl.link.words import WordGatherer
from marey.hdl.serial import SerialLink, link_timeout
from marey.hdl.spec.errors import MareyError

FAST = settings(max_examples=12, deadline=None)


def simulate(component: Component, bench):
    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def levels(data: bytes, bit: float, stop: int = 1, rest: int = 0) -> list[int]:
    """A line's level in each clock cycle as bytes pass: `bit` cycles a bit, `rest` bits of rest before each byte."""
    bits = [level for byte in data for level in
            [*[1] * rest, 0, *(byte >> index & 1 for index in range(8)), *[1] * stop]]
    return [bits[int(cycle / bit)] for cycle in range(int(len(bits) * bit))]


def received(line: list[int], cycles_a_bit: int) -> bytes:
    """What a receiver makes of a line's levels."""
    receiver, found = UartReceiver(cycles_a_bit), []

    async def bench(ctx):
        for level in line:
            ctx.set(receiver.line, level)
            *_, valid, data = await ctx.tick().sample(receiver.valid, receiver.data)
            if valid:
                found.append(data)

    simulate(receiver, bench)
    return bytes(found)


@FAST
@given(data=st.binary(min_size=1, max_size=12), cycles_a_bit=st.integers(4, 30), rest=st.integers(0, 2),
       off=st.floats(-0.02, 0.02))
def test_bytes_come_in(data, cycles_a_bit, rest, off):
    """Back to back or not, the other end up to 2 % too slow or too fast."""
    line = [1] * 5 + levels(data, cycles_a_bit * (1 + off), rest=rest) + [1] * cycles_a_bit
    assert received(line, cycles_a_bit) == data


def test_a_disturbance_is_no_byte():
    line = [1] * 9 + [0] * 3 + [1] * 40 + levels(b"\x5a", 16) + [1] * 16
    assert received(line, 16) == b"\x5a"


def test_a_line_held_low_gives_nothing_until_it_rises():
    """A cable pulled out may leave the line low; a byte without its stop bit is none."""
    assert received([1] * 5 + [0] * 1000 + [1] * 20 + levels(b"\x81", 8) + [1] * 8, 8) == b"\x81"


@pytest.mark.parametrize("ratio", [0.5, 2, 3])
def test_a_wrong_rate_gives_other_bytes(ratio):
    assert received([1] * 5 + levels(bytes(range(40)), 16 * ratio) + [1] * 16, 16) != bytes(range(40))


def test_latency_and_throughput_in():
    """A pulse 9.5 bits and 3 cycles after the edge, and bytes as fast as the line brings them."""
    receiver, pulses, bit = UartReceiver(8), [], 8

    async def bench(ctx):
        for cycle, level in enumerate(levels(b"\x00\xff\x55", bit) + [1] * 8):
            ctx.set(receiver.line, level)
            *_, valid = await ctx.tick().sample(receiver.valid)
            if valid:
                pulses.append(cycle)

    simulate(receiver, bench)
    first = bit * 19 // 2 + 3
    assert pulses == [first, first + BITS * bit, first + 2 * BITS * bit]


@FAST
@given(data=st.binary(min_size=1, max_size=12), cycles_a_bit=st.integers(4, 30))
def test_bytes_go_out(data, cycles_a_bit):
    """Each begins the cycle after it was taken, and takes 10 bits and a cycle: a receiver gets them all."""
    transmitter, line, taken = UartTransmitter(cycles_a_bit), [], []

    async def bench(ctx):
        queue = list(data)
        for cycle in range(len(data) * (BITS * cycles_a_bit + 1) + 2):
            ctx.set(transmitter.bytes.valid, bool(queue))
            ctx.set(transmitter.bytes.payload, queue[0] if queue else 0)
            *_, ready, level = await ctx.tick().sample(transmitter.bytes.ready, transmitter.line)
            line.append(level)
            if ready and queue:
                queue.pop(0)
                taken.append(cycle)

    simulate(transmitter, bench)
    assert taken == [n * (BITS * cycles_a_bit + 1) for n in range(len(data))]
    assert [line[cycle:cycle + 2] for cycle in taken] == [[1, 0]] * len(data)
    assert received([1] * 3 + line + [1] * cycles_a_bit, cycles_a_bit) == data


def gathered(events, silence):
    """Words that come of (byte, cycles of rest after it) pairs."""
    gatherer, words = WordGatherer(silence), []

    async def bench(ctx):
        ctx.set(gatherer.words.ready, 1)
        for byte, rest in [*events, (None, 1)]:
            for step in range(1 + rest):
                ctx.set(gatherer.valid, byte is not None and step == 0)
                ctx.set(gatherer.data, byte or 0)
                *_, valid, word = await ctx.tick().sample(gatherer.words.valid, gatherer.words.payload)
                if valid:
                    words.append(word)

    simulate(gatherer, bench)
    return words


@FAST
@given(words=st.lists(st.integers(0, (1 << 32) - 1), min_size=1, max_size=6), stray=st.binary(max_size=3),
       rests=st.lists(st.integers(0, 9), min_size=24, max_size=24))
def test_silence_aligns_words(words, stray, rests):
    """Pauses within a word, up to the silence, do no harm; bytes before a silence do none to what follows it."""
    noise = [(byte, 0) for byte in stray[:-1]] + [(byte, 10) for byte in stray[-1:]]
    data = b"".join(word.to_bytes(4, "little") for word in words)
    assert gathered(noise + list(zip(data, rests, strict=False)), 10) == words


def test_without_silence_words_stay_shifted():
    """What the silence is for."""
    assert gathered([(byte, 1) for byte in bytes(range(9))], 10) == [0x03020100, 0x07060504]
    assert gathered([(0xEE, 1), *((byte, 1) for byte in bytes(range(8)))], 10) == [0x020100EE, 0x06050403]


@FAST
@given(words=st.lists(st.integers(0, (1 << 32) - 1), min_size=1, max_size=4))
def test_words_through_both_directions(words):
    """What a link sends, looped back, it receives; out, a word takes 40 bits and 4 cycles."""
    link = SerialLink(8e6, 1_000_000)
    found = []

    async def bench(ctx):
        ctx.set(link.rx.ready, 1)
        queue = list(words)
        for _ in range(len(words) * 4 * (BITS * 8 + 1) + 20):
            ctx.set(link.tx.valid, bool(queue))
            ctx.set(link.tx.payload, queue[0] if queue else 0)
            ctx.set(link.rx_line, ctx.get(link.tx_line))
            *_, ready, valid, word = await ctx.tick().sample(link.tx.ready, link.rx.valid, link.rx.payload)
            if ready and queue:
                queue.pop(0)
            if valid:
                found.append(word)

    simulate(link, bench)
    assert found == words


@given(clock=st.floats(1e6, 2e8), baud=st.integers(9600, 3_000_000))
def test_rates(clock, baud):
    """A rate is met within 2 %, or refused; the link's patience is far longer than a word, at any rate."""
    try:
        cycles = divisor(clock, baud)
    except MareyError as error:
        assert "MHz cannot make" in str(error)
        assert clock / baud < 4 or abs(clock / round(clock / baud) / baud - 1) > 0.0199
        return
    assert abs(clock / cycles / baud - 1) <= 0.0201
    assert link_timeout(clock, baud) >= 16 * 40 * cycles


@pytest.mark.parametrize("baud", [0, -1, 10**9])
def test_impossible_rates(baud):
    with pytest.raises(MareyError, match="choose a rate"):
        divisor(24e6, baud)
