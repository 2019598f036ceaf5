"""Loads external memory, after a check that it is there: the host writes a piece into MEM, and a program of one MOVE takes it
to the chip."""

import numpy as np

from ...hdl.spec.errors import MareyError
from ...hdl.spec.isa import Instruction, Op, Place, isa_of
from ...hdl.spec.packing import pack_program, weights_to_octets
from ...hdl.spec.protocol import Space
from ...hdl.timing import Issue, check, uses
from ...sim.progress import progress
from ..program.stream import Stream
from .session import ScheduleError, Session

MOST_BURSTS = 1024
"""Bursts that a MOVE takes at most, so that a HALT can wait for it."""


class ExternalMemoryError(MareyError):
    """External memory does not hold what was written to it."""

    exit_code = 1


def image_of(session: Session, stream: Stream) -> np.ndarray:
    """What external memory holds for a stream, from burst 0 on: uint8 [bytes], whole bursts."""
    config, size = session.config, session.config.memory.part.burst_bytes
    ends = [section.far + section.stride * (max(stream.layers, 1) << section.chunk_bits) for section in stream.sections]
    image = np.zeros(max(ends) * size, np.uint8)
    for run in stream.runs():
        if run.section.stride:
            weights = weights_to_octets(config, stream.weights[run.word:run.word + run.section.words])
            constants = stream.constants[run.granule:run.granule + run.section.granules].astype("<i2").view(np.uint8)
            octets = np.concatenate([weights.ravel(), constants.ravel()])
            at = (run.section.far + stream.segment_number(run) * run.section.stride) * size
            image[at:at + octets.size] = octets
    return image


def load_external(session: Session, stream: Stream) -> None:
    """Writes the segments of a stream to external memory. It uses MEM, and the program memory from entry 0 on.

    ExternalMemoryError if the memory does not pass `check_external`. ScheduleError if a MOVE does not take the predicted
    cycles.
    """
    check_external(session)
    image = image_of(session, stream)
    with progress("loading external memory", None):
        write_bursts(session, 0, image)


def check_external(session: Session) -> None:
    """Writes a pattern to bursts that differ in one address bit from burst 0, and reads all of them back.

    So it finds a memory that is absent, a data or address pin that is stuck or connected to another, and a chip that is
    smaller than the configuration says. ExternalMemoryError for the first burst that holds something else. The bursts lose
    what they held.
    """
    part = session.config.memory.part
    size = part.burst_bytes
    count = max(1, session.config.lanes * 2 // size)
    places = [0, *(1 << bit for bit in range(count.bit_length() - 1, (part.bursts - 1).bit_length()))]
    patterns = np.random.default_rng(1).integers(0, 256, (len(places), count * size)).astype(np.uint8)
    for place, pattern in zip(places, patterns, strict=True):
        write_bursts(session, place, pattern)
    for place, pattern in zip(places, patterns, strict=True):
        found = read_bursts(session, place, count)
        if wrong := np.flatnonzero(found != pattern).tolist():
            word = wrong[0] * 8 // part.bus_bits * part.bus_bits // 8
            held, written = (int.from_bytes(octets[word:word + part.bus_bits // 8].tobytes(), "little")
                             for octets in (found, pattern))
            raise ExternalMemoryError(
                f"external memory: a word of burst {place} is {held:#x}, and {written:#x} was written: the chip is absent, "
                f"miswired, too fast for its clock, or no {part.name}")


def write_bursts(session: Session, first: int, octets: np.ndarray) -> None:
    """Writes bytes, uint8 [n], whole bursts of them, to external memory from a burst on. See `load_external`."""
    size = session.config.memory.part.burst_bytes
    for start, count in _pieces(session, len(octets) // size):
        values = octets[start * size:(start + count) * size].view("<i2").astype(np.int16)
        session.write_mem(0, values)
        _move(session, to=Place.SDRAM, far=first + start, near=0, count=count)


def read_bursts(session: Session, first: int, count: int) -> np.ndarray:
    """Reads bursts of external memory: uint8 [bytes]. It uses memories as `load_external` does."""
    found, size = [], session.config.memory.part.burst_bytes
    for start, part in _pieces(session, count):
        _move(session, to=Place.MEM, far=first + start, near=0, count=part)
        found.append(session.read_mem(0, part * size // 2).astype("<i2").view(np.uint8))
    return np.concatenate(found)


def _pieces(session, bursts):
    """(first, count) of bursts, counted from 0, that MEM holds at a time. Each piece is whole granules if the last is."""
    config = session.config
    room = config.granules * config.lanes * 2 // config.memory.part.burst_bytes
    most = min(MOST_BURSTS, room) & ~3
    return [(start, min(most, bursts - start)) for start in range(0, bursts, most)]


def _move(session, **operands):
    """Runs a program of one MOVE, which is checked against the rules and held to its cycles."""
    config = session.config
    move = isa_of(config).make(Op.MOVE, **operands)
    end = max(int(use.cycles[-1]) for use in uses(config, Issue(0, 0, move, operands)))
    program: list[Instruction] = [
        isa_of(config).make(Op.MOVE, end, **operands), isa_of(config).make(Op.HALT)]
    predicted = check(config, program)
    session.write(Space.PROGRAM, 0, pack_program(config, [isa_of(config).encode(each) for each in program]))
    session.link.start(0, count=0)
    measured, faults, _ = session.link.wait()
    if measured != predicted or faults:
        raise ScheduleError(f"a MOVE of {operands['count']} bursts: predicted {predicted} cycles, measured {measured}, "
                            f"{faults} schedule faults")
