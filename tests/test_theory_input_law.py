"""Laws of the input: numpy's moments, quadrature, and refusals."""

import math

import numpy as np
import pytest
from compare import assert_close
from scipy import stats

from gradflow.theory import GaussianInput, bounded, input_statistics
from gradflow.theory.bounded_input import clipped_moments, coefficients, summed


def test_the_input_statistics_are_numpys():
    x = np.random.default_rng(2).normal(size=(4, 50, 2))
    law = input_statistics(x)
    flat = np.moveaxis(x, 1, 0).reshape(50, -1)
    got = np.einsum("rn,rm->nm", law.factor.reshape(-1, 8), law.factor.reshape(-1, 8))
    assert_close(got, np.cov(flat.T), atol=1e-12, why="rounding")
    few = input_statistics(x[:, :3])
    assert len(few.factor) == 3, "as many sources as samples, where these are fewer"
    drawn = law.sample(20_000, seed=1)
    got = np.cov(np.moveaxis(drawn, 1, 0).reshape(20_000, -1).T)
    assert_close(got, np.cov(flat.T), atol=0.06, why="4 standard errors of a covariance of 20,000 samples")
    assert_close(law.sample(3, seed=1), law.sample(3, seed=1), why="the same stream")


def test_bounded_inputs_have_the_mean_the_variance_and_the_covariance_given():
    mean = np.array([[0.1], [0.3], [0.7], [1.0]])
    deviation = np.array([0.25, 0.4, 0.3, 0.0])
    correlation = np.array([[1.0, 0.6, -0.2, 0], [0.6, 1.0, -0.5, 0], [-0.2, -0.5, 1.0, 0], [0, 0, 0, 1.0]])
    covariance = np.outer(deviation, deviation) * correlation
    law = bounded(GaussianInput.of_covariance(mean, covariance[:, None, :, None]), 0.0, 1.0)
    assert law.misfit < 1e-6, "Newton's rule, and correlations that Gaussians can have"
    x = law.sample(100_000, seed=0)[:, :, 0]
    # 5 standard errors of means, and of covariances of numbers in 0 … 1 (at most a half each)
    assert_close(x.mean(axis=1), mean[:, 0], atol=5 * 0.4 / math.sqrt(100_000), why="standard errors")
    assert_close(np.cov(x), covariance, atol=5 * 0.15 / math.sqrt(100_000), why="standard errors")
    assert (x.min(), x.max()) == (0.0, 1.0)
    twice = bounded(GaussianInput(2 * mean - 1, 2 * np.diag(deviation)[:, :, None]), -1.0, 1.0)
    alone = bounded(GaussianInput(mean, np.diag(deviation)[:, :, None]), 0.0, 1.0)
    assert_close(twice.centre, 2 * alone.centre - 1, atol=1e-9, why="the same law, stretched and moved")


@pytest.mark.parametrize("rho", [-0.8, 0.3, 0.9])
def test_the_series_of_clipped_gaussians_by_quadrature(rho):
    centre, spread = np.array([-0.3, 0.4]), np.array([0.6, 1.5])
    grid = np.linspace(-7, 7, 1501)
    joint = stats.multivariate_normal([0, 0], [[1, rho], [rho, 1]]).pdf(
        np.dstack(np.meshgrid(grid, grid, indexing="ij"))
    )
    f, g = (np.clip(m + s * grid, 0, 1) for m, s in zip(centre, spread, strict=True))
    mean, variance = clipped_moments(centre, spread)
    step = (grid[1] - grid[0]) ** 2
    expected = f @ joint @ g * step - mean.prod()
    got = summed(coefficients(centre, spread), np.array([[1.0, rho], [rho, 1.0]]))[0]
    assert_close(got[0, 1], expected, atol=1e-4, why="40 terms, the last of 0.9^40 / 40^1.5")
    assert_close(np.diag(got), variance, rtol=0.02, why="the series at its slowest, ρ = 1")
    once = stats.norm.pdf(grid) * (grid[1] - grid[0])
    assert_close(mean, [f @ once, g @ once], atol=1e-5, why="kinks on a grid of 1501")
    assert_close(variance, [f**2 @ once, g**2 @ once] - mean**2, atol=1e-5, why="kinks on a grid of 1501")


def test_refusals():
    with pytest.raises(ValueError, match=r"x: got 1 sample\(s\)"):
        input_statistics(np.zeros((3, 1, 1)))
    with pytest.raises(ValueError, match="not symmetric"):
        GaussianInput.of_covariance(np.zeros((2, 1)), np.array([[1.0, 0.5], [0.0, 1.0]])[:, None, :, None])
    with pytest.raises(ValueError, match="eigenvalues reach from -1"):
        GaussianInput.of_covariance(np.zeros((2, 1)), np.array([[0.0, 1.0], [1.0, 0.0]])[:, None, :, None])
    with pytest.raises(ValueError, match="means reach from 0 to 0, and variances must stay below"):
        bounded(GaussianInput(np.zeros((2, 1)), np.ones((1, 2, 1))), 0.0, 1.0)


def test_shapes_are_refused(no_shape_checks):
    with pytest.raises(ValueError, match=r"mean is \(2, 1\) and factor \(1, 3, 1\)"):
        GaussianInput(np.zeros((2, 1)), np.zeros((1, 3, 1)))
    with pytest.raises(ValueError, match="mean or factor holds NaN"):
        GaussianInput(np.full((2, 1), np.nan), np.zeros((1, 2, 1)))
