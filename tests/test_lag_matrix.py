"""The lag matrix against the products of each end, probes against the exact norms and their stated error."""

import math
import tracemalloc

import numpy as np
import pytest
import xarray as xr
from cases import TABLE, networks, one_layer
from compare import assert_close, assert_equal
from hypothesis import given, settings
from test_paths import layer

import gradflow as gf
from gradflow import lag_matrix
from gradflow.jacobian.walk import element_bytes
from gradflow.transition import DenseTransition, LayerTransition, Transition

LONG = 1e-11  # a few hundred roundings of 1e-16 each


def matrix(*layers, **options):
    return lag_matrix(Transition(layers), **options)


def check_products(found, source, batch=None):
    """Assert that every end's row is that of its own products, and that no pair comes before the start."""
    for end in found.end.values:
        expected = gf.jacobian_products(source, batch, end=int(end), norms=("frobenius",)).log_frobenius
        row = found.log_frobenius.sel(end=end)
        assert_close(row[..., : end + 1], expected, atol=LONG, rtol=1e-13, why="rounding per step")
        assert np.all(np.isnan(row[..., end + 1 :]))


@pytest.mark.parametrize("name", TABLE)
def test_every_end_is_that_of_its_own_products(name):
    net, x = TABLE[name].net(), TABLE[name].x()
    check_products(lag_matrix(net, x), net, x)


@settings(max_examples=10)
@given(networks())
def test_every_end_of_any_network_is_that_of_its_own_products(case):
    net, x = case.net(), case.x()
    check_products(lag_matrix(net, x), net, x)


@pytest.mark.parametrize(
    "base",
    [
        layer(80, decay=1e-5, weights=(1e-5,)),
        layer(60, spans=(7,), samples=2),
        layer(40, spans=(1, 4), gate=np.random.default_rng(0).uniform(0.5, 1, (40, 3))),
        layer(12, spans=(), weights=()),
        DenseTransition(np.random.default_rng(0).normal(size=(30, 2, 4, 4)) * 1e-30),
    ],
    ids=["vanilla", "skip", "gated asrc", "none", "dense"],
)
def test_long_and_small_products_are_exact(base):
    found = matrix(base)
    check_products(found, Transition((base,)))
    assert_equal(found.standard_error.fillna(0.0), xr.zeros_like(found.standard_error))
    assert found.probes.item() == 0
    if isinstance(base, DenseTransition) or len(base.a) == 80:
        assert found.log_frobenius.where(np.isfinite(found.log_frobenius)).min() < -745.2


def test_chosen_ends_are_rows_of_the_whole():
    base = layer(30, spans=(3,), samples=2)
    found = matrix(base, ends=(-1, 4, 17))
    assert found.end.values.tolist() == [4, 17, 29]
    assert_equal(found.log_frobenius, matrix(base).log_frobenius.sel(end=[4, 17, 29]))


def test_probes_are_unbiased_with_the_error_that_is_stated():
    base = layer(24, neurons=12, spans=(2,), samples=20, spread=0.5)
    m = 40
    exact, found = matrix(base), matrix(base, probes=m, ends=(5, 11, 17, 23))
    squares = np.exp(2 * (found.log_frobenius - exact.log_frobenius.sel(end=found.end)))[..., 1:]
    relative = 2 * found.standard_error[..., 1:]
    score = ((squares - 1) / relative).values
    alive = np.isfinite(score)
    # 80 independent pairs of sample and end, each with correlated lags
    means = np.nanmean(np.where(alive, squares.values - 1, np.nan), axis=3).ravel()
    assert means.size == 80
    assert abs(means.mean()) < 4 * means.std(ddof=1) / math.sqrt(means.size)
    # the square of a score has mean 1 for a Gaussian; skew at m = 40 widens it, by less than half
    assert 0.7 < np.mean(score[alive] ** 2) < 1.5
    assert np.nanmax(found.standard_error) < 2.5 / math.sqrt(2 * m)  # the bound, for estimates of it


def test_probes_of_one_direction_have_the_largest_error():
    # P of rank one: |zᵀP|² is σ² χ²_1, relative variance 2
    u = np.ones((2, 1))
    J = np.tile(u @ u.T / 2, (1, 400, 1, 1))
    found = matrix(DenseTransition(J), probes=50, ends=(1,))
    assert_close(
        found.standard_error.sel(lag=1).mean(), 1 / math.sqrt(2 * 50), rtol=0.05,
        why="400 estimates whose own deviation is 20 %, and skew",
    )  # fmt: skip
    assert abs(float((np.exp(2 * found.log_frobenius.sel(lag=1)) - 1).mean())) < 4 * math.sqrt(2 / 50 / 400)


def test_probes_see_what_is_zero_and_only_that():
    base = layer(30, neurons=6, spans=(4,), decay=0.0, spread=0.1)
    exact, found = matrix(base), matrix(base, probes=2)
    assert np.isneginf(exact.log_frobenius).sum() > 100
    assert_equal(np.isneginf(found.log_frobenius), np.isneginf(exact.log_frobenius))
    assert_equal(
        found.standard_error.where(np.isneginf(found.log_frobenius), 0.0).fillna(0),
        0 * found.standard_error.fillna(0),
    )
    assert_equal(found.share_zero, exact.share_zero)


