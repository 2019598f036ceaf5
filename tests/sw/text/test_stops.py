"""Texts that end a text: found wherever the pieces end, and never shown, not even in part."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marey.hdl.spec.errors import MareyError
from marey.sw.text.stops import Stops

SMALL = st.text("ab", max_size=12)


@given(st.lists(SMALL, max_size=6), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_the_text_ends_before_the_first_stop(pieces, texts):
    """It ends where the shortest beginning of it ends that has a stop text in it."""
    stops, whole = Stops(texts), "".join(pieces)
    shown = "".join(map(stops, pieces))
    expected = next((whole[:min(at for text in texts if (at := whole[:end].find(text)) >= 0)]
                     for end in range(len(whole) + 1) if any(text in whole[:end] for text in texts)), None)
    assert stops.found == (expected is not None)
    if expected is None:
        assert shown + stops.rest() == whole
    else:
        # A piece may have several stop texts in it; then the first of them ends the text.
        assert expected.startswith(shown) and stops.rest() == ""
        assert not any(text in shown for text in texts)


@given(SMALL, SMALL)
def test_what_may_be_a_beginning_is_held_back(before, after):
    """And nothing else is."""
    stops = Stops(["abba"])
    shown = stops(before)
    assert stops.found or before[len(shown):] in ("", "a", "ab", "abb")
    shown += stops(after)
    assert (before + after).startswith(shown)


def test_nothing_to_stop_at():
    stops = Stops()
    assert stops("a") == "a" and stops.rest() == "" and not stops.found
    with pytest.raises(MareyError, match="at least one character"):
        Stops(["x", ""])
