"""What comes over the link during a run: a RESET leaves nothing behind, and all else changes nothing."""

from functools import cache

import numpy as np
import pytest

from marey.hdl.spec.isa import Reduce, Sfu, To
from marey.hdl.spec.packing import pack_mem, pack_program, pack_wram
from marey.hdl.spec.protocol import Opcode, Outcome, Register, Space, Status, entry_bits, parts
from marey.hdl.timing import check, violations
from marey.sim import verilator
from marey.sim.endpoint import Endpoint
from marey.sw.compiler.matmul import matmul
from marey.sw.runtime.link import Link
from tests.configs import CONFIGS, codes, op
from tests.hdl.link.test_link import answer, frame
from tests.machines import Machines

INPUTS, COPY, PRODUCT, FACTORS = 0, 16, 32, 48
"""Granules that the program reads, writes by a scalar, writes by the MXM's results, and reads as factors."""
COUNT, POSITION = 2, 1
SFU_COUNT, SFU_PERIOD = 4, 32


@cache
def everything(config):
    """A program that uses every slice and makes two tokens. What it changes it does not read before."""
    half, granules, pause = config.scalars // 2, config.granules_per_word, 30

    def vxm(wait=pause, **operands):
        return op(config, "VXM", wait, **operands)

    # Scalars and a VXM that last longer than it takes to start the next run.
    begin = [op(config, "PERIOD", pause, value=SFU_PERIOD),
             vxm(x=INPUTS, x_step=1, inner=4, reduce=Reduce.SUM, into=1, shift=4),
             op(config, "SFU", pause + SFU_COUNT * SFU_PERIOD, function=Sfu.QUANTISE, a=1, into=half, count=SFU_COUNT),
             vxm(x=INPUTS, x_step=1, inner=4, dst=COPY, to=To.MEM, shift=8, scalar=half),
             vxm(x=INPUTS, x_step=1, inner=4, dst=COPY + 8, to=To.MEM),
             vxm(pause + 96, x=INPUTS, inner=16, middle=6, to=To.NOWHERE)]
    product = matmul(config, inner=4, outer=3, act=0, wgt=0, scale=FACTORS, dst=PRODUCT, shift=10)[:2]
    end = [vxm(x=PRODUCT, x_step=1, inner=3 * config.beats_per_result, reduce=Reduce.ARGMAX),
           vxm(x=INPUTS, inner=1, dst=20 * granules, to=To.KEYS),
           vxm(x=INPUTS, inner=1, dst=24 * config.beats_per_result, to=To.VALUES),
           op(config, "TOKEN", pause, target=0), op(config, "HALT")]
    for offset in range(40):
        fetch = [op(config, "MXM", offset, fetch=1, inner=1, wgt=1),
                 vxm(stream=1, inner=granules, interval=granules, dst=COPY + 12, to=To.MEM)]
        program = [*begin, *product, *fetch, *end]
        if not violations(config, program, position=POSITION, count=COUNT):
            return program
    raise AssertionError("no distance between a fetch and what takes it is legal")


def loaded(transport, config, program):
    """A link to a tile that holds the program and drawn values."""
    link, rng = Link(transport, config), np.random.default_rng(3)
    limit = 1 << config.weight_bits - 1
    weights = rng.integers(-limit, limit, (config.wram_depth, config.cols, config.rows)).astype(np.int8)
    values = rng.integers(-128, 128, config.mem_depth * config.rows).astype(np.int16)
    link.write(Space.PROGRAM, 0, pack_program(config, codes(config, program)))
    link.write(Space.WRAM, 0, pack_wram(config, weights))
    link.write(Space.MEM, 0, pack_mem(config, values))
    return link


def run(link, config):
    """What a run makes: cycles, faults and tokens, and then MEM."""
    link.start(0, position=POSITION, count=COUNT)
    found = link.wait()
    return found, link.read(Space.MEM, 0, config.granules * parts(entry_bits(config, Space.MEM))).tolist()


def stopped(link, transport, after):
    """Starts a run, and resets the tile so many cycles later, before it starts the next one at once."""
    link.start(0, position=POSITION, count=COUNT)
    patience, transport.patience = transport.patience, after
    assert not len(transport.receive(1))
    transport.patience = patience
    link._transport = Undrained(transport)
    link.reset()
    link._transport = transport


class Undrained:
    """A transport whose `drain` takes no cycle."""

    def __init__(self, transport):
        self.send, self.receive = transport.send, transport.receive

    def drain(self):
        pass




def resets(config, transport, afters):
    """Resets a tile so many cycles after the start of a run, again and again; each time the next run
    is as on a fresh tile."""
    program = everything(config)
    expected = run(loaded(Endpoint(config), config, program), config)
    assert expected[0][:2] == (check(config, program, position=POSITION, count=COUNT), 0)
    with transport:
        link = loaded(transport, config, program)
        assert run(link, config) == expected
        for after in afters:
            stopped(link, transport, after)
            # Every other time the next run waits until what is left could have come out.
            faults = Outcome.from_bits(link.registers()[Register.OUTCOME]).schedule_faults if after % 2 else 0
            assert (*run(link, config), faults) == (*expected, 0), f"after a RESET in cycle {after}"


