"""Horizons and half-lives: closed forms, and the definition read literally."""

import math

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gradflow.analysis import half_life, horizon, horizon_at


@given(rate=st.floats(-3.0, -0.02), start=st.floats(-500, 500), level=st.floats(0.05, 0.99))
def test_the_horizon_of_an_exponential_is_log_level_over_rate(rate, start, level):
    curve = start + rate * np.arange(200)
    # start + rate · n is rounded to about 1e-13, and the horizon divides that by the rate.
    assert horizon(curve, level).item() == pytest.approx(math.log(level) / rate, rel=1e-9, abs=1e-9)


def slow_horizon(curve, level):
    """Read the definition: the last lag at which some later value is still at the level."""
    relative = curve - curve.max()
    above = [n for n in range(curve.size) if relative[n:].max() >= math.log(level)]
    last = above[-1]
    if last == curve.size - 1:
        return math.inf
    low, high = relative[last:].max(), relative[last + 1 :].max()
    return last + (0.0 if math.isinf(high) else (math.log(level) - low) / (high - low))


@given(
    arrays(np.float64, st.integers(1, 12), elements=st.floats(-9, 0) | st.just(-np.inf)),
    st.sampled_from([1.0, 0.5, 1e-2]),
)
def test_the_horizon_is_what_its_definition_says(curve, level):
    curve[0] = 0.0
    assert horizon(curve, level).item() == pytest.approx(slow_horizon(curve, level), abs=1e-12)


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ([0.0, -0.1, -0.2], math.inf),
        ([0.0, -8.0, -0.1], math.inf),
        ([0.0, -8.0, -1.0, -8.0], 2.0 + (math.log(1000) - 1.0) / 7.0),
        ([0.0, -1.0, -np.inf], 1.0),
        ([0.0, -np.inf, -np.inf], 0.0),
        ([-np.inf, -np.inf], math.nan),
    ],
)
def test_the_horizon_of_combs_and_of_zeros(curve, expected):
    np.testing.assert_allclose(horizon(np.array(curve), 1e-3), expected, rtol=1e-14)


@pytest.mark.parametrize("level", [0.0, -1.0, 1.5, math.nan])
def test_a_level_is_a_share(level):
    with pytest.raises(ValueError, match="expected 0 < level <= 1"):
        horizon(np.zeros(3), level)


@pytest.mark.parametrize(("size", "lags"), [(2, np.array([3, 4])), (0, None)])
def test_a_horizon_is_relative_to_lag_zero(size, lags):
    with pytest.raises(ValueError, match="expected 0: a horizon"):
        horizon(np.zeros(size), 0.5, lags)


def test_horizons_of_labelled_curves_use_their_lags_and_keep_their_dimensions():
    lag = np.array([0, 2, 4, 10])
    rates = np.array([[-1.0, -2.0], [-0.01, -4.0]])
    curves = xr.DataArray(rates[..., None] * lag, {"lag": lag, "seed": [3, 4]}, ["seed", "layer", "lag"])
    found = horizon_at(curves.to_dataset(name="log_spectral"), 0.1, variable="log_spectral").horizon
    assert found.dims == ("seed", "layer")
    assert found.attrs["units"] == "steps"
    np.testing.assert_allclose(found.sel(seed=3), -math.log(0.1) / np.array([1.0, 2.0]))
    assert found.sel(seed=4, layer=0).item() == math.inf


@pytest.mark.parametrize(
    ("rate", "steps"),
    [
        (-math.log(2), 1.0),
        (0.0, math.inf),
        (-0.0, math.inf),
        (0.3, math.inf),
        (-math.inf, 0.0),
        (math.nan, math.nan),
    ],
)
def test_half_lives(rate, steps):
    np.testing.assert_array_equal(half_life(rate), steps)
    np.testing.assert_array_equal(half_life(np.array([rate, rate])), [steps, steps])
