"""The serial line: a word's bits on the line in their cycles, and words off the line in theirs. A bit takes 8 cycles."""

import cocotb

from tests.cocotb.common import begin, cycle, rng, settle

BIT = 8


async def step(dut):
    """One clock cycle; whether a word came off the line, the word, and the level of the line out."""
    await settle()
    seen = dut.rx__valid.value == 1, dut.rx__payload.value.to_unsigned(), int(dut.tx_line.value)
    await cycle(dut)
    return seen


def bits(word):
    """The 40 bits of a word on the line: of each byte a start bit, 8 bits from the lowest on, a stop bit."""
    return [bit for byte in word.to_bytes(4, "little") for bit in (0, *(byte >> index & 1 for index in range(8)), 1)]


@cocotb.test()
async def a_word_goes_out_in_its_cycles(dut):
    random = rng()
    await begin(dut)
    dut.rx_line.value = 1
    for _ in range(5):
        word = random.getrandbits(32)
        dut.tx__payload.value, dut.tx__valid.value = word, 1
        await step(dut)
        dut.tx__valid.value = 0
        line = [(await step(dut))[2] for _ in range(4 * (10 * BIT + 1) + 10)]
        # Two cycles after it was taken the first start bit; a byte takes ten bits and a cycle.
        for byte in range(4):
            start = 1 + byte * (10 * BIT + 1)
            assert line[start - 1] == 1
            assert line[start:start + 10 * BIT] == [bit for bit in bits(word)[10 * byte:10 * byte + 10] for _ in range(BIT)]


@cocotb.test()
async def a_word_comes_in_in_its_cycle(dut):
    random = rng()
    await begin(dut)
    dut.rx_line.value = 1
    dut.rx__ready.value = 1
    await step(dut)
    for _ in range(5):
        word, seen = random.getrandbits(32), []
        for now, level in enumerate([bit for bit in bits(word) for _ in range(BIT)] + [1] * 20):
            dut.rx_line.value = level
            valid, payload, _ = await step(dut)
            if valid:
                seen.append((now, payload))
        # Four cycles after the middle of the last stop bit.
        assert seen == [(39 * BIT + BIT // 2 + 4, word)]
