"""The link's frames, faulty ones too: the RTL and the emulator's endpoint answer alike, and go on."""

import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marey.hdl.parts.host import HOST_READ_LATENCY
from marey.hdl.spec.packing import pack_program
from marey.hdl.spec.protocol import ID, MOST_TOKENS, REQUEST_MAGIC, Opcode, Register, Space, Status, entry_bits, parts
from marey.sim import pysim, verilator
from marey.sim.build import missing
from marey.sim.endpoint import Endpoint
from tests.configs import CONFIGS, codes, op

CONFIG = CONFIGS[0]
GRANULE = parts(entry_bits(CONFIG, Space.MEM))
HALT = pack_program(CONFIG, codes(CONFIG, [op(CONFIG, "HALT")]))
LONG = pack_program(CONFIG, codes(CONFIG, [op(CONFIG, "NOP", 3000), op(CONFIG, "HALT")]))


def open_rtl():
    """The tile's RTL, its assertions tested: in Verilator, which opens it at once, or else in Amaranth's simulator."""
    return pysim.open_tile(CONFIG) if missing() else verilator.open_tile(CONFIG, checked=True)


@pytest.fixture(params=["rtl", "endpoint"])
def line(request):
    """A transport to a tile after RESET, which expects sequence number 1."""
    transport = open_rtl() if request.param == "rtl" else Endpoint(CONFIG)
    transport.send(frame(Opcode.RESET, 0))
    assert status(transport) is Status.OK
    yield transport
    transport.close()


def crc(*parts):
    return zlib.crc32(b"".join(np.asarray(words, "<u4").tobytes() for words in parts))


def frame(opcode, sequence, space=Space.REGISTER, address=0, length=None, payload=None):
    """A sound frame, as words."""
    opcode = opcode.value if isinstance(opcode, Opcode) else opcode
    length = length if length is not None else len(payload) if payload is not None else 0
    head = [REQUEST_MAGIC << 24 | opcode << 20 | space.value << 16 | sequence, address, length]
    body = [*payload, crc(head, payload)] if payload is not None and len(payload) else []
    return np.array([*head, crc(head), *body], np.uint32)


def answer(transport):
    """Status, sequence and payload of the next answer, its CRCs checked; of a TOKEN the number, too."""
    head = transport.receive(3)
    assert len(head) == 3 and crc(head[:2]) == head[2] and head[0] >> 24 == 0xE5
    payload = transport.receive(int(head[1]) + 1) if head[1] else np.zeros(1, np.uint32)
    if head[1]:
        assert crc(head[:2], payload[:-1]) == payload[-1]
    found = Status(int(head[0] >> 16 & 0xFF))
    number = [int(head[0] >> 8 & 0xFF)] if found is Status.TOKEN else []
    return found, int(head[0] & 0xFF), *number, payload[:-1].tolist()


def status(transport):
    return answer(transport)[0]


def works(transport, sequence):
    """The tile obeys a write, a read, a start and a wait."""
    words = [0x11111111 * n for n in range(1, 2 * GRANULE + 1)]
    for request in (frame(Opcode.WRITE, sequence, Space.MEM, GRANULE, payload=words),
                    frame(Opcode.WRITE, sequence + 1, Space.PROGRAM, payload=HALT)):
        transport.send(request)
        assert status(transport) is Status.OK
    transport.send(frame(Opcode.READ, sequence + 2, Space.MEM, GRANULE, len(words)))
    assert answer(transport) == (Status.OK, sequence + 2, words)
    transport.send(frame(Opcode.START, sequence + 3))
    assert status(transport) is Status.OK
    transport.send(frame(Opcode.WAIT, sequence + 4))
    assert answer(transport) == (Status.OK, sequence + 4, [3, 0])


def register(transport, sequence, which):
    transport.send(frame(Opcode.READ, sequence, Space.REGISTER, which.value, 1))
    return answer(transport)[2][0]


def test_sound_frames(line):
    works(line, 1)
    assert register(line, 6, Register.CONFIG) == CONFIG.hash
    assert register(line, 7, Register.RUNS) == 1
    assert register(line, 8, Register.LINK_FAULTS) == 0


@pytest.mark.parametrize("word", range(4))
@pytest.mark.parametrize("bit", [0, 9, 20, 31])
def test_a_damaged_header(line, word, bit):
    request = frame(Opcode.WRITE, 1, Space.MEM, payload=list(range(GRANULE)))
    request[word] ^= np.uint32(1 << bit)
    line.send(request)
    assert status(line) is Status.CRC
    works(line, 1)
    assert register(line, 6, Register.LINK_FAULTS) == 1


