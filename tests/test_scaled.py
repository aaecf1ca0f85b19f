"""Numbers with an exponent each, and their products in bands, against numbers of unbounded exponent."""

import math

import mpmath
import numpy as np
import pytest
from compare import assert_close, assert_equal

from gradflow.jacobian import scaled
from gradflow.jacobian.kernels import ZERO_ROW
from gradflow.jacobian.scaled import Scaled
from gradflow.jacobian.through import Banded, through

ROUNDING = 1e-14  # a sum of up to 30 terms; relative to the sum of their magnitudes


def numbers(shape, spread, seed, *, zeros=0.3):
    """Random numbers of exponents up to ±spread, some of them zero."""
    rng = np.random.default_rng(seed)
    m = rng.uniform(0.5, 1.0, size=shape) * rng.choice([-1, 1], size=shape) * (rng.random(shape) >= zeros)
    return Scaled(m, np.where(m == 0, ZERO_ROW, rng.integers(-spread, spread + 1, size=shape)))


def exact(x):
    """Return mpf numbers of unbounded exponent."""
    return np.vectorize(lambda m, e: mpmath.ldexp(mpmath.mpf(float(m)), int(e) if m else 0), otypes=[object])(
        x.m, x.e
    )


def check(found, expected, magnitude):
    """Assert closeness relative to the sum of magnitudes, and that mantissas are in their range."""
    assert_equal(np.where(found.m == 0, ZERO_ROW, found.e), found.e)
    assert np.all((found.m == 0) | ((np.abs(found.m) >= 0.5) & (np.abs(found.m) < 1)))
    error = np.abs(exact(found) - expected)
    pairs = zip(error.flat, magnitude.flat, strict=True)
    ratio = np.array([float(e / m) if m else float(e != 0) for e, m in pairs])
    assert_close(ratio, np.zeros(ratio.shape), atol=ROUNDING, why="rounding of the terms")


@pytest.mark.parametrize("spread", [0, 30, 600, 5000])
def test_sums_over_taps_and_steps_are_exact(spread):
    with mpmath.workprec(30_000):
        R, P = numbers((4, 2, 2, 5, 7), spread, 1), numbers((2, 2, 5, 7), spread, 2)
        weights = np.array([0.3, -1e-250, 5e-324])
        a, phi = np.random.default_rng(3).normal(size=(2, 2, 7))
        a[0, :3], phi[1, :3] = (0.0, 1e-310, 1e300), (1e-320, 0.0, -1e-200)
        D = Scaled.zeros(*P.m.shape)
        scaled.mix(R.m, R.e, np.array([2, 0, 3]), weights, D.m, D.e, True, 5)
        r, w = exact(R), np.vectorize(mpmath.mpf, otypes=[object])(weights)
        terms = np.stack([w[i] * r[slot] for i, slot in enumerate((2, 0, 3))])
        for part, sources in ((0, []), (1, [0, 1])):
            expected = sum((terms[:, c].sum(axis=0) for c in sources), 0 * r[0, 0])
            size = sum((np.abs(terms[:, c]).sum(axis=0) for c in sources), 0 * r[0, 0])
            check(D[part], expected, size)
        p, d = exact(P), exact(D)
        scaled.advance(P.m, P.e, D.m, D.e, a, phi, 0.25, 5)
        a, phi = (np.vectorize(mpmath.mpf, otypes=[object])(x)[:, None] for x in (a, phi))
        check(P, p * a + d * phi / 4, np.abs(p * a) + np.abs(d * phi / 4))


@pytest.mark.parametrize("matrices", [1, 2])
@pytest.mark.parametrize(
    ("rows", "inside", "level"),
    [
        (0, 0, 0),
        (100, 0, 0),
        (5000, 0, 0),
        (0, 1000, 0),
        (700, 450, 0),
        (3000, 1000, 0),
        (180, 9, -1000),
        (180, 9, 990),
    ],
)
def test_products_with_matrices_are_exact_whatever_the_exponents(matrices, rows, inside, level):
    with mpmath.workprec(30_000):
        X = numbers((2, 2, 6, 9), rows, 1)
        M = numbers((matrices, 9, 5), inside, 2)
        M = np.ldexp(M.m, np.where(M.m == 0, 0, M.e + level).astype(int))
        gate = np.random.default_rng(3).uniform(0.1, 1.0, size=9)
        out = numbers((2, 2, 6, 5), 10, 4)  # what was there before must not shine through
        through(X, gate, Banded.of(M), 4, out)
        x = exact(X)[:, :, :4] * np.vectorize(mpmath.mpf, otypes=[object])(gate)
        V = np.vectorize(mpmath.mpf, otypes=[object])(M)
        for b in range(2):
            matrix = V[b % matrices]
            check(out[:, b, :4], x[:, b] @ matrix, np.abs(x[:, b]) @ np.abs(matrix))
        assert_equal(out.m[:, :, 4:], numbers((2, 2, 6, 5), 10, 4).m[:, :, 4:])


def test_a_matrix_of_zeros_and_rows_of_zeros_give_zeros():
    X, out = numbers((1, 1, 3, 4), 5, 0), numbers((1, 1, 3, 2), 5, 1)
    through(X, np.ones(4), Banded.of(np.zeros((1, 4, 2))), 3, out)
    assert not out.m.any()
    assert np.all(out.e == ZERO_ROW)
    out = numbers((1, 1, 3, 2), 5, 1)
    through(Scaled.zeros(1, 1, 3, 4), np.ones(4), Banded.of(np.ones((1, 4, 2))), 3, out)
    assert not out.m.any()
    assert np.all(out.e == ZERO_ROW)


def test_an_ordinary_matrix_is_one_band_and_not_touched():
    V = np.random.default_rng(0).normal(size=(1, 30, 30))
    ((found, exponent),) = Banded.of(V).parts
    assert exponent == 0
    assert_equal(found, V)


@pytest.mark.parametrize("spread", [3, 900, 9000])
def test_sums_logs_and_ratios_of_scaled_numbers(spread):
    with mpmath.workprec(40_000):
        x, y = numbers((6, 9), spread, 0), numbers((9,), 50, 1, zeros=0.2)
        expected = exact(x)
        check(x.sum(axis=0), expected.sum(axis=0), np.abs(expected).sum(axis=0))
        with mpmath.workprec(200):  # one number, not a sum of far ones
            logs = [float(mpmath.log(abs(v))) if v else -math.inf for v in expected.flat]
        assert_close(x.log().ravel(), np.array(logs), rtol=1e-15, atol=1e-15, why="one product, one sum")
        small = numbers((9,), 60, 2)
        ratios = [float(a / b) if b else math.nan for a, b in zip(exact(small), exact(y), strict=True)]
        np.testing.assert_allclose(small.over(y), ratios, rtol=1e-15)
    far = Scaled.of(np.array([1.0, 1.0, 0.0]), np.array([-9000, 9000, 0])).over(Scaled.of(np.ones(3)))
    assert far.tolist() == [0.0, math.inf, 0.0]


def test_squares_and_shares_of_far_parts_are_exact():
    with mpmath.workprec(40_000):
        P = numbers((3, 2, 4, 5), 4000, 0)
        sums, p = scaled.sums(P, 4), exact(P)
        whole, recurrent = p.sum(axis=0), p[1:].sum(axis=0)
        expected = [*(p**2), *(p * whole), whole**2, recurrent**2]
        for k, terms in enumerate(expected):
            check(sums[k], terms.sum(axis=2), np.abs(terms).sum(axis=2))
