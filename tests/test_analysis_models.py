"""Shapes of curves: known parameters recovered, the right shape chosen, honest where nothing can be told."""

import numpy as np
import pytest
import xarray as xr
from compare import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st

from gradflow.analysis import Shape, envelope, fit_models, fit_shape
from gradflow.analysis.models import BETAS, whiten
from gradflow.analysis.selection import (
    AMBIGUOUS,
    IDENTIFIED,
    NO_DECAY,
    TOO_FEW,
    UNDETERMINED,
    Plan,
    choose,
    resample,
    select,
)
from gradflow.results import Results
from gradflow.seeds import bit_generator

LAGS = np.arange(20, 320)
TEETH = np.array([0.0, -3.0, -5.0, -4.0])
TRUE = {
    Shape.EXPONENTIAL: -0.08 * LAGS,
    Shape.STRETCHED: 1.0 - (LAGS / 6.0) ** 0.6,
    Shape.POWER: 2.0 - 1.7 * np.log(LAGS),
    Shape.COMB: -0.05 * LAGS + TEETH[LAGS % 4],
}
PARAMETER = {
    Shape.EXPONENTIAL: ("rate", -0.08),
    Shape.STRETCHED: ("exponent", 0.6),
    Shape.POWER: ("exponent", 1.7),
    Shape.COMB: ("rate", -0.05),
}


def residuals(rng, correlation, deviation, size, rows=1):
    """Stationary AR(1) residuals, one row a curve."""
    fresh = rng.normal(size=(rows, size)) * deviation
    for k in range(1, size):
        fresh[:, k] = correlation * fresh[:, k - 1] + np.sqrt(1 - correlation**2) * fresh[:, k]
    return fresh


@pytest.mark.parametrize("shape", TRUE)
def test_without_noise_every_parameter_is_exact(shape):
    fit = fit_shape(shape, LAGS, TRUE[shape], period=4)
    name, value = PARAMETER[shape]
    # a stretched β is searched to 1e-4 of its logarithm
    assert getattr(fit, name) == pytest.approx(value, rel=1e-4 if shape is Shape.STRETCHED else 1e-9)
    if shape is Shape.STRETCHED:
        assert fit.scale == pytest.approx(6.0, rel=1e-3)
    assert fit.deviation < 1e-4


@pytest.mark.parametrize("shape", TRUE)
@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_parameters_and_correlation_are_recovered_from_noise(shape, correlation):
    found = []
    for seed in range(12):
        noise = residuals(np.random.default_rng(seed), correlation, 0.2, LAGS.size)[0]
        fit = fit_shape(shape, LAGS, TRUE[shape] + noise, period=4)
        found.append([getattr(fit, PARAMETER[shape][0]), fit.correlation, fit.deviation])
    mean, spread = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(12)
    value = PARAMETER[shape][1]
    # four standard errors of the mean of 12; and the spread itself is a few per cent of the value
    assert abs(mean[0] - value) < 4 * spread[0] < 0.1 * abs(value)
    assert mean[1] == pytest.approx(correlation, abs=0.06)  # an estimate of ρ from 300 lags: ± 0.03
    assert mean[2] == pytest.approx(0.2, rel=0.15)


@pytest.mark.parametrize("shape", TRUE)
@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_the_right_shape_is_chosen(shape, correlation):
    right = 0
    for seed in range(6):
        noise = residuals(np.random.default_rng(seed), correlation, 0.1, LAGS.size)[0]
        shapes = tuple(TRUE)
        fits = [fit_shape(one, LAGS, TRUE[shape] + noise, period=4) for one in shapes]
        right += shapes[choose(shapes, np.array([fit.aicc for fit in fits]))] is shape
    assert right >= 5


def test_correlated_residuals_do_not_pass_for_a_shape():
    """A straight line with a random walk on it: as independent residuals they would prove some curvature."""
    shapes = (Shape.EXPONENTIAL, Shape.STRETCHED)
    curved = {"fitted": 0, "independent": 0}
    for seed in range(12):
        walk = np.cumsum(np.random.default_rng(seed).normal(-0.1, 0.1, size=200))
        lags = np.arange(1, 201)
        for name, rho in (("fitted", None), ("independent", 0.0)):
            aicc = [fit_shape(shape, lags, walk, correlation=rho).aicc for shape in shapes]
            curved[name] += choose(shapes, np.array(aicc)) == 1
    assert curved["independent"] >= 7
    assert curved["fitted"] <= 2  # 5 % of 12 are expected


@settings(max_examples=10)
@given(st.floats(0.0, 0.99), st.lists(st.integers(1, 9), min_size=3, max_size=12))
def test_whitening_is_the_inverse_of_the_covariance_with_gaps_too(correlation, gaps):
    lags = np.cumsum(gaps)
    x = np.random.default_rng(0).normal(size=(lags.size, 1))
    covariance = correlation ** np.abs(lags[:, None] - lags)
    white, logs = whiten(x, lags, correlation)
    expected = (x.T @ np.linalg.solve(covariance, x)).item()
    assert_close(np.sum(white**2), expected, rtol=1e-8, why="condition of a covariance of ρ = 0.99")
    assert_close(logs, np.linalg.slogdet(covariance)[1], atol=1e-8, why="as above")


