"""The instruction set: every field of every instruction, in one place.

A program is a list of instructions. Each is issued at a cycle known beforehand: the first at
`Sequencer.FIRST_ISSUE` cycles after go, each other at `1 + wait` cycles after the one before it
(a LOOP at `LOOP_CYCLES + wait`). An instruction for a slice starts it and goes on by itself, for
as many cycles as its counts say, while later instructions issue.

===== ==================================================================================
HALT  the run is over
NOP   nothing, for `wait` more cycles
SET   address register `register` = `value`
ADD   address register `register` += `value` (modulo its width: large values step back)
LOOP  go to `target`, `count` - 1 times in a row, then fall through; `counter` keeps the tally
MXM   `outer` results (of `cols` dot products each), `inner` words long: for o < outer,
      for i < inner, one beat a cycle: activation word `act + o*act_step + i` times W-RAM word
      `wgt + o*wgt_step + i` is added up; after the last i the sums leave as one result
VXM   takes `count` results from the MXM, the first now and one every `interval` cycles; each
      value is multiplied by a 16-bit factor from `scale`, shifted right by `shift` (rounding
      half up), saturated to 16 bits (8 if `narrow`) and written to `dst`. Both addresses go on
      by one granule (`lanes` values) a cycle, for `cols / lanes` granules a result
===== ==================================================================================

Address fields are an `offset` plus an address register (`base`); register 0 is always 0. MXM
counts MEM in words (`rows` values), VXM in granules (`lanes` values).
"""

import re
from dataclasses import dataclass, field
from functools import cached_property

from amaranth.hdl import Shape, unsigned
from amaranth.lib import data, enum

from .config import Config, address_bits
from .errors import MareyError


class EncodingError(MareyError):
    """An instruction that cannot be encoded, bits that encode none, text that is none."""


ADDRESS_REGISTERS = 8
COUNTERS = 4
WAIT_BITS = 14
SHIFT_BITS = 6


class Op(enum.Enum, shape=3):
    """Operations. A program memory of zeros is a program that halts."""

    HALT = 0
    NOP = 1
    SET = 2
    ADD = 3
    LOOP = 4
    MXM = 5
    VXM = 6


@dataclass(frozen=True)
class Address:
    """A memory address: `offset` plus what address register `base` holds."""

    offset: int
    base: int = 0

    def __str__(self):
        return f"A{self.base}+{self.offset}" if self.base else str(self.offset)


@dataclass(frozen=True)
class Instruction:
    """One instruction: operation, cycles to wait before the next, and operands by name.

    Operands are what `Isa.operands[op]` names: integers, or `Address` where the operand is one.
    `note` says in words what it is for; it is not encoded.
    """

    op: Op
    wait: int = 0
    operands: dict[str, int | Address] = field(default_factory=dict)
    note: str = field(default="", compare=False)

    def __getitem__(self, name: str) -> int | Address:
        return self.operands[name]

    def __str__(self):
        words = [self.op.name, *(f"{name}={value}" for name, value in self.operands.items())]
        return " ".join(words + [f"wait={self.wait}"] * bool(self.wait))