@pytest.mark.parametrize("word", [4, 5, -1])
def test_a_damaged_payload(line, word):
    request = frame(Opcode.WRITE, 1, Space.MEM, payload=[7] * 2 * GRANULE)
    request[word] ^= np.uint32(4)
    line.send(request)
    assert status(line) is Status.CRC
    # The memory is not what it should be: nothing runs before it is.
    line.send(frame(Opcode.START, 1))
    assert status(line) is Status.DIRTY
    works(line, 2)


@pytest.mark.parametrize("left", range(1, 8))
def test_a_frame_cut_off(line, left):
    request = frame(Opcode.WRITE, 1, Space.MEM, payload=[7] * 2 * GRANULE)
    line.send(request[:left])
    assert status(line) is Status.CUT_OFF
    works(line, 1)


def test_noise_before_a_frame(line):
    line.send(np.array([0xDEADBEEF, 12, 0], np.uint32))
    assert status(line) is Status.CRC
    works(line, 1)


def test_a_repeated_start_starts_once(line):
    line.send(frame(Opcode.WRITE, 1, Space.PROGRAM, payload=HALT))
    assert status(line) is Status.OK
    for _ in range(3):
        line.send(frame(Opcode.START, 2))
        assert answer(line)[:2] == (Status.OK, 2)
    assert register(line, 3, Register.RUNS) == 1


def test_a_refused_start_stays_refused(line):
    for _ in range(2):
        line.send(frame(Opcode.START, 1, address=CONFIG.program_depth))
        assert status(line) is Status.ADDRESS
    assert register(line, 2, Register.RUNS) == 0


def test_a_repeated_write_is_answered_and_not_written(line):
    """A line that doubles a frame may damage the second one: what was written stays, and nothing is dirty."""
    words = [5] * GRANULE
    line.send(frame(Opcode.WRITE, 1, Space.MEM, payload=words))
    assert status(line) is Status.OK
    line.send(frame(Opcode.WRITE, 1, Space.MEM, payload=[6] * GRANULE))
    assert answer(line)[:2] == (Status.OK, 1)
    damaged = frame(Opcode.WRITE, 1, Space.MEM, payload=[7] * GRANULE)
    damaged[-1] ^= 1
    line.send(damaged)
    assert status(line) is Status.CRC
    line.send(frame(Opcode.WRITE, 1, Space.MEM, payload=words)[:5])
    assert status(line) is Status.CUT_OFF
    line.send(frame(Opcode.READ, 2, Space.MEM, 0, GRANULE))
    assert answer(line) == (Status.OK, 2, words)
    line.send(frame(Opcode.START, 3))
    assert status(line) is Status.OK


def test_a_repetition_does_not_make_memory_clean(line):
    line.send(frame(Opcode.WRITE, 1, Space.MEM, payload=[5] * GRANULE))
    assert status(line) is Status.OK
    line.send(frame(Opcode.WRITE, 2, Space.MEM, payload=[6] * GRANULE)[:5])
    assert status(line) is Status.CUT_OFF
    line.send(frame(Opcode.WRITE, 1, Space.MEM, payload=[5] * GRANULE))
    assert status(line) is Status.OK
    line.send(frame(Opcode.START, 2))
    assert status(line) is Status.DIRTY


def test_a_reset_does_not_make_memory_clean(line):
    line.send(frame(Opcode.WRITE, 1, Space.MEM, payload=[5] * GRANULE)[:5])
    assert status(line) is Status.CUT_OFF
    line.send(frame(Opcode.RESET, 7))
    assert answer(line)[:2] == (Status.OK, 7)
    line.send(frame(Opcode.START, 8))
    assert status(line) is Status.DIRTY
    works(line, 9)


@pytest.mark.parametrize("opcode", [Opcode.START, Opcode.WRITE])
def test_the_number_of_a_reset_is_used_up(line, opcode):
    """A frame from before a RESET that arrives after it has no effect, whether it has the RESET's number or an earlier one."""
    line.send(frame(Opcode.WRITE, 1, Space.MEM, payload=[5] * GRANULE))
    assert status(line) is Status.OK
    line.send(frame(Opcode.RESET, 9))
    assert status(line) is Status.OK
    for sequence in (9, 8, 1):
        line.send(frame(opcode, sequence, Space.MEM, payload=[6] * GRANULE if opcode is Opcode.WRITE else None))
        assert answer(line)[:2] == (Status.OK if sequence == 9 else Status.SEQUENCE, sequence)
    line.send(frame(Opcode.READ, 10, Space.MEM, 0, GRANULE))
    assert answer(line) == (Status.OK, 10, [5] * GRANULE)
    assert register(line, 11, Register.RUNS) == 0


