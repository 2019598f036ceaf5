"""The benchmark: matrix products on the tile, values checked, cycles from go to done."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ..hdl.config import Config
from ..hdl.errors import MareyError
from .driver import Device
from .golden import linear as golden_linear
from .lowering import CompileError, Linear, lower
from .program import Program

SHAPES = [
    # vectors, outputs, inputs
    (1, 512, 512),
    (1, 64, 64),
    (1, 172, 64),
    (1, 64, 172),
    (64, 64, 64),
    (128, 128, 128),
]
"""Matrix-vector and matrix-matrix products; a tile that cannot hold one gets a smaller one."""
FEWEST = 8
"""Vectors below which a matrix product is made smaller by its matrix."""


class BenchError(MareyError):
    """The tile gave a wrong value."""

    exit_code = 1


@dataclass(frozen=True)
class Row:
    """A product that was run. `utilisation` = macs / (rows * cols) / measured cycles, fill and drain included."""

    name: str
    macs: int
    predicted_cycles: int
    measured_cycles: int
    utilisation: float


def workloads(config: Config) -> Iterator[tuple[str, Program, Linear, np.ndarray]]:
    """Name, program, operation and int8 inputs [vectors, K] of each row, made from fixed seeds."""
    seen = set()
    for shape in SHAPES:
        while True:
            vectors, outputs, inputs = shape
            linear, x = _random(config, shape)
            try:
                groups, segments = lower(config, {"product": linear}, vectors)
                if len(segments) == 1:
                    break
            except CompileError:
                pass
            shape = _smaller(*shape)
        if shape not in seen:
            seen.add(shape)
            name = f"gemv_{outputs}x{inputs}" if vectors == 1 else f"gemm_{vectors}x{outputs}x{inputs}"
            yield name, Program(config, groups, segments), linear, x


def bench(config: Config, connect: Callable[[], Device]) -> Iterator[Row]:
    """Runs every workload on one device; BenchError for a wrong value, ScheduleError for a wrong cycle count."""
    with connect() as device:
        for name, program, linear, x in workloads(config):
            device.load(program)
            (segment,) = program.segments
            before = device.tally.measured
            y = device.run(segment, x)
            expected = golden_linear(linear, x)
            if not np.array_equal(y, expected):
                raise BenchError(f"{name}: the tile's values differ from the golden model's")
            measured = device.tally.measured - before
            yield Row(name, segment.macs, segment.cycles, measured, segment.macs / config.macs / measured)


def _smaller(vectors, outputs, inputs):
    if vectors > FEWEST:
        return vectors // 2, outputs, inputs
    return vectors, max(1, outputs // 2), max(1, inputs // 2)


def _random(config, shape):
    """A linear operation with values all over their ranges, and inputs for it."""
    vectors, outputs, inputs = shape
    rng = np.random.default_rng(shape)
    limit = 1 << config.weight_bits - 1
    weight = rng.integers(-limit, limit, (outputs, inputs)).astype(np.int8)
    multiplier = rng.integers(1 << 14, 1 << 15, outputs).astype(np.int16)
    return Linear(weight, multiplier, 20), rng.integers(-128, 128, (vectors, inputs)).astype(np.int8)
