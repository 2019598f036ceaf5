"""The runner of a network: writes a vector, runs the program, reads the result."""

import numpy as np

from ...hdl.spec.errors import MareyError
from ..compiler.network_layout import NetworkLayout
from ..model.graph import Kind, Number, Operation
from ..model.network import POSITION
from ..model.network_reference import sequences_of
from ..program.program import Program
from ..quant.network import QuantisedNetwork
from .driver import Device


class NetworkRunner:
    """Runs a network on a device, which it loads with the program.

    The cycles of each run are compared with the predicted ones: ScheduleError if they differ.
    """

    def __init__(self, device: Device, program: Program, layout: NetworkLayout, model: QuantisedNetwork):
        self.device, self.program, self.layout, self.model = device, program, layout, model
        self._embeddings = list(model.network.of_kind(Kind.EMBED))
        device.load(program)

    def run(self, x: np.ndarray) -> np.ndarray:
        """The integer results, int64 [batch, channels], of integer inputs as
        `QuantisedNetwork.integers` makes them; one run for each. With attention, [batch, n, channels]
        of inputs [batch, n, ...]; one run for each position, sequence by sequence."""
        network, every = self.layout.network, sequences_of(self.layout.network, x)
        result, made = network.result, []
        rows = x.reshape(every.batch * every.length, -1)
        tables = {embedding.name: self._checked(embedding, rows) for embedding in self._embeddings}
        for number, row in enumerate(rows):
            position = number % every.length
            if network.source.number is Number.WIDE:
                self._write(network.source, row)
            for embedding in self._embeddings:
                index = position if embedding.inputs[0] == POSITION else int(row[0])
                self._write(embedding.output, tables[embedding.name][index])
            self.device.session.execute(self.program, token=0, position=position, count=0)
            read = self.device.read_mem(
                self.layout.buffers[result.name], self.layout.granules_of(result) * self.layout.config.lanes
            )
            made.append(self.layout.channels(read, result))
            self.device.tally.macs += network.macs(position)
        shape = (every.batch, every.length) if network.positions else (every.batch,)
        return np.array(made, np.int64).reshape(*shape, result.size)

    def _checked(self, embedding: Operation, rows: np.ndarray) -> np.ndarray:
        """The table of an EMBED. MareyError if it has not all of the rows."""
        table = self.model.vectors[embedding.name]
        if embedding.inputs[0] != POSITION and (rows.min(initial=0) < 0 or rows.max(initial=0) >= len(table)):
            raise MareyError(
                f"row numbers from {rows.min()} to {rows.max()}, and the table has {len(table)} rows"
            )
        return table

    def _write(self, value, vector):
        self.device.write_mem(
            self.layout.buffers[value.name], self.layout.arranged(vector.astype(np.int16), value)
        )
