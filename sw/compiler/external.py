"""Segments in external memory: where they lie, and the instructions that bring one to the tile.

A model that does not fit into the tile is cut into sections, as for streaming over the link. On a
tile with external memory the segments of all sections lie there, and each run begins with MOVEs that
bring its own. So the host is silent but for the START of each run, and the constants of the first.
"""

from dataclasses import replace

from ...hdl.spec.config import Config
from ...hdl.spec.isa import FACTOR_BITS, TOKEN_BITS, Address, Instruction, Op, Place, Source, isa_of
from ...hdl.timing import Issue, next_issue, uses
from ..program.stream import Section
from .emit import lay_out
from .layout import CompileError


def burst_bits(config: Config) -> int:
    """Bits of a burst."""
    return config.memory.part.burst_bytes * 8


def whole_granules(config: Config, granules: int) -> int:
    """So many granules, or a few more that are whole bursts; without external memory the same."""
    if not config.memory:
        return granules
    parts = max(1, burst_bits(config) // (config.lanes * 16))
    return -(-granules // parts) * parts


def most_words(config: Config) -> int:
    """Words of W-RAM of the largest segment, so that an INDEX can step over it: an eighth is left for constants."""
    return (7 << FACTOR_BITS - 3) * burst_bits(config) // (config.cols * config.rows * config.weight_bits)


def bursts_of(config: Config, section: Section) -> tuple[int, int]:
    """Bursts of the weights, and of the constants, of a section's segment."""
    return (section.words * config.cols * config.rows * config.weight_bits // burst_bits(config),
            section.granules * config.lanes * 16 // burst_bits(config))


def placed(config: Config, sections: list[Section], layers: int, cells: int, first: int) -> tuple[list[Section], int]:
    """The sections with the places of their segments, from burst `first` on, and the first free burst.

    A section has a segment for each of `layers` layers and each of its chunks. CompileError if a distance of segments does
    not fit an INDEX, or if they do not fit into the memory.
    """
    found, at = [], first
    if config.cols * config.rows * config.weight_bits % burst_bits(config):
        raise CompileError(f"a word of W-RAM of {config.name} is no multiple of a burst of external memory: choose more rows "
                           "or columns")
    for section in sections:
        bits = (section.chunks - 1).bit_length()
        stride, segments = sum(bursts_of(config, section)), layers << bits
        if segments > 1 and stride >> FACTOR_BITS:
            raise CompileError(f"a segment of {stride} bursts is too large for an INDEX of {config.name}: choose a smaller "
                               "wram_depth")
        if (layers * max(cells if section.cached else 1, 1 << bits)) << 1 >> TOKEN_BITS:
            raise CompileError(f"the operand of a run of {section.name} does not fit into {TOKEN_BITS} bits")
        found.append(replace(section, far=at, stride=stride, chunk_bits=bits))
        at += segments * stride
    if at > config.memory.part.bursts:
        part = config.memory.part
        raise CompileError(f"the model takes {at * part.burst_bytes:,} bytes of external memory, and {config.name} has "
                           f"{part.bytes:,}: choose a larger one")
    return found, at


def arrival(config: Config, section: Section, register: int, cells: int, buffer: int, segment: int) -> list[Instruction]:
    """The instructions that bring a section's segment: weights to W-RAM word `buffer`, constants to MEM granule `segment`.

    They end when all of it has arrived. `register`: an address register that they may use. See `Stream.operand` for where
    the number of the segment is.
    """
    isa = isa_of(config)
    right = 1 + ((cells - 1).bit_length() if section.cached else 0)
    times = section.stride % (1 << FACTOR_BITS)
    timed = [(0, isa.make(Op.INDEX, register=register, source=Source.TOKEN, right=right, times=times, value=section.far))]
    at, end, offset = next_issue(config, Op.INDEX), 0, 0
    for to, near, count in zip((Place.WRAM, Place.MEM), (buffer, segment), bursts_of(config, section), strict=True):
        if count:
            move = isa.make(Op.MOVE, to=to, far=Address(offset, register), near=near, count=count)
            timed.append((at, move))
            operands = {"to": to, "far": 0, "near": near, "count": count}
            used = {use.unit: int(use.cycles[-1]) for use in uses(config, Issue(at, 0, move, operands))}
            at, end, offset = max(at, *used.values()) + 1, max(used.values()) + 1, offset + count
    if len(timed) == 1:
        return []
    return lay_out(config, [*timed, (end, isa.make(Op.NOP))])
