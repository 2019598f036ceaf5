"""Puts a program into the block RAMs of a finished ECP5 design, in the place of what a host would
load.

The memories of a synthesised board start with placeholders: random bits that are different in every
memory. Synthesis and place and route cut a memory into block RAMs in their own way. A column of
bits in a block RAM, found again in the netlist or in nextpnr's configuration, says by its random
bits which column of which memory it holds; so the wanted contents can take its place, and a new
model goes into a finished bitstream in seconds.
"""

import hashlib
import re
from dataclasses import dataclass

import numpy as np

from ..hdl.mxm.wram import Wram
from ..hdl.spec.config import Config
from ..hdl.spec.errors import MareyError
from ..hdl.spec.packing import pack_mem, pack_program, weights_to_octets
from ..hdl.spec.protocol import Space, entry_bits, parts
from ..hdl.spec.wide import from_words
from ..sw.program.program import Program

ROWS, BITS = 1024, 18
"""Rows and bits of a row of a DP16KD, in its widest view with 18 bits."""

_DEPTHS = {36: 512, 18: 1024, 9: 2048, 4: 4096, 2: 8192, 1: 16384}
"""Rows of a DP16KD, by the width of its ports in bits."""

FEWEST_ROWS = 64
"""A column of at least so many random bits is assumed to differ from all other columns."""

_CELL = "cell \\marey_ram \\ram"
_RAM = re.compile(rf"^module \\(\S+)$(?:(?!^module).)*?{re.escape(_CELL)}$(.*?)^  end$", re.MULTILINE | re.DOTALL)
_INITVAL = re.compile(r"\.INITVAL_([0-9A-F]{2})\(320'([hb])([0-9a-fx]+)\)")
_DP16KD = re.compile(r"^  DP16KD #\(\n.*?^  \) ", re.MULTILINE | re.DOTALL)
_BRAM_INIT = re.compile(r"^(\.bram_init \d+\n)((?:[0-9a-f ]+\n)+)", re.MULTILINE)


