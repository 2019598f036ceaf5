"""A module that runs on a tile as a feed-forward network."""

import numpy as np
import torch

from ...hdl.spec.config import Config
from ..compiler.network import compile_network
from ..model.network import Weights
from ..model.network_reference import run
from ..quant.network import quantise_network
from ..quant.network_golden import golden
from ..runtime.network import NetworkRunner
from ..views.notebook import Report, Timetable, table
from ..views.report import network_report
from .agreement import check_agreement
from .tile import Tile


class CompiledNetwork:
    """A module on a tile. It is called like the module, with a tensor [batch, ...]; each row is a run.

    `weights`: the network in floating point. `integers`: the network in integers. `program`: what
    the tile runs. `cycles`: predicted cycles of one run; a run that takes others is a
    ScheduleError. `tile`: where it runs.
    """

    def __init__(
        self,
        weights: Weights,
        module: torch.nn.Module,
        example: torch.Tensor,
        config: Config,
        tile: Tile,
        name: str,
    ):
        self.weights, self.tile, self.name = weights, tile, name
        expected = module(example)
        self._shape = tuple(expected.shape[1:])
        check_agreement(name, run(weights, _inputs(example)), expected.reshape(len(example), -1))
        self.integers = quantise_network(weights, _inputs(example))
        self.program, self._layout = compile_network(self.integers, config, name)
        self.cycles = self.program.cycles(wanted=False)
        self._runner: NetworkRunner | None = None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The module's result as float32, computed by the tile."""
        self._runner = self._runner or NetworkRunner(
            self.tile.open(), self.program, self._layout, self.integers
        )
        return self._result(self._runner.run(self.integers.integers(self._checked(x))))

    def golden(self, x: torch.Tensor) -> torch.Tensor:
        """The same result, computed by the golden integer model."""
        return self._result(golden(self.integers, self.integers.integers(self._checked(x))))

    def report(self) -> Report:
        """The memories that the network takes, and its cycles, product by product."""
        return Report(network_report(self.program))

    def timetable(self) -> Timetable:
        """The timetable of a run."""
        return Timetable(self.program)

    def close(self) -> None:
        """Ends the simulation."""
        self._runner = None
        self.tile.close()

    def _checked(self, x):
        made, source = _inputs(x), self.weights.network.source
        if made.ndim == 2 and made.shape[1] != source.size:
            raise ValueError(f"{self.name} reads vectors of {source.size} values, not of {made.shape[1]}")
        return made

    def _result(self, integers):
        return torch.from_numpy(self.integers.floats(integers).astype(np.float32)).reshape(
            len(integers), *self._shape
        )

    def _repr_html_(self) -> str:
        return table(f"{self.name} on {self.program.config.name}", self.report()["summary"])

    def __repr__(self):
        return f"<{self.name} on {self.program.config.name}: {self.cycles:,} cycles a run>"


def _inputs(x: torch.Tensor) -> np.ndarray:
    """A module's input as the network has it: float64 [batch, channels], or row numbers, int64 [batch]."""
    if not x.is_floating_point():
        return x.reshape(-1).numpy().astype(np.int64)
    return x.detach().reshape(len(x), -1).to(torch.float64).cpu().numpy()
