"""The judge: decides whether a request is obeyed."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..spec.config import Config
from ..spec.protocol import (
    MOST_TOKENS,
    Opcode,
    Request,
    Space,
    StartHow,
    StartWhere,
    Status,
    entry_bits,
    parts,
    space_words,
)
from .answer import space_bits


class Judge(wiring.Component):
    """Decides whether a request is obeyed, or why it is not.

    Latency: 0 cycles, it is combinational.
    Throughput: a request a cycle.
    Cost: some comparisons of 32 bits.

    Parameters: `config`.

    Members:
        `request : In(Request)`, `address : In(32)`, `length : In(32)`: the header
        `past : In`: address + length, as many bits as a space needs
        `running : In(1)`: a program runs
        `expected : In(8)`: the sequence number that comes next
        `dirty : In(1)`: a WRITE failed halfway
        `last : In(Status)`: the status of the last request that was not a repetition
        `status : Out(Status)`: the judgement
        `again : Out(1)`: the request repeats the one before it
    """

    def __init__(self, config: Config):
        self._config = config
        super().__init__({
            "request": In(Request), "address": In(32), "length": In(32), "past": In(space_bits(config) + 2),
            "running": In(1), "expected": In(8), "dirty": In(1), "last": In(Status),
            "status": Out(Status), "again": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        request, config = self.request, self._config
        bits = space_bits(config)
        size, mask = Signal(bits + 1), Signal(8)
        with m.Switch(request.space):
            for space in Space:
                with m.Case(space):
                    m.d.comb += [
                        size.eq(space_words(config, space)),
                        mask.eq(parts(entry_bits(config, space)) - 1),
                    ]
        read, write = request.opcode == Opcode.READ, request.opcode == Opcode.WRITE
        start, reset = request.opcode == Opcode.START, request.opcode == Opcode.RESET
        readable = ((request.space == Space.REGISTER) | (request.space == Space.PROGRAM) | (request.space == Space.MEM)
                    | (request.space == Space.TOKENS))
        where, how = data.View(StartWhere, self.address), data.View(StartHow, self.length)
        writable = (request.space == Space.PROGRAM) | (request.space == Space.MEM) | (request.space == Space.WRAM)
        outside = (self.address[bits + 1:].any() | self.length[bits + 1:].any() | (self.past > size)
                   | (write & ((self.address | self.length)[:8] & mask).any()))
        exclusive = (request.space == Space.PROGRAM) | (request.space == Space.MEM)
        m.d.comb += self.again.eq((request.sequence == (self.expected - 1)[:8]) & ~reset)
        with m.If(~reset & (request.sequence != self.expected) & ~self.again):
            m.d.comb += self.status.eq(Status.SEQUENCE)
        with m.Elif(self.again & (start | write)):
            m.d.comb += self.status.eq(self.last)
        with m.Elif(request.opcode.as_value() > max(op.value for op in Opcode)):
            m.d.comb += self.status.eq(Status.OPCODE)
        with m.Elif((read & (~readable | outside)) | (write & (~writable | outside))
                    | (start & ((where.entry >= config.program_depth) | where.token[config.token_bits:].any()
                                | (how.count > MOST_TOKENS)))):
            m.d.comb += self.status.eq(Status.ADDRESS)
        with m.Elif(self.running & (start | ((read | write) & exclusive))):
            m.d.comb += self.status.eq(Status.BUSY)
        with m.Elif(start & self.dirty):
            m.d.comb += self.status.eq(Status.DIRTY)
        return m
