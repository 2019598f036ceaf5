"""The instruction set: the operations, what each does, and an instruction with its operands.

A program is a list of instructions. The first issues `Sequencer.first_issue` cycles after go. After
an instruction has issued, the next one issues `Sequencer.issue_cycles` + `wait` cycles later; every
instruction has a `wait`. An instruction for a slice (MXM, VXM, SFU) starts the slice. The slice
then works for as many cycles as the counts say, while later instructions issue. `docs/cycles.md`
lists the cycles of each instruction.

====== =================================================================================
HALT   The run ends. With `if_prompt` it ends only if no token is wanted: in a step of a prompt.
NOP    Waits for `turns` periods, in addition to `wait`. With `blocks` n > 0, also for 2**(n - 1)
       cycles a block.
SET    Address register `register` = `value`.
ADD    Address register `register` += `value`, modulo its width: a large value subtracts.
INDEX  Address register `register` = `value` + (`source` >> `right`) * `times`. The source is the
       position or the token. If `bits` is not 0, only the lowest `bits` bits of the shifted source
       are multiplied.
PERIOD The period = max(`least`, `value` + blocks * `times`) cycles, where blocks is the number of
       blocks of the KV cache that positions 0 to this one fill: position / max(rows, cols) + 1.
LOOP   Goes to `target`, `count` - 1 times in a row; then goes on to the next instruction.
       `counter` is the number of the loop counter that it uses.
TOKEN  Puts out the last ARGMAX as the next token and increments the position. Goes to `target` if
       more tokens are wanted.
STEP   The position += `value`, modulo its 16 bits, so a large value goes back: the positions of a
       block take turns within a run. No instruction before it may still use the position. Only on
       a tile with external memory.
MXM    Makes matrix products:
         for o < outer, for m < middle: one result (`cols` dot products)
           for i < inner: one beat a cycle,
             activation word [act + o*act_hop + i] times
             W-RAM word [wgt + (o % wrap)*wgt_hop + m*wgt_step + i]
       Results are at least cols / lanes cycles apart.
       paced       rounds (values of o) begin a period apart
       fetch       no product: the results are the W-RAM words of column `token % cols`
       wide        only where weights have 4 bits and keys 8: two words hold the 8-bit weights of one, as
                   `wide` describes. On a tile with `paired` a beat reads both: beat i uses
                   W-RAM words w and w + 1, where w = [wgt + o*.. + m*.. + 2*i] without its
                   lowest bit. On others the words have the low halves, unsigned, and then the
                   high halves, a beat each; beat i uses activation word i / 2
VXM    Computes on `lanes` values in each beat, one beat a cycle:
         for o < outer, for m < middle, for i < inner:
           y = saturate(((a * b) >> shift) + c), rounded half up
       The beats of m begin `interval` cycles apart, or `inner` if that is more.
       paced       rounds (values of o) begin a period apart
       a           the MXM's stream if `stream`, else MEM at `x`
       b           MEM at `y` if `by_vector`, else scalar register `scalar`
       c           0; with `plus` MEM at `x` if `stream`, else MEM at `y`
       shift       the operand `shift` plus the scalar's exponent; with `bare` without it
       function    MULTIPLY as above; EXP2 y = 127 * 2**-((scalar - a) / 256);
                   SILU y = a * sigmoid(a); GELU y = a * gate(a), only on a tile whose
                   configuration has `gelu`; both with shift = 15, see `integer`. Functions other
                   than MULTIPLY take 16-bit values of MEM, one a beat: neither with `stream`
                   nor with `pair`, where what they give is not defined
       narrow      y has 8 bits instead of 16; as KEYS or VALUES `cache_bits`, which are 8 or 4
       pair        a value takes two beats and is their sum: a * b, then, with the same `x`,
                   a with its neighbouring lanes swapped times the next b
       addresses   `y` steps by `y_step` a beat, `x` by `x_step` and `dst` by 1 a value; from o
                   to o + 1 they step by `y_hop`, `x_hop`, `dst_hop`, and `scalar` by `scalar_hop`
       to          y goes to MEM, or to W-RAM as KEYS (words of column position % cols) or
                   VALUES (lane position % rows of every column), or NOWHERE
       high        only where weights have 4 bits and keys 8: there KEYS and VALUES count `dst` in pairs
                   of words. On a tile with `paired` y goes to both at once, and there is no
                   `high`; on others the low 4 bits of y go to the first word of a pair, or with
                   `high` the next 4 bits to the second
       reduce      each round of o leaves a scalar, in the registers from `into` on, which
                   must be in the lower half. ARGMAX leaves none: `into` is 0; with external
                   memory 1 says that it goes on where the ARGMAX before it has ended, with the
                   largest value and the number of granules so far
       mask        y is 0, and is left out of the reduction, for values of the round whose
                   number is above the position
       then        only on a tile that is `chained`: what a stream's VXM does with a turn's values
                   when they are in MEM, before the next turn: see "then" below, or
                   `marey.hdl.spec.chained`
SFU    `count` times, a period apart: scalar register `into` = `function` of (scalar `a` +
       `epsilon`). `into` is in the upper half of the registers, `a` in the lower half. For
       MULTIPLY, scalar `into` = scalar `a` * scalar `b`, all in the upper half. `a` and `b` step
       by 1 each time, `into` by 1 a result; QUANTISE has two results.
MOVE   Moves `count` bursts of external memory, from burst `far` on, in ascending order.
         to=WRAM   to W-RAM: word `near`, column 0, then column 1, and so on through all columns,
                   then word `near` + 1
         to=MEM    to MEM, from granule `near` on
         to=SDRAM  from MEM, granule `near` on, to external memory
       A burst has 8 words of the memory's bus. The lowest bits of an entry come first. `count`
       must be such that the last entry is whole.
====== =================================================================================

An address is an `offset` plus an address register (`base`); register 0 is always 0. MXM counts
addresses in MEM and W-RAM in words (`rows` values). VXM counts them in granules (`lanes` values),
and VALUES in groups of `lanes` columns. The operand `blocks` names a count that is in blocks: the
number of blocks is shifted left by that count's value.

A compact tile reads instructions in rows (`hdl/spec/row_encoding.py`). Its instructions differ in
this: the counts `inner` and `middle` of an MXM, and `middle` and `interval` of a VXM, have an
address register instead of `blocks`; the register holds a multiple of the blocks. NOP has an
address register, `register`, that is added to its wait, instead of `turns` and `blocks`. PERIOD has
only `value`. There is one loop counter.
"""

