"""The figure gradient-map: its gradients against autograd, its claims both ways, and its picture."""

import numpy as np
import pytest
import torch
import xarray as xr
from compare import assert_close

import gradflow as gf
from gradflow.figures.gradient_map import GradientMapConfig, claims, compute, draw, medians, summary, table
from gradflow.plots.curves import LOG10

SMALL = GradientMapConfig(spans=(1, 6), pool=4, hidden=6, samples=3, seeds=1, layers=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return gf.load(gf.save(compute(SMALL), tmp_path_factory.mktemp("map") / "data.nc"))


def test_the_map_is_the_median_of_autograds_norms(data):
    task = gf.tasks.psmnist(pool=4)
    net = gf.RecurrentSNN(
        task, hidden=(6, 6), recurrence=gf.Skip(6), neuron=gf.LIF(decay=0.5), seed=0, dtype=torch.float64
    )
    batch = task.sample(3, seed=0)
    run = net(batch.inputs.double(), readout=gf.Readout.LAST, engine=gf.engine.reference, track_drive=True)
    losses = torch.nn.functional.cross_entropy(run.logits, batch.targets, reduction="sum")
    for layer, grown in enumerate(torch.autograd.grad(losses, [part.drive for part in run.layers]), start=1):
        norms = np.median(grown.norm(dim=-1).numpy(), axis=1)
        found = np.exp(data.gradient.sel(span=6, layer=layer).values)
        assert_close(found, norms, rtol=1e-8, atol=1e-300, why="two engines in float64")


def test_float32_sees_from_the_last_time_that_it_did_not():
    norms = np.array([1.0, 1e-50, 1e-40, 1e-44, 1.0])[:, None]
    records = xr_record(norms)
    assert medians(records).first_seen.values.tolist() == [2]
    assert medians(xr_record(np.ones((5, 1)))).first_seen.values.tolist() == [0]
    assert medians(xr_record(np.zeros((5, 1)))).first_seen.values.tolist() == [5]


def xr_record(norms):
    dims = ("layer", "time", "sample", "seed")
    return xr.Dataset({"grad_u": (dims, norms[None, :, :, None])}, {"time": np.arange(len(norms))})


def test_claims_are_made_of_the_data_and_can_fail(data):
    span, time = np.array([1, 16]), np.arange(0, 800)
    slope = np.array([-1.0, -0.1])[:, None, None]
    shape = (2, 2, 800)
    gradient = np.broadcast_to(slope * (799 - time), shape)
    long = data.drop_vars(["gradient", "first_seen"]).drop_dims(["span", "time"])
    long = long.assign_coords(span=span, time=time)
    long["gradient"] = ("span", "layer", "time"), gradient.copy()
    good = long.assign(first_seen=(("span", "layer"), [[600, 650], [0, 40]]))
    assert [claim.holds for claim in claims(good)] == [True] * 3
    level = good.assign(gradient=0.0 * good.gradient)
    assert [claim.holds for claim in claims(level)] == [False, True, True]
    seen = good.assign(first_seen=(("span", "layer"), [[600, 300], [0, 40]]))
    assert [claim.holds for claim in claims(seen)] == [True, False, True]
    lost = good.assign(first_seen=(("span", "layer"), [[600, 650], [0, 90]]))
    assert [claim.holds for claim in claims(lost)] == [True, True, False]


def test_the_picture_shows_the_data(data):
    picture = draw(data.assign(first_seen=data.first_seen + 3))
    vanilla, skip = picture.axes[:2]
    for ax, span in ((vanilla, 1), (skip, 6)):
        mesh = next(part for part in ax.collections if part.get_array() is not None)
        shown = np.ma.asarray(mesh.get_array()).reshape(2, -1)
        expected = data.gradient.sel(span=span).values * LOG10
        seen = np.isfinite(expected)
        assert_close(shown.filled(np.nan)[seen], expected[seen], rtol=1e-12, why="the same numbers")
        assert len(ax.collections) == 3  # a map, and a tick for each layer
    assert skip.get_xlabel() == "time $t$  (steps)"


def test_rows_and_conventions(data):
    assert len(table(data)) == 2 * 2 * 49
    assert list(summary(data).layer) == [1, 2, 1, 2]
    assert data.attrs["loss_placement"] == "last"
    assert data.attrs["recurrence"] == "vanilla,skip:6"