@pytest.mark.parametrize("change", [{"sequence": 3}, {"address": 2 * GRANULE}, {"space": Space.PROGRAM}])
def test_the_payload_of_another_frame_is_refused(line, change):
    """When words between two frames are lost, the header of the first meets the payload of the second."""
    own = {"sequence": 1, "space": Space.MEM, "address": 0}
    one, other = (frame(Opcode.WRITE, payload=[7] * 4 * GRANULE, **how) for how in (own, own | change))
    line.send(np.concatenate([one[:4], other[4:]]))
    assert status(line) is Status.CRC
    works(line, 1)


@pytest.mark.parametrize("space", [Space.MEM, Space.PROGRAM, Space.WRAM])
def test_a_write_begins_and_ends_with_an_entry(line, space):
    size, sequence = parts(entry_bits(CONFIG, space)), 1
    for part in range(1, size):
        for address, length in ((part, size), (0, part), (size, size + part)):
            line.send(frame(Opcode.WRITE, sequence, space, address, payload=[1] * length))
            assert answer(line)[:2] == (Status.ADDRESS, sequence)
            sequence += 1
    works(line, sequence)


def test_the_most_tokens_that_a_run_may_make(line):
    line.send(frame(Opcode.WRITE, 1, Space.PROGRAM, payload=HALT))
    assert status(line) is Status.OK
    for sequence, count, expected in ((2, MOST_TOKENS, Status.OK), (3, MOST_TOKENS + 1, Status.ADDRESS),
                                      (4, 1 << 15, Status.ADDRESS)):
        line.send(frame(Opcode.START, sequence, length=count << 16))
        assert status(line) is expected


@pytest.mark.parametrize("sequence", [0, 2, 3, 255])
def test_frames_out_of_order(line, sequence):
    line.send(frame(Opcode.WRITE, sequence, Space.MEM, payload=[5] * GRANULE))
    expected = Status.OK if sequence == 0 else Status.SEQUENCE
    assert answer(line)[:2] == (expected, sequence)
    works(line, 1)


@pytest.mark.parametrize(("request_words", "expected"), [
    (frame(9, 1), Status.OPCODE),
    (frame(Opcode.READ, 1, Space.WRAM, 0, 1), Status.ADDRESS),
    (frame(Opcode.READ, 1, Space.MEM, CONFIG.granules * GRANULE, 1), Status.ADDRESS),
    (frame(Opcode.READ, 1, Space.MEM, CONFIG.granules * GRANULE - 1, 2), Status.ADDRESS),
    (frame(Opcode.READ, 1, Space.MEM, 0xFFFFFFFF, 1), Status.ADDRESS),
    (frame(Opcode.READ, 1, Space.MEM, 0, 0xFFFFFFFF), Status.ADDRESS),
    (frame(Opcode.WRITE, 1, Space.REGISTER, payload=[1]), Status.ADDRESS),
    (frame(Opcode.WRITE, 1, Space.MEM, 1, payload=[1] * GRANULE), Status.ADDRESS),
    (frame(Opcode.WRITE, 1, Space.MEM, 0, payload=[1] * (GRANULE + 1)), Status.ADDRESS),
    (frame(Opcode.WRITE, 1, Space.MEM, CONFIG.granules * GRANULE, payload=[1] * GRANULE), Status.ADDRESS),
    (frame(Opcode.START, 1, address=CONFIG.program_depth), Status.ADDRESS),
    (frame(Opcode.START, 1, address=1 << 28), Status.ADDRESS),
    (frame(Opcode.START, 1, length=257 << 16), Status.ADDRESS),
])
def test_requests_that_are_refused(line, request_words, expected):
    line.send(request_words)
    assert status(line) is expected
    works(line, 2)