from dataclasses import dataclass, field
from functools import cached_property

from amaranth.lib import enum

from .errors import MareyError


class EncodingError(MareyError):
    """An instruction, bits or text that are not legal. The message is one line that says why."""


FACTOR_BITS = 12
"""Width of `times`, the factor of an INDEX."""
WAIT_BITS = 14
SHIFT_BITS = 7
POSITION_BITS = 16
"""Width of a position, and of a number of tokens."""
EPSILON_BITS = 16


class Op(enum.Enum, shape=4):
    """The operations. HALT is 0, so a program memory of zeros is a program that halts."""

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
    MOVE = 11
    STEP = 12


OPTIONAL_OPERATIONS = {Op.MOVE: "sdram", Op.STEP: "sdram"}
"""Operations that a tile has only if this field of its configuration is not 0."""


class Source(enum.Enum, shape=1):
    """The number that INDEX computes with."""

    POSITION = 0
    TOKEN = 1


class MxmBlocks(enum.Enum, shape=2):
    """Names the count of an MXM that is in blocks."""

    NONE = 0
    INNER = 1
    MIDDLE = 2


class VxmBlocks(enum.Enum, shape=2):
    """Names the count of a VXM that is in blocks."""

    NONE = 0
    INTERVAL = 1
    MIDDLE = 2


