"""MEM: all copies, one cycle of latency, the host's way in and out."""

import cocotb
import numpy as np

from marey.hdl.spec.packing import pack_mem
from marey.hdl.spec.protocol import Space
from tests.cocotb.common import CONFIG, begin, cycle, host_read, host_write, lanes, rng

INSIDE = {port: [entry for entry in range(window.size) if window.holds(entry)] for port, window in CONFIG.windows.items()}
"""What each port can read."""


async def fill(dut, random):
    """Random values in all of MEM, written as the VXM does, one granule a cycle."""
    values = np.array([random.randrange(-32768, 32768) for _ in range(CONFIG.mem_depth * CONFIG.rows)], np.int16)
    granules = values.reshape(-1, CONFIG.lanes)
    for address in random.sample(range(CONFIG.granules), CONFIG.granules):
        dut.write_enable.value = 1
        dut.write_address.value = address
        dut.write_data.value = sum((int(v) & 0xFFFF) << 16 * lane for lane, v in enumerate(granules[address]))
        await cycle(dut)
    dut.write_enable.value = 0
    await cycle(dut)
    return values


@cocotb.test()
async def reads_what_was_written(dut):
    await begin(dut)
    random = rng()
    values = await fill(dut, random)
    words, granules = values.reshape(-1, CONFIG.rows), values.reshape(-1, CONFIG.lanes)
    for _ in range(300):
        word, granule, other = (random.choice(INSIDE[port]) for port in ("act", "x", "y"))
        dut.act_address.value, dut.x_address.value, dut.y_address.value = word, granule, other
        await cycle(dut)
        assert lanes(dut.act.value.to_unsigned(), CONFIG.rows, 8) == words[word].astype(np.int8).tolist()
        assert lanes(dut.x.value.to_unsigned(), CONFIG.lanes, 16) == granules[granule].tolist()
        assert lanes(dut.y.value.to_unsigned(), CONFIG.lanes, 16) == granules[other].tolist()


@cocotb.test()
async def a_write_is_read_in_the_next_cycle(dut):
    await begin(dut)
    random = rng()
    values = await fill(dut, random)
    for _ in range(100):
        address = random.randrange(CONFIG.granules)
        dut.write_enable.value, dut.write_address.value, dut.write_data.value = 1, address, 5
        await cycle(dut)
        dut.write_enable.value = 0
        dut.x_address.value = dut.y_address.value = address
        dut.act_address.value = address // CONFIG.granules_per_word
        await cycle(dut)
        assert address not in INSIDE["x"] or dut.x.value.to_unsigned() == 5
        assert address not in INSIDE["y"] or dut.y.value.to_unsigned() == 5
        word, part = divmod(address, CONFIG.granules_per_word)
        assert word not in INSIDE["act"] or lanes(dut.act.value.to_unsigned(), CONFIG.rows, 8)[part * CONFIG.lanes] == 5
    assert len(values)


@cocotb.test()
async def the_host_reads_and_writes(dut):
    await begin(dut)
    random = rng()
    values = await fill(dut, random)
    words = pack_mem(CONFIG, values[:len(INSIDE["x"]) * CONFIG.lanes])
    assert await host_read(dut, Space.MEM, 0, len(words)) == words.tolist()
    fresh = pack_mem(CONFIG, np.array([random.randrange(-32768, 32768) for _ in values], np.int16))
    await host_write(dut, Space.MEM, 0, fresh)
    assert await host_read(dut, Space.MEM, 0, len(words)) == fresh[:len(words)].tolist()
    # Another space's traffic is none of its business.
    await host_write(dut, Space.WRAM, 0, [0] * 16)
    assert await host_read(dut, Space.WRAM, 0, 4) == [0] * 4
    assert await host_read(dut, Space.MEM, 0, 16) == fresh[:16].tolist()
