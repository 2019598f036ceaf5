"""The OrangeCrab r0.2: ECP5, 48 MHz oscillator.

Its USB has no UART, so it needs a USB UART at pins 0 and 1.
"""

from amaranth.build import Attrs
from amaranth_boards.orangecrab_r0_2 import OrangeCrabR0_2_25FPlatform, OrangeCrabR0_2_85FPlatform
from amaranth_boards.resources import UARTResource

from ..hdl.spec.config import preset
from .board import Board


def _with_uart(kind):
    """A platform class with a UART at pins 0 (in) and 1 (out) of the header, beside what `kind`
    has."""
    uart = UARTResource(0, rx="0", tx="1", conn=("io", 0), attrs=Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP"))
    return type(kind.__name__, (kind,), {"resources": [*kind.resources, uart]})


BOARDS = [
    Board(name=f"orangecrab-{size}", title=f"OrangeCrab {size.upper()}", platform=_with_uart(platform), tile=preset(config),
          clock_hz=clock_hz, baud=1_000_000, programmer=("dfu-util", "-d", "1209:5af0", "-a", "0", "-D", "{file}"),
          note="connect a USB UART of 3.3 V: its TX to the header's pin 0, its RX to pin 1")
    for size, platform, config, clock_hz in (("25f", OrangeCrabR0_2_25FPlatform, "ecp5_4x4", 100e6),
                                             ("85f", OrangeCrabR0_2_85FPlatform, "ecp5_8x16", 105.6e6))
]
