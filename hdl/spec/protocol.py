"""The protocol of the link: requests of the host, and responses of the tile.

A frame is a sequence of 32-bit words. A UART carries each word least significant byte first. The
same words go through a simulator's memory, a pseudo-terminal or a cable.

Request::

    word 0   Request header (magic, opcode, space, sequence)
    word 1   address, in link words from the start of the space
    word 2   length, in words: of the payload for a WRITE, of the answer for a READ, else 0
    word 3   CRC-32 of words 0 to 2
    then, for a WRITE of a length above 0: the payload, and the CRC-32 of words 0 to 2 and the payload

Response::

    word 0   Response header (magic, status, number, sequence)
    word 1   length of the payload in words
    word 2   CRC-32 of words 0 and 1
    then, for a length above 0: the payload, and the CRC-32 of words 0 and 1 and the payload

A START has in word 1 the first instruction and the token (`StartWhere`), and in word 2 the position
and the number of tokens that are wanted (`StartHow`). A WAIT has in word 1 the number of the first
token that the host has not received yet: 0 at first.

The CRC is CRC-32/ISO-HDLC (that of Ethernet, zip and `zlib.crc32`) over the words' little-endian
bytes. The second CRC of a frame covers its header, too: when words between two frames are lost, the
header of the first and the payload of the second are not taken for a frame.

Rules:

* The tile executes a request with the expected sequence number, and then expects the next number
  (modulo 256). The number before the expected one means that the host repeats a frame because the
  answer was lost, or that the line has doubled it. The tile answers a repeated START or WRITE as
  before, without a second effect; it executes any other repeated request again. It ignores a request
  with any other number and answers SEQUENCE. It executes a RESET with any number, and then expects
  the number after it.
* After a header with a wrong CRC or magic number, the tile ignores all words until the line has been
  silent for `Config.link_timeout` cycles; then it answers CRC. A payload with a wrong CRC is answered
  CRC, and the expected number stays the same, so the host sends the frame again. Until a WRITE has
  succeeded, START is answered DIRTY; RESET does not change that. If a frame stops for
  `link_timeout` cycles, the answer is CUT_OFF.
* While a program runs, requests for MEM and PROGRAM are answered BUSY, and so is START. The host may
  write W-RAM (words that the program does not read meanwhile) and read registers and tokens. The tile
  receives and ignores the payload of a WRITE that it refuses.
* WAIT is answered when no program is running, with two words: the registers CYCLES and OUTCOME,
  which has the number of tokens that the run has made. Before that the tile sends each token at
  once, in a response of its own with the status TOKEN, the number of the token in the header, and
  the token as one word of payload. The host has all tokens if it has received one for each number
  below that in OUTCOME. If one is missing, or the answer is, it repeats the WAIT, and the tile sends
  the tokens again, from the one asked for on. A word that arrives during a WAIT ends it without an
  answer.
* RESET ends a run. What its slices still work on is dropped; memories keep their contents.

The length of a WRITE counts modulo a power of two that is larger than every space.

Addresses in a space count link words. An entry of a memory takes a power-of-two number of link
words (see `parts`), least significant word first. A write starts and ends at the boundary of an
entry.

======== ==========================================================================
REGISTER see `Register`
PROGRAM  instruction n at n * parts
MEM      granule n (`lanes` int16 values, lane 0 lowest) at n * parts
WRAM     word w of column c at (w * cols + c) * parts; `rows` weights, row 0 lowest; write only
TOKENS   the tokens that the last run has made, one a link word; read only
======== ==========================================================================
"""

from amaranth.lib import data, enum

from .config import Config
from .isa import isa_of

REQUEST_MAGIC = 0x4D
RESPONSE_MAGIC = 0xE5
VERSION = 5
"""Version of this protocol and of the meaning of programs; see `tests/hdl/test_version.py`."""


class Opcode(enum.Enum, shape=4):
    """The kind of a request."""

    RESET = 0
    READ = 1
    WRITE = 2
    START = 3
    WAIT = 4


class Space(enum.Enum, shape=4):
    """The memory or registers that a READ or WRITE addresses. A START has its own fields."""

    REGISTER = 0
    PROGRAM = 1
    MEM = 2
    WRAM = 3
    TOKENS = 4


class Status(enum.Enum, shape=8):
    """The result of a request."""

    OK = 0
    CRC = 1
    SEQUENCE = 2
    BUSY = 3
    ADDRESS = 4
    """Address outside the space, space that cannot be read or written, or too many tokens wanted.
    """
    OPCODE = 5
    CUT_OFF = 6
    DIRTY = 7
    TOKEN = 8
    """Not the answer yet, but a token that the run has made."""


class Register(enum.Enum, shape=4):
    """Read-only registers, one link word each."""

    ID = 0
    """The letters MRY and `VERSION`."""
    CONFIG = 1
    """`Config.hash`."""
    CYCLES = 2
    """Clock cycles of the last run; during a run, its cycles so far."""
    OUTCOME = 3
    """`Outcome` of the last run."""
    RUNS = 4
    """Number of runs since power-up, modulo 65536."""
    LINK_FAULTS = 5
    """Number of frames refused since power-up as CRC, SEQUENCE or CUT_OFF, modulo 65536."""


ID = int.from_bytes(b"MRY", "big") << 8 | VERSION

MOST_TOKENS = 256
"""The most tokens that a run can make. The tile stores them until the next run."""
ENTRY_BITS = 12
"""Width of the number of a first instruction."""

Request = data.StructLayout({"sequence": 8, "reserved": 8, "space": Space, "opcode": Opcode, "magic": 8})
Response = data.StructLayout({"sequence": 8, "number": 8, "status": Status, "magic": 8})
"""Word 0 of a response. `number`: of a token in its run, from 0 on; without meaning in any other
response."""
Outcome = data.StructLayout({"schedule_faults": 16, "made": 16})
"""What a run has left: the cycles in which a slice found a fault in the schedule, modulo 65536, and
the number of tokens that it has made."""

StartWhere = data.StructLayout({"entry": ENTRY_BITS, "token": 32 - ENTRY_BITS})
"""Word 1 of a START: the first instruction, and the token of this step, of `Config.token_bits` bits."""
StartHow = data.StructLayout({"position": 16, "count": 16})
"""Word 2 of a START: the position of this step, and the tokens wanted (0: a step of a prompt)."""


def parts(bits: int) -> int:
    """Link words of an entry of `bits` bits: a power of two, so that an address splits without
    logic.
    """
    return 1 << ((bits + 31) // 32 - 1).bit_length()


def entry_bits(config: Config, space: Space) -> int:
    """Bits of one entry of a space."""
    return {
        Space.REGISTER: 32,
        Space.PROGRAM: isa_of(config).width,
        Space.MEM: config.lanes * 16,
        Space.WRAM: config.rows * config.weight_bits,
        Space.TOKENS: 32,
    }[space]


def entry_count(config: Config, space: Space) -> int:
    """Number of entries of a space; for W-RAM the sum over all columns."""
    return {
        Space.REGISTER: len(Register),
        Space.PROGRAM: config.program_depth,
        Space.MEM: config.granules,
        Space.WRAM: config.wram_depth * config.cols,
        Space.TOKENS: MOST_TOKENS,
    }[space]


def space_words(config: Config, space: Space) -> int:
    """Number of link words in a space."""
    return entry_count(config, space) * parts(entry_bits(config, space))
