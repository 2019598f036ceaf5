"""The instruction set: every field of every instruction, in one place.

A program is a list of instructions. Each is issued at a cycle known beforehand: the first at
`Sequencer.first_issue` cycles after go, each other `Sequencer.issue_cycles` + wait cycles after the one before
it. An instruction for a slice starts it and goes on by itself, for as many cycles as its counts say, while later
instructions issue.

====== =================================================================================
HALT   the run is over; with `if_prompt`, only if no token is wanted of it
NOP    nothing, for `turns` periods and `wait` more cycles; with `blocks` n, for 2**(n - 1) cycles
       a block besides
SET    address register `register` = `value`
ADD    address register `register` += `value` (modulo its width: large values step back)
INDEX  address register `register` = `value` + (`source` >> `right`) * `times`, where the source is
       the position or the token; of what is shifted only the lowest `bits` count, if that is not 0
PERIOD the period = max(`least`, `value` + blocks * `times`) cycles; blocks are those of the KV cache
       that positions 0 to this one fill: position / max(rows, cols) + 1
LOOP   go to `target`, `count` - 1 times in a row, then fall through; `counter` keeps the tally
TOKEN  the last ARGMAX is the next token: put it out, step the position, and go to `target` if
       more tokens are wanted
MXM    for o < outer, for m < middle: a result (`cols` dot products), `inner` words long: for
       i < inner, one beat a cycle, activation word `act + o*act_hop + i` times
       W-RAM word `wgt + (o % wrap)*wgt_hop + m*wgt_step + i`. Results are at least cols / lanes
       cycles apart; `paced`: the rounds of o begin a period apart.
       `fetch`: instead, the W-RAM words themselves of column `token % cols` are the results. `wide`, where weights have
       4 bits: the words hold 8-bit weights, the low halves (without sign) and then the high halves; beat i of
       `inner` meets activation word i / 2
VXM    for o < outer, for m < middle, for i < inner, one beat a cycle on `lanes` values (those of m
       begin `interval` cycles apart, or `inner` if that is more, those of o a period apart if `paced`):
       y = saturate((a * b) >> shift + c), rounding half up, to 16 bits, or 8 if `narrow`, where
       a is the MXM's stream if `stream`, else MEM at `x`; b is the `scalar` register, or MEM at `y` if
       `by_vector`; c is 0, or, if `plus`, MEM at the address that a and b leave free.
       A scalar's exponent is added to `shift`, unless `bare`. EXP2 makes y = 127 * 2**-((scalar - a) / 256),
       SILU y = a * sigmoid(a). `pair` adds two beats up: a * b and then, of the same `x`, a with its
       neighbouring lanes swapped * the next b. `x` steps by `x_step`, `y` by `y_step`, `dst` by 1 a
       beat, and from o to o by their hops. y goes `to` MEM, or to W-RAM as KEYS (words of the
       column position % cols) or VALUES (lane position % rows of every column). Where weights have 4 bits, `dst`
       then counts pairs of words, and the low 4 bits of y go to the first, or, if `high`, the next 4 to the second.
       `reduce` leaves a scalar of each round of o in the registers from `into` on, which are of the
       lower half; `mask` makes y 0, and
       out of the reduction, for values that lie behind the position
SFU    `count` times, a period apart: scalar `into`, of the upper half, = `function` of scalar `a`, of the lower
       half, + `epsilon`; or, of MULTIPLY, of `a` and `b`, of the upper half. `a` and `b` step by 1, `into` by 1 a result
====== =================================================================================

Address fields are an `offset` plus an address register (`base`); register 0 is always 0. MXM counts MEM
and W-RAM in words (`rows` values), VXM in granules (`lanes` values; W-RAM's VALUES in groups of `lanes`
columns). `blocks` says which count is in blocks: it is shifted left by the count's own value.

Instructions of a compact tile come in rows (`hdl/encoding.py`). Counts have an address register there instead of
`blocks` (`inner` and `middle` of an MXM, `middle` and `interval` of a VXM), which holds a multiple of the blocks; so has the
wait of a NOP, `register`, instead of `turns`. A PERIOD has only its `value`, and there is one loop counter.
"""

import re
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache

from amaranth.hdl import Shape, signed, unsigned
from amaranth.lib import data, enum

