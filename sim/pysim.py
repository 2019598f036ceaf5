"""Amaranth's own simulator as a backend.

It is slow, but it needs no compiler, and it simulates the source itself, not the Verilog.
"""

from collections import deque

import numpy as np
from amaranth.lib.wiring import Component
from amaranth.sim import Simulator

from ..hdl.spec.config import Config
from .sdram import simulated
from .simulation import QUIET, BackendError, ScheduleFault, Simulation, quiet_cycles

PATIENCE = 1 << 18
"""Clock cycles without an answer word after which `receive` gives up: some minutes."""

MOST_WEIGHTS = 1 << 24
"""Weights of the largest tile that is simulated: Python keeps each word as an object."""

MOST_BYTES = 1 << 20
"""Bytes of the largest external memory that is simulated, for the same reason."""

_HALF_S = 0.5e-6
"""Half a clock period in simulated seconds; the clock's rate matters to nothing."""


def open_tile(config: Config) -> "PysimTransport":
    """A tile of a configuration in Amaranth's simulator. BackendError for one with too many weights, or too much memory."""
    if config.weights > MOST_WEIGHTS:
        raise BackendError(f"{config.name} has room for {config.weights:,} weights, and Amaranth's simulator for "
                           f"{MOST_WEIGHTS:,}: use --backend verilator or emulator")
    if config.memory and config.memory.part.bytes > MOST_BYTES:
        raise BackendError(f"{config.name} has {config.memory.part.bytes:,} bytes of external memory, and Amaranth's "
                           f"simulator room for {MOST_BYTES:,}: use --backend verilator or emulator")
    return PysimTransport(simulated(config), quiet=quiet_cycles(config))


class PysimTransport(Simulation):
    """A `Simulation` of a component in Amaranth's simulator.

    Parameters: `component`, which has the ports that `Simulation` names; `patience` and `quiet`,
    see `Simulation`.
    """

    def __init__(self, component: Component, *, patience: int = PATIENCE, quiet: int = QUIET):
        super().__init__(patience, quiet)
        self._component = component
        self._queue = deque()
        self._cycles = 0
        self._moved = (False, None)
        self._simulator = Simulator(component)
        self._simulator.add_clock(2 * _HALF_S)
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
            # Half a cycle further, so that words sent between two cycles are offered in the second one.
            await ctx.delay(_HALF_S)

    def _step(self):
        """Simulates one clock cycle.

        Returns whether a word went in, and the word that came out, or None.
        """
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
