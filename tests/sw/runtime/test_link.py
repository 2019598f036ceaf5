"""The host's end of the link on a bad line: right results, or a LinkError and a new start."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.hdl.spec.config import Config
from marey.hdl.spec.packing import pack_program
from marey.hdl.spec.protocol import Register, Space
from marey.sim.endpoint import Endpoint
from marey.sw.runtime.link import FRAME_WORDS, Link, LinkError
from tests.configs import CONFIGS, codes, op

CONFIG = Config(name="roomy", rows=4, cols=4, lanes=4, wram_depth=64, mem_depth=8192, program_depth=64)


class BadLine:
    """A transport that damages what passes: flips bits, loses, doubles, swaps and cuts, by a seeded draw."""

    cycles = None

    def __init__(self, transport, seed, rate):
        self._transport, self._rng, self.rate = transport, np.random.default_rng(seed), rate

    def _damage(self, words):
        if not len(words) or self._rng.random() >= self.rate:
            return words
        at, words = int(self._rng.integers(len(words))), words.copy()
        match self._rng.integers(5):
            case 0:
                words[at] ^= np.uint32(1 << int(self._rng.integers(32)))
            case 1:
                words = np.delete(words, at)
            case 2:
                words = np.insert(words, at, words[at])
            case 3:
                words[[at, at - 1]] = words[[at - 1, at]]
            case 4:
                words = words[:at]
        return words

    def send(self, words):
        self._transport.send(self._damage(words))

    def receive(self, count):
        return self._damage(self._transport.receive(count))[:count]

    def drain(self):
        self._transport.drain()

    def close(self):
        pass


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**6), rate=st.floats(0, 0.5))
def test_right_or_an_error_and_then_right(seed, rate):
    line = BadLine(Endpoint(CONFIG), seed, 0)
    link = Link(line, CONFIG)
    rng = np.random.default_rng(seed)
    program = pack_program(CONFIG, codes(CONFIG, [op(CONFIG, "NOP", 7), op(CONFIG, "HALT")]))
    runs = 0
    line.rate = rate
    for _ in range(6):
        words = rng.integers(0, 1 << 32, 2 * int(rng.integers(1, 40)), np.uint32)
        try:
            link.write(Space.MEM, 8, words)
            assert np.array_equal(link.read(Space.MEM, 8, len(words)), words)
            link.write(Space.PROGRAM, 0, program)
            link.start(0)
            runs += 1
            assert link.wait() == (11, 0, [])
        except LinkError as error:
            assert "\n" not in str(error)
            line.rate = 0
            link.reset()
            # A start whose answers were all lost may have been obeyed.
            runs = link.registers()[Register.RUNS]
            line.rate = rate
    line.rate = 0
    link.reset()
    assert link.registers()[Register.RUNS] == runs


def test_long_transfers_are_cut_into_frames():
    link = Link(Endpoint(CONFIG), CONFIG)
    words = np.arange(3 * FRAME_WORDS + 10, dtype=np.uint32)
    before = link.words_sent
    link.write(Space.MEM, 0, words)
    assert link.words_sent - before == len(words) + 4 * 5
    assert np.array_equal(link.read(Space.MEM, 0, len(words)), words)


def test_another_configuration_is_noticed():
    with pytest.raises(LinkError, match="choose the configuration") as caught:
        Link(Endpoint(CONFIGS[1]), CONFIG)
    assert f"{CONFIGS[1].hash:08x}" in str(caught.value)


class Silence:
    def send(self, words):
        pass

    def receive(self, count):
        return np.zeros(0, np.uint32)

    def drain(self):
        pass


def test_nobody_there():
    with pytest.raises(LinkError, match="silence"):
        Link(Silence(), CONFIG)


def test_a_refusal_is_named_and_not_repeated():
    link = Link(Endpoint(CONFIG), CONFIG)
    with pytest.raises(LinkError, match="refused READ WRAM at 0, 1 words: ADDRESS"):
        link.read(Space.WRAM, 0, 1)
    assert link.registers()[Register.LINK_FAULTS] == 0
