"""Amaranth's own simulator as a backend: slow, but it needs no compiler and follows the source itself."""

from collections import deque

import numpy as np
from amaranth.lib.wiring import Component
from amaranth.sim import Simulator

from ..hdl.spec.config import Config
from ..hdl.tile import Tile
from .simulation import QUIET, ScheduleFault, Simulation, quiet_cycles

PATIENCE = 1 << 18
"""Cycles without an answer word after which `receive` gives up: minutes."""

_HALF = 0.5e-6


def open_tile(config: Config) -> "PysimTransport":
    """A tile of this configuration in Amaranth's simulator."""
    return PysimTransport(Tile(config), quiet=quiet_cycles(config))


class PysimTransport(Simulation):
    """A component in Amaranth's simulator; `Simulation` says which components, and what it does with them."""

    def __init__(self, component: Component, *, patience: int = PATIENCE, quiet: int = QUIET):
        super().__init__(patience, quiet)
        self._component = component
        self._queue = deque()
        self._cycles = 0
        self._moved = (False, None)
        self._simulator = Simulator(component)
        self._simulator.add_clock(2 * _HALF)
        self._simulator.add_testbench(self._pump)

    @property
    def cycles(self) -> int:
        return self._cycles

    async def _pump(self, ctx):
        rx, tx = self._component.rx, self._component.tx
        ctx.set(tx.ready, 1)
        while True:
            offered = bool(self._queue)
            ctx.set(rx.valid, offered)
            ctx.set(rx.payload, self._queue[0] if offered else 0)
            *_, ready, valid, word = await ctx.tick().sample(rx.ready, tx.valid, tx.payload)
            if taken := bool(offered and ready):
                self._queue.popleft()
            self._moved = taken, word if valid else None
            self._cycles += 1
            # To the middle of the cycle: what is sent between two cycles is offered in the second.
            await ctx.delay(_HALF)

    def _step(self):
        """One clock cycle: whether a word was sent in it, and the word that came or None."""
        before = self._cycles
        try:
            while self._cycles == before:
                self._simulator.advance()
        except AssertionError as failure:
            raise ScheduleFault(str(failure)) from None
        return self._moved

    def _send(self, words):
        self._queue.extend(words.tolist())

    def _receive(self, count):
        words, silent = [], 0
        while len(words) < count and silent < self.patience:
            _, word = self._step()
            silent += 1
            if word is not None:
                words.append(word)
                silent = 0
        return np.array(words, np.uint32)

    def _drain(self):
        silent = 0
        while silent < self.quiet:
            sent, word = self._step()
            silent = 0 if sent or word is not None else silent + 1

    def _close(self):
        self._simulator = None
