"""A line between a driver and a tile that damages what passes."""

import random
from collections import Counter

import numpy as np

from marey.sim.transport import Transport

KINDS = ("flip", "drop", "double", "swap", "cut", "insert", "replay")


class Line:
    """A `Transport` that damages what passes to and from another, by a seeded draw.

    Damage is to bits, bytes, words or whole frames, in bursts of drawn lengths. Bytes that are lost
    shift all that follow, until the end of what was sent at once; then the receiver of either side
    drops an unfinished word, as it does after a silence. Frames that passed before may come again.

    Parameters: `rate`, the part of frames that is damaged; `held`, the part of the silences after
    which words that should have gone come all the same.

    Attributes: `frames`, `damaged`, how many passed in both directions; `kinds`, damage by kind.
    """

    cycles = simulated_hz = None

    def __init__(self, transport: Transport, rng: random.Random, rate: float = 0.0, held: float = 0.1):
        self._transport, self._rng, self.rate, self._held = transport, rng, rate, held
        self._coming = np.zeros(0, np.uint32)
        self._passed: dict[str, list[bytes]] = {"there": [], "back": []}
        self.frames = self.damaged = 0
        self.kinds: Counter[str] = Counter()

    def send(self, words: np.ndarray) -> None:
        self._transport.send(self._pass("there", [np.asarray(words, np.uint32)]))

    def receive(self, count: int) -> np.ndarray:
        while len(self._coming) < count:
            frames = self._pull(self._rng.choice((1, 1, 1, 2, 3, 8)) if self.rate else 1)
            if not frames:
                break
            self._coming = np.concatenate([self._coming, self._pass("back", frames)])
        words, self._coming = self._coming[:count], self._coming[count:]
        return words

    def drain(self) -> None:
        self._transport.drain()
        if self._rng.random() >= self._held * bool(self.rate):
            self._coming = self._coming[:0]

    def close(self) -> None:
        self._transport.close()

    def _pull(self, count):
        """Up to `count` of the answers that the tile sends until it is silent."""
        frames = []
        while len(frames) < count:
            words = self._transport.receive(3)
            if len(words) == 3 and words[1]:
                words = np.concatenate([words, self._transport.receive(int(words[1]) + 1)])
            if not len(words):
                break
            frames.append(words)
        return frames

    def _pass(self, way, frames):
        """The words that arrive when these frames are sent one after another."""
        self.frames += len(frames)
        units = [frame.astype("<u4").tobytes() for frame in frames]
        if any(self._rng.random() < self.rate for _ in frames):
            self.damaged += 1
            arrived = b"".join(self._damage(way, units))
        else:
            arrived = b"".join(units)
        self._passed[way] = [*self._passed[way], *units][-4:]
        return np.frombuffer(arrived[:len(arrived) // 4 * 4], "<u4").astype(np.uint32)

    def _damage(self, way, frames):
        """The frames, damaged in one to three places: bytes."""
        rng = self._rng
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            size = rng.choice((1, 4, 4, 0))
            data = b"".join(frames)
            # What is dropped, doubled or swapped are bytes, words or whole frames.
            units = [data[at:at + size] for at in range(0, len(data), size)] if size else list(frames)
            kind = rng.choice(KINDS)
            self.kinds[kind] += 1
            frames = self._damage_units(way, kind, units)
        return frames

    def _damage_units(self, way, kind, units):
        rng = self._rng
        at = rng.randrange(len(units) + 1)
        end = min(len(units), at + rng.choice((1, 1, 2, 3, 5, rng.randint(1, 40), len(units))))
        before, burst, after = units[:at], units[at:end], units[end:]
        match kind:
            case "drop":
                burst = []
            case "double":
                burst = burst * rng.choice((2, 2, 3))
            case "swap":
                other = rng.randint(0, len(after))
                burst, after = [*after[:other], *burst], after[other:]
            case "cut":
                burst, after = [], []
            case "insert":
                burst = [rng.randbytes(rng.choice((1, 4, 4, 8, 20, 100))), *burst]
            case "replay" if self._passed[way]:
                burst = [rng.choice(self._passed[way]), *burst]
            case "flip" if units:
                data = bytearray(b"".join(units))
                first = rng.randrange(8 * len(data)) if data else 0
                length = min(8 * len(data) - first, rng.choice((1, 2, 8, 32, 33, 64, rng.randint(1, 400))))
                others = (first + rng.randrange(length) for _ in range(rng.randint(0, length)))
                for bit in {first, *others} if data else ():
                    data[bit // 8] ^= 1 << bit % 8
                return [bytes(data)]
        return [*before, *burst, *after]
