"""Baselines in training: configuration, a whole run, its end after a kill, what is watched, the command."""

import csv

import numpy as np
import pytest
import torch

import gradflow as gf
from gradflow.baselines import GRU, LSTM, BaselineNetwork, SnnTorch, baseline_products
from gradflow.train import (
    Summary,
    build_network,
    load_run,
    loop,
    preset,
    read_checkpoint,
    resolve,
    stored_config,
    train,
    write_toml,
)
from gradflow.train.budget import Sizes
from gradflow.train.config import NetworkPart
from gradflow.train.costs import CellSizes
from gradflow.train.session import Session
from gradflow.train.sources import CONFIG_NAME, read_toml

TINY = {
    "task": {"name": "smnist", "options": {"pool": 7}},
    "network": {"hidden": [6, 5], "dropout": 0.2},
    "optimiser": {"lr": 0.01, "clip": 1.0},
    "training": {"epochs": 2, "batch": 800},
    "watch": {"budget": 1e9, "samples": 2},
    "checkpoint": {"every": 2},
    "logging": {"tensorboard": False},
}
"""16 steps, 5 optimiser steps an epoch."""


def tiny(model, *tables):
    return resolve(TINY, {"network": {"model": model}}, *tables)


def test_words_make_cells():
    sizes = gf.Sizes(2, 3)
    assert isinstance(build_network(NetworkPart(), sizes), gf.RecurrentSNN)
    net = build_network(NetworkPart(model="gru", hidden=(3, 4), seed=5, readout="last", bias=False), sizes)
    own = BaselineNetwork(sizes, (3, 4), GRU(), seed=5, readout="last", bias=False)
    assert net.readout is own.readout
    assert net.state_dict().keys() == own.state_dict().keys()
    assert all(torch.equal(value, own.state_dict()[name]) for name, value in net.state_dict().items())
    part = NetworkPart(model="snntorch", neuron={"kind": "lif", "decay": 0.9, "threshold": 0.5})
    assert part.cell() == SnnTorch(gf.LIF(decay=0.9, threshold=0.5))
    assert NetworkPart(model="lstm").cell() == LSTM()


@pytest.mark.parametrize("model", ["snn", "rnn", "gru", "lstm"])
def test_parameters_are_matched_whatever_learns(model):
    sizes = gf.Sizes(1, 10)
    net = build_network(NetworkPart(model=model, hidden=(1, 2, 2), parameters=20_000), sizes)
    assert net.hidden[1] == net.hidden[2]
    assert abs(net.hidden[1] - 2 * net.hidden[0]) <= 1
    # one more unit in the widest layer of some 40 … 80 is a few per cent
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(20_000, rel=0.03)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"recurrence": "skip:8"}, "network: recurrence is skip:8, but lstm has its own"),
        ({"recurrence": ["vanilla", "none"]}, "network: recurrence is none, but lstm has its own"),
        ({"norm": "layer"}, "network: norm is layer, but lstm has none; leave it out"),
        ({"neuron": "plif"}, "network: neuron is chosen, but lstm does not spike; leave it out"),
        (
            {"model": "snntorch", "neuron": {"kind": "lif", "reset": "hard"}},
            r"network: snnTorch\(neuron=LIF.* expected LIF with soft attached reset",
        ),
        (
            {"model": "snntorch", "neuron": ["lif", "lif"]},
            "neuron is one for each layer, but snntorch has the",
        ),
        ({"model": "rwkv"}, "network.model: got 'rwkv'; input should be 'snn', 'rnn', 'gru', 'lstm'"),
        ({"parameters": 0}, "network.parameters: got 0; input should be greater than or equal to 1"),
    ],
)
def test_what_a_baseline_cannot_have_is_refused(network, message):
    with pytest.raises(ValueError, match=message):
        tiny("lstm", {"network": network})


