"""The loading of external memory, which goes on where it was cut off, and a check of what it holds, segment by segment.

The last bursts of the chip have a header: which image is being loaded, and how much of it is there. It is written after
each piece. So a load that ends early, because a cable was pulled or a program stopped, costs the rest only, and a model
that is there is not loaded again while the chip has power.
"""

import hashlib
import struct
import zlib
from dataclasses import dataclass

import numpy as np

from ...hdl.spec.config import Config
from ...hdl.spec.packing import weights_to_octets
from ...sim.progress import Share, progress
from ..program.program import Program
from ..program.stream import Run, Stream
from .external import ExternalMemory, ExternalMemoryError
from .session import Session

PIECE_BURSTS = 4096
"""Bursts after which the header is written."""
HEADER = struct.Struct("<8sII")
"""The header: the first bytes of the image's SHA-256, bursts that are loaded, CRC-32 of what comes before."""


@dataclass(frozen=True)
class Segment:
    """A segment of a stream in external memory. `first`: its first burst; `octets`: uint8 [bytes], what it holds."""

    run: Run
    first: int
    octets: np.ndarray

    @property
    def name(self) -> str:
        """Where in the model it belongs."""
        run = self.run
        return f"{run.section.name}; layer {run.layer}, chunk {run.chunk}"


def segments_of(config: Config, stream: Stream) -> list[Segment]:
    """The segments of a stream, as they lie in external memory from burst 0 on."""
    found, at = [], 0
    for run, words, granules in stream.segments():
        section = run.section
        kept = (stream.weights[run.word:run.word + section.words],
                stream.constants[run.granule:run.granule + section.granules_of(run.chunk)].astype("<i2"))
        weights, constants = (np.pad(values, ((0, size - len(values)), *((0, 0),) * (values.ndim - 1)))
                              for values, size in zip(kept, (words, granules), strict=True))
        octets = np.concatenate([weights_to_octets(config, weights).ravel(), constants.view(np.uint8).ravel()])
        found.append(Segment(run, at, octets))
        at += octets.size // config.memory.part.burst_bytes
    return found


def image_of(config: Config, stream: Stream) -> np.ndarray:
    """What external memory holds for a stream, from burst 0 on: uint8 [bytes], whole bursts."""
    return np.concatenate([segment.octets for segment in segments_of(config, stream)])


def load_external(session: Session, stream: Stream) -> None:
    """Writes the segments of a stream to external memory, but for those that the header says are there. It uses MEM, and the
    program memory.

    ExternalMemoryError if the memory does not pass `ExternalMemory.check`, which comes before the first piece. ScheduleError
    if a MOVE does not take the predicted cycles.
    """
    memory, image = ExternalMemory(session), image_of(session.config, stream)
    size, digest = memory.burst_bytes, hashlib.sha256(image.tobytes()).digest()[:8]
    total, done = len(image) // size, _loaded(memory, digest)
    if not done:
        memory.check()
    hz = session.transport.simulated_hz
    share = Share(total - done, (total - done) * size / 4 / hz if hz else None)
    with progress("loading external memory", share.expected_s):
        for first in range(done, total, PIECE_BURSTS):
            end = min(first + PIECE_BURSTS, total)
            memory.write(first, image[first * size:end * size])
            facts = struct.pack("<8sI", digest, end)
            header = np.frombuffer(facts + struct.pack("<I", zlib.crc32(facts)), np.uint8)
            memory.write(_header_at(memory), np.pad(header, (0, memory.entry_bursts * size - header.size)))
            share.done = end - done


def verify_external(session: Session, program: Program) -> int:
    """Reads each segment of a program back, and compares its CRC-32 with that of what was compiled. Returns their number.

    The tile goes on to hold the program, but the vectors of its last token are lost. ExternalMemoryError for the first
    segment that differs.
    """
    stream = program.stream
    memory = ExternalMemory(session, (stream.segment, program.model.scale))
    segments = segments_of(session.config, stream)
    share = Share(len(segments))
    with progress("reading external memory", share.expected_s):
        for number, segment in enumerate(segments, 1):
            found = memory.read(segment.first, segment.octets.size // memory.burst_bytes)
            if zlib.crc32(found.tobytes()) != zlib.crc32(segment.octets.tobytes()):
                wrong = np.flatnonzero(found != segment.octets)
                burst = segment.first + int(wrong[0]) // memory.burst_bytes
                raise ExternalMemoryError(
                    f"external memory: segment {number} of {len(segments)} ({segment.name}) has CRC-32 "
                    f"{zlib.crc32(found.tobytes()):08x} and not {zlib.crc32(segment.octets.tobytes()):08x}: {wrong.size} bytes "
                    f"differ from burst {burst} on; load the model again")
            share.done = number
    return len(segments)


def forget_external(session: Session) -> None:
    """Clears the header, so that the next load writes everything."""
    memory = ExternalMemory(session)
    memory.write(_header_at(memory), np.zeros(memory.entry_bursts * memory.burst_bytes, np.uint8))


def _header_at(memory):
    """The burst at which the header begins."""
    return memory.part.bursts - memory.entry_bursts


def _loaded(memory, digest):
    """Bursts of the image with a digest that are there."""
    header = memory.read(_header_at(memory), memory.entry_bursts).tobytes()[:HEADER.size]
    found, bursts, checksum = HEADER.unpack(header)
    return bursts if found == digest and checksum == zlib.crc32(header[:-4]) else 0
