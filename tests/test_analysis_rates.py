"""Rates of labelled curves: the interval covers, seeds and samples are not confused, dimensions stay."""

import math

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from gradflow import seeds
from gradflow.analysis import envelope, fit_decay, horizon, student_interval

LAG = np.arange(40)


def curves(rates, dims, **coords):
    """Exact exponentials of the given rates."""
    array = xr.DataArray(np.asarray(rates)[..., None] * LAG, {"lag": LAG, **coords}, [*dims, "lag"])
    return array.to_dataset(name="log_frobenius")


def test_the_interval_is_that_of_student():
    rates = np.array([-0.30, -0.31, -0.33, -0.28, -0.29])
    fit = fit_decay(curves(rates[None], ["layer", "sample"]), confidence=0.9)
    low, high = stats.t.interval(0.9, 4, rates.mean(), stats.sem(rates))
    np.testing.assert_allclose(
        [fit.rate[0], fit.rate_low[0], fit.rate_high[0]], [rates.mean(), low, high], rtol=1e-12
    )
    np.testing.assert_allclose(fit.rate_samples[0], rates, rtol=1e-12)
    assert fit.half_life.item() == pytest.approx(math.log(2) / -rates.mean())
    assert fit.horizon.item() == pytest.approx(math.log(1e-3) / -0.30)
    assert fit.curves_fitted.item() == 5
    assert fit.rate.attrs["units"] == "nats per step"


def test_with_seeds_the_interval_is_over_networks():
    rates = np.array([[[-0.3, -0.5]], [[-0.31, -0.53]], [[-0.29, -0.50]]])  # seed layer sample
    fit = fit_decay(curves(rates, ["seed", "layer", "sample"], seed=[1, 2, 3]))
    means = rates.mean(-1)[:, 0]
    low, high = stats.t.interval(0.95, 2, means.mean(), stats.sem(means))
    np.testing.assert_allclose(
        [fit.rate[0], fit.rate_low[0], fit.rate_high[0]], [means.mean(), low, high], rtol=1e-12
    )
    assert fit.rate.dims == ("layer",)
    assert fit.rate_samples.dims == ("seed", "layer", "sample")


def test_a_single_seed_leaves_the_interval_to_the_samples():
    rates = np.array([[-0.3, -0.5, -0.4]])
    with_seed = fit_decay(curves(rates[None], ["seed", "layer", "sample"]))
    without = fit_decay(curves(rates, ["layer", "sample"]))
    for name in ("rate", "rate_low", "rate_high"):
        np.testing.assert_allclose(with_seed[name], without[name], rtol=1e-13)


@pytest.mark.parametrize("dims", [["layer"], ["layer", "sample"]])
def test_one_curve_has_a_rate_and_no_interval(dims):
    fit = fit_decay(curves(np.full([2] + [1] * (len(dims) - 1), -0.2), dims))
    np.testing.assert_allclose(fit.rate, [-0.2, -0.2])
    assert np.isnan(fit.rate_low).all()
    assert np.isnan(fit.rate_high).all()


REPEATS = 900


def test_the_interval_over_samples_covers_the_true_rate_as_often_as_it_says():
    rates = -0.3 + 0.05 * seeds.normal(0, "samples", shape=(REPEATS, 1, 4))
    fit = fit_decay(curves(rates, ["repeat", "layer", "sample"]))
    covered = float(((fit.rate_low <= -0.3) & (fit.rate_high >= -0.3)).mean())
    # binomial standard error of 95 % in 900 repeats: 0.73 %; four of them
    assert covered == pytest.approx(0.95, abs=0.029)


