"""The benchmark: matrix products on the tile, values checked, cycles from go to done."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ...hdl.spec.config import Config
from ...hdl.spec.errors import MareyError
from ...hdl.timing import check
from ...sim.progress import progress
from ..compiler.fill import place
from ..compiler.layout import CompileError
from ..compiler.matmul import matmul
from ..compiler.matrix import Matrix
from ..program.image import Image
from ..program.program import Program
from ..quant.golden import linear as golden_linear
from ..quant.model import Linear
from ..runtime.driver import Device

SHAPES = [
    # vectors, outputs, inputs
    (1, 512, 512),
    (1, 64, 64),
    (1, 172, 64),
    (1, 64, 172),
    (64, 64, 64),
    (128, 128, 128),
]
"""Matrix-vector and matrix-matrix products. A tile that has no room for one gets a smaller one."""
FEWEST = 8
"""A product of more vectors than this is made smaller by halving its vectors, any other by halving its matrix."""


class BenchError(MareyError):
    """The tile computed a wrong value."""

    exit_code = 1


@dataclass(frozen=True)
class Row:
    """The result of one product. `utilisation` = macs / (rows * cols) / measured cycles, which include filling and draining
    the pipeline."""

    name: str
    macs: int
    predicted_cycles: int
    measured_cycles: int
    utilisation: float


@dataclass(frozen=True)
class Product:
    """A matrix product as a program: inputs from MEM word 0 on, results from granule `dst` on.

    `inner`: words of `rows` inputs in a vector; `outer`: groups of `cols` outputs.
    """

    program: Program
    vectors: int
    inner: int
    outer: int
    dst: int

    def run(self, device: Device, x: np.ndarray, outputs: int) -> np.ndarray:
        """Runs the product on a device that has the program loaded: int8 inputs [vectors, K] to int16 results [vectors,
        outputs]."""
        padded = np.zeros((self.vectors, self.inner * device.config.rows), np.int16)
        padded[:, :x.shape[1]] = x
        device.write_mem(0, padded)
        device.run(count=0)
        results = device.read_mem(self.dst, self.vectors * self.outer * device.config.cols)
        return results.reshape(self.vectors, -1)[:, :outputs]


def product_program(config: Config, linear: Linear, vectors: int) -> Product:
    """A product of `vectors` int8 inputs with a matrix. CompileError if the configuration has no room for it.

    In MEM come first the inputs, which the MXM reads; then the results, which the host reads; then the scales, which the VXM
    reads as its operand y. Each must be in the part of MEM that its reader has a copy of (`Config.windows`).
    """
    outputs, inputs = linear.weight.shape
    matrix = Matrix(0, -(-inputs // config.rows), -(-outputs // config.cols))
    input_words = vectors * matrix.inner
    result_granules, scale_granules = (count * matrix.results * config.beats_per_result for count in (vectors, 1))
    dst = input_words * config.granules_per_word
    scale = max(dst + result_granules, config.windows["y"].first)
    ranges = {"act": (0, input_words), "x": (dst, dst + result_granules), "y": (scale, scale + scale_granules)}
    if matrix.words > config.wram_depth or not all(config.windows[port].covers(*ranges[port]) for port in ranges):
        raise CompileError(f"{vectors} products {outputs}x{inputs} need {matrix.words} W-RAM words and MEM granules up to "
                           f"{scale + scale_granules}, and {config.name} has {config.wram_depth} words and {config.granules} "
                           "granules, of which each port reads a part")
    code = matmul(config, rows=vectors, inner=matrix.inner, outer=matrix.results, act=0, wgt=0, scale=scale, dst=dst,
                  shift=linear.shift)
    constants = np.zeros((scale_granules, config.lanes), np.int16)
    constants.reshape(-1)[:outputs] = linear.multiplier[0]
    check(config, code)
    image = Image(code, place(config, linear.weight, matrix), constants, granule=scale)
    return Product(Program(config, image), vectors, matrix.inner, matrix.results, dst)


def workloads(config: Config) -> Iterator[tuple[str, Product, Linear, np.ndarray]]:
    """Yields (name, program, operation, int8 inputs [vectors, K]) of each product; all values come from fixed seeds."""
    seen = set()
    for shape in SHAPES:
        while True:
            linear, x = _random(config, shape)
            try:
                product = product_program(config, linear, shape[0])
                break
            except CompileError:
                shape = _smaller(*shape)
        if shape not in seen:
            seen.add(shape)
            vectors, outputs, inputs = shape
            name = f"gemv_{outputs}x{inputs}" if vectors == 1 else f"gemm_{vectors}x{outputs}x{inputs}"
            yield name, product, linear, x


def bench(config: Config, connect: Callable[[], Device]) -> Iterator[Row]:
    """Runs every workload on one device; BenchError for a wrong value, ScheduleError for a wrong cycle count."""
    with connect() as device:
        for name, product, linear, x in workloads(config):
            device.load(product.program)
            before = device.tally.measured
            hz = device.transport.simulated_hz
            with progress(f"{name}, {product.program.cycles():,} cycles", product.program.cycles() / hz if hz else None):
                y = product.run(device, x, len(linear.weight))
            if not np.array_equal(y, golden_linear(linear, x)):
                raise BenchError(f"{name}: the tile's values differ from the golden model's")
            measured, macs = device.tally.measured - before, linear.weight.size * product.vectors
            yield Row(name, macs, product.program.cycles(), measured, macs / config.macs / measured)


def _smaller(vectors, outputs, inputs):
    if vectors > FEWEST:
        return vectors // 2, outputs, inputs
    return vectors, max(1, outputs // 2), max(1, inputs // 2)


def _random(config, shape):
    """A linear operation whose values cover their ranges, and inputs for it."""
    vectors, outputs, inputs = shape
    rng = np.random.default_rng(shape)
    limit = 1 << config.weight_bits - 1
    weight = rng.integers(-limit, limit, (outputs, inputs)).astype(np.int8)
    multiplier = rng.integers(1 << 14, 1 << 15, (1, outputs)).astype(np.int16)
    return Linear(weight, multiplier, 20, inputs), rng.integers(-128, 128, (vectors, inputs)).astype(np.int8)
