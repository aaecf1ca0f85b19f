"""The figure paths: its parts against counted routes and whole runs, its claims, and its picture."""

import numpy as np
import pytest
from compare import assert_close

import gradflow as gf
from gradflow.figures.paths import PathsConfig, claims, compute, draw, last_steps, summary, table
from gradflow.plots.curves import LOG10

SMALL = PathsConfig(spans=(1, 8), pool=4, hidden=6, seeds=2, reach=24)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return gf.load(gf.save(compute(SMALL), tmp_path_factory.mktemp("paths") / "data.nc"))


@pytest.mark.parametrize("span", [1, 8])
def test_the_parts_are_those_of_the_whole_run(data, span):
    task = gf.tasks.psmnist(pool=4)
    parts = []
    for seed in (0, 1):
        net = gf.RecurrentSNN(task, hidden=6, recurrence=gf.Skip(span), neuron=gf.LIF(decay=0.5), seed=seed)
        parts.append(gf.path_products(net, task.sample(1, seed=seed), max_hops=24).isel(layer=0, sample=0))
    lags = np.arange(25)
    for name in ("frobenius", "neuron", "recurrent"):
        expected = np.median([part[f"log_{name}"].sel(lag=lags).values for part in parts], axis=0)
        found = data[{"frobenius": "whole"}.get(name, name)].sel(span=span).values
        assert_close(np.exp(found), np.exp(expected), rtol=1e-9, atol=1e-300, why="the same steps of the run")
    expected = np.median([part.log_hops.sel(lag=lags, hop=2).values for part in parts], axis=0)
    found = data.hops.sel(span=span, hop=2).values
    assert_close(np.exp(found), np.exp(expected), rtol=1e-9, atol=1e-300, why="the same steps of the run")


def test_hops_of_constant_factors_are_weighted_by_their_routes():
    half = np.full((30, 1, 1), 0.5)
    run = gf.Transition((gf.LayerTransition(half, half, np.eye(1), spans=(1,)),))
    found = gf.path_products(last_steps(run, 9), max_hops=8).squeeze()
    assert found.sizes["lag"] == 9
    assert_close(found.mean_hops.sel(lag=8).item(), 4.0, rtol=1e-12, why="a step and a hop weigh the same")


def test_claims_are_made_of_the_data_and_can_fail(data):
    most = data.most_hops
    good = data.assign(mean_hops=np.floor(most), neuron=data.whole - 10.0)
    assert [claim.holds for claim in claims(good)] == [True] * 4
    many = good.assign(mean_hops=most + 0.1)
    assert [claim.holds for claim in claims(many)] == [False, True, True, True]
    swapped = good.assign(mean_hops=good.mean_hops.where(good.span != 1, 0.0))
    assert [claim.holds for claim in claims(swapped)] == [True, False, True, True]
    alone = good.assign(neuron=good.whole - 1.0)
    assert [claim.holds for claim in claims(alone)] == [True, True, False, True]
    few = good.assign(mean_hops=0.8 * most)
    assert [claim.holds for claim in claims(few)] == [True, True, True, False]


def test_the_picture_shows_the_data(data):
    vanilla, skip, below = draw(data).axes
    for ax, span in ((vanilla, 1), (skip, 8)):
        lines = {line.get_label(): line.get_ydata() for line in ax.lines}
        for label, name in (("all paths", "whole"), ("neuron path", "neuron")):
            expected = data[name].sel(span=span).values * LOG10
            assert_close(lines[label], expected, rtol=1e-12, why="the same numbers")
        drawn = data.hops.sel(span=span, hop=1).values * LOG10
        shown = np.isfinite(drawn)
        assert_close(lines["_1"][shown], drawn[shown], rtol=1e-12, why="the same numbers")
        assert np.isnan(lines["_1"][~shown]).all()
    lines = {line.get_label(): line.get_ydata() for line in below.lines}
    assert_close(lines["λ = 8"], data.mean_hops.sel(span=8).values, rtol=1e-12, why="the same numbers")
    assert {text.get_text() for text in below.texts} == {"λ = 1", "λ = 8"}
    assert {"k = 1", "k = 3"} <= {text.get_text() for text in skip.texts}
    assert [text.get_text() for text in vanilla.texts] == ["k = 1 … 6"]


def test_rows_and_conventions(data):
    assert len(table(data)) == 2 * 25
    assert list(summary(data).most_hops) == [24.0, 3.0]
    assert data.attrs["recurrence"] == "vanilla,skip:8"
