"""The host's end of the link: requests out, answers in, and what to do when the line is bad."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...hdl.spec.config import Config
from ...hdl.spec.errors import MareyError
from ...hdl.spec.protocol import (
    ID,
    REQUEST_MAGIC,
    RESPONSE_MAGIC,
    Opcode,
    Outcome,
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
"""Times that a request is sent before the link gives up. A WAIT is given up after so many tries that
brought no new token."""


class LinkError(MareyError):
    """The tile does not answer, or its answer is wrong."""

    exit_code = 1


class Refusal(LinkError):
    """The tile has answered a request and does not obey it."""


class _Unsound(Exception):
    """There is no sound answer. The message says what was wrong."""


@dataclass(frozen=True)
class _Answer:
    """A sound answer to the request: its status, a token's number, and the payload, uint32 [n]."""

    status: Status
    number: int
    payload: np.ndarray


class Link:
    """Sends requests to a tile over a transport; a request that gets no sound answer is sent up to
    `TRIES` times.

    Connecting resets the tile and checks that it was built for `config`; LinkError if it was not.
    If a request gets no sound answer, or is interrupted, the tile may have obeyed it or not, and
    every request but `reset` is a LinkError from then on. `reset` begins anew; the tile keeps its
    memories, of which a write that failed may have changed a part. A request that the tile does
    not obey is a Refusal, and others may follow.

    `words_sent` and `words_received` count words on the line.
    """

    def __init__(self, transport: Transport, config: Config):
        self.config = config
        self._transport = transport
        self._sequence = -1
        self._agreed = False
        """Whether host and tile expect the same sequence number."""
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
        # A new number: no late answer to a request that was given up is taken for that to the RESET.
        self._sequence = (self._sequence + 1) % 256
        self._agreed = True
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
            self._request(Opcode.WRITE, space, address + start, len(payload), payload)
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
        """Waits for the end of the run; returns its cycles, its number of schedule faults and its
        tokens. `show` is called with each token, in order, when it has arrived."""
        tokens: list[int] = []

        def attempt():
            """Asks for the tokens that are missing, and then for the registers."""
            early: dict[int, int] = {}
            self._send(self._head(Opcode.WAIT, address=len(tokens)))
            while (answer := self._answer()).status is Status.TOKEN and len(answer.payload) == 1:
                early[answer.number] = int(answer.payload[0])
                while len(tokens) in early:
                    tokens.append(early.pop(len(tokens)))
                    show(tokens[-1])
            cycles, outcome = self._payload(answer, 2)
            outcome = Outcome.from_bits(int(outcome))
            if outcome.made != len(tokens):
                raise _Unsound(f"{len(tokens)} of {outcome.made} tokens have arrived")
            return int(cycles), outcome.schedule_faults, tokens

        return self._try(Opcode.WAIT.name, attempt, progress=lambda: len(tokens))

    def _request(self, opcode, space=Space.REGISTER, address=0, length=0, payload=()):
        """Sends a request until a sound answer arrives, and returns the answer's payload."""
        frame = self._head(opcode, space, address, length)
        if len(payload):
            frame = np.concatenate([frame, payload, [_crc(frame[:-1], payload)]])

        def attempt():
            self._send(frame)
            return self._payload(self._answer(), length if opcode is Opcode.READ else 0)

        what = opcode.name
        if opcode in (Opcode.READ, Opcode.WRITE):
            what += f" {space.name} at {address}, {length} words"
        return self._try(what, attempt)

    def _try(self, what, attempt, progress=lambda: 0):
        """Returns what `attempt` returns. If it finds no sound answer it is called again, until
        there were `TRIES` calls after which `progress()` had not grown: LinkError then. Refusal if
        the tile refuses the request."""
        if not self._agreed:
            raise LinkError("the last request was not answered: reset the link first")
        self._agreed, tries, problem = False, 0, ""
        while tries < TRIES:
            if tries:
                self._transport.drain()
            before = progress()
            try:
                result = attempt()
            except _Unsound as unsound:
                problem, tries = str(unsound), 1 if progress() > before else tries + 1
            except Refusal as refusal:
                self._next()
                raise Refusal(f"the tile refused {what}: {refusal}") from None
            else:
                self._next()
                return result
        raise LinkError(f"no sound answer to {what} in {TRIES} tries, the last time {problem}: "
                        "check the cable and the speed of the line (--baud), then start again")

    def _next(self):
        """Goes on to the next request: the tile has answered this one."""
        self._sequence, self._agreed = (self._sequence + 1) % 256, True

    def _head(self, opcode, space=Space.REGISTER, address=0, length=0):
        """The header of this request's frame, with its CRC."""
        head = Request.const({"magic": REQUEST_MAGIC, "opcode": opcode, "space": space,
                              "sequence": self._sequence})
        words = np.array([head.as_value().value, address, length], np.uint32)
        return np.append(words, np.uint32(_crc(words)))

    @staticmethod
    def _payload(answer, length):
        """The payload of an answer whose status is OK. Refusal, with the status, if the tile has
        refused the request; _Unsound for an answer of another length."""
        if answer.status is Status.OK and len(answer.payload) == length:
            return answer.payload
        if answer.status in (Status.BUSY, Status.ADDRESS, Status.OPCODE, Status.DIRTY):
            raise Refusal(answer.status.name)
        raise _Unsound(f"the status was {answer.status.name}")

    def _answer(self):
        """The next answer to this request; _Unsound if it is damaged. Sound answers to other
        requests, which a line that doubles frames leaves, are skipped."""
        while True:
            head = self._receive(3)
            if len(head) < 3:
                raise _Unsound("there was silence")
            response = Response.from_bits(int(head[0]))
            if int(head[2]) != _crc(head[:2]) or response.magic != RESPONSE_MAGIC:
                raise _Unsound("its header was damaged")
            payload = head[:0]
            if head[1]:
                payload = self._receive(int(head[1]) + 1)
                if len(payload) != int(head[1]) + 1 or int(payload[-1]) != _crc(head[:2], payload[:-1]):
                    raise _Unsound("its payload was damaged")
                payload = payload[:-1]
            status = Status(response.status)
            # A damaged frame has no sequence number that can be trusted.
            if response.sequence == self._sequence or status in (Status.CRC, Status.CUT_OFF):
                return _Answer(status, response.number, payload)

    def _send(self, frame):
        self._transport.send(frame)
        self.words_sent += len(frame)

    def _receive(self, count):
        words = self._transport.receive(count)
        self.words_received += len(words)
        return words


def _crc(*words):
    """CRC-32 of link words, uint32 [n] each."""
    return zlib.crc32(np.concatenate(words).astype("<u4").tobytes())