def turn(config):
    """Cycles that a token of the program takes."""
    return check(config, everything(config), position=POSITION, count=COUNT) // COUNT


def test_a_reset_leaves_nothing_behind():
    """The tile's own count of faults shows what is left of the run before."""
    resets(CONFIGS[0], verilator.open_tile(CONFIGS[0]), range(1, turn(CONFIGS[0]), 3))


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_a_reset_in_any_cycle_leaves_nothing_behind(config):
    """The design's assertions are tested, too."""
    resets(config, verilator.open_tile(config, checked=True), range(1, turn(config)))


@pytest.mark.parametrize("config", [CONFIGS[0], CONFIGS[5]], ids=lambda config: config.name)
def test_a_reset_writes_nothing(config):
    """A key stays where it is, in the word of W-RAM that the host wrote last."""
    both = Machines(config, verilator.open_tile(config, checked=True))
    both.fill(4)
    for link in (both.rtl, both.model):
        link.write(Space.WRAM, 0, np.arange(parts(entry_bits(config, Space.WRAM)), dtype=np.uint32))
    both.run([op(config, "VXM", 40, x=3, dst=0, to=To.KEYS), op(config, "HALT")])
    for link in (both.rtl, both.model):
        link.reset()
    both.compare()
    both.close()


def drawn(config, rng, sequence):
    """A frame that a host might send while a program runs, or ought not to: sound, damaged, cut off,
    or no frame at all."""
    weight = parts(entry_bits(config, Space.WRAM))
    # A word of W-RAM that the program does not use.
    unused = int(rng.integers(config.wram_depth - 8, config.wram_depth)) * config.cols * weight
    writes = [(space, 0) for space in (Space.MEM, Space.PROGRAM)] + [(Space.WRAM, unused)] * (config.wram_ports == 2)
    sound = [frame(Opcode.READ, sequence, Space.REGISTER, 0, 6), frame(Opcode.READ, sequence, Space.TOKENS, 0, 2),
             frame(Opcode.READ, sequence, Space.MEM, 0, 1), frame(Opcode.START, sequence),
             *(frame(Opcode.WRITE, sequence, space, address,
                     payload=rng.integers(0, 1 << 32, parts(entry_bits(config, space))))
               for space, address in writes)]
    words = sound[rng.integers(len(sound))]
    match rng.integers(5):
        case 0:
            return words[:rng.integers(1, len(words))]
        case 1:
            words[rng.integers(len(words))] ^= np.uint32(1 << int(rng.integers(32)))
        case 2:
            return rng.integers(0, 1 << 32, int(rng.integers(1, 9))).astype(np.uint32)
    return words


def talk(transport, config, rng, sequence):
    """Sends a drawn frame, and takes all that the tile says to it; returns the sequence number that
    it expects next."""
    transport.send(drawn(config, rng, sequence))
    patience, transport.patience = transport.patience, 3 * config.link_timeout
    words = transport.receive(1 << 10)
    transport.patience = patience
    while len(words):
        if Status(int(words[0]) >> 16 & 0xFF) in (Status.OK, Status.BUSY):
            sequence = int(words[0]) + 1 & 0xFF
        words = words[3 + (int(words[1]) + 1 if words[1] else 0):]
    return sequence


def talked_over(config, transport, runs, seed):
    """Runs while the host talks: cycles, faults, tokens and MEM are as ever."""
    program, rng, size = everything(config), np.random.default_rng(seed), parts(entry_bits(config, Space.MEM))
    (cycles, _, tokens), memory = run(loaded(Endpoint(config), config, program), config)
    with transport:
        link = loaded(transport, config, program)
        for _ in range(runs):
            transport.send(frame(Opcode.RESET, 0))
            assert answer(transport)[:2] == (Status.OK, 0)
            # Clean, whatever a damaged write of the run before has left.
            transport.send(frame(Opcode.WRITE, 1, Space.MEM, len(memory) - size, payload=memory[-size:]))
            assert answer(transport)[:2] == (Status.OK, 1)
            transport.send(frame(Opcode.START, 2, length=COUNT << 16 | POSITION))
            assert answer(transport)[:2] == (Status.OK, 2)
            sequence = 3
            for _ in range(rng.integers(1, 3)):
                sequence = talk(transport, config, rng, sequence)
            transport.send(frame(Opcode.WAIT, sequence))
            for number, token in enumerate(tokens):
                assert answer(transport) == (Status.TOKEN, sequence, number, [token])
            assert answer(transport) == (Status.OK, sequence, [cycles, COUNT << 16])
        link.reset()
        assert link.read(Space.MEM, 0, len(memory)).tolist() == memory


def test_talk_moves_no_run_by_a_cycle():
    talked_over(CONFIGS[0], verilator.open_tile(CONFIGS[0]), 300, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_talk_moves_no_run_by_a_cycle_on_any_tile(config):
    talked_over(config, verilator.open_tile(config, checked=True), 2000, seed=2)
