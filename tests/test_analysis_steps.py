"""Norms along time: bands over samples, and curves against the lag that give back a known rate."""

import numpy as np
import pytest
import xarray as xr
from compare import assert_close, assert_equal

import gradflow as gf
from gradflow.analysis.steps import against_lag, log_norms, norm_band, with_weights

RATES = np.array([[-0.05, -0.07], [-0.2, -0.3]])
STEPS = 60


def record(**attrs):
    """Two layers and two samples whose norms grow towards the end at known rates."""
    lag = np.arange(STEPS)[::-1]
    norms = np.exp(RATES[:, None, :] * lag[None, :, None])
    return xr.Dataset({"grad_u": (("layer", "time", "sample"), norms)}, {"time": np.arange(STEPS)}, attrs)


def test_curves_against_the_lag_have_the_rate_they_were_made_with():
    fit = gf.fit_decay(against_lag(record(p='{"1": 1.0}')), variable="log_norm")
    assert_close(fit.rate.values, RATES.mean(axis=1), rtol=1e-12, why="straight lines, up to rounding")
    assert_close(fit.rate_samples.values, RATES, rtol=1e-12, why="straight lines, up to rounding")


def test_the_lag_counts_from_the_last_step():
    data = record()
    curves = against_lag(data)
    assert_equal(curves.lag.values, np.arange(STEPS))
    assert_equal(curves.log_norm.isel(lag=0).values, np.log(data.grad_u.isel(time=-1).values))
    assert_equal(curves.log_norm.isel(lag=-1).values, np.log(data.grad_u.isel(time=0).values))


def test_bands_are_numpys_quantiles_of_the_logarithms():
    norms = np.exp(np.random.default_rng(0).normal(size=(2, 5, 9)))
    data = xr.Dataset({"grad_u": (("layer", "time", "sample"), norms)})
    band = norm_band(data)
    for name, q in (("centre", 0.5), ("low", 0.1), ("high", 0.9)):
        expected = np.quantile(np.log(norms), q, axis=2)
        assert_close(band[name].values, expected, rtol=1e-12, atol=1e-14, why="the same interpolation")
    assert band.centre.dims == ("layer", "time")
    flat = norm_band(data.isel(sample=0))
    assert_equal(flat.centre.values, np.log(norms[..., 0]))
    assert_equal(flat.low.values, flat.high.values)


def test_exact_zeros_stay():
    data = xr.Dataset({"grad_u": (("time", "sample"), [[0.0, 0.0, 1.0], [1.0, 1.0, 1.0]])})
    assert np.isneginf(norm_band(data).centre.values).tolist() == [True, False]
    assert np.isneginf(against_lag(data).log_norm.values).tolist() == [[False] * 3, [True, True, False]]


@pytest.mark.parametrize(
    ("told", "weights", "spans"),
    [
        ('{"4": 1.0}', [1.0], [4]),
        ('[{"4": 1.0}, {"1": 0.25, "2": 0.75}]', [[0.0, 0.0, 1.0], [0.25, 0.75, 0.0]], [1, 2, 4]),
    ],
)
def test_weights_come_from_the_conventions(told, weights, spans):
    found = with_weights(record(p=told))
    assert found.p.values.tolist() == weights
    assert found.span.values.tolist() == spans


@pytest.mark.parametrize("told", ["unknown", "", "{}", '[{"1": 1.0}, {"2": 1.0}, {"3": 1.0}]'])
def test_no_weights_where_the_conventions_have_none_or_do_not_fit(told):
    found = with_weights(record(p=told))
    assert "p" not in found or not found.sizes["span"]


def test_own_weights_are_kept():
    data = record(p='{"4": 1.0}').assign(p=("span", [1.0])).assign_coords(span=[2])
    assert with_weights(data).identical(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (xr.Dataset({"window": ("time", [0.0])}), "no variable 'grad_u', only window; record it with"),
        (xr.Dataset({"grad_u": ("lag", [0.0])}), "expected \\['time'\\] among them"),
        (xr.Dataset({"grad_u": ("time", [-1.0])}), "has negative entries; expected norms"),
        (xr.Dataset({"grad_u": ("time", [np.nan])}), "NaN or infinite"),
    ],
)
def test_what_is_no_record_is_refused(data, message):
    with pytest.raises(ValueError, match=message):
        log_norms(data)
