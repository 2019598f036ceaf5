"""Pipelines in which the configuration decides which stages end with a register."""

from collections.abc import Collection

from amaranth import *


class Pipeline:
    """Puts registers between stages of logic in a module.

    Latency: a cycle for each stage with a register, 0 for any other.

    Parameters: `m`, the module; `registers`, the numbers of the stages that end with a register.
    """

    def __init__(self, m: Module, registers: Collection[int]):
        self._m = m
        self._registers = registers

    def at(self, stage: int, value: Value, name: str, reset_less: bool = True) -> Signal:
        """Returns the value that a stage computes, delayed by a cycle if the stage ends with a
        register. What says that a value is there must not be `reset_less`."""
        found = Signal.like(value, name=f"{name}{stage}", reset_less=reset_less)
        self._m.d["sync" if stage in self._registers else "comb"] += found.eq(value)
        return found

    def through(self, stages: range, value: Value, name: str, reset_less: bool = True) -> Value:
        """Returns a value, delayed by a cycle for each of these stages that ends with a
        register."""
        for stage in stages:
            value = self.at(stage, value, name, reset_less)
        return value
