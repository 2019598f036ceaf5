"""The runner of a feed-forward network: writes a vector, runs the program, reads the result."""

import numpy as np

from ...hdl.spec.errors import MareyError
from ..compiler.network_layout import NetworkLayout
from ..model.graph import Number
from ..program.program import Program
from ..quant.network import QuantisedNetwork
from .driver import Device


class NetworkRunner:
    """Runs a network on a device, which it loads with the program.

    The cycles of each run are compared with the predicted ones: ScheduleError if they differ.
    """

    def __init__(self, device: Device, program: Program, layout: NetworkLayout, model: QuantisedNetwork):
        self.device, self.program, self.layout, self.model = device, program, layout, model
        source = model.network.source
        self._embedding = model.network.operations[0] if source.number is Number.INDEX else None
        first = self._embedding.output if self._embedding else source
        self._granule, self._room = (
            layout.buffers[first.name],
            layout.granules_of(first.size) * layout.config.lanes,
        )
        device.load(program)

    def run(self, x: np.ndarray) -> np.ndarray:
        """The integer results, int64 [batch, channels], of integer inputs as
        `QuantisedNetwork.integers` makes them; one run for each."""
        result = self.layout.network.result
        if self._embedding:
            table = self.model.vectors[self._embedding.name]
            if x.min(initial=0) < 0 or x.max(initial=0) >= len(table):
                raise MareyError(
                    f"row numbers from {x.min()} to {x.max()}, and the table has {len(table)} rows"
                )
            x = table[x]
        rows = []
        for vector in x:
            padded = np.zeros(self._room, np.int16)
            padded[:vector.size] = vector
            self.device.write_mem(self._granule, padded)
            self.device.session.execute(self.program, token=0, position=0, count=0)
            rows.append(self.device.read_mem(self.layout.buffers[result.name], result.size))
        self.device.tally.macs += self.layout.network.macs() * len(rows)
        return np.array(rows, np.int64).reshape(len(rows), result.size)