def test_presets_bring_layers_and_rates_but_no_recurrence():
    tables = preset("paper", "psmnist", None, "lstm")
    config = resolve(tables)
    assert (config.network.model, config.network.hidden) == ("lstm", (64, 128, 128))
    assert config.optimiser.lr == 1e-3
    assert resolve(preset("quick", "psmnist", None, "gru")).network.model == "gru"
    with pytest.raises(ValueError, match="recurrence is asrc:51, but lstm has its own"):
        resolve(preset("paper", "psmnist", "asrc:51", "lstm"))


def test_a_run_from_before_there_were_baselines_is_the_same_run(tmp_path):
    """Its configuration lacks the keys that came with them."""
    config = resolve(
        TINY, {"network": {"recurrence": "skip:2"}, "watch": {"every": 0}, "training": {"epochs": 1}}
    )
    text = write_toml(config)
    assert 'model = "snn"\n' in text
    whole = train(config, tmp_path / "run")
    path = tmp_path / "run" / CONFIG_NAME
    path.write_text(text.replace('model = "snn"\n', ""))
    assert "model" not in read_toml(path)["network"]
    assert stored_config(tmp_path / "run") == config
    assert train(config, tmp_path / "run", resume=True) == whole
    summary = tmp_path / "run" / "summary.json"
    summary.write_text(summary.read_text().replace(',\n  "model": "snn"', ""))
    assert "model" not in summary.read_text()
    assert Summary.read(tmp_path / "run") == whole


@pytest.fixture(scope="module", params=["rnn", "gru", "lstm"])
def made(request, tmp_path_factory):
    """A whole run of each model: its word, folder and summary."""
    folder = tmp_path_factory.mktemp(request.param) / "run"
    return request.param, folder, train(tiny(request.param), folder)


def test_a_run_killed_within_and_after_an_epoch_ends_with_the_same_bits(made, tmp_path, monkeypatch):
    model, folder, whole = made
    config = tiny(model)
    learn, steps = loop.learn, []

    def killed(session, share):
        steps.append(session.position.step)
        if len(steps) in (4, 8):  # three and five steps on: within an epoch, and after one
            raise KeyboardInterrupt
        return learn(session, share)

    monkeypatch.setattr(loop, "learn", killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "killed", resume=True)
    summary = train(config, tmp_path / "killed", resume=True)
    # the steps after the last checkpoint are made again: 2 twice, then 5 … 9 (checkpoints at 4 and 5)
    assert steps == [0, 1, 2, 3, 2, 3, 4, 5, 5, 6, 7, 8, 9]
    for name in ("validation_accuracy", "validation_loss", "test_accuracy", "test_loss", "parameters"):
        assert getattr(summary, name) == getattr(whole, name), name
    one, other = (
        read_checkpoint(run / "checkpoints" / "step-00000010") for run in (folder, tmp_path / "killed")
    )
    # not the global generators: beartype draws from Python's to choose what it checks
    for part in ("model", "best", "optimiser", "data"):
        left, right = getattr(one, part), getattr(other, part)
        assert left.keys() == right.keys()
        assert all(torch.equal(value, right[name]) for name, value in left.items()), part
    looks = [gf.load(run / "gradients.nc") for run in (folder, tmp_path / "killed")]
    assert looks[0].identical(looks[1])


