"""The PLLs of iCE40 and ECP5, which make the tile's clock.

Their models for simulation, in cells.v, pass the clock through.
"""

from dataclasses import dataclass

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..hdl.spec.errors import MareyError

UP5K_PLL_PIN = "35"
"""The pin of the SG48 package that is the input of the UP5K's only PLL (IOT_46b in Lattice's
pinout).

A clock at this pin can go to the PLL only. A clock at another pin reaches the PLL through the
device's wires."""


@dataclass(frozen=True)
class Ice40Setting:
    """Dividers of an SB_PLL40 in simple feedback: output = input * (divf + 1) / (divr + 1) /
    2**divq."""

    divr: int
    divf: int
    divq: int
    filter_range: int


def ice40_setting(input_hz: float, output_hz: float) -> Ice40Setting:
    """The dividers that make the nearest clock. MareyError if none is within 1 % and keeps the PLL
    in its ranges.

    The ranges and the filter's steps are those of Lattice's technical note on the iCE40 sysCLOCK
    PLL (FPGA-TN-02052).
    """
    found = []
    for divr in range(16):
        reference = input_hz / (divr + 1)
        for divf in range(128):
            if not (10e6 <= reference <= 133e6 and 533e6 <= reference * (divf + 1) <= 1066e6):
                continue
            for divq in range(1, 7):
                output = reference * (divf + 1) / (1 << divq)
                steps = (17e6, 26e6, 44e6, 66e6, 101e6)
                found.append((abs(output - output_hz), divr, divf, divq, 1 + sum(reference >= step for step in steps)))
    return Ice40Setting(*_nearest(found, input_hz, output_hz)[1:])


class Ice40Pll(wiring.Component):
    """An SB_PLL40.

    Parameters: `input_hz`, `output_hz`; `pad`, the port of the clock's pin if that is the PLL's own
    input pin, which then serves nothing else, otherwise None. Members: `clk_in: In(1)`, the input
    clock, unused with a `pad`; `clk: Out(1)`, the output clock; `locked: Out(1)`. MareyError if no
    setting makes the output clock.
    """

    def __init__(self, input_hz: float, output_hz: float, pad=None):
        self._setting, self._pad = ice40_setting(input_hz, output_hz), pad
        super().__init__({"clk_in": In(1), "clk": Out(1), "locked": Out(1)})

    def elaborate(self, platform):
        m = Module()
        setting = self._setting
        kind, source = ("SB_PLL40_CORE", {"i_REFERENCECLK": self.clk_in}) if self._pad is None else (
            "SB_PLL40_PAD", {"i_PACKAGEPIN": self._pad.io})
        m.submodules.pll = Instance(
            kind, p_FEEDBACK_PATH="SIMPLE", p_DIVR=Const(setting.divr, 4), p_DIVF=Const(setting.divf, 7),
            p_DIVQ=Const(setting.divq, 3), p_FILTER_RANGE=Const(setting.filter_range, 3),
            i_RESETB=1, i_BYPASS=0, o_PLLOUTGLOBAL=self.clk, o_LOCK=self.locked, **source)
        return m


@dataclass(frozen=True)
class Ecp5Setting:
    """Dividers of an EHXPLLL whose CLKOP is fed back, at the rate that is compared, and whose CLKOS
    is the output: output = input / reference * multiple / divider."""

    reference: int
    multiple: int
    divider: int


def ecp5_setting(input_hz: float, output_hz: float, rate: int = 1) -> Ecp5Setting:
    """The dividers that come nearest, what is compared fast. MareyError if none within 1 % keeps
    the PLL in its range. `rate`: the divider is a multiple of it, so that an output so many times as fast can be beside it.

    Ranges are those of the ECP5's data sheet (FPGA-DS-02012): 10 to 400 MHz compared, 400 to 800
    MHz oscillating.
    """
    found = []
    for reference in range(1, 129):
        compared = input_hz / reference
        for multiple in range(1, 129):
            if 10e6 <= compared <= 400e6 and 400e6 <= compared * multiple <= 800e6:
                divider = rate * min(128 // rate, max(1, round(compared * multiple / output_hz / rate)))
                found.append((abs(compared * multiple / divider - output_hz), reference, multiple, divider))
    return Ecp5Setting(*_nearest(found, input_hz, output_hz)[1:])


STEPS = 8
"""Steps in which an EHXPLLL can delay an output within a cycle of its oscillator."""


def ecp5_delay(divider: int, degrees: float) -> tuple[int, int]:
    """(CPHASE, FPHASE) of an output with this divider that comes a part of its period, 0 to 360 degrees, after CLKOS: cycles of
    the oscillator, counted from `divider - 1` on, and steps of a cycle."""
    cycles, steps = divmod(round(degrees / 360 * divider * STEPS), STEPS)
    return divider - 1 + cycles, steps


class Ecp5Pll(wiring.Component):
    """An EHXPLLL.

    Parameters: `input_hz`, `output_hz`; `second`, if it is given, (rate, degrees) of a second output: how many times as fast it
    is, and how much of its own period later it comes. Members: `clk_in`; `clk`, `locked`; with `second` also `later`, that
    output.
    """

    def __init__(self, input_hz: float, output_hz: float, second: tuple[int, float] | None = None):
        self._setting, self._second = ecp5_setting(input_hz, output_hz, second[0] if second else 1), second
        super().__init__({"clk_in": In(1), "clk": Out(1), "locked": Out(1)} | ({"later": Out(1)} if second else {}))

    def elaborate(self, platform):
        m = Module()
        setting, compared, second = self._setting, Signal(), {}
        if self._second:
            rate, degrees = self._second
            divider = setting.divider // rate
            cycles, steps = ecp5_delay(divider, degrees)
            second = {"p_CLKOS2_DIV": divider, "p_CLKOS2_CPHASE": cycles, "p_CLKOS2_FPHASE": steps,
                      "p_CLKOS2_ENABLE": "ENABLED", "i_ENCLKOS2": 0, "o_CLKOS2": self.later}
        m.submodules.pll = Instance(
            "EHXPLLL", p_CLKI_DIV=setting.reference, p_CLKFB_DIV=1, p_FEEDBK_PATH="CLKOP",
            p_CLKOP_DIV=setting.multiple, p_CLKOP_CPHASE=setting.multiple - 1, p_CLKOP_ENABLE="ENABLED",
            p_CLKOS_DIV=setting.divider, p_CLKOS_CPHASE=setting.divider - 1, p_CLKOS_ENABLE="ENABLED",
            i_CLKI=self.clk_in, i_CLKFB=compared, i_RST=0, i_STDBY=0, i_PHASESEL0=0, i_PHASESEL1=0, i_PHASEDIR=0,
            i_PHASESTEP=0, i_PHASELOADREG=0, i_PLLWAKESYNC=0, i_ENCLKOP=0, i_ENCLKOS=0,
            o_CLKOP=compared, o_CLKOS=self.clk, o_LOCK=self.locked, **second)
        return m


def _nearest(found, input_hz, output_hz):
    if not found or min(found)[0] > 0.01 * output_hz:
        raise MareyError(f"no PLL makes {output_hz / 1e6:g} MHz of {input_hz / 1e6:g} MHz: choose another clock for the tile")
    return min(found)
