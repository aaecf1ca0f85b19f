"""The figure lag-matrix: its pairs against products of single ends, its claims both ways, its picture."""

import numpy as np
import pytest
from compare import assert_close

import gradflow as gf
from gradflow.figures.lag_matrix import PROBES, LagMatrixConfig, claims, compute, draw, summary, table
from gradflow.plots.curves import LOG10

SMALL = LagMatrixConfig(spans=(1, 6), pool=4, hidden=6, samples=2, seeds=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return gf.load(gf.save(compute(SMALL), tmp_path_factory.mktemp("pairs") / "data.nc"))


@pytest.mark.parametrize(("span", "end"), [(1, 20), (6, 48)])
def test_a_row_is_the_decay_curve_of_its_end(data, span, end):
    task = gf.tasks.psmnist(pool=4)
    net = gf.RecurrentSNN(task, hidden=6, recurrence=gf.Skip(span), neuron=gf.LIF(decay=0.5), seed=0)
    exact = gf.jacobian_products(net, task.sample(2, seed=0), end=end).log_frobenius.isel(layer=0, sample=0)
    found = data.one.sel(span=span, end=end, lag=slice(0, end)).values
    error = found - exact.values
    # an estimate by 16 probes has a standard error of at most 0.18 nats; the mean of many is less far off
    assert abs(error).max() < 4 * (2 * PROBES) ** -0.5
    assert abs(error.mean()) < 2 * (2 * PROBES) ** -0.5
    assert np.isnan(data.one.sel(span=span, end=end, lag=slice(end + 1, None))).all()


def test_the_band_is_that_of_all_pairs_of_one_lag(data):
    task, values = gf.tasks.psmnist(pool=4), []
    for seed in (0, 1):
        net = gf.RecurrentSNN(task, hidden=6, recurrence=gf.Skip(6), neuron=gf.LIF(decay=0.5), seed=seed)
        found = gf.lag_matrix(net, task.sample(2, seed=seed), probes=PROBES).log_frobenius.isel(layer=0)
        values.append(found.sel(lag=12, end=slice(12, None)).values.ravel())
    for name, q in (("low", 0.1), ("centre", 0.5), ("high", 0.9)):
        expected = np.quantile(np.concatenate(values), q)
        assert_close(data[name].sel(span=6, lag=12).item(), expected, rtol=1e-9, why="the same pairs")


def test_claims_are_made_of_the_data_and_can_fail(data):
    fall = -(data.lag / data.span)
    fall = fall.transpose("span", "lag")
    good = data.assign(centre=fall, low=fall - 1.0, high=fall + 1.0)
    assert [claim.holds for claim in claims(good)] == [True, True]
    uneven = good.assign(low=fall - 9.0)
    assert [claim.holds for claim in claims(uneven)] == [False, True]
    swapped = good.assign(centre=fall.where(fall.span == 1, 5.0 * fall * fall.span))
    assert [claim.holds for claim in claims(swapped)] == [True, False]


def test_the_picture_shows_the_data(data):
    picture = draw(data)
    maps = [ax for ax in picture.axes if ax.get_title()]
    for ax, span in zip(maps, (1, 6), strict=True):
        (mesh,) = ax.collections
        expected = data.one.sel(span=span).transpose("end", "lag").values * LOG10
        shown = np.ma.asarray(mesh.get_array()).reshape(expected.shape).filled(np.nan)
        assert_close(shown[np.isfinite(expected)], expected[np.isfinite(expected)], rtol=1e-12, why="same")
        assert np.isnan(shown[np.isnan(expected)]).all()
    (below,) = [ax for ax in picture.axes if ax.texts]
    lines = {line.get_label(): line.get_ydata() for line in below.lines}
    assert_close(lines["λ = 6"], data.centre.sel(span=6).values * LOG10, rtol=1e-12, why="the same numbers")


def test_rows_and_conventions(data):
    assert list(table(data).columns) == ["span", "lag", "log10_median", "log10_low", "log10_high"]
    assert list(summary(data).lag) == [24, 24]
    assert data.attrs["recurrence"] == "vanilla,skip:6"
