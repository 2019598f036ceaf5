"""Pipelines whose registers a configuration chooses."""

from collections.abc import Collection

from amaranth import *


class Pipeline:
    """Stages of logic in a module, and the registers behind those that have one.

    Parameters: `m`, the module; `registers`, the numbers of the stages that a register ends.
    """

    def __init__(self, m: Module, registers: Collection[int]):
        self._m = m
        self._registers = registers

    def at(self, stage: int, value: Value, name: str) -> Signal:
        """Returns a value as it is after the stage that computes it: a cycle later, or not."""
        found = Signal.like(value, name=f"{name}{stage}", reset_less=True)
        self._m.d["sync" if stage in self._registers else "comb"] += found.eq(value)
        return found

    def through(self, stages: range, value: Value, name: str) -> Value:
        """Returns a value as it is after all of these stages."""
        for stage in stages:
            value = self.at(stage, value, name)
        return value
