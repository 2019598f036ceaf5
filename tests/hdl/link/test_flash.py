"""A tile loads itself from a flash: an image is played whole, anything else not at all, a damaged one starts nothing."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from marey.hdl.link.flash import MAGIC, FlashLoader
from marey.hdl.spec.packing import pack_program
from marey.hdl.spec.protocol import Space
from marey.sim.endpoint import Endpoint
from marey.sw.program.program import Program
from marey.sw.runtime.burn import flash_image
from marey.sw.runtime.driver import Device
from marey.sw.runtime.link import Link, LinkError
from tests.configs import CONFIGS, codes, op

ADDRESS = 0x12340


def played(content: bytes, cycles: int, ready=lambda cycle: True) -> tuple[list[int], list[int], bool]:
    """Words that a loader gets out of a flash with this content at ADDRESS, the cycles they came in, and whether it is done.

    The flash is mode 0 SPI: it looks at a rising edge and answers at a falling one, and it sleeps until it is woken.
    """
    loader, words, when, ended = FlashLoader(ADDRESS), [], [], []

    async def bench(ctx):
        awake, command, got, last, sent = False, 0, 0, 0, 0
        for cycle in range(cycles):
            ctx.set(loader.words.ready, ready(cycle))
            *_, select, clock, out, valid, word, done = await ctx.tick().sample(
                loader.select, loader.clock, loader.out, loader.words.valid, loader.words.payload, loader.done)
            if valid and ready(cycle):
                words.append(word)
                when.append(cycle)
            ended[:] = [bool(done)]
            if not select:
                awake |= got == 8 and command == 0xAB
                command, got, sent, last = 0, 0, 0, 0
                continue
            if clock and not last and got < 32:
                command, got = command << 1 | out, got + 1
            elif last and not clock and got == 32 and awake and command >> 24 == 3:
                at, bit = divmod(sent, 8)
                at += (command & 0xFFFFFF) - ADDRESS
                ctx.set(loader.into, content[at] >> 7 - bit & 1 if at < len(content) else 1)
                sent += 1
            last = clock

    simulator = Simulator(loader)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return words, when, ended[0]


def image(words):
    return np.array([MAGIC, len(words), *words], "<u4").tobytes()


def test_an_image_is_played_whole():
    """A word every 67 cycles, the first in its cycle."""
    expected = [0x01234567, 0xFFFFFFFF, 0, 0x80000001]
    words, when, done = played(image(expected), FlashLoader.WAKING + 282 + 67 * 4 + 4)
    assert words == expected and done
    assert np.diff(when).tolist() == [67] * 3 and when[0] == FlashLoader.WAKING + 282


def test_a_word_waits():
    expected = list(range(100, 108))
    words, _, done = played(image(expected), FlashLoader.WAKING + 282 + 8 * 300, ready=lambda cycle: cycle % 200 == 0)
    assert words == expected and done


@pytest.mark.parametrize("content", [b"\xff" * 64, bytes(64), image([]), b"MRYE" + image([1])[4:]])
def test_what_is_no_image_is_not_played(content):
    words, _, done = played(content, FlashLoader.WAKING + 400)
    assert words == [] and done


CONFIG = CONFIGS[1]
PROGRAM = Program.from_instructions(CONFIG, [op(CONFIG, "NOP", 7), op(CONFIG, "HALT")])


def test_a_tile_loads_itself():
    """The frames of an image leave a tile as a driver leaves it; and a driver takes it from there without loading."""
    content = flash_image(PROGRAM)
    words = np.frombuffer(content, "<u4")
    assert played(content, FlashLoader.WAKING + 282 + 67 * len(words) + 10)[0] == words[2:].tolist()
    tile = Endpoint(CONFIG)
    tile.send(words[2:])
    with Device(tile, CONFIG) as device:
        device.adopt(PROGRAM)
        device.run(count=0)
        assert device.tally.measured == device.tally.predicted == 11


def test_a_damaged_image_starts_nothing():
    words = np.frombuffer(flash_image(PROGRAM), "<u4")[2:].copy()
    tile = Endpoint(CONFIG)
    # The payload of the program's WRITE: RESET has 4 words, the registers' READ 4, the WRITE's header 4.
    words[13] ^= 0x100
    tile.send(words)
    link = Link(tile, CONFIG)
    assert pack_program(CONFIG, codes(CONFIG, PROGRAM.image.instructions)).tolist() != link.read(Space.PROGRAM, 0, 8).tolist()
    with Device(tile, CONFIG) as device, pytest.raises(LinkError, match="does not hold"):
        device.adopt(PROGRAM)
