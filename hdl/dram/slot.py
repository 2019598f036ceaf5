"""The commands of a slot: 8 cycles, in which one burst moves and the next row is opened."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..spec.dram_parts import BURST
from ..spec.dram_rules import Command
from .pins import ALL_BANKS_BIT, address_width, burst_bits
from .plan import Plan


class Slot(wiring.Component):
    """Says which command a phase of a slot has, with bank and address.

    A chip that moves fewer words with a command than a slot has, which is one with several cycles in one of the tile's
    (`Timing.rate`), gets its READ or WRITE in as many phases.

    Latency: 0.
    Cost: a multiplexer of addresses.

    Parameters: `plan`.

    Members (no flow control):
        `phase : In(3)`: of the slot
        `moves : In(1)`: phase 0, or each that is due, has a READ, or a WRITE if `writing : In(1)`
        `opens : In(1)`: a late phase has ACTIVATE, for the burst `after`, or, in the slot `lead : In(1)`, for `here`
        `closes : In(1)`: an early phase has PRECHARGE, for the bank before that of `here`
        `tail : In(1)`: the same phase has PRECHARGE for all banks
        `here : In`, `after : In`: addresses of this burst and of the next
        `command : Out(Command)`, `bank : Out`, `address : Out`: what the pins get
    """

    def __init__(self, plan: Plan):
        self._plan = plan
        part = plan.timing.part
        self._bits = slot, bank, row = burst_bits(part)
        super().__init__({
            "phase": In(range(BURST)), "moves": In(1), "writing": In(1), "opens": In(1), "lead": In(1), "closes": In(1),
            "tail": In(1), "here": In(slot + bank + row), "after": In(slot + bank + row),
            "command": Out(Command), "bank": Out(bank), "address": Out(address_width(part)),
        })

    def elaborate(self, platform):
        m = Module()
        slot_bits, bank_bits, _ = self._bits
        timing, phase = self._plan.timing, self.phase
        # A command's part of the burst, in words, and as the chip counts its columns.
        part_bits = (timing.command_words - 1).bit_length()
        column = Cat(C(0, BURST.bit_length() - 1), phase[part_bits:], self.here[:slot_bits])
        bank = self.here[slot_bits:][:bank_bits]
        opened = Mux(self.lead, self.here, self.after)[slot_bits:]
        with m.If((phase[:part_bits] == 0) & self.moves):
            m.d.comb += [self.command.eq(Mux(self.writing, Command.WRITE, Command.READ)), self.bank.eq(bank),
                         self.address.eq(column)]
        with m.Elif(phase == self._plan.close - BURST):
            m.d.comb += [self.command.eq(Mux(self.tail | self.closes, Command.PRECHARGE, Command.NOP)), self.bank.eq(bank - 1),
                         self.address.eq(self.tail << ALL_BANKS_BIT)]
        with m.Elif((phase == BURST - self._plan.row) & self.opens):
            m.d.comb += [self.command.eq(Command.ACTIVATE), self.bank.eq(opened[:bank_bits]),
                         self.address.eq(opened[bank_bits:])]
        return m
