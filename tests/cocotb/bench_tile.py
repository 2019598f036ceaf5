"""The whole tile, at its pins: frames in, frames out, cycles as predicted and values as numpy has them."""

import zlib

import cocotb
import numpy as np
from cocotb.utils import get_sim_time

from marey.hdl.spec.packing import pack_mem, pack_program, pack_wram, unpack_mem
from marey.hdl.spec.protocol import REQUEST_MAGIC, Opcode, Space, Status, entry_bits, parts
from marey.hdl.timing import check
from marey.sw.compiler.matmul import matmul
from tests.cocotb.common import CONFIG, begin, cycle, rng, settle
from tests.configs import codes

SIZE = parts(entry_bits(CONFIG, Space.MEM))


class Pins:
    """Speaks frames at rx and tx, one word a cycle at most, with random pauses."""

    def __init__(self, dut, random):
        self.dut, self.random, self.sequence = dut, random, 0

    async def request(self, opcode, space=Space.REGISTER, address=0, length=0, payload=None, hurry=False):
        """Sends a frame; returns the answer's payload."""
        payload = [] if payload is None else [int(word) for word in payload]
        head = [REQUEST_MAGIC << 24 | opcode.value << 20 | space.value << 16 | self.sequence, address, length or len(payload)]
        await self.send([*head, crc(head), *([*payload, crc([*head, *payload])] if payload else [])], hurry)
        head = await self.receive(3)
        assert crc(head[:2]) == head[2] and head[0] & 0xFF == self.sequence
        assert Status(head[0] >> 16 & 0xFF) is Status.OK
        self.sequence = (self.sequence + 1) % 256
        if not head[1]:
            return []
        body = await self.receive(head[1] + 1)
        assert crc([*head[:2], *body[:-1]]) == body[-1]
        return body[:-1]

    async def send(self, words, hurry):
        for word in words:
            while not hurry and self.random.random() < 0.2:
                self.dut.rx__valid.value = 0
                await cycle(self.dut)
            self.dut.rx__valid.value = 1
            self.dut.rx__payload.value = word
            # Inputs change between falling edges: what is ready now is taken at the next rising edge.
            while True:
                await settle()
                ready = self.dut.rx__ready.value == 1
                await cycle(self.dut)
                if ready:
                    break
        self.dut.rx__valid.value = 0

    async def receive(self, count):
        words = []
        while len(words) < count:
            self.dut.tx__ready.value = int(self.random.random() < 0.7)
            await settle()
            if self.dut.tx__valid.value == 1 and self.dut.tx__ready.value == 1:
                words.append(self.dut.tx__payload.value.to_unsigned())
            await cycle(self.dut)
        self.dut.tx__ready.value = 0
        return words


def crc(words):
    return zlib.crc32(np.array(words, "<u4").tobytes())


@cocotb.test()
async def a_matrix_product(dut):
    random = rng()
    await begin(dut)
    pins = Pins(dut, random)
    await pins.request(Opcode.RESET)
    inner, outer, rows = 5, 3, 2
    dst = rows * inner * CONFIG.granules_per_word
    scale = dst + rows * outer * CONFIG.beats_per_result
    program = matmul(CONFIG, rows=rows, inner=inner, outer=outer, act=0, wgt=0, scale=scale, dst=dst, shift=17)
    encoded = codes(CONFIG, program)
    await pins.request(Opcode.WRITE, Space.PROGRAM, payload=pack_program(CONFIG, encoded))
    for _ in range(3):
        generator = np.random.default_rng(random.randrange(1 << 30))
        most = 1 << CONFIG.weight_bits - 1
        weights = generator.integers(-most, most, (inner * outer, CONFIG.cols, CONFIG.rows)).astype(np.int8)
        x = generator.integers(-128, 128, rows * inner * CONFIG.rows).astype(np.int16)
        factors = generator.integers(0, 32768, outer * CONFIG.cols).astype(np.int16)
        await pins.request(Opcode.WRITE, Space.WRAM, payload=pack_wram(CONFIG, weights))
        await pins.request(Opcode.WRITE, Space.MEM, payload=pack_mem(CONFIG, x))
        await pins.request(Opcode.WRITE, Space.MEM, scale * SIZE, payload=pack_mem(CONFIG, factors))
        await pins.request(Opcode.START)
        # Cycles do not depend on the data, nor on what the link does meanwhile.
        assert await pins.request(Opcode.WAIT) == [check(CONFIG, program), 0]
        count = rows * outer * CONFIG.beats_per_result * SIZE
        words = await pins.request(Opcode.READ, Space.MEM, dst * SIZE, count)
        matrix = weights.reshape(outer, inner, CONFIG.cols, CONFIG.rows).transpose(0, 2, 1, 3).reshape(outer * CONFIG.cols, -1)
        y = (x.reshape(rows, -1).astype(np.int64) @ matrix.T.astype(np.int64) * factors + (1 << 16)) >> 17
        assert np.array_equal(unpack_mem(CONFIG, np.array(words)).reshape(rows, -1), np.clip(y, -32768, 32767))


@cocotb.test()
async def a_payload_goes_in_as_fast_as_its_checksum_is_made(dut):
    await begin(dut)
    cycles = 32 // CONFIG.crc_bits
    pins = Pins(dut, rng())
    await pins.request(Opcode.RESET)
    times = []
    for entries in (1, 5):
        before = get_sim_time("ns")
        words = pack_wram(CONFIG, np.zeros((entries * 4, CONFIG.cols, CONFIG.rows), np.int8))
        head = [REQUEST_MAGIC << 24 | Opcode.WRITE.value << 20 | Space.WRAM.value << 16 | pins.sequence, 0, len(words)]
        await pins.send([*head, crc(head), *words.tolist(), crc([*head, *words])], hurry=True)
        times.append(round((get_sim_time("ns") - before) / 10) - len(words) * cycles)
        await pins.receive(3)
        pins.sequence += 1
    # Header, its CRC, the payload's CRC, and the cycle in which the answer before it ends.
    assert times[0] == times[1] == 3 * cycles + 1 + 1 + 1
