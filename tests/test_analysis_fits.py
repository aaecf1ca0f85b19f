"""The slope of one curve: exact on everything that repeats itself, and honest where nothing can be said."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradflow.analysis import fit_curve, fit_curves
from gradflow.analysis.fits import FITTED, NO_PERIOD, TOO_FEW, comb_period, default_burn_in, phase_slope
from gradflow.theory import impulse_log, log_root

EXACT = 1e-9  # of a slope: rounding of values up to 1e3 over windows of a few lags


def repeated(profile, rate, length):
    """A curve with f(n + λ) = f(n) + λ · rate whose first λ values are `profile`."""
    lag = np.arange(length)
    span = len(profile)
    return np.asarray(profile)[lag % span] + rate * span * (lag // span)


@given(
    rate=st.floats(-2, 2),
    start=st.floats(-50, 50),
    length=st.integers(6, 300),
    burn_in=st.none() | st.integers(0, 3),
)
def test_an_exponential_has_its_own_rate(rate, start, length, burn_in):
    fit = fit_curve(start + rate * np.arange(length), burn_in=burn_in)
    assert fit.rate == pytest.approx(rate, abs=EXACT)
    assert fit.rate_curve == pytest.approx(rate, abs=EXACT)
    assert fit.comb_depth == pytest.approx(0.0, abs=EXACT)
    assert (fit.hole_share, fit.finite_share, fit.reason) == (0.0, 1.0, FITTED)


@given(
    rate=st.floats(-0.5, -0.01) | st.floats(0.01, 0.5),
    holes=st.lists(st.floats(-30, 0) | st.just(-np.inf), min_size=0, max_size=12),
    periods=st.floats(3.2, 12),
)
def test_any_comb_has_the_slope_of_its_repetition(rate, holes, periods):
    span = len(holes) + 1
    curve = repeated([0.0, *holes], rate, max(int(periods * span), 10))
    fit = fit_curve(curve, period=span)
    assert fit.reason == FITTED
    assert fit.rate == pytest.approx(rate, abs=EXACT)
    assert fit.rate_curve == pytest.approx(rate, abs=EXACT)


@pytest.mark.parametrize("span", [2, 7, 16, 41])
@pytest.mark.parametrize("burn_in", [0, 5, 82, 100])
@pytest.mark.parametrize("length", [400, 401, 417, 784])
def test_no_phase_of_the_window_biases_an_exact_comb(span, burn_in, length):
    lag = np.arange(length)
    teeth = np.where(lag % span == 0, -0.9 / span * lag, -np.inf)
    fit = fit_curve(teeth, period=span, burn_in=burn_in)
    assert fit.rate == pytest.approx(-0.9 / span, rel=1e-12)
    assert fit.comb_depth == 0.0  # a tooth touches its envelope …
    assert fit.hole_share == pytest.approx(
        1 - 1 / span, abs=span / (length - burn_in)
    )  # … and the rest is holes


def test_a_straight_line_through_the_whole_envelope_would_be_wrong():
    """The reason for all this: a wide comb of the mean-square recursion, and least squares without phases."""
    curve = 0.5 * impulse_log(0.25, 0.25, [100], [1.0], 784)
    rate = 0.5 * log_root(0.25, 0.25, [100], [1.0]).item()
    fit = fit_curve(curve, period=100)
    env = np.maximum.accumulate(curve[::-1])[::-1]
    naive = np.polyfit(np.arange(fit.burn_in, 784), env[int(fit.burn_in) :], 1)[0]
    assert abs(naive / rate - 1) > 1.0
    # What is left is no error: lobes still widen, and the decay is not yet the asymptotic one.
    assert abs(fit.rate / rate - 1) < 0.1


@pytest.mark.parametrize(("a", "b"), [(0.0, 0.3), (0.06, 0.25), (0.25, 0.25), (0.7, 0.1)])
@pytest.mark.parametrize("span", [1, 2, 4, 8, 16])
def test_the_recursion_of_the_theory_decays_at_the_root_of_the_theory(a, b, span):
    fit = fit_curve(impulse_log(a, b, [span], [1.0], 784), period=span)
    # 2 % is the transient of λ = 16 within 784 steps (1.7 %); up to λ = 4 there is none.
    assert fit.rate == pytest.approx(log_root(a, b, [span], [1.0]).item(), rel=1e-3 if span <= 4 else 0.02)


def test_noise_does_not_bias_the_rate():
    noise = np.random.default_rng(0).normal(0, 0.3, (60, 600))
    curves = np.array([repeated([0.0, -3.0, -5.0, -4.0], -0.05, 600)]) + noise
    rates = fit_curves(curves, period=4)["rate"]
    # 0.3 nats on 500 lags: s.e. of one rate 1e-4, of the mean of 60 about 1.2e-5
    assert rates.mean() == pytest.approx(-0.05, abs=6e-5)


def test_a_comb_is_as_deep_as_it_is():
    fit = fit_curve(repeated([0.0, -3.0, -6.0], -0.1, 90), period=3)
    # envelope at the three phases: 0, −0.3, −0.3 relative to the tooth before
    assert fit.comb_depth == pytest.approx((0.0 + 2.7 + 5.7) / 3, abs=0.1)
    assert fit.r_squared > 0.99


def test_what_dies_is_fitted_while_it_lives():
    curve = np.where(np.arange(200) < 40, -0.7 * np.arange(200), -np.inf)
    fit = fit_curve(curve)
    assert fit.rate == pytest.approx(-0.7, rel=1e-12)
    assert fit.burn_in == 4
    assert fit.finite_share == pytest.approx(36 / 196)
    assert fit.hole_share == 0.0


@pytest.mark.parametrize(
    ("curve", "period", "burn_in", "reason"),
    [
        (np.full(30, -np.inf), 1, None, TOO_FEW),
        (np.array([0.0, -1.0, -np.inf, -np.inf]), 1, None, TOO_FEW),
        (np.zeros(0), 1, None, TOO_FEW),
        (np.zeros(30), 1, 28, TOO_FEW),
        (np.zeros(30), 1, 99, TOO_FEW),
        (repeated([0.0, -1.0, -9.0, -1.5, -2.0], -0.1, 12), 5, 6, NO_PERIOD),
    ],
)
def test_where_nothing_can_be_said_the_rate_is_nan_with_a_reason(curve, period, burn_in, reason):
    fit = fit_curve(curve, period=period, burn_in=burn_in)
    assert math.isnan(fit.rate)
    assert math.isnan(fit.rate_curve)
    assert fit.reason == reason


def test_a_smooth_curve_shorter_than_two_periods_is_a_line():
    assert fit_curve(-0.3 * np.arange(20.0), period=16).rate == pytest.approx(-0.3, rel=1e-12)


def test_a_flat_curve_has_rate_zero():
    fit = fit_curve(np.full(50, -3.0), period=7)
    assert (fit.rate, fit.r_squared, fit.comb_depth) == (0.0, 1.0, 0.0)


def test_a_curve_that_is_zero_before_it_lives_grows_or_falls_after():
    curve = np.concatenate([np.full(30, -np.inf), -0.2 * np.arange(60)])
    assert fit_curve(curve, period=4).rate < 0


def test_lags_with_gaps():
    lag = np.array([0, 1, 2, 5, 9, 14, 20, 40, 60])
    assert fit_curve(-0.25 * lag, lag).rate == pytest.approx(-0.25, rel=1e-12)


@pytest.mark.parametrize(("period", "burn_in"), [(0, None), (1, -1)])
def test_nonsense_is_refused(period, burn_in):
    with pytest.raises(ValueError, match="expected >= 1 and >= 0 steps"):
        fit_curve(np.zeros(9), period=period, burn_in=burn_in)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_nan_is_refused(wrong):
    with pytest.raises(ValueError, match="NaN or"):
        fit_curve(np.array([0.0, wrong, -1.0]))


def test_many_curves_are_fitted_like_one():
    curves = np.random.default_rng(1).normal(size=(2, 3, 50)).cumsum(-1)
    every = fit_curves(curves, period=np.array([1, 2, 5]))
    for i, j in np.ndindex(2, 3):
        one = fit_curve(curves[i, j], period=(1, 2, 5)[j])
        assert [field[i, j] for field in every.values()] == pytest.approx(list(one), nan_ok=True)


def test_the_slope_within_phases_is_least_squares_with_an_intercept_for_each():
    random = np.random.default_rng(2)
    lag = np.flatnonzero(random.random(80) < 0.6)
    values = random.normal(size=lag.size)
    design = np.column_stack([lag, lag[:, None] % 7 == np.arange(7)]).astype(float)
    assert phase_slope(lag, values, 7) == pytest.approx(np.linalg.lstsq(design, values)[0][0], rel=1e-9)


@pytest.mark.parametrize(
    ("weights", "last", "expected"),
    [
        ([0.2, 0.2, 0.2, 0.2, 0.2], 99, (1, 5)),
        ([0.0, 0.0, 0.0, 1.0, 0.0], 99, (4, 4)),
        ([0.0, 0.9, 0.0, 0.0449, 0.05], 99, (2, 5)),
        ([0.0, 0.0, -1.0, 0.0, 0.0], 99, (3, 3)),
        ([0.1, 0.0, 0.0, 0.0, 0.9], 4, (1, 1)),
        ([0.0, 0.0, 0.0, 0.0, 0.0], 99, (1, 1)),
    ],
)
def test_the_period_is_the_span_of_most_weight(weights, last, expected):
    period, longest = comb_period(np.array(weights), np.arange(1, 6), last)
    assert (period, longest) == expected


def test_no_recurrence_has_period_one():
    period, longest = comb_period(np.zeros((2, 0)), np.zeros(0, dtype=np.int64), 9)
    assert period.tolist() == longest.tolist() == [1.0, 1.0]


@given(st.integers(1, 2000), st.integers(1, 500), st.integers(0, 500))
def test_the_burn_in_leaves_half_of_the_lags_and_three_periods(length, period, extra):
    start = default_burn_in(length, period, period + extra)
    assert 0 <= start <= length // 2
    assert start == 0 or length - start >= 3 * period
