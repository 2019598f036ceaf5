"""Tiles for tests of the server: emulated ones that are slow, or that fail."""

import os
import time
from dataclasses import dataclass

from marey.sim.backends import open_transport
from marey.sim.endpoint import Endpoint
from marey.sw.runtime.driver import Device
from marey.sw.runtime.session import ScheduleError


@dataclass(frozen=True)
class Emulated:
    """Opens an emulated tile. `delay_s`: seconds that each token takes besides.

    A token of the vocabulary may be `deadly`, whose run ends the process, or `wrong`, whose run fails.
    """

    delay_s: float = 0
    deadly: int | None = None
    wrong: int | None = None

    def __call__(self, config):
        device, opener = Device(Endpoint(config), config), self
        run = device.run

        def delayed(token=0, *arguments, **options):
            time.sleep(opener.delay_s)
            if token == opener.deadly:
                os._exit(3)
            if token == opener.wrong:
                raise ScheduleError("predicted 5 cycles, measured 6")
            return run(token, *arguments, **options)

        device.run = delayed
        return device


def verilated(config):
    """Opens a tile in Verilator."""
    return Device(open_transport(config, "verilator"), config)