def test_a_run_says_and_watches_what_learns(made):
    model, folder, summary = made
    assert Summary.read(folder) == summary
    assert summary.model == model
    assert summary.lines()[0].startswith(
        f"smnist, {model}: {summary.parameters} parameters, 2 epochs, 10 steps"
    )
    rows = list(csv.DictReader((folder / "log.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[1]["train_loss"]) < float(rows[0]["train_loss"])
    assert (rows[0]["spans"], rows[0]["temperature"]) == ("", "")
    data = gf.load(folder / "gradients.nc")
    assert data.epoch.values.tolist() == [0, 1, 2]
    assert (data.attrs["kind"], data.attrs["task"]) == ("gradient while training", "smnist")
    assert data.attrs["neuron"] == {"rnn": "tanh RNN", "gru": "GRU", "lstm": "LSTM"}[model]
    session = load_run(folder, step=10)
    expected = baseline_products(session.net, session.task.sample(2).inputs)
    assert np.array_equal(data.log_frobenius.sel(epoch=2), expected.log_frobenius)
    assert np.array_equal(data.rate.sel(epoch=2), gf.fit_decay(expected).rate, equal_nan=True)
    with pytest.raises(
        ValueError, match=rf"the run's network is a baseline, {model}, expected a RecurrentSNN"
    ):
        session.spiking  # noqa: B018


@pytest.mark.parametrize("name", ["delayed-recall", "adding"])
def test_objectives_of_several_steps_and_of_numbers_take_baselines(name, tmp_path):
    config = resolve(
        {
            "task": {"name": name, "options": {"delay": 10, "examples": 500}},
            "network": {"model": "gru", "hidden": [12], "readout": "last"},
            "optimiser": {"lr": 0.01},
            "training": {"epochs": 3, "batch": 40},
            "watch": {"every": 0},
        }
    )
    summary = train(config, tmp_path / name)
    rows = list(csv.DictReader((tmp_path / name / "log.csv").read_text().splitlines()))
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    assert np.isfinite(summary.test_loss)


def test_costs_of_cells_are_counts_of_operations():
    sizes = CellSizes(
        train=10, validation=5, steps=7, inputs=2, hidden=(3, 4), spans=(1, 1), gates=4, states=2
    )
    each = 4 * (2 * 3 + 9) + 4 * (3 * 4 + 16)
    assert sizes.epoch() == 7 * each * (6 * 10 + 2 * 5)
    # 2 S³ for the product, S backward passes of a step of 2 · 4 H² each
    assert sizes.look(3) == 3 * (2 * 6**3 + 2 * 8**3 + 6 * 8 * 9 + 8 * 8 * 16) + 2 * 7 * each
    assert sizes.look(None) == sizes.look(100) == sizes.look(6)
    assert sizes.memory(None) == 8 * 6 * 8**2
    vanilla = Sizes(train=10, validation=5, steps=7, inputs=2, hidden=(3, 4), spans=(0, 0))
    single = CellSizes(train=10, validation=5, steps=7, inputs=2, hidden=(3, 4), spans=(0, 0))
    assert single.epoch() == vanilla.epoch()


def test_curves_that_take_too_much_memory_are_not_taken_and_that_is_said():
    tables = {"network": {"hidden": [512]}, "task": {"options": {"pool": 1}}}
    session = Session.start(tiny("lstm", tables))
    assert session.plan.every == 0
    # 783 Jacobians of 1024²
    assert session.plan.note == (
        "no looks: the Jacobians of one sequence would take 6.1 GiB, more than 1; lower watch.lags"
    )
    short = Session.start(tiny("lstm", tables, {"watch": {"lags": 50}}))
    assert short.plan.every > 0


def test_conventions_of_a_session_are_the_baselines():
    found = Session.start(tiny("lstm")).conventions
    assert (found["neuron"], found["mode"], found["task"], found["batch"]) == (
        "LSTM",
        "training",
        "smnist",
        800,
    )
    assert found["dropout"] == 0.2
    assert found["loss_placement"] == "sum"


def test_the_command_trains_a_baseline(cli, tmp_path):
    options = ["--set", "task.options.pool=7", "--set", "training.batch=2000", "--epochs", "1"]
    options += ["--set", "network.parameters=2000", "--set", "watch.every=0"]
    code, out, err = cli("train", "smnist", "--model", "gru", "--preset", "quick", *options)
    assert (code, err) == (0, "")
    assert out.splitlines()[0].startswith("smnist, gru: ")
    assert out.splitlines()[-1] == "wrote gradflow-runs/smnist-gru-0"
    code, _, err = cli("train", "--resume", "--out", "gradflow-runs/smnist-gru-0", "--model", "lstm")
    assert code == 1
    assert "is another run: network.model = 'gru' there, 'lstm' here" in err
    code, _, err = cli("train", "smnist", "--model", "gru", "--recurrence", "skip:3")
    assert code == 2
    assert "recurrence is skip:3, but gru has its own" in err
    code, _, err = cli("record", "--run", "gradflow-runs/smnist-gru-0", "-o", "x.nc")
    assert code == 1
    assert "the run's network is a baseline, gru" in err