def dataset(curves, lags=None, **variables):
    """Curves (layer, seed, sample, lag) as a labelled dataset."""
    lag = np.arange(curves.shape[-1]) if lags is None else lags
    table = {"log_frobenius": (("layer", "seed", "sample", "lag"), curves)}
    return xr.Dataset(table | variables, {"lag": lag}, {"task": "digits"})


def walks(rng, count, *, seeds=1, between=0.0, rate=-0.1, size=150):
    """Exponential curves as products make them: random walks, whose drift differs from seed to seed."""
    drift = rate + between * rng.normal(size=(seeds, 1, 1))
    steps = drift + 0.3 * rng.normal(size=(seeds, count, size))
    steps[..., 0] = 0.0
    return steps.cumsum(axis=-1)


@pytest.mark.parametrize(("seeds", "samples"), [(1, 8), (6, 3)])
def test_intervals_cover_the_rate_about_as_often_as_they_say(seeds, samples):
    plan = Plan((Shape.EXPONENTIAL,), envelope=False, burn_in=1, confidence=0.9, draws=40)
    lags, covered, repeats = np.arange(60), 0, 30
    for k in range(repeats):
        rng = np.random.default_rng(k)
        table = walks(rng, samples, seeds=seeds, between=0.03 if seeds > 1 else 0.0, size=60)
        values = select(table, lags, plan, rng).values
        covered += values["rate_low"][0] <= -0.1 <= values["rate_high"][0]
    # 90 % of 30 ± 5 %, and what few curves take away; nor may intervals be so wide that they cannot fail
    assert 0.73 * repeats <= covered < repeats


def test_intervals_over_seeds_see_how_networks_differ():
    rng = np.random.default_rng(0)
    between, within = walks(rng, 4, seeds=8, between=0.05), walks(rng, 32)
    plan = Plan((Shape.EXPONENTIAL,), envelope=False, burn_in=1, confidence=0.95, draws=60)
    wide, narrow = (select(table, np.arange(150), plan, rng).values for table in (between, within))
    # 0.05 / √8 = 0.018 a side for seeds, 0.3 / √(32 · 150) = 0.004 for samples
    assert wide["rate_high"][0] - wide["rate_low"][0] > 2 * (narrow["rate_high"][0] - narrow["rate_low"][0])