class Isa:
    """The encodings for a configuration: layouts, `encode`, `decode`, and the text form."""

    def __init__(self, config: Config):
        self.config = config
        word, granule = address_bits(config.mem_depth), address_bits(config.granules)
        weight, target = address_bits(config.wram_depth), address_bits(config.program_depth)
        self.register_bits = max(word, granule, weight)
        """Width of an address register."""
        self.count_bits = max(word, weight) + 1
        """Width of a count."""

        def address(bits):
            return data.StructLayout({"offset": bits, "base": address_bits(ADDRESS_REGISTERS)})

        count = self.count_bits
        self.operands: dict[Op, data.StructLayout] = {
            Op.HALT: data.StructLayout({}),
            Op.NOP: data.StructLayout({}),
            Op.SET: data.StructLayout({"register": address_bits(ADDRESS_REGISTERS), "value": self.register_bits}),
            Op.ADD: data.StructLayout({"register": address_bits(ADDRESS_REGISTERS), "value": self.register_bits}),
            Op.LOOP: data.StructLayout({"counter": address_bits(COUNTERS), "count": count, "target": target}),
            Op.MXM: data.StructLayout({
                "act": address(word), "wgt": address(weight), "inner": count, "outer": count,
                "act_step": word, "wgt_step": weight,
            }),
            Op.VXM: data.StructLayout({
                "scale": address(granule), "dst": address(granule), "count": count, "interval": count,
                "shift": SHIFT_BITS, "narrow": 1,
            }),
        }
        """Layout of the operands of each operation."""
        self.width = Op.as_shape().width + WAIT_BITS + max(layout.size for layout in self.operands.values())
        """Bits of an instruction."""

    @cached_property
    def layout(self) -> data.StructLayout:
        """An instruction: operation, wait, and the operands, which lie over each other."""
        return data.StructLayout({
            "op": Op, "wait": WAIT_BITS,
            "operands": data.UnionLayout({op.name.lower(): layout for op, layout in self.operands.items()}),
        })

    def command(self, op: Op) -> data.StructLayout:
        """What a slice is told: the operands of `op` with each address resolved to a plain number."""
        return data.StructLayout({
            name: member.shape["offset"].shape if isinstance(member.shape, data.Layout) else member.shape
            for name, member in self.operands[op]
        })

    def check(self, instruction: Instruction) -> None:
        """EncodingError, in one line, unless the instruction has just its operands, each in range."""
        layout = self.operands[instruction.op]
        given, wanted = set(instruction.operands), {name for name, _ in layout}
        if given != wanted:
            raise EncodingError(f"{instruction}: operands should be {', '.join(sorted(wanted)) or 'none'}")
        _fits(instruction, "wait", instruction.wait, unsigned(WAIT_BITS))
        for name, value in instruction.operands.items():
            shape = layout[name].shape
            if isinstance(shape, data.Layout) != isinstance(value, Address):
                wanted = "a number" if isinstance(value, Address) else "an address"
                raise EncodingError(f"{instruction}: {name} should be {wanted}")
            if isinstance(value, Address):
                _fits(instruction, f"{name} offset", value.offset, shape["offset"].shape)
                _fits(instruction, f"{name} base", value.base, shape["base"].shape)
            else:
                _fits(instruction, name, value, shape)
                if value == 0 and name == "register":
                    raise EncodingError(f"{instruction}: address register 0 is always 0")
                if value == 0 and name in ("inner", "outer", "count", "interval"):
                    raise EncodingError(f"{instruction}: {name} must be at least 1")

    def encode(self, instruction: Instruction) -> int:
        """The instruction as an integer of `width` bits; EncodingError if it is not a legal one."""
        self.check(instruction)
        operands = {
            name: {"offset": value.offset, "base": value.base} if isinstance(value, Address) else value
            for name, value in instruction.operands.items()
        }
        return self.layout.const({
            "op": instruction.op, "wait": instruction.wait,
            "operands": {instruction.op.name.lower(): operands},
        }).as_value().value

    def decode(self, code: int) -> Instruction:
        """The instruction that `code` encodes; EncodingError for bits that encode none."""
        if not 0 <= code < 1 << self.width:
            raise EncodingError(f"{code:#x} is not an instruction of {self.width} bits")
        number = _field(code, self.layout["op"])
        if number not in {op.value for op in Op}:
            raise EncodingError(f"{code:#x}: no operation has number {number}")
        op, wait = Op(number), _field(code, self.layout["wait"])
        packed = _field(code, self.layout["operands"])
        operands = {}
        for name, member in self.operands[op]:
            value = _field(packed, member)
            shape = member.shape
            operands[name] = (Address(_field(value, shape["offset"]), _field(value, shape["base"]))
                              if isinstance(shape, data.Layout) else value)
        instruction = Instruction(op, wait, operands)
        if self.encode(instruction) != code:
            raise EncodingError(f"{code:#x}: bits are set that no operand of {op.name} uses")
        return instruction

    def parse(self, line: str) -> Instruction:
        """The instruction that `str(instruction)` wrote; EncodingError, in one line, for any other text."""
        name, *words = line.split()
        if name not in Op.__members__:
            raise EncodingError(f"{name!r} is no operation: there are {', '.join(Op.__members__)}")
        wait, operands = 0, {}
        for word in words:
            match = re.fullmatch(r"(\w+)=(?:(\d+)|A(\d)\+(\d+))", word)
            if not match:
                raise EncodingError(f"{word!r} should be NAME=NUMBER or NAME=A<register>+NUMBER")
            key, number, base, offset = match.groups()
            if key == "wait" and number:
                wait = int(number)
                continue
            layout = dict(self.operands[Op[name]]).get(key)
            if layout is not None and isinstance(layout.shape, data.Layout):
                operands[key] = Address(int(offset or number), int(base or 0))
            elif base is None:
                operands[key] = int(number)
            else:
                raise EncodingError(f"{word!r}: {key} is not an address")
        instruction = Instruction(Op[name], wait, operands)
        self.check(instruction)
        return instruction


def _fits(instruction, what, value, shape):
    limit = 1 << Shape.cast(shape).width
    if not 0 <= value < limit:
        raise EncodingError(f"{instruction}: {what} must be 0 to {limit - 1}")


def _field(code, member):
    return code >> member.offset & (1 << member.width) - 1
