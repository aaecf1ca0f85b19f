"""The row kernels against exact fractions, numpy and scipy."""

import math
from fractions import Fraction

import numpy as np
import pytest
from compare import assert_close, assert_equal
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import eigh_tridiagonal

from gradflow.jacobian import kernels, lanczos, wide

finite = st.floats(allow_nan=False, allow_infinity=False)
mantissas = st.floats(0.5, 1.0, exclude_max=True) | st.floats(-1.0, -0.5, exclude_min=True)
numbers = st.tuples(mantissas, st.integers(-3000, 3000)) | st.just((0.0, kernels.ZERO_ROW))


def exact(m, e):
    return Fraction(0) if m == 0 else Fraction(m) * Fraction(2) ** e


def relative(got, wanted):
    """|got − wanted| / |wanted| of fractions, 0 where both are zero."""
    return float(abs(got - wanted) / abs(wanted)) if wanted else float(got != 0)


@pytest.mark.parametrize("exponent", [-1080, -1075, -1074, -1050, -1023, -1022, -1, 0, 5, 1023])
def test_a_power_of_two_is_that_of_python(exponent):
    assert kernels.power_of_two(exponent) == math.ldexp(1.0, exponent)


def test_a_power_of_two_above_the_range_is_infinite():
    assert kernels.power_of_two(1024) == math.inf


@given(st.floats(min_value=2.0**-1022, allow_infinity=False))
def test_the_exponent_of_a_normal_number_is_that_of_frexp(x):
    assert kernels.exponent_of(x) == math.frexp(x)[1]


@given(st.lists(finite, min_size=1, max_size=40))
def test_magnitudes_are_those_of_numpy(values):
    sizes = np.abs(values)
    least = sizes[sizes > 0].min(initial=math.inf)
    assert kernels.magnitudes(np.array(values)) == (sizes.max(), least, np.sum(sizes == 0))


@pytest.mark.parametrize(("limit", "expected"), [(-150, 2), (-1075, 0), (-10, 3), (3, 4)])
def test_tiny_elements_are_counted_at_the_rounding_limit(limit, expected):
    x = np.array([0.0, 2.0**-150, -(2.0**-151), 2.0**-149, 1.0])
    assert kernels.count_tiny(x, limit, 1.0, 2.0**-151, 1) == expected


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=9), st.integers(-1500, 1500))
def test_scaling_is_exact_where_the_result_is_a_normal_number(values, shift):
    x = np.array([v for v in values if v == 0 or 0 <= math.frexp(v)[1] + shift + 1000 <= 2000])
    expected = np.ldexp(x, shift)
    kernels.scale(x, shift)
    assert_equal(x, expected)


@given(numbers, numbers)
def test_a_wide_sum_is_exact_to_rounding(x, y):
    got, wanted = exact(*wide.plus(*x, *y)), exact(*x) + exact(*y)
    # relative to the larger term: a difference of neighbours keeps their last bits only
    assert float(abs(got - wanted)) == 0 or abs(got - wanted) <= Fraction(2) ** -52 * max(
        abs(exact(*x)), abs(exact(*y))
    )


@given(numbers, finite)
def test_a_wide_product_is_exact_to_rounding_for_subnormal_factors_too(x, factor):
    assert relative(exact(*wide.times(*x, factor)), exact(*x) * Fraction(factor)) <= 2.0**-52


@given(numbers, finite)
def test_wide_numbers_are_normal(x, factor):
    m, e = wide.times(*x, factor)
    assert (m == 0 and e == kernels.ZERO_ROW) or 0.5 <= abs(m) < 1


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("spread", [10, 300, 5000])
def test_a_wide_row_times_v_is_exact(plain, spread):
    rng = np.random.default_rng(spread)
    M, E = rng.uniform(0.5, 1, 6), rng.integers(-spread, spread, 6)
    V = rng.uniform(0.5, 1, (6, 6)) * (rng.random((6, 6)) < 0.5)
    m, e = np.empty(6), np.empty(6, dtype=np.int64)
    wide.through(M, E, V, plain, m, e)
    for j in range(6):
        wanted = sum(exact(M[i], int(E[i])) * Fraction(V[i, j]) for i in range(6))
        assert relative(exact(m[j], int(e[j])), wanted) < 1e-15


