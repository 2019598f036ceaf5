"""The link's frames: what the host says to the tile and what the tile answers.

Everything is 32-bit words; a UART carries them least significant byte first. The same words go
through a simulator's memory, a pseudo-terminal or a cable.

Request::

    word 0   Request header (magic, opcode, space, sequence)
    word 1   address, in link words from the start of the space
    word 2   length, in words: of the payload for a WRITE, of the answer for a READ, else 0
    word 3   CRC-32 of words 0 to 2
    then, for a WRITE of a length above 0: the payload, and the CRC-32 of the payload

Response::

    word 0   Response header (magic, status, sequence)
    word 1   length of the payload in words
    word 2   CRC-32 of words 0 and 1
    then, for a length above 0: the payload, and the CRC-32 of the payload

A START says in word 1 where to begin and with which token, and in word 2 at which position and how many
tokens are wanted (see `StartWhere`, `StartHow`).

The CRC is CRC-32/ISO-HDLC (that of Ethernet, zip and `zlib.crc32`) over the words' little-endian bytes.

Rules:

* A request is obeyed if its sequence number is the expected one; the tile then expects the next
  (modulo 256). The number before the expected one is a repeated frame, whose answer was lost:
  a START is answered as it was and not obeyed again, anything else is done again, to the same effect.
  Any other number is answered SEQUENCE and ignored. A RESET is obeyed whatever its number,
  and the tile then expects the number after it.
* After a header that fails its CRC, or does not begin with the magic number, the tile ignores words until the line
  has been silent for `Config.link_timeout` cycles, and then answers CRC. A payload that fails its CRC is answered CRC,
  and the expected number stays: the host sends the frame again. Until it has (or has sent RESET),
  START is answered DIRTY. A frame that stops for `link_timeout` cycles is answered CUT_OFF.
* While a program runs, MEM and PROGRAM are answered BUSY, and so is START; W-RAM may be written
  (the program must not read what is being written), registers and tokens read. The payload of a refused
  WRITE is taken in and ignored.
* WAIT is answered when no program is running, with two words: the registers CYCLES and SCHEDULE_FAULTS. Until
  then each token that the run has made is sent at once, as a response of its own with the status TOKEN and
  the token as its one word of payload; a WAIT that is sent again gets them all again.
  A word that arrives meanwhile ends the wait without an answer.

The length of a WRITE counts modulo a power of two that is beyond every space.

Spaces are addressed in link words. An entry of a memory takes a power-of-two number of link words
(see `parts`), least significant first; a write starts and ends on an entry's boundary.

======== ==========================================================================
REGISTER see `Register`
PROGRAM  instruction n at n * parts
MEM      granule n (`lanes` int16 values, lane 0 lowest) at n * parts
WRAM     word w of column c at (w * cols + c) * parts; `rows` weights, row 0 lowest. Write only
TOKENS   those that the last run has made, one a link word. Read only
======== ==========================================================================
"""

from amaranth.lib import data, enum

from .config import Config

REQUEST_MAGIC = 0x4D
RESPONSE_MAGIC = 0xE5
VERSION = 3
"""Counts changes of this protocol and of what programs mean (`tests/hdl/test_version.py`); in the `ID` register."""


class Opcode(enum.Enum, shape=4):
    """What a request asks for."""

    RESET = 0
    READ = 1
    WRITE = 2
    START = 3
    WAIT = 4


class Space(enum.Enum, shape=4):
    """What a READ or WRITE addresses. START has fields of its own instead."""

    REGISTER = 0
    PROGRAM = 1
    MEM = 2
    WRAM = 3
    TOKENS = 4


class Status(enum.Enum, shape=8):
    """How a request fared."""

    OK = 0
    CRC = 1
    SEQUENCE = 2
    BUSY = 3
    ADDRESS = 4
    """Outside the space, or a space that cannot be read or written, or too many tokens wanted."""
    OPCODE = 5
    CUT_OFF = 6
    DIRTY = 7
    TOKEN = 8
    """Not an answer yet: a token that the run has made."""


class Register(enum.Enum, shape=4):
    """Read-only registers, one link word each."""

    ID = 0
    """"MRY" and the protocol version."""
    CONFIG = 1
    """`Config.hash`."""
    CYCLES = 2
    """Clock cycles of the last run, or so far of the run going on."""
    SCHEDULE_FAULTS = 3
    """Cycles of the last run in which a promise of its schedule was broken, modulo 65536; see Tile."""
    RUNS = 4
    """Runs started since power-up, modulo 65536."""
    LINK_FAULTS = 5
    """Frames refused since power-up: CRC, sequence, cut off; modulo 65536."""
    MADE = 6
    """Tokens that the last run has made."""


ID = int.from_bytes(b"MRY", "big") << 8 | VERSION

MOST_TOKENS = 256
"""Tokens that a run can be asked for: all are kept until the next."""
ENTRY_BITS = 12

Request = data.StructLayout({"sequence": 8, "reserved": 8, "space": Space, "opcode": Opcode, "magic": 8})
Response = data.StructLayout({"sequence": 8, "reserved": 8, "status": Status, "magic": 8})

StartWhere = data.StructLayout({"entry": ENTRY_BITS, "token": 16, "reserved": 4})
"""The address of a START: the first instruction, and the token of this step."""
StartHow = data.StructLayout({"position": 16, "count": 16})
"""The length of a START: the position of this step, and how many tokens are wanted (0: a step of a prompt)."""


def parts(bits: int) -> int:
    """Link words that an entry of `bits` bits takes: a power of two, so that addresses split by wiring."""
    return 1 << ((bits + 31) // 32 - 1).bit_length()


def entry_bits(config: Config, space: Space) -> int:
    """Bits of one entry of a memory."""
    from .isa import Isa

    return {
        Space.REGISTER: 32,
        Space.PROGRAM: Isa(config).width,
        Space.MEM: config.lanes * 16,
        Space.WRAM: config.rows * config.weight_bits,
        Space.TOKENS: 32,
    }[space]


def entry_count(config: Config, space: Space) -> int:
    """Entries of a memory; of W-RAM, over all columns."""
    return {
        Space.REGISTER: len(Register),
        Space.PROGRAM: config.program_depth,
        Space.MEM: config.granules,
        Space.WRAM: config.wram_depth * config.cols,
        Space.TOKENS: MOST_TOKENS,
    }[space]


def space_words(config: Config, space: Space) -> int:
    """Link words in a space."""
    return entry_count(config, space) * parts(entry_bits(config, space))