def test_the_interval_over_seeds_covers_the_true_rate_and_pooling_would_not():
    network = 0.05 * seeds.normal(1, "networks", shape=(REPEATS // 3, 3, 1, 1))
    sample = 0.01 * seeds.normal(1, "inputs", shape=(REPEATS // 3, 3, 1, 4))
    rates = -0.3 + network + sample
    fit = fit_decay(curves(rates, ["repeat", "seed", "layer", "sample"]))
    covered = float(((fit.rate_low <= -0.3) & (fit.rate_high >= -0.3)).mean())
    # binomial standard error of 95 % in 300 repeats: 1.26 %; four of them
    assert covered == pytest.approx(0.95, abs=0.05)
    _, low, high = student_interval(rates.reshape(len(rates), -1))
    assert ((low <= -0.3) & (high >= -0.3)).mean() < 0.85


def comb(span, length=300):
    lag = np.arange(length)
    teeth = np.where(lag % span == 0, -0.6 * lag / span, -np.inf)
    part = xr.Dataset({"log_frobenius": (("layer", "sample", "lag"), teeth[None, None])}, {"lag": lag})
    return part.assign(p=(("layer", "span"), [[1.0]])).assign_coords(span=[span])


def test_recurrences_side_by_side_each_have_their_own_period():
    both = xr.concat(
        [comb(1), comb(4), comb(16)],
        xr.Variable("recurrence", ["vanilla", "skip:4", "skip:16"]),
        join="outer",
    )
    fit = fit_decay(both)
    assert fit.rate.dims == ("recurrence", "layer")
    np.testing.assert_allclose(fit.rate[:, 0], [-0.6, -0.15, -0.0375], rtol=1e-12)
    assert fit.is_comb.values[:, 0].tolist() == [False, True, True]
    assert fit.burn_in.sel(recurrence="skip:16").item() == 32


def test_a_dataset_of_one_kind_is_fitted_like_each_of_its_parts():
    random = np.random.default_rng(5).normal(size=(2, 3, 2, 4, 40)).cumsum(-1)
    dims = ["recurrence", "seed", "layer", "sample", "lag"]
    prod = xr.DataArray(random, {"lag": LAG}, dims).to_dataset(name="log_spectral")
    whole = fit_decay(prod, variable="log_spectral", burn_in=3, level=0.5)
    part = fit_decay(prod.isel(recurrence=1, layer=[0]), variable="log_spectral", burn_in=3, level=0.5)
    xr.testing.assert_allclose(whole.isel(recurrence=1, layer=[0]), part)
    slopes = np.polyfit(LAG[3:], envelope(random)[0, 0, 0, :, 3:].T, 1)[0]
    falls = random[0, 0, 0, :, -1] <= random[0, 0, 0, :, 3]
    assert falls.any()
    np.testing.assert_allclose(whole.rate_samples[0, 0, 0, falls.nonzero()[0]], slopes[falls], rtol=1e-9)
    horizons = horizon(random[0, :, 0].reshape(12, 40), 0.5)
    np.testing.assert_allclose(whole.horizon[0, 0], np.median(horizons))


def test_a_layer_that_cannot_be_fitted_is_nan_and_says_why():
    prod = curves(np.full((2, 2), -0.2), ["layer", "sample"])
    prod.log_frobenius[1] = np.where(LAG > 1, -np.inf, 0.0)
    fit = fit_decay(prod)
    np.testing.assert_allclose(fit.rate, [-0.2, np.nan])
    assert fit.reason.values.tolist() == [0, 1]
    assert fit.curves_fitted.values.tolist() == [2, 0]
    assert "fewer than 3" in fit.reason.attrs["flag_meanings"]
    for name in ("rate_low", "half_life", "comb_depth", "r_squared"):
        assert np.isnan(fit[name][1])


def test_a_sample_that_cannot_be_fitted_is_left_out_and_counted():
    prod = curves(np.array([[-0.2, -0.4, -9.0]]), ["layer", "sample"])
    prod.log_frobenius[0, 2] = np.where(LAG > 1, -np.inf, 0.0)
    fit = fit_decay(prod)
    assert fit.rate.item() == pytest.approx(-0.3)
    assert fit.curves_fitted.item() == 2
    assert fit.reason.item() == 0


def test_a_growing_gradient_has_a_positive_rate_and_no_half_life():
    fit = fit_decay(curves([[0.1, 0.2]], ["layer", "sample"]))
    assert fit.rate.item() == pytest.approx(0.15)
    assert fit.half_life.item() == math.inf
    assert fit.horizon.item() == math.inf


def test_later_lags_alone_have_a_rate_and_no_horizon():
    fit = fit_decay(curves([[-0.1, -0.2]], ["layer", "sample"]).sel(lag=slice(5, None)))
    assert fit.rate.item() == pytest.approx(-0.15)
    assert math.isnan(fit.horizon.item())


def test_the_fit_carries_its_own_settings_and_what_it_was_given():
    prod = curves([[-0.1]], ["layer", "sample"]).assign_attrs(task="digits")
    attrs = fit_decay(prod, confidence=0.9, level=0.1).attrs
    assert attrs == {
        "task": "digits",
        "fit_variable": "log_frobenius",
        "fit_confidence": 0.9,
        "horizon_level": 0.1,
    }


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"confidence": 95.0}, "confidence: got 95"),
        ({"burn_in": -1}, "burn_in: got -1"),
        ({"level": 2.0}, "level: got 2.0"),
    ],
)
def test_settings_that_make_no_sense(setting, message):
    with pytest.raises(ValueError, match=message):
        fit_decay(curves([[-0.1]], ["layer", "sample"]), **setting)


def test_the_mean_and_interval_of_numbers_that_are_not_there():
    mean, low, high = student_interval(np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, 2.0], [np.nan] * 3]))
    half = stats.t.ppf(0.975, 1) * 1.0
    np.testing.assert_allclose(mean, [2.0, 2.0, np.nan])
    np.testing.assert_allclose(low, [2.0 - half, np.nan, np.nan])
    np.testing.assert_allclose(high, [2.0 + half, np.nan, np.nan])
