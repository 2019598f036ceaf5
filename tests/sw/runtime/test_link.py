"""The host's end of the link on a bad line: right results, or a LinkError and a new start."""

import numpy as np
import pytest

from marey.hdl.spec.config import Config
from marey.hdl.spec.packing import pack_program
from marey.hdl.spec.protocol import Register, Space
from marey.sim.endpoint import Endpoint
from marey.sw.runtime.link import FRAME_WORDS, TRIES, Link, LinkError
from tests.configs import CONFIGS, codes, op

CONFIG = Config(name="roomy", rows=4, cols=4, lanes=4, wram_depth=64, mem_depth=8192, program_depth=64)


class Edited:
    """A transport to an emulated tile that edits frames. `edits` are functions from frames to frames:
    of the first request, of the answers to it, of the second request, and so on; None changes
    nothing."""

    cycles = None

    def __init__(self):
        self.tile, self.edits, self.requests, self._coming = Endpoint(CONFIG), [], [], np.zeros(0, np.uint32)

    def send(self, words):
        self.requests.append(words)
        for request in self._edited([words]):
            self.tile.send(request)
        answers = []
        while self.tile.waiting:
            head = self.tile.receive(3)
            answers.append(np.concatenate([head, self.tile.receive(int(head[1]) + 1 if head[1] else 0)]))
        self._coming = np.concatenate([self._coming, *self._edited(answers)])

    def _edited(self, frames):
        edit = self.edits.pop(0) if self.edits else None
        return edit(frames) if edit else frames

    def receive(self, count):
        words, self._coming = self._coming[:count], self._coming[count:]
        return words

    def drain(self):
        self.tile.drain()
        self._coming = self._coming[:0]


TOKENS = [3, 1, 4, 1]


@pytest.fixture
def line():
    return Edited()


@pytest.fixture
def started(line):
    """A link to a tile on which a run has made `TOKENS`."""
    link = Link(line, CONFIG)
    link.write(Space.PROGRAM, 0, pack_program(CONFIG, codes(CONFIG, [op(CONFIG, "NOP", 7), op(CONFIG, "HALT")])))
    link.start(0)
    line.tile.tile.tokens = list(TOKENS)
    line.requests.clear()
    return link


def swapped(frames, at):
    frames[at], frames[at + 1] = frames[at + 1], frames[at]
    return frames


@pytest.mark.parametrize("at", range(len(TOKENS)))
@pytest.mark.parametrize("edit", [
    lambda frames, at: frames[:at] + frames[at + 1:],
    lambda frames, at: frames[:at + 1] + frames[at:],
    lambda frames, at: swapped(frames, at),
    lambda frames, at: frames[at + 1:] + frames[:at],
    lambda frames, at: frames[:at],
    lambda frames, at: [*frames[:at], frames[at][:4], *frames[at + 1:]],
], ids=["lost", "doubled", "swapped", "turned", "cut", "shorter"])
def test_whole_frames_of_tokens_are_lost_doubled_and_swapped(line, started, edit, at):
    """Each token comes once, in its place, and is shown once; what is missing is asked for again."""
    shown = []
    line.edits = [None, lambda frames: edit(frames, at)]
    assert started.wait(shown.append) == (11, 0, TOKENS)
    assert shown == TOKENS
    assert len(line.requests) <= 2
    assert started.registers()[Register.RUNS] == 1


def test_only_the_tokens_that_are_missing_are_asked_for(line, started):
    line.edits = [None, lambda frames: frames[:2]]
    assert started.wait()[2] == TOKENS
    assert [int(request[1]) for request in line.requests] == [0, 2]


def test_a_line_that_lets_a_token_through_in_each_try_is_good_enough(line, started):
    line.edits = [None, lambda frames: frames[:1]] * len(TOKENS)
    assert started.wait()[2] == TOKENS
    assert len(line.requests) == len(TOKENS) + 1


def test_tokens_that_are_always_lost_are_an_error(line, started):
    line.edits = [None, lambda frames: frames[:1] + frames[2:]] + [None, lambda frames: frames[1:]] * TRIES
    with pytest.raises(LinkError, match="1 of 4 tokens"):
        started.wait()


def test_nothing_but_a_reset_follows_a_request_without_an_answer(line, started):
    """The tile may have obeyed it: a START with its number would be taken for its repetition, and
    start nothing."""
    line.edits = [None, lambda frames: []] * TRIES
    with pytest.raises(LinkError, match="no sound answer to WRITE MEM at 0, 2 words"):
        started.write(Space.MEM, 0, np.zeros(2, np.uint32))
    for request in (lambda: started.start(0), started.wait, started.registers):
        with pytest.raises(LinkError, match="reset the link first"):
            request()
    started.reset()
    started.start(0)
    assert started.registers()[Register.RUNS] == 2


def test_an_interrupted_wait_is_a_request_without_an_answer(line, started):
    def interrupt(token):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        started.wait(interrupt)
    with pytest.raises(LinkError, match="reset the link first"):
        started.start(0)
    started.reset()
    started.start(0)
    assert started.wait() == (11, 0, [])


@pytest.mark.parametrize("frame", range(3))
def test_a_late_answer_is_not_that_to_a_reset(line, started, frame):
    """Answers to a request that was given up come while RESET is sent, which is lost."""
    late = []
    line.edits = [None, lambda frames: late.extend(frames) or []] * TRIES
    with pytest.raises(LinkError):
        started.start(0)
    resets = len(line.requests)
    line.edits = [lambda frames: [], lambda frames: late[:frame + 1]]
    started.reset()
    assert len(line.requests) == resets + 2


def test_answers_to_other_requests_are_skipped(line, started):
    """A line that doubles a request leaves an answer too many."""
    line.edits = [lambda frames: frames * 3]
    assert started.registers() == started.registers()
    assert len(line.requests) == 2


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
