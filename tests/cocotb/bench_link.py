"""The link: words on the host bus in the cycle in which they are taken, strobes and answers in theirs."""

import zlib
from itertools import pairwise

import cocotb
import numpy as np

from marey.hdl.parts.host import HOST_READ_LATENCY
from marey.hdl.spec.protocol import MOST_TOKENS, REQUEST_MAGIC, RESPONSE_MAGIC, Opcode, Register, Space, Status
from tests.cocotb.common import CONFIG, begin, cycle, rng, settle

CYCLES_A_WORD = 32 // CONFIG.crc_bits
"""Cycles that the checksum of a word takes. Tests that are about single cycles are for links that take one."""


def crc(words):
    return zlib.crc32(np.array(words, "<u4").tobytes())


def frame(opcode, sequence, space=Space.MEM, address=0, length=0, payload=()):
    head = [REQUEST_MAGIC << 24 | opcode.value << 20 | space.value << 16 | sequence, address, length or len(payload)]
    return [*head, crc(head), *([*payload, crc([*head, *payload])] if payload else [])]


class Bench:
    """Offers words, takes words, answers reads like a memory, and notes what happens in which cycle."""

    def __init__(self, dut):
        self.dut, self.now = dut, 0
        self.taken, self.sent, self.writes, self.starts, self.resets = [], [], [], [], []
        self.memory, self.reads, self.read_data = {}, {}, 0

    async def run(self, words, cycles):
        words = list(words)
        for _ in range(cycles):
            self.dut.rx__valid.value = int(bool(words))
            self.dut.rx__payload.value = words[0] if words else 0
            self.dut.tx__ready.value = 1
            self.read_data = self.reads.pop(self.now, self.read_data)
            self.dut.host__read_data.value = self.read_data
            await settle()
            host = {name: int(getattr(self.dut, f"host__{name}").value)
                    for name in ("write", "read", "address", "data", "space")}
            if host["write"]:
                self.writes.append((self.now, host["space"], host["address"], host["data"]))
                self.memory[host["address"]] = host["data"]
            if host["read"]:
                self.reads[self.now + HOST_READ_LATENCY] = self.memory.get(host["address"], 0)
            if self.dut.start.value == 1:
                self.starts.append((self.now, self.dut.begin.value.to_unsigned() & 0xFFF))
            if self.dut.reset.value == 1:
                self.resets.append(self.now)
            if words and self.dut.rx__ready.value == 1:
                self.taken.append(self.now)
                words.pop(0)
            if self.dut.tx__valid.value == 1:
                self.sent.append((self.now, self.dut.tx__payload.value.to_unsigned()))
            await cycle(self.dut)
            self.now += 1
        assert not words

    def answer(self):
        """Status and payload of the one answer that was sent since, and the cycles of its words."""
        cycles, words = zip(*self.sent, strict=True)
        self.sent = []
        assert words[0] >> 24 == RESPONSE_MAGIC and words[2] == crc(words[:2])
        payload = list(words[3:-1])
        assert len(payload) == words[1] and (not payload or words[-1] == crc([*words[:2], *payload]))
        return Status(words[0] >> 16 & 0xFF), payload, cycles


@cocotb.test(skip=CYCLES_A_WORD > 1)
async def words_pass_in_their_cycles(dut):
    random = rng()
    await begin(dut)
    bench = Bench(dut)
    await bench.run(frame(Opcode.RESET, 0), 12)
    # RESET acts two cycles after its last word; the answer begins in the cycle behind that.
    assert bench.resets == [bench.taken[-1] + 2]
    status, _, cycles = bench.answer()
    assert status is Status.OK and list(cycles) == [bench.taken[-1] + 3 + n for n in range(3)]

    payload = [random.randrange(1 << 32) for _ in range(16)]
    bench.taken = []
    await bench.run(frame(Opcode.WRITE, 1, Space.MEM, 8, payload=payload), 40)
    # A word a cycle, and on the bus in the cycle in which it is taken.
    assert [b - a for a, b in pairwise(bench.taken)] == [1] * 20
    assert bench.writes == [(bench.taken[4 + n], Space.MEM.value, 8 + n, word) for n, word in enumerate(payload)]
    assert bench.answer()[0] is Status.OK

    await bench.run(frame(Opcode.READ, 2, Space.MEM, 8, 16), 90)
    status, words, cycles = bench.answer()
    assert status is Status.OK and words == payload
    # The payload comes as fast as it is read, its CRC in the cycle after.
    assert [b - a for a, b in pairwise(cycles[3:])] == [HOST_READ_LATENCY + 1] * 15 + [1]

    bench.taken = []
    await bench.run(frame(Opcode.START, 3, address=5), 20)
    assert bench.starts == [(bench.taken[-1] + 2, 5)]
    assert bench.answer()[0] is Status.OK


@cocotb.test(skip=CYCLES_A_WORD > 1)
async def a_damaged_frame_touches_nothing(dut):
    """One flipped bit in the header: no write, no strobe, an answer when the line has been silent."""
    random = rng()
    await begin(dut)
    bench = Bench(dut)
    await bench.run(frame(Opcode.RESET, 0), 12)
    bench.answer()
    for _ in range(10):
        words = frame(Opcode.WRITE, 1, Space.MEM, 0, payload=[1, 2])
        words[random.randrange(4)] ^= 1 << random.randrange(32)
        bench.taken, bench.writes = [], []
        await bench.run(words, 24 + CONFIG.link_timeout)
        status, _, cycles = bench.answer()
        assert status is Status.CRC and not bench.writes
        assert cycles[0] > bench.taken[-1] + CONFIG.link_timeout
    await bench.run(frame(Opcode.START, 1), 20)
    assert bench.answer()[0] is Status.OK and len(bench.starts) == 1


@cocotb.test()
async def each_bit_of_registers_and_tokens(dut):
    """What the tile says of a run, and 256 tokens: the host reads each bit, and no other."""
    random = rng()
    await begin(dut)
    bench = Bench(dut)
    await bench.run(frame(Opcode.RESET, 0), 12 * CYCLES_A_WORD)
    await bench.run(frame(Opcode.START, 1), 20 * CYCLES_A_WORD)
    bench.sent = []
    tokens = [random.randrange(1 << CONFIG.token_bits) for _ in range(MOST_TOKENS)]
    sequence = 2
    for count, token in enumerate(tokens, 1):
        cycles, faults = random.randrange(1 << 32), 1 << sequence % 16
        dut.made.value, dut.token.value = 1, token
        await bench.run([], 1)
        dut.made.value, dut.cycles.value, dut.schedule_faults.value = 0, cycles, faults
        if count % 16 == 0 or count.bit_count() == 1:
            await bench.run(frame(Opcode.READ, sequence, Space.REGISTER, Register.CYCLES.value, 2), 22 * CYCLES_A_WORD)
            assert bench.answer()[:2] == (Status.OK, [cycles, faults | count << 16])
            sequence += 1
    await bench.run(frame(Opcode.READ, sequence, Space.TOKENS, MOST_TOKENS - 60, 60), 260 * CYCLES_A_WORD)
    assert bench.answer()[:2] == (Status.OK, tokens[-60:])
