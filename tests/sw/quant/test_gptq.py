"""Rounding of weights: weights on a grid keep their values, and GPTQ uses correlations between
inputs."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.sw.quant.gptq import gptq, nearest, on_grid


def restored(integers):
    """The weights that integers stand for."""
    return integers.values * integers.scale.repeat(integers.group, axis=0)[:integers.values.shape[1]].T


@settings(deadline=None)
@given(outputs=st.integers(1, 5), inputs=st.integers(1, 40), group=st.sampled_from([4, 16, 64]), seed=st.integers(0, 999),
       half=st.booleans())
def test_weights_on_a_grid_keep_their_values(outputs, inputs, group, seed, half):
    rng = np.random.default_rng(seed)
    groups = -(-inputs // group)
    scale = rng.uniform(1e-4, 2, (groups, outputs)).astype(np.float16 if half else np.float32)
    weight = rng.integers(-8, 8, (outputs, inputs)) * scale.astype(np.float32).repeat(group, axis=0)[:inputs].T
    found = on_grid(weight, 4, group)
    assert found is not None and found.values.min() >= -8 and found.values.max() <= 7
    assert np.allclose(restored(found), weight, rtol=1e-3, atol=1e-6)


def test_weights_on_no_grid_give_none():
    rng = np.random.default_rng(0)
    assert on_grid(rng.normal(size=(3, 32)), 4, 16) is None
    # These 40 multiples of a step need more than 4 bits.
    assert on_grid(np.arange(-20, 20)[None] * 0.5, 4, 40) is None


@settings(deadline=None)
@given(inputs=st.integers(8, 40), group=st.sampled_from([8, 16, 64]), seed=st.integers(0, 99))
def test_gptq_leaves_less_error_in_the_results(inputs, group, seed):
    """With the moment of correlated inputs the squared error of the results is smaller than with
    the unit matrix as moment."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(400, 6)) @ rng.normal(size=(6, inputs)) + 0.1 * rng.normal(size=(400, inputs))
    weight = rng.normal(size=(64, inputs))
    found = {name: gptq(weight, moment, 4, group) for name, moment in (("with", x.T @ x), ("without", np.eye(inputs)))}
    errors = {name: np.square(x @ (restored(integers) - weight).T).sum() for name, integers in found.items()}
    assert errors["with"] < errors["without"]
    assert all(integers.values.min() >= -8 and integers.values.max() <= 7 for integers in found.values())
    assert found["with"].scale.shape == (-(-inputs // group), 64)


def test_nearest_clips_nothing():
    weight = np.array([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]])
    found = nearest(weight, 8)
    assert found.values[0].tolist() == [64, -127, 32] and not found.values[1].any() and found.group == 3
