"""Windows: which entries they have, and that a copy has a place for each."""

from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator
from hypothesis import example, given, settings
from hypothesis import strategies as st

from marey.hdl.spec.window import Window


@st.composite
def any_window(draw):
    """One that a copy can be addressed in."""
    size = draw(st.sampled_from([64, 256, 96]))
    if draw(st.booleans()):
        return Window(0, draw(st.integers(1, size)), size)
    depth = 1 << draw(st.integers(0, 6))
    # Around the end of the memory only if its size is a multiple of the depth.
    return Window(draw(st.integers(0, size - 1 if size % depth == 0 else size - depth)), depth, size)


@settings(max_examples=40, deadline=None)
@given(window=any_window())
@example(window=Window(32, 64, 96))
def test_entries_have_places_of_their_own(window):
    """In hardware as in numpy."""
    assert window.legal
    first, depth, size = window.first, window.depth, window.size
    inside = {(first + offset) % size for offset in range(depth)}
    assert {entry for entry in range(size) if window.holds(entry)} == inside
    entry, has, index = Signal(8), Signal(), Signal(8)
    m = Module()
    m.d.comb += [has.eq(window.has(entry)), index.eq(window.index(entry))]

    async def bench(ctx):
        places = {}
        for value in range(size):
            ctx.set(entry, value)
            await ctx.delay(1e-9)
            assert ctx.get(has) == (value in inside)
            if value in inside:
                places[ctx.get(index)] = value
        assert [places[place] for place in range(depth)] == window.entries.tolist()

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()


@given(first=st.integers(0, 63), depth=st.integers(1, 64), start=st.integers(0, 63), length=st.integers(0, 64))
def test_spans_are_covered_or_not(first, depth, start, length):
    window = Window(first, depth, 64)
    within = start + length <= 64 and all(window.holds(entry) for entry in range(start, start + length))
    assert window.covers(start, start + length) == within
