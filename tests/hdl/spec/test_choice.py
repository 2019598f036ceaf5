"""A field that has some members of an enumeration: an optional member costs the tiles without it nothing."""

import pytest
from amaranth.hdl import Module, Shape, Signal
from amaranth.lib import data, enum
from amaranth.lib.wiring import Component, In, Out

from marey.hdl.spec.choice import Choice
from marey.hdl.verilog import convert


class Gauge(enum.Enum, shape=3):
    """Gauges of railways."""

    NARROW = 0
    METRE = 1
    STANDARD = 2
    IBERIAN = 4


SOME, ALL = Choice(Gauge, (Gauge.NARROW, Gauge.METRE, Gauge.STANDARD)), Choice(Gauge, tuple(Gauge))


class Old(enum.Enum, shape=2):
    """The same before the Iberian gauge was added."""

    NARROW = 0
    METRE = 1
    STANDARD = 2


class Sorter(Component):
    """Says whether a gauge is `wanted`, by a comparison and by a switch."""

    def __init__(self, shape, wanted):
        self._wanted = wanted
        super().__init__({"gauge": In(shape), "compared": Out(1), "switched": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.compared.eq(self.gauge == self._wanted)
        with m.Switch(self.gauge), m.Case(self._wanted):
            m.d.comb += self.switched.eq(1)
        return m


def test_the_field_is_as_wide_as_its_members_need():
    assert Shape.cast(SOME).width == 2 and Shape.cast(ALL).width == 3
    assert data.StructLayout({"gauge": SOME, "next": 1}).size == 3
    assert data.StructLayout({"gauge": SOME}).const({"gauge": Gauge.STANDARD}).as_value().value == 2
    assert Signal.like(Signal(SOME)).shape() == SOME and hash(SOME) == hash(Choice(Gauge, SOME.members))


def test_the_verilog_of_a_choice_is_that_of_an_enumeration_with_its_members():
    some, every = (convert(Sorter(shape, Gauge.STANDARD)) for shape in (SOME, ALL))
    assert some == convert(Sorter(Old, Old.STANDARD)).replace('"Old"', '"Gauge"')
    assert "IBERIAN" in every and "IBERIAN" not in some


def test_no_comparison_with_what_the_choice_lacks():
    for member in (Gauge.IBERIAN, Old.STANDARD):
        with pytest.raises(TypeError, match="is not one of"):
            assert Signal(SOME) == member
