"""The figure zeros: its shares against products rounded by torch, its claims both ways, and its picture."""

import numpy as np
import pytest
import torch
from compare import assert_close

import gradflow as gf
from gradflow.figures.zeros import FORMATS, ZerosConfig, claims, compute, draw, summary, table

SMALL = ZerosConfig(spans=(1, 6), pool=4, hidden=6, samples=1, seeds=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return gf.load(gf.save(compute(SMALL), tmp_path_factory.mktemp("zeros") / "data.nc"))


@pytest.mark.parametrize("span", [1, 6])
def test_shares_are_those_of_the_product_multiplied_out_and_rounded(data, span):
    task, lag = gf.tasks.psmnist(pool=4), 30
    found = {name: [] for name in ("structural", *FORMATS)}
    for seed in (0, 1):
        net = gf.RecurrentSNN(task, hidden=6, recurrence=gf.Skip(span), neuron=gf.LIF(decay=0.5), seed=seed)
        (layer,) = gf.local_jacobians(net, task.sample(1, seed=seed)).layers
        P = [np.eye(6)]
        for t in range(len(layer.a) - 2, len(layer.a) - 2 - lag, -1):
            step = P[-1] * layer.a[t, 0]
            P.append(step + (P[-span] @ layer.V * layer.phi[t, 0] if len(P) >= span else 0.0))
        exact = torch.from_numpy(P[lag])
        found["structural"].append(float((exact == 0).double().mean()))
        for name in FORMATS:
            found[name].append(float((exact.to(getattr(torch, name)) == 0).double().mean()))
    one = data.sel(span=span, lag=lag)
    assert_close(one.structural.item(), np.mean(found["structural"]), rtol=1e-12, why="counted")
    for name in FORMATS:
        assert_close(one.zero.sel(format=name).item(), np.mean(found[name]), rtol=1e-12, why="counted")


def test_windows_are_those_of_the_transition(data):
    task = gf.tasks.psmnist(pool=4)
    found = []
    for seed in (0, 1):
        net = gf.RecurrentSNN(task, hidden=6, recurrence=gf.Vanilla(), neuron=gf.LIF(decay=0.5), seed=seed)
        (layer,) = gf.local_jacobians(net, task.sample(1, seed=seed)).layers
        found.append((layer.phi != 0).mean((1, 2)))
    assert_close(data.window.sel(span=1).values, np.mean(found, axis=0), rtol=1e-6, why="float32 shares")


def test_claims_are_made_of_the_data_and_can_fail(data):
    lags = np.array([[10.0, 20.0, 30.0], [50.0, 60.0, np.nan]])
    good = data.assign(lag_all=(("span", "format"), lags), structural=0.0 * data.structural)
    assert [claim.holds for claim in claims(good)] == [True] * 3
    mixed = good.assign(lag_all=(("span", "format"), lags[:, ::-1].copy()))
    assert [claim.holds for claim in claims(mixed)] == [False, True, True]
    same = good.assign(lag_all=(("span", "format"), np.repeat(lags[:1], 2, axis=0)))
    assert [claim.holds for claim in claims(same)] == [True, True, False]
    empty = good.assign(structural=1.0 + good.structural)
    assert [claim.holds for claim in claims(empty)] == [True, False, True]
    closed = good.assign(window=0.0 * good.window)
    assert [claim.holds for claim in claims(closed)] == [True, False, True]
    long = good.assign_coords(lag=good.lag * 20)
    assert [claim.holds for claim in claims(long)] == [True] * 4
    kept = long.assign(lag_all=(("span", "format"), np.array([[10.0, 20.0, np.nan], [50.0, 60.0, np.nan]])))
    assert [claim.holds for claim in claims(kept)] == [True, True, True, False]


def test_the_picture_shows_the_data(data):
    vanilla, skip, below = draw(data).axes
    for ax, span in ((vanilla, 1), (skip, 6)):
        lines = {line.get_label(): line.get_ydata() for line in ax.lines}
        for name in FORMATS:
            expected = 100.0 * data.zero.sel(span=span, format=name).values
            assert_close(lines[name], expected, rtol=1e-12, why="the same numbers")
        (area,) = ax.collections
        heights = area.get_paths()[0].vertices[:, 1]
        assert_close(
            heights.max(), 100.0 * data.structural.sel(span=span).max().item(), rtol=1e-12, why="same"
        )
    lines = {line.get_label(): line.get_ydata() for line in below.lines}
    assert_close(lines["λ = 6"], 100.0 * data.window.sel(span=6).values, rtol=1e-12, why="the same numbers")
    assert "(%)" in vanilla.get_ylabel()
    assert "(%)" in below.get_ylabel()


def test_rows_and_conventions(data):
    assert list(table(data).columns) == ["span", "lag", "structural", *(f"zero_{name}" for name in FORMATS)]
    assert len(summary(data)) == 2
    assert data.attrs["recurrence"] == "vanilla,skip:6"