def test_tokens_come_as_they_are_made(line):
    """Each is a response of its own before the answer to WAIT, again from any on when that is repeated, and readable."""
    tokens = pack_program(CONFIG, codes(CONFIG, [op(CONFIG, "TOKEN", 3, target=0), op(CONFIG, "HALT")]))
    line.send(frame(Opcode.WRITE, 1, Space.PROGRAM, payload=tokens))
    assert status(line) is Status.OK
    line.send(frame(Opcode.START, 2, address=9 << 12, length=3 << 16 | 5))
    assert status(line) is Status.OK
    for first in (0, 0, 1, 2, 3):
        line.send(frame(Opcode.WAIT, 3, address=first))
        assert [answer(line) for _ in range(first, 3)] == [(Status.TOKEN, 3, number, [0]) for number in range(first, 3)]
        assert answer(line) == (Status.OK, 3, [2 + 3 * 7 + 1, 3 << 16])
    line.send(frame(Opcode.READ, 4, Space.TOKENS, 0, 3))
    assert answer(line) == (Status.OK, 4, [0, 0, 0])
    assert register(line, 5, Register.OUTCOME) == 3 << 16


def test_several_frames_at_once(line):
    line.send(np.concatenate([frame(Opcode.READ, 1, Space.REGISTER, 0, 1), frame(Opcode.READ, 2, Space.REGISTER, 1, 1)]))
    assert [answer(line)[2] for _ in range(2)] == [[ID], [CONFIG.hash]]


@given(noise=st.lists(st.integers(0, (1 << 32) - 1), min_size=1, max_size=12))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_noise_is_survived(line, noise):
    """Whatever words come, silence and a RESET bring the tile back."""
    line.send(np.array(noise, np.uint32))
    line.drain()
    line.send(frame(Opcode.RESET, 0))
    assert status(line) is Status.OK
    works(line, 1)
    line.send(frame(Opcode.RESET, 0))
    assert status(line) is Status.OK


class TestWhileAProgramRuns:
    """Only the RTL takes time to run."""

    @pytest.fixture
    def running(self):
        with open_rtl() as transport:
            for request in (frame(Opcode.RESET, 0), frame(Opcode.WRITE, 1, Space.PROGRAM, payload=LONG),
                            frame(Opcode.START, 2)):
                transport.send(request)
                assert status(transport) is Status.OK
            yield transport

    @pytest.mark.parametrize(("request_words", "expected"), [
        (frame(Opcode.READ, 3, Space.MEM, 0, 1), Status.BUSY),
        (frame(Opcode.WRITE, 3, Space.MEM, payload=[1] * GRANULE), Status.BUSY),
        (frame(Opcode.WRITE, 3, Space.PROGRAM, payload=HALT), Status.BUSY),
        (frame(Opcode.START, 3), Status.BUSY),
        (frame(Opcode.WRITE, 3, Space.WRAM, payload=[1] * 8), Status.OK),
        (frame(Opcode.READ, 3, Space.REGISTER, 0, 6), Status.OK),
    ])
    def test_what_is_allowed(self, running, request_words, expected):
        running.send(request_words)
        assert status(running) is expected
        # Whatever was asked, the run took what it takes without: 2 + 1 + 3000 + 1 cycles.
        running.send(frame(Opcode.WAIT, 4))
        assert answer(running)[2] == [3004, 0]

    def test_a_wait_is_broken_off(self, running):
        running.send(frame(Opcode.WAIT, 3))
        running.patience = 100
        assert len(running.receive(1)) == 0
        running.patience = 10000
        running.send(frame(Opcode.READ, 4, Space.REGISTER, Register.CYCLES.value, 1))
        got = answer(running)
        assert got[:2] == (Status.OK, 4) and 100 < got[2][0] < 3000


@pytest.mark.parametrize("crc_bits", [32, 8, 1])
def test_cycles_a_word(crc_bits):
    """A payload goes in as fast as its checksum is made, whatever its length, and comes out as fast as that and it is read."""
    config, took_in = replace(CONFIG, crc_bits=crc_bits), 32 // crc_bits
    took, sequence = {"in": [], "out": []}, 1
    with pysim.open_tile(config) as transport:
        transport.send(frame(Opcode.RESET, 0))
        status(transport)
        for granules in (4, 12):
            for way, request in (("in", frame(Opcode.WRITE, sequence, Space.MEM, payload=[1] * granules * GRANULE)),
                                 ("out", frame(Opcode.READ, sequence + 1, Space.MEM, 0, granules * GRANULE))):
                before = transport.cycles
                transport.send(request)
                status(transport)
                took[way].append(transport.cycles - before)
            sequence += 2
    for way, cycles in (("in", took_in), ("out", HOST_READ_LATENCY + took_in)):
        short, long = took[way]
        assert long - short == 8 * GRANULE * cycles, way
