"""Balanced residuals: units by channel, exact roots, and what they keep of a model's quality."""

import itertools
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marey.hdl.spec import integer
from marey.sw.model.config import ModelConfig
from marey.sw.model.reference import Reference
from marey.sw.quant import residual
from marey.sw.quant.calibrate import RESIDUAL, calibrate
from marey.sw.quant.golden import Golden
from marey.sw.quant.quantise import quantise
from marey.sw.text.sampling import Sampler, sample_text
from marey.sw.views.evaluate import score
from tests.outliers import outlier_model

SHAPE = ModelConfig(dim=24, hidden_dim=44, n_layers=2, n_heads=6, n_kv_heads=3, vocab_size=50, seq_len=24)
LARGEST_PRODUCT = 32767 * residual.MOST_UNIT


def real(scalar):
    """The value of a scalar."""
    return scalar[0] * 2.0 ** -np.asarray(scalar[1], np.float64)


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=64), st.data())
def test_the_root_is_precise_at_every_size(values, data):
    """1 / sqrt(sum of (x * units)**2) within 1.5 %: two tables of 2**-8, and the rounding of squares.

    Vectors whose products are all below 2**10 have fewer than 16 bits, and are left out.
    """
    units = np.array(data.draw(st.lists(st.integers(residual.LEAST_UNIT, residual.MOST_UNIT), min_size=len(values),
                                        max_size=len(values))))
    x = np.array([values])
    exact = np.sqrt(float((x * units).astype(object)[0] @ (x * units).astype(object)[0]))
    if np.abs(x * units).max() < 1 << 10:
        return
    power, root = integer.balanced_root(x, units)
    # See `Residual.root`: 1 / root mean square = the scalars' product * this number, for common = 1.
    found = real(power) * real(root) * residual.Residual(np.ones(1), 1, units, 1.0).root(1)
    assert found[0, 0] * exact == pytest.approx(1, abs=0.015)


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=20), st.data())
def test_a_filled_vector_keeps_its_products(values, data):
    """The filled vector, times its scalar, is the products within a half of its step, whatever their size."""
    others = np.array(data.draw(st.lists(st.integers(-32768, 32767), min_size=len(values), max_size=len(values))))
    products = np.array([values]) * others
    made, scalar, _ = integer.filled(products, integer.PRODUCT_RANGE_SHIFT)
    step = real(scalar) * residual.filled_unit(integer.PRODUCT_RANGE_SHIFT)
    assert np.abs(made * step - products).max() <= step[0, 0] / 2
    assert np.abs(products).max() < 1 << 16 or np.abs(made).max() >= 1 << 12


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=20))
def test_no_gain_vanishes(gains):
    gains = np.array([*gains, 1.0])
    (found,) = residual.gains_of([gains], [1.0])
    assert ((found == 0) == (gains == 0)).all() and (np.sign(found) == np.sign(gains)).all()


@given(st.floats(1e-8, 1e-2), st.integers(1, 8192), st.lists(st.floats(1e-3, 1e4), min_size=2, max_size=6))
def test_epsilon_is_a_channel(epsilon, dim, growing):
    """In each region the channel's value times its unit is sqrt(epsilon * dim), unless all other channels are far larger."""
    ranges = np.sort(growing)[:, None] * np.array([1.0, 100.0])
    residuals = residual.residuals_of(ranges.max(), ranges, 1e-9, len(ranges), epsilon * dim)
    assert len({each.epsilon for each in residuals}) == 1
    for each in residuals:
        made = each.epsilon * int(each.units[-1]) * each.common
        assert made == pytest.approx(np.sqrt(epsilon * dim), rel=0.2, abs=2 * each.epsilon * each.common) \
            or each.units[-1] == residual.MOST_UNIT or each.epsilon == 32767


@given(st.lists(st.lists(st.floats(1e-3, 1e6), min_size=3, max_size=3), min_size=1, max_size=6))
def test_units_hold_the_ranges_and_never_shrink(ranges):
    """Each channel's range, times the headroom, is at most full scale in each region; numbers that bring one region's
    residual to the next fit 16 bits."""
    residuals = residual.residuals_of(1e12, np.array(ranges), 1e-9, len(ranges), 1e-3)
    for each, largest in zip(residuals, ranges, strict=True):
        assert (each.unit * 32767 >= np.array(largest) * residual.HEADROOM * (1 - 1e-6)).all()
    for before, each in itertools.pairwise(residuals):
        assert (each.factors_from(before) >= 0).all() and (before.unit / each.unit < 2).all()


@cache
def models():
    """An outlier model, its float reference and its integer model, with texts that it writes."""
    model = outlier_model(SHAPE)
    return model, quantise(model), sample_text(Reference(model, 16), SHAPE.seq_len - 1, Sampler(1.0, 1.0, 5), 16)


def ratio(model, quantised, texts):
    """Perplexity of the integer model over the float model's."""
    losses, _ = score({"float": Reference(model, len(texts)), "integers": Golden(quantised, len(texts))}, texts)
    return float(np.exp(losses["integers"].mean() - losses["float"].mean()))


def test_a_model_with_outliers_keeps_its_quality():
    model, quantised, texts = models()
    assert quantised.balanced and not quantised.config.tied
    assert ratio(model, quantised, texts) < 1.02


def test_one_unit_would_not_keep_it(monkeypatch):
    """The test above can fail: in one unit for all channels, the model is lost."""
    model, _, texts = models()
    monkeypatch.setattr(residual, "LEAST_RMS", 0)
    monkeypatch.setattr(residual, "LEAST_RANGE", 0)
    in_one_unit = quantise(model)
    assert not in_one_unit.balanced
    assert ratio(model, in_one_unit, texts) > 1.02


def test_calibration_records_channels():
    """The largest magnitude of the residual is that of its largest channel in any region."""
    ranges = calibrate(models()[0], 0)
    names = ["x", *(f"{layer}.{name}" for layer in range(SHAPE.n_layers) for name in ("x", "middle"))]
    assert max(ranges[f"{name}.channels"].max() for name in names) == ranges[RESIDUAL]
