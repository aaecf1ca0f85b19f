"""The characteristic root and the impulse, against exact rational and 60-digit arithmetic and numpy.roots."""

import math
import time
from decimal import Context, Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradflow.theory import characteristic_root, impulse_log, log_root

CLAIMED = Decimal("1e-13")  # the relative error that the root promises


def height(z, a, b, spans, weights):
    """a z⁻¹ + b Σ p_d z⁻ᵈ in 60 digits."""
    terms = [Decimal(a) / z, *(Decimal(b) * Decimal(p) / z**d for d, p in zip(spans, weights, strict=True))]
    return sum(terms, Decimal(0))


def assert_root(a, b, spans, weights):
    """The left-hand side falls with z: the root is bracketed where it passes 1."""
    rho = Decimal(characteristic_root(a, b, spans, weights).item())
    with localcontext(Context(prec=60, Emax=10**15, Emin=-(10**15))):
        assert height(rho * (1 - CLAIMED), a, b, spans, weights) > 1
        assert height(rho * (1 + CLAIMED), a, b, spans, weights) < 1


MODERATE = st.floats(1e-6, 10.0)


@given(
    a=st.just(0.0) | MODERATE,
    b=MODERATE,
    p=st.dictionaries(st.integers(1, 60), st.floats(1e-9, 2.0), min_size=1, max_size=8),
)
def test_the_root_satisfies_its_equation(a, b, p):
    spans = sorted(p)
    assert_root(a, b, spans, [p[d] for d in spans])


EXTREME = st.sampled_from([1e-300, 1e-200, 1e-20, 0.3, 1.0, 1e20, 1e200, 1e300])


@given(EXTREME, EXTREME, st.sampled_from([1e-8, 0.5, 1.0]), st.sampled_from([2, 17, 1000, 100_000]))
def test_the_root_satisfies_its_equation_for_any_size(a, b, p, span):
    # z^span spans 10^(±3e7) here, which only Decimal can check.
    assert_root(a, b, [span], [p])


def test_a_hundred_thousand_spans():
    weights = np.full(100_000, 1e-5)
    start = time.perf_counter()
    rho = characteristic_root(0.25, 0.5, np.arange(1, 100_001), weights).item()
    assert time.perf_counter() - start < 2.0
    # Over all spans Σ_d z⁻ᵈ = (1 − z⁻ᴰ)/(z − 1).
    z = Decimal(rho)
    with localcontext(Context(prec=60, Emax=10**15, Emin=-(10**15))):
        left = Decimal(2) ** -2 / z + Decimal(weights[0]) / 2 * (1 - z**-100_000) / (z - 1)
    # The slope of the left-hand side is about −1e5 at the root: 1e-13 of ρ shows as 1e-8 here.
    assert float(abs(left - 1)) < 1e-8


@pytest.mark.parametrize(
    ("a", "b", "spans", "weights", "rho"),
    [
        (0.7, 0.0, [3], [1.0], 0.7),
        (0.0, 0.5, [1], [1.0], 0.5),
        (0.2, 0.5, [1], [1.0], 0.7),
        (0.0, 2.0**-40, [8], [1.0], 2.0**-5),
        (0.25, 0.75, [9], [1.0], 1.0),
        (0.0, 1.0, [2, 4], [2.0, 8.0], 2.0),
        (0.0, 0.0, [1], [1.0], 0.0),
        (0.0, 3.0, [1, 2], [0.0, 0.0], 0.0),
        (0.5, 3.0, [], [], 0.5),
        (0.0, 1e-300, [1], [1e-300], 0.0),
        (1e300, 1e300, [1], [1e300], math.inf),
        (5e-324, 0.0, [], [], 5e-324),
    ],
)
def test_roots_in_closed_form(a, b, spans, weights, rho):
    np.testing.assert_allclose(characteristic_root(a, b, spans, weights), rho, rtol=1e-15)


@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_numpy_finds_the_same_largest_root(width, seed):
    random = np.random.default_rng(seed)
    a, b, p = random.random(), random.random(), random.dirichlet(np.ones(width))
    coefficients = -b * p
    coefficients[0] -= a
    largest = np.abs(np.roots([1.0, *coefficients])).max()
    # numpy's companion matrix loses digits where roots crowd together; twelve spans cost it a few.
    assert characteristic_root(a, b, np.arange(1, width + 1), p).item() == pytest.approx(largest, rel=1e-9)


def test_the_logarithm_of_the_root_neither_over_nor_underflows():
    assert log_root(1e300, 1e300, [1], [1e300]).item() == pytest.approx(600 * math.log(10), rel=1e-15)
    assert log_root(0.0, 1e-300, [1], [1e-300]).item() == pytest.approx(-600 * math.log(10), rel=1e-15)
    assert log_root(0.0, 0.0, [1], [1.0]).item() == -math.inf


def test_leading_axes_broadcast():
    random = np.random.default_rng(0)
    a, b, p = random.random((4, 1)), random.random(3), random.random((2, 1, 1, 5))
    spans = np.array([1, 2, 5, 9, 30])
    rho = characteristic_root(a, b, spans, p)
    curve = impulse_log(a, b, spans, p, 40)
    assert rho.shape == (2, 4, 3)
    assert curve.shape == (2, 4, 3, 40)
    for i, j, k in np.ndindex(2, 4, 3):
        one = (a[j, 0], b[k], spans, p[i, 0, 0])
        np.testing.assert_allclose(rho[i, j, k], characteristic_root(*one), rtol=1e-15)
        np.testing.assert_array_equal(curve[i, j, k], impulse_log(*one, 40))


