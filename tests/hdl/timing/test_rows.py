"""Tables of uses: which of their columns differ."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from marey.hdl.timing.rows import different

NUMBERS = st.one_of(st.integers(-3, 3), st.integers(-1 << 60, 1 << 60), st.sampled_from((0, 1 << 60, 1 - (1 << 60))))


@given(facts=st.integers(1, 9).flatmap(lambda n: st.lists(st.lists(NUMBERS, min_size=n, max_size=n), min_size=1, max_size=5)))
def test_different_columns_are_those_that_numpy_finds(facts):
    table = np.array(facts, np.int64)
    at, which = different(list(table))
    wanted, kinds = np.unique(table, axis=1, return_inverse=True)
    assert np.array_equal(table[:, at], wanted) and np.array_equal(which, kinds.ravel())
