"""External memory, as the host uses it: reads and writes, a check that the chip is there, and tokens from a model in it."""

from collections.abc import Callable, Sequence

import numpy as np

from ...hdl.spec.errors import MareyError
from ...hdl.spec.isa import Op, Place, isa_of
from ...hdl.spec.packing import pack_program
from ...hdl.spec.protocol import Space
from ...hdl.timing import Issue, run_cycles, trace, uses
from ..compiler.external import whole_granules
from ..program.program import Program
from .session import ScheduleError, Session
from .streamer import first_constants

MOST_BURSTS = 1024
"""Bursts that a MOVE takes at most, so that a HALT can wait for it."""


class ExternalMemoryError(MareyError):
    """External memory does not hold what was written to it."""

    exit_code = 1


class ExternalMemory:
    """Reads and writes the external memory of a tile: over the link to or from MEM, and from there with a program of one MOVE.

    `granules`: the first and the last + 1 granule of MEM that may be overwritten; all, if it is not given. The program takes
    the last instructions of the program memory.

    `part`, `burst_bytes`: of the chip. `entry_bursts`: the fewest bursts that are whole granules.
    """

    def __init__(self, session: Session, granules: tuple[int, int] | None = None):
        self._session = session
        self._granule, self._end = granules or (0, session.config.granules)
        self._entry = session.config.program_depth - 2
        self.part = session.config.memory.part
        self.burst_bytes = self._size = self.part.burst_bytes
        self.entry_bursts = max(1, session.config.lanes * 2 // self._size)

    def check(self) -> None:
        """Writes a pattern to bursts that differ in one address bit from burst 0, and reads all of them back.

        So it finds a memory that is absent, a data or address pin that is stuck or connected to another, and a chip that is
        smaller than the configuration says. ExternalMemoryError for the first burst that holds something else. The bursts
        lose what they held.
        """
        part, count = self.part, self.entry_bursts
        places = [0, *(1 << bit for bit in range(count.bit_length() - 1, (part.bursts - 1).bit_length()))]
        patterns = np.random.default_rng(1).integers(0, 256, (len(places), count * self._size)).astype(np.uint8)
        for place, pattern in zip(places, patterns, strict=True):
            self.write(place, pattern)
        for place, pattern in zip(places, patterns, strict=True):
            found = self.read(place, count)
            if wrong := np.flatnonzero(found != pattern).tolist():
                word = wrong[0] * 8 // part.bus_bits * part.bus_bits // 8
                held, written = (int.from_bytes(octets[word:word + part.bus_bits // 8].tobytes(), "little")
                                 for octets in (found, pattern))
                raise ExternalMemoryError(
                    f"external memory: a word of burst {place} is {held:#x}, and {written:#x} was written: the chip is absent, "
                    f"miswired, too fast for its clock, or no {part.name}")

    def write(self, first: int, octets: np.ndarray) -> None:
        """Writes bytes, uint8 [n], whole bursts of them, from a burst on."""
        for start, count in self._pieces(len(octets) // self._size):
            values = octets[start * self._size:(start + count) * self._size].view("<i2").astype(np.int16)
            self._session.write_mem(self._granule, values)
            self._move(to=Place.SDRAM, far=first + start, near=self._granule, count=count)

    def read(self, first: int, count: int) -> np.ndarray:
        """Reads bursts: uint8 [bytes]."""
        found = []
        for start, part in self._pieces(count):
            self._move(to=Place.MEM, far=first + start, near=self._granule, count=part)
            found.append(self._session.read_mem(self._granule, part * self._size // 2).astype("<i2").view(np.uint8))
        return np.concatenate(found)

    def _pieces(self, bursts):
        """(first, count) of bursts, counted from 0, that MEM holds at a time. Each piece is whole granules if the last is."""
        config = self._session.config
        room = (self._end - self._granule) * config.lanes * 2 // self._size
        most = min(MOST_BURSTS, room) & ~3
        return [(start, min(most, bursts - start)) for start in range(0, bursts, most)]

    def _move(self, **operands):
        """Runs a program of one MOVE, which is held to its cycles."""
        session, config = self._session, self._session.config
        make = isa_of(config).make
        end = max(int(use.cycles[-1]) for use in uses(config, Issue(0, 0, make(Op.MOVE, **operands), operands)))
        program = [make(Op.MOVE, end, **operands), make(Op.HALT)]
        *_, halt = trace(config, program)
        predicted = run_cycles(halt)
        session.write(Space.PROGRAM, self._entry, pack_program(config, [isa_of(config).encode(each) for each in program]))
        session.link.start(self._entry, count=0)
        measured, faults, _ = session.link.wait()
        if measured != predicted or faults:
            raise ScheduleError(f"a MOVE of {operands['count']} bursts: predicted {predicted} cycles, measured {measured}, "
                                f"{faults} schedule faults")


class ExternalRunner:
    """Makes tokens with a program whose segments lie in external memory: the host writes a token's row of the embedding to
    MEM and starts one run."""

    def __init__(self, session: Session, program: Program):
        self._session, self._program = session, program

    def tokens(self, token: int, position: int, count: int, show: Callable[[int], None]) -> list[int]:
        """Takes a token at a position through a run, and those that follow, until `count` are made."""
        made: list[int] = []
        session, stream = self._session, self._program.stream
        for at in range(position, position + max(count, 1)):
            session.write_mem(stream.segment, first_constants(session.config, stream, token, at))
            found = session.execute(self._program, token=token, position=at, count=int(count > 0))
            for token in found:
                made.append(token)
                show(token)
        return made

    def block(self, tokens: Sequence[int], position: int) -> None:
        """Takes the tokens of a block of a prompt into the KV cache, in one run. `position`: of the first. Positions behind the
        last get token 0."""
        session, stream = self._session, self._program.stream
        for number, token in enumerate([*tokens, *[0] * (stream.block.positions - len(tokens))]):
            session.write_mem(stream.block.granule + number * stream.block.stride,
                              first_constants(session.config, stream, token, position + number))
        session.execute(self._program, stream.block.entry, token=0, position=position, count=0)

    def logits(self) -> np.ndarray:
        """The integer logits, int16 [vocab], of the token that was run last."""
        facts, stream, config = self._program.model, self._program.stream, self._session.config
        count = facts.shape.vocab_size
        if not stream.logits_far:
            return self._session.read_mem(facts.logits, count)
        # Each chunk's lie in whole bursts.
        memory = ExternalMemory(self._session, (stream.segment, facts.scale))
        chunk = whole_granules(config, stream.chunk_logits // config.lanes) * config.lanes * 2
        chunks = -(-count // stream.chunk_logits)
        octets = memory.read(stream.logits_far, chunks * chunk // config.memory.part.burst_bytes)
        return octets.view("<i2").reshape(chunks, -1)[:, :stream.chunk_logits].ravel()[:count]