def log_fraction(x):
    """Take the logarithm of the ratio, not of both parts: they may be long and almost equal."""
    if not x:
        return -math.inf
    shift = x.numerator.bit_length() - x.denominator.bit_length()
    scaled = x / Fraction(2) ** shift
    return math.log(scaled.numerator / scaled.denominator) + shift * math.log(2)


def exact_impulse(a, b, spans, weights, length):
    x = [Fraction(1)]
    for n in range(1, length):
        hops = sum(
            (Fraction(p) * x[n - d] for d, p in zip(spans, weights, strict=True) if d <= n), Fraction(0)
        )
        x.append(Fraction(a) * x[n - 1] + Fraction(b) * hops)
    return np.array([log_fraction(value) for value in x])


@pytest.mark.parametrize(
    ("a", "b", "spans", "weights", "length"),
    [
        (0.5, 0.4, [1], [1.0], 60),
        (0.3, 0.8, [1, 2, 5], [0.2, 0.7, 0.1], 200),
        (0.0, 0.3, [7], [1.0], 100),
        (0.0, 0.3, [6, 15], [0.5, 0.5], 100),
        (0.0, 0.0, [2], [1.0], 5),
        (1e-300, 1e-300, [3], [1e-300], 40),
        (1e300, 1e300, [2, 3], [1.0, 1e300], 40),
        (1e-5, 1e-9, [30], [1.0], 120),
        (0.5, 0.5, [50], [1.0], 20),
        (0.5, 0.5, [], [], 20),
        (0.5, 0.5, [1], [1.0], 1),
    ],
)
def test_the_impulse_is_that_of_rational_arithmetic(a, b, spans, weights, length):
    expected = exact_impulse(a, b, spans, weights, length)
    # One rounding of the relative size 1e-16 for each term and step, and one of the logarithm itself.
    np.testing.assert_allclose(
        impulse_log(a, b, spans, weights, length), expected, rtol=2e-15, atol=length * 4e-16
    )


def test_a_wide_span_recovers_what_a_short_one_has_lost():
    """Within one span the neuron path falls to 10^-900, far below any float; the tooth must still come."""
    curve = impulse_log(1e-3, 0.5, [300], [1.0], 900)
    assert curve[299] == pytest.approx(299 * math.log(1e-3), rel=1e-14)
    assert curve[300] == pytest.approx(math.log(0.5), rel=1e-14)
    assert curve[600] == pytest.approx(math.log(0.25), rel=1e-14)


def test_holes_are_exact_and_only_where_they_belong():
    curve = impulse_log(0.0, 1e-100, [6, 10], [0.5, 0.5], 300)
    reachable = {6 * i + 10 * j for i in range(51) for j in range(31)}
    assert [n in reachable for n in range(300)] == np.isfinite(curve).tolist()


@settings(max_examples=25, deadline=None)
@given(
    a=st.floats(0.05, 1.5), b=st.floats(0.05, 1.5), spans=st.sets(st.integers(1, 6), min_size=1, max_size=4)
)
def test_the_impulse_grows_at_the_root(a, b, spans):
    ordered = sorted(spans)
    weights = np.full(len(ordered), 1 / len(ordered))
    curve = impulse_log(a, b, ordered, weights, 2000)
    slope = (curve[-1] - curve[-1001]) / 1000
    # After 1000 steps the next root, 0.993 of the largest for span 6 and small a, is down to 1e-3; over 1000
    # steps that makes 1e-6 of the slope.
    assert slope == pytest.approx(log_root(a, b, ordered, weights).item(), abs=2e-5)


def test_a_hundred_curves_of_the_paper_s_largest_adaptive_layer_take_well_under_a_second():
    weights = np.random.default_rng(0).dirichlet(np.ones(51), 100)
    start = time.perf_counter()
    curve = impulse_log(0.3, 0.5, np.arange(1, 52), weights, 784)
    assert time.perf_counter() - start < 2.0  # 0.1 s on an idle core; the rest is for busy ones
    assert np.isfinite(curve).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-0.1, 0.5, [1], [1.0]), "a: got -0.1, expected finite numbers >= 0"),
        ((0.1, math.nan, [1], [1.0]), "b: got nan"),
        ((0.1, math.inf, [1], [1.0]), "b: got inf"),
        ((0.1, 0.5, [1, 2], [1.0, -1.0]), "weights: got"),
        ((0.1, 0.5, [1, 2], [1.0]), "expected one for each of 2 spans"),
        ((0.1, 0.5, [1], 1.0), "expected one for each of 1 spans"),
        ((0.1, 0.5, [0], [1.0]), "spans: got"),
        ((0.1, 0.5, [1.5], [1.0]), "spans: got"),
        ((0.1, 0.5, [2, 1], [1.0, 1.0]), "increasing"),
    ],
)
def test_what_is_no_recursion_is_refused(arguments, message):
    for function in (characteristic_root, log_root, lambda *given: impulse_log(*given, 5)):
        with pytest.raises(ValueError, match=message):
            function(*arguments)


def test_a_length_is_positive():
    with pytest.raises(ValueError, match="length: got 0"):
        impulse_log(0.1, 0.1, [1], [1.0], 0)