def test_probes_come_from_their_seed_alone():
    base = layer(12, neurons=5, samples=3)
    one = matrix(base, probes=3, seed=7)
    xr.testing.assert_identical(matrix(base, probes=3, seed=7), one)
    assert not np.array_equal(matrix(base, probes=3, seed=8).log_frobenius, one.log_frobenius, equal_nan=True)
    two = matrix(base, base, probes=3, seed=7).log_frobenius
    assert_equal(two[0], one.log_frobenius[0])
    assert not np.array_equal(two[0], two[1], equal_nan=True)
    chosen = matrix(base, probes=3, seed=7, ends=(4, 9)).log_frobenius
    xr.testing.assert_allclose(chosen, one.log_frobenius.sel(end=[4, 9])[..., :10], rtol=1e-12, atol=1e-12)


def test_large_layers_are_probed_by_default_and_small_ones_are_not():
    found = matrix(layer(3, neurons=33), layer(3, neurons=32))
    assert found.probes.values.tolist() == [16, 0]
    assert matrix(layer(3, neurons=33), probes=0).probes.item() == 0


def test_averages_are_those_over_the_ends_that_reach_the_lag():
    base = layer(20, neurons=4, spans=(4,), decay=0.0, spread=0.6, samples=2)
    found = matrix(base)
    log = found.log_frobenius.values[0]
    for n in range(20):
        rows = log[:, n:, n]
        alive = [row[np.isfinite(row)] for row in rows]
        assert found.end_count[0, n] == 20 - n
        for b, values in enumerate(alive):
            at = found.isel(layer=0, sample=b, lag=n)
            assert at.share_zero.item() == 1 - len(values) / (20 - n)
            if not len(values):
                assert np.isneginf(at.log_average)
                assert np.isnan(at.log_mean)
                continue
            average = 0.5 * math.log(np.sum(np.exp(2 * values)) / (20 - n))
            assert_close(at.log_average.item(), average, atol=1e-12, why="order of a sum")
            assert_close(at.log_mean.item(), values.mean(), atol=1e-12, why="order of a sum")
            if len(values) > 1:
                assert_close(at.log_deviation.item(), values.std(ddof=1), atol=1e-12, why="order of a sum")
            else:
                assert np.isnan(at.log_deviation)


def test_the_error_of_an_average_is_smaller_than_that_of_its_entries_and_holds():
    base = layer(60, neurons=10, spread=0.4, samples=30)
    exact, found = matrix(base, ends=range(20, 60)), matrix(base, ends=range(20, 60), probes=8)
    lags = slice(1, 21)
    score = ((found.log_average - exact.log_average) / found.average_standard_error)[..., lags].values
    # 30 samples; a heavy tail, because few ends dominate the mean square, and few probes their error
    assert 0.5 < np.mean(np.median(score**2, axis=1)) / 0.455 < 2.5
    entries = found.standard_error.sel(end=59)[..., lags]
    assert np.mean(found.average_standard_error[..., lags]) < 0.6 * np.mean(entries)


CUT = layer(20, neurons=5, spans=(1, 4), samples=3)


@pytest.mark.parametrize("ends", [1, 3, 20, 45])
@pytest.mark.parametrize("probes", [0, 2])
def test_ends_and_samples_in_chunks_are_those_at_once(ends, probes):
    budget = ends * (probes or 5) * 5 * element_bytes(CUT, 19)
    found = matrix(CUT, memory_budget=budget, probes=probes)
    xr.testing.assert_allclose(found, matrix(CUT, probes=probes), rtol=1e-12, atol=1e-12)


def test_memory_stays_within_the_budget():
    big = layer(30, neurons=12, spans=(4,), samples=6)
    budget = 2**20
    matrix(big, memory_budget=budget)  # compiled code and caches are not working memory
    tracemalloc.start()
    try:
        found = matrix(big, memory_budget=budget)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0.4 * budget < peak < budget + 8 * found.nbytes + 2**19


def test_the_dataset_has_units_and_conventions_and_comes_back_from_a_file(tmp_path):
    case = one_layer(recurrence=gf.Skip(2))
    found = lag_matrix(case.net(), case.data(), probes=2, seed=3)
    assert found.log_frobenius.dims == ("layer", "sample", "end", "lag")
    assert found.log_average.attrs["units"] == found.standard_error.attrs["units"] == "nats"
    assert found.attrs["kind"] == "lag matrix"
    assert found.attrs["recurrence"] == "skip:2"
    assert found.attrs["probe_seed"] == 3
    gf.save(found, tmp_path / "lags.nc")
    xr.testing.assert_identical(gf.load(tmp_path / "lags.nc"), found)


@pytest.mark.parametrize("ends", [(), (9,), (-10,), (3, -6)])
def test_ends_that_are_none_outside_or_twice_are_refused(ends):
    with pytest.raises(ValueError, match=r"lag_matrix\(ends=.*\): expected different steps among −9 … 8"):
        matrix(layer(9), ends=ends)


def test_what_cannot_be_measured_is_refused(no_shape_checks):
    for probes in (1, -2, 2.5):
        with pytest.raises(
            ValueError, match=r"lag_matrix\(probes=.*\): expected 0 for exact norms, or at least 2"
        ):
            matrix(layer(3), probes=probes)
    with pytest.raises(ValueError, match=r"lag_matrix\(net\): give the batch"):
        lag_matrix(TABLE["last step"].net())
    with pytest.raises(ValueError, match=r"lag_matrix\(memory_budget=10\): expected at least \d+ bytes"):
        matrix(layer(3), memory_budget=10)
    base = layer(9)
    bad = LayerTransition(base.a.copy(), base.phi.copy(), base.V)
    bad.phi[0, 0, 0] = np.inf
    with pytest.raises(ValueError, match="NaN or infinity"):
        matrix(bad)