from .config import Config, address_bits
from .encoding import COPIES, LINK_BITS, OPERATION, ROWS, VALUE_BITS, WAIT, bit, in_rows
from .errors import MareyError


class EncodingError(MareyError):
    """An instruction that cannot be encoded, bits that encode none, text that is none."""


FACTOR_BITS = 12
"""Of what INDEX multiplies by."""
WAIT_BITS = 14
SHIFT_BITS = 7
MOST_COUNT_BITS = 14
POSITION_BITS = 16
"""Of positions, and of counts of tokens."""
TOKEN_BITS = 16
EPSILON_BITS = 16


class Op(enum.Enum, shape=4):
    """Operations. A program memory of zeros is a program that halts."""

    HALT = 0
    NOP = 1
    SET = 2
    ADD = 3
    INDEX = 4
    PERIOD = 5
    LOOP = 6
    TOKEN = 7
    MXM = 8
    VXM = 9
    SFU = 10


class Source(enum.Enum, shape=1):
    """What INDEX counts from."""

    POSITION = 0
    TOKEN = 1


class MxmBlocks(enum.Enum, shape=2):
    """Which count of an MXM is in blocks."""

    NONE = 0
    INNER = 1
    MIDDLE = 2


class VxmBlocks(enum.Enum, shape=2):
    """Which count of a VXM is in blocks."""

    NONE = 0
    INTERVAL = 1
    MIDDLE = 2


class Function(enum.Enum, shape=2):
    """What the VXM does to its operands."""

    MULTIPLY = 0
    EXP2 = 1
    SILU = 2


class To(enum.Enum, shape=2):
    """Where the VXM's values go."""

    NOWHERE = 0
    MEM = 1
    KEYS = 2
    VALUES = 3


class Reduce(enum.Enum, shape=3):
    """What the VXM makes of a round's values: PICK is the value in lane token % lanes."""

    NONE = 0
    MAX = 1
    ABSMAX = 2
    SUM = 3
    ARGMAX = 4
    PICK = 5


class Sfu(enum.Enum, shape=2):
    """Functions of scalars, as `marey.hdl.spec.integer` has them. QUANTISE also leaves the step, in the register after."""

    QUANTISE = 0
    RSQRT = 1
    RECIPROCAL = 2
    MULTIPLY = 3


