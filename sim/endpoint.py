"""The tile's end of the link in Python, so that the emulator speaks the frames of the hardware."""

import zlib
from typing import NamedTuple

import numpy as np

from ..hdl.spec.config import Config
from ..hdl.spec.protocol import (
    ID,
    MOST_TOKENS,
    REQUEST_MAGIC,
    RESPONSE_MAGIC,
    Opcode,
    Outcome,
    Register,
    Space,
    StartHow,
    StartWhere,
    Status,
    entry_bits,
    parts,
    space_words,
)
from .emulator import EmulatedTile

READABLE = (Space.REGISTER, Space.PROGRAM, Space.MEM, Space.TOKENS)
WRITABLE = (Space.PROGRAM, Space.MEM, Space.WRAM)


_HEADER_WORDS = 4
"""Words of a request's header, the last of which is its CRC."""


class _Header(NamedTuple):
    """The header of a request; opcode and space are numbers that may not exist."""

    sequence: int
    opcode: int
    space: int
    address: int
    length: int


class Endpoint:
    """A `Transport` to an emulated tile.

    A run takes no time, so the tile is never BUSY. The line counts as silent for the tile's
    time-out when `receive` finds too few words, and in `drain`.

    Parameters: `config`. Attributes: `tile`, the `EmulatedTile`.
    """

    cycles = None
    simulated_hz = None

    def __init__(self, config: Config):
        self.config = config
        self.tile = EmulatedTile(config)
        self._in = np.zeros(0, np.uint32)
        self._out = np.zeros(0, np.uint32)
        self._expected, self._dirty, self._last = 0, False, Status.OK
        self._runs = self._faults = 0

    def send(self, words: np.ndarray) -> None:
        self._in = np.concatenate([self._in, np.asarray(words, np.uint32)])
        while self._frame():
            pass

    def receive(self, count: int) -> np.ndarray:
        if len(self._out) < count:
            self._silence()
        words, self._out = self._out[:count], self._out[count:]
        return words

    def place_weights(self, word: int, weights: np.ndarray) -> bool:
        """See `marey.sim.transport.Placing`."""
        if word + len(weights) > self.config.wram_depth:
            return False
        self.tile.wram[:, word:word + len(weights)] = weights.transpose(1, 0, 2)
        return True

    @property
    def waiting(self) -> int:
        """Words of answers that `receive` gives without a silence before them."""
        return len(self._out)

    def drain(self) -> None:
        self._silence()
        self._out = self._out[:0]

    def close(self) -> None:
        pass

    def _silence(self):
        """Answers an unfinished frame with an error, as the hardware does after its time-out."""
        if len(self._in) == 0:
            return
        noise = self._noise()
        if not noise and len(self._in) > _HEADER_WORDS and self._judge() == (Status.OK, False):
            header = self._header()
            self._write(header.address, self._in[_HEADER_WORDS:_HEADER_WORDS + header.length])
        self._faults += 1
        sequence = int(self._in[0]) & 0xFF
        self._in = self._in[:0]
        self._answer(Status.CRC if noise else Status.CUT_OFF, sequence)

    def _noise(self):
        """Whether the received words do not begin with a valid header."""
        return int(self._in[0]) >> 24 != REQUEST_MAGIC or (
            len(self._in) >= _HEADER_WORDS and int(self._in[3]) != _crc(self._in[:3]))

    def _header(self):
        first, address, length = (int(word) for word in self._in[:3])
        return _Header(first & 0xFF, first >> 20 & 15, first >> 16 & 15, address, length)

    def _frame(self):
        """Takes one whole frame from the received words and answers it. False if there is none."""
        if len(self._in) < _HEADER_WORDS or self._noise():
            return False
        header = self._header()
        has_payload = header.opcode == Opcode.WRITE.value and header.length > 0
        size = _HEADER_WORDS + (header.length + 1 if has_payload else 0)
        if len(self._in) < size:
            return False
        status, again = self._judge()
        payload = self._in[_HEADER_WORDS:size - 1]
        if has_payload and status is Status.OK and not again:
            self._write(header.address, payload)
        if has_payload and int(self._in[size - 1]) != _crc(self._in[:3], payload):
            self._faults += 1
            self._in = self._in[size:]
            self._answer(Status.CRC, header.sequence)
            return True
        self._act(status, again)
        self._in = self._in[size:]
        return True

    def _judge(self):
        """The status of the request whose header was received, and whether it is the last one
        again."""
        sequence, opcode, space, address, length = self._header()
        names = {op.value: op for op in Opcode}
        again = sequence == (self._expected - 1) % 256 and opcode != Opcode.RESET.value
        if opcode != Opcode.RESET.value and sequence != self._expected and not again:
            return Status.SEQUENCE, False
        if again and opcode in (Opcode.START.value, Opcode.WRITE.value):
            return self._last, True
        if opcode not in names:
            return Status.OPCODE, again
        if names[opcode] in (Opcode.READ, Opcode.WRITE):
            allowed = READABLE if names[opcode] is Opcode.READ else WRITABLE
            spaces = {item.value: item for item in Space}
            if spaces.get(space) not in allowed or address + length > space_words(self.config, spaces[space]):
                return Status.ADDRESS, again
            step = parts(entry_bits(self.config, spaces[space]))
            if names[opcode] is Opcode.WRITE and (address % step or length % step):
                return Status.ADDRESS, again
        if names[opcode] is Opcode.START:
            where, how = StartWhere.from_bits(address), StartHow.from_bits(length)
            if where.entry >= self.config.program_depth or where.token >> self.config.token_bits or how.count > MOST_TOKENS:
                return Status.ADDRESS, again
            if self._dirty:
                return Status.DIRTY, again
        return Status.OK, again

    def _act(self, status, again):
        """Does what the request says, unless its status is an error, and answers it."""
        sequence, opcode, space, address, length = self._header()
        if status is Status.SEQUENCE:
            self._faults += 1
        elif not again:
            self._expected, self._last = (sequence + 1) % 256, status
        payload = np.zeros(0, np.uint32)
        if status is Status.OK:
            match Opcode(opcode):
                case Opcode.RESET:
                    self.tile.reset()
                case Opcode.READ:
                    payload = self._read(Space(space), address, length)
                case Opcode.WRITE:
                    self._dirty = self._dirty and again
                case Opcode.START:
                    if not again:
                        self._runs += 1
                        where, how = StartWhere.from_bits(address), StartHow.from_bits(length)
                        self.tile.start(where.entry, token=where.token, position=how.position,
                                        count=how.count)
                case Opcode.WAIT:
                    for number in range(address, len(self.tile.tokens)):
                        self._answer(Status.TOKEN, sequence, [self.tile.tokens[number]], number)
                    payload = self._read(Space.REGISTER, Register.CYCLES.value, 2)
        self._answer(status, sequence, payload)

    def _write(self, address, words):
        """Writes the whole entries of a payload; a part of an entry at its end is dropped. Memory is
        dirty until the end of the payload is sound."""
        self._dirty = True
        space = Space(self._header().space)
        step = parts(entry_bits(self.config, space))
        self.tile.write(space, address, words[:len(words) // step * step])

    def _read(self, space, address, count):
        if space is Space.TOKENS:
            tokens = np.zeros(MOST_TOKENS, np.uint32)
            tokens[:len(self.tile.tokens)] = self.tile.tokens
            return tokens[address:address + count]
        if space is not Space.REGISTER:
            return self.tile.read(space, address, count)
        outcome = Outcome.const({"schedule_faults": self.tile.schedule_faults % 65536,
                                 "made": len(self.tile.tokens)})
        values = {
            Register.ID: ID, Register.CONFIG: self.config.hash, Register.CYCLES: self.tile.cycles,
            Register.OUTCOME: outcome.as_value().value, Register.RUNS: self._runs % 65536,
            Register.LINK_FAULTS: self._faults % 65536,
        }
        return np.array([values[register] for register in Register], np.uint32)[address:address + count]

    def _answer(self, status, sequence, payload=(), number=0):
        first = RESPONSE_MAGIC << 24 | status.value << 16 | number << 8 | sequence
        head = np.array([first, len(payload)], np.uint32)
        payload = np.asarray(payload, np.uint32)
        tail = [payload, [_crc(head, payload)]] if len(payload) else []
        answer = [self._out, head, [_crc(head)], *tail]
        self._out = np.concatenate(answer).astype(np.uint32)


def _crc(*parts):
    return zlib.crc32(np.concatenate(parts).astype("<u4").tobytes())