def test_resamples_keep_curves_whole_and_seeds_together():
    table = np.arange(4.0)[:, None, None] * 100 + np.arange(3.0)[None, :, None] * 10 + np.arange(5.0)
    found = resample(table, np.random.Generator(bit_generator(0, "test")))
    assert found.shape == table.shape
    assert np.all(np.diff(found, axis=-1) == 1.0)
    assert np.all(found // 100 == found[:, :1, :1] // 100)
    assert len(np.unique(found[..., 0])) < 12


@pytest.fixture(scope="module")
def fitted():
    """Four layers, one of each shape."""
    rng = np.random.default_rng(0)
    lag = np.arange(1, 321)
    shapes = [-0.08 * lag, 1 - (lag / 6) ** 0.6, 2 - 1.7 * np.log(lag), -0.05 * lag + TEETH[lag % 4]]
    noise = residuals(rng, 0.5, 0.15, lag.size, rows=24).reshape(4, 2, 3, -1)
    p = ("layer", "span"), np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    prod = dataset(np.array(shapes)[:, None, None] + noise, lag, p=p).assign_coords(span=[1, 4])
    return prod, fit_models(prod, draws=15)


def test_each_layer_gets_its_shape_with_its_parameter_in_the_interval(fitted):
    fit = fitted[1]
    assert fit.shape_name[fit.chosen].values.tolist() == ["exponential", "stretched", "power", "comb"]
    assert fit.reason.values.tolist() == [IDENTIFIED] * 4
    for layer, (name, value) in enumerate(PARAMETER.values()):
        one = fit.isel(layer=layer, shape=int(fit.chosen[layer]))
        assert one[name].item() == pytest.approx(value, rel=0.05)
        assert one[f"{name}_low"] < one[name] < one[f"{name}_high"]
        assert one.aicc == 0.0
        assert one.weight > 0.25
        assert one.support > 0.5
    assert fit.attrs["task"] == "digits"
    assert fit.rate.dims == ("layer", "shape")
    assert np.isnan(fit.aicc.sel(layer=0).isel(shape=3))  # no comb where the span is 1


def test_seeds_repeat_and_files_keep_everything(fitted, tmp_path):
    prod, fit = fitted
    xr.testing.assert_identical(fit, fit_models(prod, draws=15))
    other = fit_models(prod, draws=15, seed=1)
    assert np.any(other.rate_low != fit.rate_low)
    xr.testing.assert_identical(other.aicc, fit.aicc)
    fit.to_netcdf(tmp_path / "fit.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "fit.nc", engine="h5netcdf") as back:
        xr.testing.assert_allclose(Results.of(back), fit)
        assert back.shape_name.values.tolist() == fit.shape_name.values.tolist()


def test_an_envelope_is_fitted_once_a_period():
    lag = np.arange(400)
    comb = np.where(lag % 8 == 0, -((lag / 9.0) ** 0.5), -30.0 - 0.1 * lag)
    curves = comb + 0.02 * np.random.default_rng(0).normal(size=(1, 1, 4, 400))
    prod = dataset(curves, p=(("layer", "span"), [[1.0]])).assign_coords(span=[8])
    fit = fit_models(prod, envelope=True, draws=0).isel(layer=0)
    used = lag[(lag >= 40) & (lag % 8 == 0)]
    assert fit.lags_fitted.item() == used.size
    assert fit.shape_name[fit.chosen].item() == "stretched"
    assert fit.exponent[fit.chosen].item() == pytest.approx(0.5, abs=0.03)
    direct = fit_shape(Shape.STRETCHED, used, envelope(curves.mean(axis=(0, 1, 2)))[used])
    assert fit.exponent[1].item() == direct.exponent


def reason(curve, count=6, noise=0.1, shapes=tuple(TRUE), draws=20):
    """The reason for curves like this one."""
    rng = np.random.default_rng(1)
    curves = curve + noise * rng.normal(size=(1, 1, count, curve.size))
    fit = fit_models(dataset(curves), draws=draws, shapes=shapes).isel(layer=0)
    return fit.reason.item(), fit


def test_what_cannot_be_told_is_said():
    lag = np.arange(100)
    assert reason(np.zeros(100))[0] == NO_DECAY
    why, fit = reason(-0.5 * np.arange(5.0))
    assert (why, fit.chosen.item()) == (TOO_FEW, -1)
    assert np.isnan(fit.aicc).all()
    assert np.isnan(fit.weight).all() or np.all(fit.weight == 0)
    assert reason(np.full(100, -np.inf), noise=0.0)[0] == TOO_FEW
    # a power law and an exponential over a quarter of an octave are the same
    window = np.where((lag >= 80) & (lag < 95), -0.02 * lag, -np.inf)
    assert reason(window, noise=0.01, shapes=(Shape.EXPONENTIAL, Shape.POWER))[0] == AMBIGUOUS
    # steeper than any stretched exponential that is fitted
    assert BETAS[1] == 4.0
    assert reason(-((lag / 20.0) ** 6.0), shapes=(Shape.STRETCHED,))[0] == UNDETERMINED
    assert reason(-0.1 * lag)[0] == IDENTIFIED


def test_a_rate_whose_interval_includes_zero_is_undetermined():
    rng = np.random.default_rng(4)
    # the mean of these falls, but some grow: another sample of inputs could rise
    curves = (rng.normal(-0.02, 0.15, size=5)[:, None] * np.arange(80)) + 0.01 * rng.normal(size=(5, 80))
    fit = fit_models(dataset(curves[None, None]), draws=60, shapes=(Shape.EXPONENTIAL,)).isel(
        layer=0, shape=0
    )
    assert fit.rate_low < 0.0 < fit.rate_high
    assert fit.reason == UNDETERMINED


def test_one_curve_has_no_interval_but_a_shape():
    why, fit = reason(-0.1 * np.arange(100.0), count=1)
    assert why == IDENTIFIED
    assert np.isnan(fit.rate_low).all()
    assert np.isnan(fit.support).all()
    assert fit.shape_name[fit.chosen].item() == "exponential"


def test_holes_are_left_out_and_lag_zero_too():
    lag = np.arange(120)
    curve = np.where(lag % 4 == 0, -0.05 * lag, -np.inf)
    prod = dataset(curve + 0.01 * np.random.default_rng(0).normal(size=(1, 1, 3, 120)))
    fit = fit_models(prod, burn_in=0, draws=0).isel(layer=0)
    assert fit.lags_fitted.item() == 29
    assert fit.rate[fit.chosen].item() == pytest.approx(-0.05, abs=1e-3)


@pytest.mark.parametrize(
    ("aicc", "expected"),
    [
        ([0.0, 1.0, 5.0, 9.0], 0),
        ([9.9, 0.0, 15.0, 19.0], 0),
        ([10.1, 0.0, 15.0, 19.0], 1),
        ([15.0, 0.0, 1.0, 19.0], 2),
        ([1.0, 19.0, 0.0, 19.0], 2),
        ([1.0, np.inf, np.inf, 0.0], 0),
        ([np.inf] * 4, -1),
    ],
)
def test_of_nested_shapes_the_simpler_one_is_chosen_unless_the_other_is_clearly_better(aicc, expected):
    assert choose(tuple(TRUE), np.array(aicc)) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confidence": 1.0}, "expected a share between 0 and 1"),
        ({"draws": -1}, "expected 0 or more"),
        ({"burn_in": -1}, "expected 0 or more"),
        ({"variable": "nothing"}, "no variable 'nothing'"),
    ],
)
def test_nonsense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fit_models(dataset(np.zeros((1, 1, 2, 30))), **options)
