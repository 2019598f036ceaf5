"""A module that runs on a tile as a network."""

import numpy as np
import torch

from ...hdl.spec.config import Config
from ..compiler.network import compile_network
from ..model.graph import Number
from ..model.network_reference import run
from ..quant.network import quantise_network
from ..quant.network_golden import golden
from ..runtime.network import NetworkRunner
from ..views.notebook import Report, Timetable, table
from ..views.report import network_report
from .agreement import check_agreement
from .exported import Mapped
from .tile import Tile


class CompiledNetwork:
    """A module on a tile. It is called like the module, with a tensor [batch, ...].

    Each row of the batch is a run. A module with attention reads [batch, n, ...], as many positions as
    the example has, or fewer if its result has a part for each position; each position is a run.

    `weights`: the network in floating point. `integers`: the network in integers. `program`: what
    the tile runs. `cycles`: predicted cycles of one run, or of the run of each position; a run that
    takes others is a ScheduleError. `tile`: where it runs.
    """

    def __init__(
        self,
        mapped: Mapped,
        module: torch.nn.Module,
        example: torch.Tensor,
        config: Config,
        tile: Tile,
        name: str,
    ):
        self.weights, self.tile, self.name = mapped.weights, tile, name
        self._network = mapped.weights.network
        self._positions, self._at = self._network.positions, mapped.result.numpy()
        inputs = self._inputs(example)
        check_agreement(
            name,
            self._result(run(self.weights, inputs)).reshape(len(example), -1),
            module(example).reshape(len(example), -1),
        )
        self.integers = quantise_network(self.weights, inputs)
        self.program, self._layout = compile_network(self.integers, config, name)
        by_position = tuple(
            self.program.cycles(position, wanted=False) for position in range(max(1, self._positions))
        )
        self.cycles: int | tuple[int, ...] = by_position if self._positions else by_position[0]
        self._runner: NetworkRunner | None = None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The module's result as float32, computed by the tile."""
        whole = self.integers.integers(self._inputs(x))
        self._runner = self._runner or NetworkRunner(
            self.tile.open(), self.program, self._layout, self.integers
        )
        return self._tensor(self._runner.run(whole))

    def golden(self, x: torch.Tensor) -> torch.Tensor:
        """The same result, computed by the golden integer model."""
        return self._tensor(golden(self.integers, self.integers.integers(self._inputs(x))))

    def report(self, position: int = 0) -> Report:
        """The memories that the network takes, and the cycles of a run, product by product.
        `position`: of a sequence."""
        return Report(network_report(self.program, position))

    def timetable(self, position: int = 0) -> Timetable:
        """The timetable of a run. `position`: of a sequence."""
        return Timetable(self.program, position)

    def close(self) -> None:
        """Ends the simulation."""
        self._runner = None
        self.tile.close()

    def _inputs(self, x: torch.Tensor) -> np.ndarray:
        """A module's input as the network has it (see `network_reference.run`)."""
        source = self._network.source
        shape = x.shape[:2] if self._positions else x.shape[:1]
        if self._positions and (x.dim() < 2 or not 0 < x.shape[1] <= self._positions):
            raise ValueError(
                f"{self.name} reads sequences of up to {self._positions}, and the input is {list(x.shape)}"
            )
        if self._positions and x.shape[1] < self._positions and not self._by_position():
            raise ValueError(f"{self.name} reads sequences of {self._positions}, not of {x.shape[1]}")
        if source.number is Number.INDEX:
            return x.reshape(shape).cpu().numpy().astype(np.int64)
        made = x.detach().reshape(*shape, -1).to(torch.float64).cpu().numpy()
        if made.shape[-1] != source.size:
            raise ValueError(f"{self.name} reads vectors of {source.size} values, not of {made.shape[-1]}")
        return made

    def _by_position(self):
        """Whether the result has a part for each position, made from that position alone."""
        at = self._at.reshape(len(self._at), -1) if self._at.ndim else self._at.reshape(1, 1)
        return len(at) == self._positions and bool(
            (at // self._network.result.size == np.arange(self._positions)[:, None]).all()
        )

    def _result(self, values):
        """The module's result [batch, ...] from the network's."""
        at = self._at[: values.shape[1]] if self._positions and self._by_position() else self._at
        return values.reshape(len(values), -1)[:, at]

    def _tensor(self, integers):
        return torch.from_numpy(self._result(self.integers.floats(integers)).astype(np.float32))

    def _repr_html_(self) -> str:
        return table(f"{self.name} on {self.program.config.name}", self.report()["summary"])

    def __repr__(self):
        if self._positions:
            cycles = f"{self.cycles[0]:,} to {self.cycles[-1]:,} cycles a position"
        else:
            cycles = f"{self.cycles:,} cycles a run"
        return f"<{self.name} on {self.program.config.name}: {cycles}>"