COUNTS = ("inner", "middle", "outer", "interval", "count", "wrap")
"""Operands that are 1 where they are not given."""


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
    `operation` names the operation of the model's graph that it belongs to, and `note` says in words what it is for; neither
    is encoded.
    """

    op: Op
    wait: int = 0
    operands: dict[str, int | Address] = field(default_factory=dict)
    note: str = field(default="", compare=False)
    operation: str = field(default="", compare=False)

    def __getitem__(self, name: str) -> int | Address:
        return self.operands[name]

    def __str__(self):
        words = [self.op.name]
        for name, value in self.operands.items():
            default = int(name in COUNTS)
            if value != (Address(default) if isinstance(value, Address) else default) and value not in (
                    Source.POSITION, MxmBlocks.NONE, VxmBlocks.NONE, Function.MULTIPLY, To.NOWHERE, Reduce.NONE):
                words.append(f"{name}={getattr(value, 'name', value)}")
        return " ".join(words + [f"wait={self.wait}"] * bool(self.wait))


class Isa:
    """The encodings for a configuration: layouts, `encode`, `decode`, and the text form."""

    def __init__(self, config: Config):
        self.config = config
        word, granule = address_bits(config.mem_depth), address_bits(config.granules)
        weight, target = address_bits(config.wram_depth), address_bits(config.program_depth)
        cached = address_bits(config.wram_depth * max(config.granules_per_word, config.beats_per_result))
        scalar = address_bits(config.scalars)
        self.registers = 16 if config.compact else 8
        """Address registers; of a compact tile more, because there counts add them, too."""
        self.register_bits = VALUE_BITS if config.compact else max(word, granule, weight, cached)
        """Width of an address register."""
        self.count_bits = count = min(granule - 1, 10) if config.compact else min(granule + 1, MOST_COUNT_BITS)
        """Width of a count: what steps through MEM needs no more, and of a compact tile none steps through half of it."""
        self.number_bits = min(granule, TOKEN_BITS)
        """Width of the number of a granule in its round."""
        self.counters = 1 if config.compact else 4
        """Loop counters: how deep loops nest."""
        register = address_bits(self.registers)
        # Only where weights have 4 bits are there 8-bit ones in halves.
        wide, high = ({name: 1} if config.weight_bits == 4 else {} for name in ("wide", "high"))
        engine = {"engine": 1} if config.engines > 1 else {}

        def address(bits):
            return data.StructLayout({"offset": bits, "base": register})

        # In a compact tile counts have address registers instead of blocks, and what no model needs has fewer bits.
        counted = address(count) if config.compact else count
        mxm_rounds, rounds, hop, far, into = count, count, granule, max(granule, cached), scalar
        if config.compact:
            mxm_rounds, rounds, hop, far, into = 7, 6, min(hop, 10), min(far, 11), into - 1
        blocks = {} if config.compact else {"blocks": MxmBlocks}
        self.operands: dict[Op, data.Layout] = {
            Op.HALT: data.StructLayout({"if_prompt": 1}),
            Op.NOP: data.StructLayout({"register": register} if config.compact else {"turns": 8, "blocks": 3}),
            Op.SET: data.StructLayout({"register": register, "value": self.register_bits}),
            Op.ADD: data.StructLayout({"register": register, "value": self.register_bits}),
            Op.INDEX: data.StructLayout({"register": register, "value": self.register_bits, "source": Source,
                                         "right": 4, "bits": 4, "times": FACTOR_BITS}),
            Op.PERIOD: data.StructLayout({"value": count} if config.compact else
                                         {"value": signed(count), "times": 8, "least": count - 1}),
            Op.LOOP: data.StructLayout({"count": 8, "target": target} if config.compact else
                                       {"counter": address_bits(self.counters), "count": count, "target": target}),
            Op.TOKEN: data.StructLayout({"target": target}),
            Op.MXM: data.StructLayout({
                "act": address(word), "wgt": address(weight), "inner": counted, "middle": counted, "outer": mxm_rounds,
                "wgt_step": weight, "act_hop": word, "wgt_hop": weight, "wrap": mxm_rounds,
            } | blocks | {"paced": 1, "fetch": 1} | wide),
            Op.VXM: data.StructLayout(engine | {
                "stream": 1, "function": Function, "by_vector": 1, "plus": 1, "pair": 1,
                "x": address(granule), "y": address(granule), "dst": address(max(granule, cached)),
                "inner": count, "middle": counted, "outer": rounds, "interval": counted,
            } | ({} if config.compact else {"blocks": VxmBlocks}) | {
                "paced": 1, "x_step": 1, "y_step": 1, "x_hop": hop, "y_hop": hop, "dst_hop": far,
                "shift": signed(SHIFT_BITS), "narrow": 1, "to": To, "mask": 1,
                "scalar": scalar, "scalar_hop": 1, "bare": 1, "reduce": Reduce, "into": into,
            } | high),
            Op.SFU: data.StructLayout({
                "function": Sfu, "a": scalar, "b": scalar, "into": scalar, "epsilon": EPSILON_BITS, "count": scalar,
            }),
        }
        """Layout of the operands of each operation."""
        self.width = Op.as_shape().width + WAIT_BITS + max(layout.size for layout in self.operands.values())
        """Bits of an instruction."""
        if config.compact:
            self.operands = {op: in_rows(op.name, layout) for op, layout in self.operands.items()}
            self.width = ROWS * LINK_BITS

    def make(self, op: Op, wait: int = 0, note: str = "", **operands) -> Instruction:
        """An instruction: what is not given is 1 if it is a count, else 0; addresses may be plain numbers.

        EncodingError for an operand that the operation does not have, or that is out of range.
        """
        layout = self.operands[op]
        unknown = operands.keys() - {name for name, _ in layout}
        if unknown:
            raise EncodingError(f"{op.name} has no operand {', '.join(sorted(unknown))}")
        values = {}
        for name, member in layout:
            value = operands.get(name, int(name in COUNTS))
            if isinstance(member.shape, data.Layout) and isinstance(value, int):
                value = Address(value)
            values[name] = member.shape(value) if isinstance(member.shape, type) else value
        instruction = Instruction(op, wait, values, note)
        self.check(instruction)
        return instruction

    @cached_property
    def layout(self) -> data.StructLayout:
        """An instruction: operation, wait, and the operands, which lie over each other. Of a compact tile: see `encoding`."""
        operands = data.UnionLayout({op.name.lower(): layout for op, layout in self.operands.items()})
        if self.config.compact:
            return data.FlexibleLayout(self.width, {
                "op": data.Field(Op, OPERATION), "wait": data.Field(WAIT_BITS, 0), "operands": data.Field(operands, 0)})
        return data.StructLayout({"op": Op, "wait": WAIT_BITS, "operands": operands})

    @cache  # noqa: B019 - an Isa lives as long as its configuration
    def command(self, op: Op) -> data.StructLayout:
        """What a slice is told: the operands of `op` with each address and count resolved to a plain number, and the period."""
        return data.StructLayout({
            name: member.shape["offset"].shape if isinstance(member.shape, data.Layout) else member.shape
            for name, member in self.operands[op]
        } | ({"period": self.count_bits} if op in (Op.MXM, Op.VXM, Op.SFU) else {}))

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
                if value == Address(0) and name in COUNTS:
                    raise EncodingError(f"{instruction}: {name} must be at least 1")
            elif isinstance(shape, type):
                if not isinstance(value, shape):
                    raise EncodingError(f"{instruction}: {name} should be one of {', '.join(shape.__members__)}")
            else:
                _fits(instruction, name, value, shape)
                if value == 0 and name == "register" and instruction.op is not Op.NOP:
                    raise EncodingError(f"{instruction}: address register 0 is always 0")
                if name == "into" and not self._is_home(instruction, value):
                    raise EncodingError(f"{instruction}: scalar register {value} is not one that {instruction.op.name} writes")
                if instruction.op is Op.SFU and name in ("a", "b") and not self._is_source(instruction, name, value):
                    raise EncodingError(f"{instruction}: scalar register {value} is not one that "
                                        f"{instruction['function'].name} reads")
                if value == 0 and name in COUNTS and not _in_blocks(instruction, name):
                    raise EncodingError(f"{instruction}: {name} must be at least 1")
                if value > MOST_SHIFT and _in_blocks(instruction, name):
                    raise EncodingError(f"{instruction}: {name} blocks must be a shift of at most {MOST_SHIFT}")
        if self.config.compact and instruction.op is Op.INDEX and instruction["bits"]:
            _fits(instruction, "right + bits", instruction["right"] + instruction["bits"], unsigned(4))

    def _is_home(self, instruction, register):
        """Reductions write the lower half of the scalar registers, but for register 0, which is 1; SFU the upper half."""
        half = self.config.scalars // 2
        if instruction.op is Op.SFU:
            return register >= half
        return register == 0 if instruction["reduce"] in (Reduce.NONE, Reduce.ARGMAX) else 0 < register < half

    def _is_source(self, instruction, name, register):
        """MULTIPLY reads the upper half; other functions the lower one, and nothing at `b`."""
        if instruction["function"] is Sfu.MULTIPLY:
            return register >= self.config.scalars // 2
        return register < self.config.scalars // 2 if name == "a" else register == 0

    def encode(self, instruction: Instruction) -> int:
        """The instruction as an integer of `width` bits; EncodingError if it is not a legal one."""
        self.check(instruction)
        operands = {
            name: {"offset": value.offset, "base": value.base} if isinstance(value, Address) else value
            for name, value in instruction.operands.items()
        }
        op = instruction.op
        if self.config.compact and op is Op.INDEX:
            # The number of the highest bit, instead of how many there are.
            operands["bits"] = operands["right"] + operands["bits"] - 1 if operands["bits"] else (1 << 4) - 1
        code = _pack(self.layout["op"], op) | _pack(self._wait(op), instruction.wait) | sum(
            _pack(field, operands[name]) for name, field in self._operands(op))
        for name, places in (COPIES.get(op.name, {}) if self.config.compact else {}).items():
            code |= sum(operands[name] << bit(*place) for place in places)
        return code

    def _wait(self, op):
        """Where an operation's wait is."""
        wait = self.layout["wait"]
        place = WAIT.get(op.name) if self.config.compact else None
        return data.Field(wait.shape, bit(*place)) if place else wait

    def _operands(self, op):
        """Names and fields of an operation's operands, from the instruction's lowest bit on."""
        base = self.layout["operands"].offset
        return [(name, data.Field(field.shape, base + field.offset)) for name, field in self.operands[op]]

    def decode(self, code: int) -> Instruction:
        """The instruction that `code` encodes; EncodingError for bits that encode none."""
        if not 0 <= code < 1 << self.width:
            raise EncodingError(f"{code:#x} is not an instruction of {self.width} bits")
        number = _field(code, self.layout["op"])
        if number not in {op.value for op in Op}:
            raise EncodingError(f"{code:#x}: no operation has number {number}")
        op, operands = Op(number), {}
        wait = _field(code, self._wait(op))
        for name, member in self._operands(op):
            value = _field(code, member)
            shape = member.shape
            if isinstance(shape, data.Layout):
                value = Address(_field(value, shape["offset"]), _field(value, shape["base"]))
            elif isinstance(shape, type):
                if value not in {item.value for item in shape}:
                    raise EncodingError(f"{code:#x}: {op.name} has no {name} {value}")
                value = shape(value)
            elif Shape.cast(shape).signed:
                value -= (value >> member.width - 1) << member.width
            operands[name] = value
        if self.config.compact and op is Op.INDEX:
            bits = operands["bits"] + 1 - operands["right"]
            operands["bits"] = 0 if operands["bits"] == (1 << 4) - 1 else max(bits, 0)
        instruction = Instruction(op, wait, operands)
        if self.encode(instruction) != code:
            raise EncodingError(f"{code:#x}: bits are set that no operand of {op.name} uses")
        return instruction

    def parse(self, line: str) -> Instruction:
        """The instruction that `str(instruction)` wrote; EncodingError, in one line, for any other text."""
        name, *words = line.split()
        if name not in Op.__members__:
            raise EncodingError(f"{name!r} is no operation: there are {', '.join(Op.__members__)}")
        wait, operands, said = 0, {}, set()
        for word in words:
            match = re.fullmatch(r"(\w+)=(?:(-?\d+)|A(\d+)\+(\d+)|([A-Z]\w*))", word)
            if not match:
                raise EncodingError(f"{word!r} should be NAME=NUMBER, NAME=A<register>+NUMBER or NAME=WORD")
            key, number, base, offset, choice = match.groups()
            if key in said:
                raise EncodingError(f"{word!r}: {key} is said twice")
            said.add(key)
            member = dict(self.operands[Op[name]]).get(key)
            shape = member.shape if member else None
            if key == "wait" and number:
                wait = int(number)
            elif choice:
                if not isinstance(shape, type) or choice not in shape.__members__:
                    raise EncodingError(f"{word!r}: {name} has no such operand")
                operands[key] = shape[choice]
            elif isinstance(shape, data.Layout):
                operands[key] = Address(int(offset or number), int(base or 0))
            elif base is None and not isinstance(shape, type):
                operands[key] = int(number)
            else:
                raise EncodingError(f"{word!r}: {key} is not {'an address' if base else 'a number'}")
        return self.make(Op[name], wait, **operands)


MOST_SHIFT = 3
"""A count in blocks is at most 8 times their number."""


@lru_cache
def isa_of(config: Config) -> Isa:
    """The instruction set of a configuration, made once."""
    return Isa(config)


def _in_blocks(instruction, name):
    blocks = instruction.operands.get("blocks")
    return isinstance(blocks, (MxmBlocks, VxmBlocks)) and blocks.name == name.upper()


def _fits(instruction, what, value, shape):
    shape = Shape.cast(shape)
    low = -(1 << shape.width - 1) if shape.signed else 0
    if not low <= value < low + (1 << shape.width):
        raise EncodingError(f"{instruction}: {what} must be {low} to {low + (1 << shape.width) - 1}")


def _field(code, member):
    return code >> member.offset & (1 << member.width) - 1


def _pack(field, value):
    """A value, at its place among an instruction's bits."""
    if isinstance(value, dict):
        return sum(_pack(part, value[name]) for name, part in field.shape) << field.offset
    return (getattr(value, "value", value) & (1 << field.width) - 1) << field.offset
