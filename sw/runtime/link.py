"""The host's end of the link: requests out, answers in, and what to do when the line is bad."""

import zlib
from collections.abc import Callable

import numpy as np

from ...hdl.spec.config import Config
from ...hdl.spec.errors import MareyError
from ...hdl.spec.protocol import (
    ID,
    REQUEST_MAGIC,
    RESPONSE_MAGIC,
    Opcode,
    Register,
    Request,
    Response,
    Space,
    StartHow,
    StartWhere,
    Status,
    entry_bits,
    parts,
)
from ...sim.transport import Transport
from ..program.traffic import FRAME_WORDS

TRIES = 4
"""Times that a request is sent before the link gives up."""


class LinkError(MareyError):
    """The tile does not answer, or its answer is wrong."""

    exit_code = 1


class Link:
    """Sends requests to a tile over a transport; a request that gets no sound answer is sent up to `TRIES` times.

    Connecting resets the tile and checks that it was built for `config`; LinkError if it was not. After a LinkError,
    `reset` begins anew; the tile keeps its memories.

    `words_sent` and `words_received` count words on the line.
    """

    def __init__(self, transport: Transport, config: Config):
        self.config = config
        self._transport = transport
        self._sequence = 0
        self.words_sent = self.words_received = 0
        self.reset()
        registers = self.registers()
        if registers[Register.ID] != ID:
            raise LinkError(f"the device identifies itself as {registers[Register.ID]:#010x}, and a Marey tile of this "
                            f"version as {ID:#010x}: flash it with this version's bitstream")
        if registers[Register.CONFIG] != config.hash:
            raise LinkError(f"the tile was built for configuration {registers[Register.CONFIG]:08x}, and not for "
                            f"{config.name} ({config.hash:08x}): choose the configuration that it was built for")

    def reset(self) -> None:
        """Stops a run that is under way, and agrees with the tile on a sequence number."""
        self._transport.drain()
        self._request(Opcode.RESET)

    def registers(self) -> dict[Register, int]:
        """The value of every register of the tile."""
        words = self.read(Space.REGISTER, 0, len(Register))
        return {register: int(words[register.value]) for register in Register}

    def write(self, space: Space, address: int, words: np.ndarray, sent: Callable[[int], None] = lambda words: None) -> None:
        """Writes uint32 words, whole entries of them, from link word `address` on; `sent` is called with the number of words
        in each frame, once the tile has acknowledged it."""
        step = FRAME_WORDS // parts(entry_bits(self.config, space)) * parts(entry_bits(self.config, space))
        for start in range(0, len(words), step):
            payload = words[start:start + step]
            self._request(Opcode.WRITE, space, address + start, payload=payload)
            sent(len(payload))

    def read(self, space: Space, address: int, count: int) -> np.ndarray:
        """Reads `count` words, uint32, from link word `address` on."""
        return np.concatenate([
            self._request(Opcode.READ, space, address + start, min(FRAME_WORDS, count - start))
            for start in range(0, count, FRAME_WORDS)
        ])

    def start(self, entry: int, *, token: int = 0, position: int = 0, count: int = 1) -> None:
        """Starts the program at instruction `entry` with a token at a position; `count` is the number of tokens that are
        wanted, 0 within a prompt."""
        where = StartWhere.const({"entry": entry, "token": token}).as_value().value
        self._request(Opcode.START, address=where, length=StartHow.const({"position": position,
            "count": count}).as_value().value)

    def wait(self, show: Callable[[int], None] = lambda token: None) -> tuple[int, int, list[int]]:
        """Waits for the end of the run; returns its cycles, its number of schedule faults and its tokens. `show` is called
        with each token when it arrives."""
        tokens: list[int] = []
        self._tokens, self._show = tokens, show
        cycles, faults = self._request(Opcode.WAIT)
        return int(cycles), int(faults), tokens

    def _request(self, opcode, space=Space.REGISTER, address=0, length=0, payload=None):
        """Sends a request until a sound answer arrives, and returns the answer's payload."""
        sequence = self._sequence
        length = length if payload is None else len(payload)
        head = Request.const({"magic": REQUEST_MAGIC, "opcode": opcode, "space": space, "sequence": sequence})
        frame = _with_crc([head.as_value().value, address, length])
        if payload is not None and length:
            frame = np.concatenate([frame, _with_crc(payload)])
        expected = {Opcode.READ: length, Opcode.WAIT: 2}.get(opcode, 0)
        problem = ""
        for attempt in range(TRIES):
            if attempt:
                self._transport.drain()
            self._transport.send(frame)
            self.words_sent += len(frame)
            status, words, problem = self._answer(sequence)
            made = 0
            while status is Status.TOKEN and opcode is Opcode.WAIT:
                self._accept(made, words)
                made += 1
                status, words, problem = self._answer(sequence)
            if status is Status.OK and len(words) == expected:
                self._sequence = (sequence + 1) % 256
                return words
            if status not in (None, Status.OK, Status.CRC, Status.CUT_OFF, Status.SEQUENCE):
                self._sequence = (sequence + 1) % 256
                raise LinkError(f"the tile refused {opcode.name} {space.name} at {address}, {length} words: {status.name}")
        raise LinkError(f"no sound answer to {opcode.name} in {TRIES} tries, the last time {problem}: "
                        "check the cable and the speed of the line (--baud), then start again")

    def _accept(self, index, words):
        """Takes token number `index` of the run. A repeated WAIT sends all tokens again; those already known are skipped."""
        if index == len(self._tokens):
            self._tokens.append(int(words[0]))
            self._show(self._tokens[-1])

    def _answer(self, sequence):
        """The next answer: (status, payload, what was wrong). The status is None if the answer is damaged, or belongs to
        another request."""
        head = self._receive(3)
        if len(head) < 3:
            return None, (), "there was silence"
        if int(head[2]) != _crc(head[:2]) or int(head[0]) >> 24 != RESPONSE_MAGIC:
            return None, (), "its header was damaged"
        response = Response.from_bits(int(head[0]))
        payload = np.zeros(0, np.uint32)
        if head[1]:
            payload = self._receive(int(head[1]) + 1)
            if len(payload) != int(head[1]) + 1 or int(payload[-1]) != _crc(payload[:-1]):
                return None, (), "its payload was damaged"
            payload = payload[:-1]
        status = Status(response.status)
        if status in (Status.OK, Status.TOKEN) and response.sequence != sequence:
            return None, (), "it was the answer to another request"
        return status, payload, f"the status was {status.name}"

    def _receive(self, count):
        words = self._transport.receive(count)
        self.words_received += len(words)
        return words


def _with_crc(words):
    words = np.asarray(words, np.uint32)
    return np.append(words, np.uint32(_crc(words)))


def _crc(words):
    return zlib.crc32(np.asarray(words, "<u4").tobytes())