class Function(enum.Enum, shape=2):
    """The function of a VXM."""

    MULTIPLY = 0
    EXP2 = 1
    SILU = 2
    GELU = 3


OPTIONAL_FUNCTIONS = {Function.GELU: "gelu"}
"""Functions that a tile has only if this field of its configuration is 1."""


class To(enum.Enum, shape=2):
    """The place that a VXM writes its values to."""

    NOWHERE = 0
    MEM = 1
    KEYS = 2
    VALUES = 3


class Reduce(enum.Enum, shape=3):
    """The reduction of a round's values.

    PICK takes the value in lane token % lanes. ARGMAX leaves the next token, not a scalar.
    """

    NONE = 0
    MAX = 1
    ABSMAX = 2
    SUM = 3
    ARGMAX = 4
    PICK = 5


class Then(enum.Enum, shape=2):
    """What a VXM of a tile that is `chained` does with the values that it has taken from the MXM."""

    NOTHING = 0
    SQUARES = 1
    SILU = 2
    TURN = 3


class Place(enum.Enum, shape=2):
    """The place that a MOVE writes to."""

    WRAM = 0
    MEM = 1
    SDRAM = 2


class Sfu(enum.Enum, shape=2):
    """Functions of scalars, which `marey.hdl.spec.integer` defines.

    QUANTISE has two results: the factor, then the step.
    """

    QUANTISE = 0
    RSQRT = 1
    RECIPROCAL = 2
    MULTIPLY = 3


COUNTS = ("inner", "middle", "outer", "interval", "count", "wrap")
"""Operands whose default is 1 and that are at least 1; the default of all others is 0."""
MOST_SHIFT = 3
"""The largest value of a count in blocks. It is a shift: 3 makes 8 times the number of blocks."""

DEFAULT_WORDS = (Source.POSITION, MxmBlocks.NONE, VxmBlocks.NONE, Function.MULTIPLY, To.NOWHERE, Reduce.NONE, Place.WRAM,
                 Then.NOTHING)
"""Defaults of operands that are words, which the text form leaves out."""


@dataclass(frozen=True)
class Address:
    """A memory address: `offset` plus the contents of address register `base`."""

    offset: int
    base: int = 0

    def __str__(self):
        return f"A{self.base}+{self.offset}" if self.base else str(self.offset)


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    op        its operation
    wait      cycles that are added to the distance to the next issue
    operands  by name, with just the names in `Isa.operands[op]`: an integer, an `Address` or a
              member of an enumeration
    operation names the operation of the model's graph that it belongs to; not encoded, not compared
    note      says in words what it is for; not encoded, not compared
    """

    op: Op
    wait: int = 0
    operands: dict[str, int | Address] = field(default_factory=dict)
    note: str = field(default="", compare=False)
    operation: str = field(default="", compare=False)

    def __getitem__(self, name: str) -> int | Address:
        return self.operands[name]

    @cached_property
    def addresses(self) -> tuple[tuple[str, Address], ...]:
        """The operands that are addresses, or counts with an address register: (name, value)."""
        return tuple((name, value) for name, value in self.operands.items() if isinstance(value, Address))

    @cached_property
    def counted_in_blocks(self) -> str | None:
        """The name of the count that is in blocks; None if there is none."""
        blocks = self.operands.get("blocks")
        return blocks.name.lower() if isinstance(blocks, (MxmBlocks, VxmBlocks)) and blocks.value else None

    def __str__(self):
        words = [self.op.name]
        for name, value in self.operands.items():
            default = int(name in COUNTS)
            if isinstance(value, Address):
                default = Address(default)
            if value != default and value not in DEFAULT_WORDS:
                words.append(f"{name}={getattr(value, 'name', value)}")
        return " ".join(words + [f"wait={self.wait}"] * bool(self.wait))
