"""The tile that a compiled module runs on, which is opened when it is first called."""

from ...hdl.spec.config import Config
from ...sim.backends import default_backend, open_transport
from ..runtime.driver import Device


class Tile:
    """A tile of a configuration in a backend; see `open_transport`. `tally`: the sums over its
    runs, or None before the first one."""

    def __init__(self, config: Config, backend: str | None = None):
        self.config, self._backend = config, backend
        self._device: Device | None = None

    def open(self) -> Device:
        """The device, which is opened once."""
        if self._device is None:
            self._device = Device(
                open_transport(self.config, self._backend or default_backend()), self.config
            )
        return self._device

    @property
    def tally(self):
        return self._device and self._device.tally

    def close(self) -> None:
        """Ends the simulation; the next `open` begins another one."""
        if self._device:
            self._device.close()
        self._device = None