@pytest.mark.parametrize("steps", [1, 2, 5, 30])
@pytest.mark.parametrize("seed", range(5))
def test_the_leading_pair_is_that_of_scipy(steps, seed):
    rng = np.random.default_rng(seed)
    diagonal, off = rng.uniform(0, 1, steps), rng.uniform(1e-3, 1, steps)
    weights = np.empty(steps)
    value = lanczos.leading_pair(diagonal, off, steps, np.empty(steps), weights)
    values, vectors = eigh_tridiagonal(diagonal, off[:-1])
    assert_close(value, values[-1], rtol=1e-13, why="Newton ends at 1e-14 of the root")
    # rounding over the gap; and over the first element, from which the others follow
    allowed = 1e-12 / (values[-1] - values[-2] if steps > 1 else 1.0) + 1e-15 / weights[0]
    assert_close(weights, vectors[:, -1] * np.sign(vectors[0, -1]), atol=allowed, why="rounding as above")


def spectral(matrices, start=None):
    """Log of the largest singular values, by the kernel, and the starts it leaves."""
    samples, n, _ = matrices.shape
    start = np.zeros((samples, n)) if start is None else start
    fresh = np.random.default_rng(1).normal(size=n) / math.sqrt(n)
    exponents = np.zeros(samples * n, dtype=np.int64)
    sizes = np.abs(matrices.reshape(-1, n)).max(axis=1)
    levels = np.where(sizes > 0, np.frexp(sizes)[1].astype(np.int64), kernels.ZERO_ROW)
    out, work = np.empty(samples), np.empty((2, n, n))
    P = np.ascontiguousarray(matrices.reshape(-1, n))
    taken = np.full(samples, n)
    lanczos.log_spectral_norms(P, exponents, levels, start, taken, fresh, work, out, 0, samples)
    return out


def with_values(rng, values):
    """A random matrix with the given singular values."""
    n = len(values)
    left, right = (np.linalg.qr(rng.normal(size=(n, n)))[0] for _ in range(2))
    return left * values @ right


@pytest.mark.parametrize(
    "values",
    [
        np.ones(20),
        np.array([1.0] * 2 + [0.5] * 18),
        np.r_[1.0, 1 - 1e-9, np.linspace(0.9, 0, 18)],
        np.r_[1.0, np.zeros(19)],
        2.0 ** -np.arange(20.0),
        10.0 ** (-15 * np.arange(20.0)),
        np.linspace(1, 0.99, 20),
        np.array([3.0]),
    ],
    ids=["equal", "double", "near", "rank one", "graded", "steep", "cluster", "one neuron"],
)
def test_the_largest_singular_value_is_found(values):
    found = spectral(np.stack([with_values(np.random.default_rng(s), values) for s in range(8)]))
    assert_close(found, np.full(8, math.log(values.max())), atol=1e-11, why="residual 1e-12, then rounding")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 31, 128])
def test_random_matrices_have_the_norm_of_the_svd(size):
    matrices = np.random.default_rng(size).normal(size=(4, size, size))
    assert_close(
        spectral(matrices), np.log(np.linalg.norm(matrices, 2, axis=(1, 2))), atol=1e-11, why="residual 1e-12"
    )


def test_a_start_along_the_second_vector_does_not_hide_the_first():
    matrix = np.diag([1.0, 1.0 + 1e-6, 0.5, 0.25])[None]
    assert_close(spectral(matrix, np.eye(4)[:1]), [math.log1p(1e-6)], atol=1e-11, why="residual 1e-12")


def test_zero_has_the_norm_zero():
    assert spectral(np.zeros((1, 4, 4)))[0] == -math.inf


def test_rows_of_very_different_scale_keep_the_largest():
    matrix = np.diag([1e-300, 1e-160, 3.0, 1e-20])
    matrix[3, 2] = 4.0
    assert_close(spectral(matrix[None]), [math.log(5.0)], atol=1e-14, why="one column of a 3-4-5 triangle")