@dataclass(frozen=True)
class Ram:
    """A memory whose contents are burned in later.

    `name`: with those of the components around it. `width`: bits of a row. `depth`: number of rows.
    """

    name: str
    width: int
    depth: int

    def placeholder(self) -> np.ndarray:
        """The random bits that the memory has until contents are burned in: bool [depth, width]."""
        wanted = self.depth * self.width
        octets = np.frombuffer(hashlib.shake_128(self.name.encode()).digest(-(-wanted // 8)), np.uint8)
        return np.unpackbits(octets, count=wanted).astype(bool).reshape(self.depth, self.width)


def rams(rtlil: str) -> list[Ram]:
    """The memories (cells `marey_ram`) in a design's RTLIL text.

    MareyError if a memory's depth is no multiple of `FEWEST_ROWS`: its last block RAM could have
    too few rows to be told from others.
    """
    found = []
    for name, cell in _RAM.findall(rtlil):
        facts = dict(re.findall(r"parameter \\(\w+) (\d+)$", cell, re.MULTILINE))
        found.append(ram := Ram(re.sub(r"\$\d+", "", name), int(facts["WIDTH"]), int(facts["DEPTH"])))
        if ram.depth % FEWEST_ROWS:
            raise MareyError(f"{ram.name} has {ram.depth} rows: an ECP5's must be a multiple of {FEWEST_ROWS}")
    return found


def hold_places(rtlil: str) -> dict[str, str]:
    """The placeholders' files, {name: text}; under the name "" the RTLIL text, which names the
    files."""
    files = {f"{ram.name}.hex": "".join(f"{number:x}\n" for number in _numbers(ram.placeholder())) for ram in rams(rtlil)}
    names = iter(files)
    text = _RAM.sub(lambda found: found[0].replace(_CELL, f'{_CELL}\n    parameter \\INIT "{next(names)}"'), rtlil)
    return {"": text, **files}


def contents(config: Config, program: Program | None) -> dict[str, np.ndarray]:
    """The contents that a host would load: {end of a memory's name: its first rows, bool [rows,
    width]}.

    {} without a program.
    """
    if program is None:
        return {}
    image, windows = program.image, config.windows
    constants = np.zeros((config.granules, config.lanes), np.int16)
    constants[image.granule:image.granule + len(image.constants)] = image.constants
    words = {space: packed.reshape(-1, parts(entry_bits(config, space))) for space, packed in (
        (Space.PROGRAM, pack_program(config, image.codes(config))), (Space.MEM, pack_mem(config, constants)))}
    vectors = _bits(words[Space.MEM])[:, :16 * config.lanes]
    low = vectors.reshape(-1, 16)[:, :8].reshape(-1, 8 * config.lanes)
    found = {"mem.x": vectors[windows["x"].entries], "mem.y": vectors[windows["y"].entries],
             "mem.words": low.reshape(-1, 8 * config.rows)[windows["act"].entries]}
    codes = words[Space.PROGRAM].T[:-(-entry_bits(config, Space.PROGRAM) // 32)]
    found |= {f"program.part{part}": _bits(column[:, None]) for part, column in enumerate(codes)}
    columns = [_column(config, image.weights[:, column]) for column in range(config.cols)]
    return found | {f"column{column}.wram.bank{index}": stored[bank.start:bank.stop]
                    for column, stored in enumerate(columns) for index, bank in enumerate(Wram.banks(config))}


def _column(config, weights):
    """The words of a column's weights, int8 [words, rows], as its memory holds them: bool [words, bits]."""
    if config.paired:
        weights = from_words(config, np.pad(weights, ((0, len(weights) % 2), (0, 0))))
    octets = weights.view(np.uint8) if config.paired else weights_to_octets(config, weights)
    return np.unpackbits(octets, axis=1, bitorder="little").astype(bool)


class Burner:
    """Replaces the placeholders of a design by contents, and by zeros where there are no contents.

    Parameters: `rams`, the design's memories; `contents`, see the function of that name.
    """

    def __init__(self, rams: list[Ram], contents: dict[str, np.ndarray]):
        # {(rows, placeholder of a column): (end of the memory's name, new content of the column)}
        self._columns: dict[tuple[int, bytes], tuple[str, np.ndarray]] = {}
        self._missing = set(contents)
        for ram in rams:
            end = next((end for end in contents if ram.name.endswith(f".{end}")), "")
            rows = contents.get(end, np.zeros((0, 0), bool))
            new = np.zeros((ram.depth, ram.width), bool)
            new[:len(rows), :rows.shape[1]] = rows[:, :ram.width]
            for depth in _DEPTHS.values():
                for old, column in zip(_columns(ram.placeholder(), depth), _columns(new, depth), strict=True):
                    self._columns[depth, old.tobytes()] = end, column

    def config(self, text: str) -> str:
        """nextpnr's configuration, a text with 2,048 numbers of 9 bits for each block RAM, with the
        contents in it.

        MareyError if a memory of the contents is not in it.
        """
        def burned(found):
            numbers = np.array([int(number, 16) for number in found[2].split()], "<u2")
            new = self._block(_bits(numbers[:, None])[:, :9].reshape(ROWS, BITS))
            if new is None:
                return found[0]
            numbers = [f"{number:03x}" for number in _numbers(new.reshape(-1, 9))]
            return found[1] + "".join(" ".join(numbers[at:at + 8]) + " \n" for at in range(0, len(numbers), 8))

        return self._complete(_BRAM_INIT.sub(burned, text))

    def netlist(self, text: str) -> str:
        """A netlist's Verilog, which has 64 INITVALs of 16 rows, 20 bits apart, for each DP16KD,
        with the contents in it.

        MareyError if a memory of the contents is not in it.
        """
        def burned(found):
            rows = np.zeros((ROWS, BITS), bool)
            for name, base, digits in _INITVAL.findall(found[0]):
                value, first = int(digits.replace("x", "0"), 16 if base == "h" else 2), 16 * int(name, 16)
                rows[first:first + 16] = [[value >> 20 * row + bit & 1 for bit in range(BITS)] for row in range(16)]
            new = self._block(rows)
            if new is None:
                return found[0]
            numbers = _numbers(new)

            def value(init):
                first = 16 * int(init[1], 16)
                return f".INITVAL_{init[1]}(320'h{sum(numbers[first + row] << 20 * row for row in range(16)):x})"

            return _INITVAL.sub(value, found[0])

        return self._complete(_DP16KD.sub(burned, text))

    def _block(self, rows):
        """The new rows, bool [1024, 18], of a block RAM that now has `rows`.

        None if no column of `rows` is a placeholder's.
        """
        for width, depth in _DEPTHS.items():
            view = _by_width(rows, width)
            keys = [(depth, view[:, bit].tobytes()) for bit in range(width)]
            found = {bit: self._columns[key] for bit, key in enumerate(keys) if key in self._columns}
            if found:
                new = view.copy()
                for bit, (end, column) in found.items():
                    new[:, bit] = column
                    self._missing.discard(end)
                halves = rows.reshape(2 * ROWS, BITS // 2).copy()
                halves[:, :8 if width < 9 else 9] = new.reshape(2 * ROWS, -1)
                return halves.reshape(ROWS, BITS)
        return None

    def _complete(self, text):
        """Returns the text. MareyError if a memory of the contents was not found in it."""
        if self._missing:
            raise MareyError(f"the board has no place for {', '.join(sorted(self._missing))}: build it in another folder")
        return text


def _by_width(rows, width):
    """A block RAM's bits, bool [1024, 18], as a port of a width sees them.

    Ports below 9 bits do not see each ninth bit.
    """
    return rows.reshape(-1, width) if width >= 9 else rows.reshape(-1, 9)[:, :8].reshape(-1, width)


def _columns(rows, depth):
    """The columns of `rows`, bool [n, width], in pieces of `depth` bits: bool arrays [depth].

    First come the `width` pieces of the first `depth` rows, then those of the next, and so on. The
    last pieces are padded with zeros.
    """
    padded = np.pad(rows, ((0, -len(rows) % depth), (0, 0)))
    return [column for block in padded.reshape(-1, depth, rows.shape[1]) for column in np.ascontiguousarray(block.T)]


def _bits(words):
    """Unsigned little-endian numbers [n, m] as bits, bool [n, bits], the lowest bit of a row
    first."""
    return np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=1, bitorder="little").astype(bool)


def _numbers(rows):
    """Each row of bits as a number; the first bit is the lowest."""
    return [int.from_bytes(octets.tobytes(), "little") for octets in np.packbits(rows, axis=1, bitorder="little")]
