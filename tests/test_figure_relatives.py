"""The figure relatives: its curves against the library and autograd, its claims and its picture."""

import numpy as np
import pytest
import torch
from compare import assert_close

import gradflow as gf
from gradflow.figures.make import make
from gradflow.figures.relatives import FIGURE, MODULES, RelativesConfig, module, task_of
from gradflow.figures.relatives_picture import claims, draw, summary, table
from gradflow.plots.curves import LOG10

SMALL = RelativesConfig(spans=(1, 5), pool=4, hidden=10, samples=2, seeds=2)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(FIGURE, SMALL, tmp_path_factory.mktemp("relatives"), command="gradflow figures relatives")


@pytest.fixture(scope="module")
def data(made):
    return gf.load(made.files[0])


@pytest.mark.parametrize("name", list(MODULES))
def test_a_torch_modules_curve_is_the_norm_of_autograds_jacobian(data, name):
    batch = task_of(SMALL).sample(SMALL.samples, seed=1)
    net = module(name, 1, SMALL.hidden, seed=1)
    x, lag = batch.inputs.double(), 3
    before, after = x[: len(x) - lag], x[len(x) - lag :]
    _, state = net(before[:, :1])
    parts = state if isinstance(state, tuple) else (state,)

    def last(*state):
        _, end = net(after[:, :1], state if len(state) > 1 else state[0])
        return torch.cat([part.flatten() for part in (end if isinstance(end, tuple) else (end,))])

    blocks = torch.autograd.functional.jacobian(last, tuple(part.detach() for part in parts))
    whole = torch.cat([block.flatten(1) for block in blocks], dim=1)
    expected = torch.log(torch.linalg.norm(whole)) - 0.5 * np.log(len(whole))
    found = data.log_frobenius.sel(network=name, seed=1, lag=lag).isel(sample=0)
    assert_close(found.values, expected.numpy(), rtol=1e-9, atol=1e-9, why="float64, three steps")


def test_a_spiking_curve_is_that_of_its_products(data):
    net = gf.RecurrentSNN(task_of(SMALL), hidden=10, recurrence=gf.Skip(5), neuron=gf.LIF(decay=0.5), seed=0)
    products = gf.jacobian_products(net, task_of(SMALL).sample(2, seed=0)).isel(layer=0).log_frobenius
    found = data.log_frobenius.sel(network="LIF, skip λ = 5", seed=0).transpose(*products.dims)
    assert_close(
        found.values, (products - 0.5 * np.log(10)).values, rtol=1e-12, atol=1e-12, why="the same numbers"
    )


def test_path_lengths_are_those_of_the_wiring(data):
    lags = np.arange(1, 49)
    assert (data.skip_coefficient.sel(network=["LSTM", "LIF, skip λ = 5"]).values == [1, 5]).all()
    expected = [lags.mean(), (lags // 5 + lags % 5).mean()]
    assert_close(
        data.mean_recurrent_length.sel(network=["GRU", "LIF, skip λ = 5"]).values,
        expected,
        rtol=1e-14,
        why="means of whole numbers",
    )


def test_the_orthogonal_network_is_a_rotation():
    V = module("tanh RNN, orthogonal", 1, 7, seed=3).get_parameter("weight_hh_l0").detach().numpy()
    assert_close(V @ V.T, np.eye(7), atol=1e-14, rtol=0, why="QR in float64")


def test_claims_are_made_of_the_data_and_can_fail(data):
    assert [claim.text for claim in claims(data) if not claim.holds] == []
    grown = data.assign(rate=data.rate.where(data.network != "GRU", 0.1))
    assert [claim.holds for claim in claims(grown)] == [False, True, True]
    swapped = data.assign(rate=data.rate.where(data.network != "LIF, skip λ = 5", -9.0))
    assert [claim.holds for claim in claims(swapped)] == [True, False, True]
    still = data.assign(rate=data.rate.where(data.network != "tanh RNN", -1e-6))
    assert [claim.holds for claim in claims(still)] == [True, True, False]


def test_the_picture_shows_the_data(data):
    ax = draw(data).axes[0]
    lines = {line.get_label(): line.get_ydata() for line in ax.lines}
    for name in map(str, data.network.values):
        assert_close(
            lines[name], (data.centre.sel(network=name) * LOG10).values, rtol=1e-12, why="the same numbers"
        )
    assert {text.get_text() for text in ax.texts} >= set(map(str, data.network.values))


def test_the_conventions_of_the_spiking_layers_are_kept(data):
    kept = {name: data.attrs[name] for name in ("neuron", "surrogate", "reset", "recurrence", "network_seed")}
    assert kept["recurrence"] == "vanilla,skip:5"
    assert (kept["neuron"].lower(), kept["network_seed"]) == ("lif", "0,1")
    assert "torch" in data.attrs["versions"]


def test_rows_and_files(made, data):
    assert [path.suffix for path in made.files] == [".nc", ".csv", ".png", ".pdf", ".svg", ".json"]
    assert len(table(data)) == data.sizes["network"] * data.sizes["lag"]
    assert list(summary(data).network) == list(data.network.values)
