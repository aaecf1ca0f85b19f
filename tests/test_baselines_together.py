"""Baselines with all else there is: swept beside spiking networks, evaluated, analysed, drawn."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

import gradflow as gf
from gradflow.evaluation import evaluate_runs
from gradflow.findings.sources import read_source
from gradflow.sweep import Grid, run_sweep, table_of
from gradflow.train import load_run
from gradflow.views.drawn import draw_view

MODELS = ("snn", "lstm", "gru", "rnn")
TINY = {
    "task": {"name": "delayed-recall", "options": {"delay": 6, "examples": 60}},
    "network": {"hidden": [4], "parameters": 150},
    "optimiser": {"lr": 0.02},
    "training": {"epochs": 1, "batch": 30, "device": "cpu"},
    "watch": {"samples": 1, "budget": 1e9},
    "logging": {"tensorboard": False},
}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep of every model, with two seeds: its folder and its results."""
    out = tmp_path_factory.mktemp("models") / "sweep"
    return out, run_sweep(Grid({"model": MODELS, "seed": (0, 1)}, TINY), out, jobs=1, threads=1)


def run_of(out, model, seed=0):
    return out / "runs" / f"model={model},seed={seed}"


def test_models_are_swept_like_any_other_key(swept):
    out, data = swept
    assert data.model.values.tolist() == list(MODELS)
    assert (data.status == "done").all()
    rows = table_of(data)
    assert rows.model.tolist() == [model for model in MODELS for _ in range(2)]
    for model in MODELS:
        session = load_run(run_of(out, model, 1))
        assert session.config.network.model == model
        own = sum(parameter.numel() for parameter in session.net.parameters())
        assert (data.parameters.sel(model=model) == own).all()
        # the nearest sizes: of the LSTM a neuron more is some 60 parameters
        assert abs(own - 150) < 31
        watched = gf.load(run_of(out, model, 1) / "gradients.nc")
        np.testing.assert_array_equal(data.rate.sel(model=model, seed=1), watched.rate)
    # what a model has not is not there, and no 0
    assert np.isfinite(data.firing_rate.sel(model="snn")).any()
    assert data[["firing_rate", "spans", "p"]].sel(model=["lstm", "gru", "rnn"]).isnull().to_array().all()


@pytest.mark.parametrize("name", ["paper", "quick"])
def test_a_preset_is_that_of_the_run_s_own_model(name):
    grid = Grid({"model": ("snn", "lstm")}, {"task": {"name": "psmnist"}}, name)
    spiking, lstm = (grid.config({"model": model}) for model in grid.axes["model"])
    assert spiking.network.recurrences().label == {"paper": "skip:12", "quick": "vanilla"}[name]
    assert (lstm.network.model, lstm.network.recurrences().label) == ("lstm", "vanilla")
    assert (spiking.optimiser, spiking.network.hidden) == (lstm.optimiser, lstm.network.hidden)


def test_a_baseline_of_another_recurrence_has_no_configuration():
    grid = Grid({"model": ("snn", "gru"), "recurrence": ("skip:2",)}, TINY)
    assert grid.config({"model": "snn", "recurrence": "skip:2"}).network.recurrences().label == "skip:2"
    with pytest.raises(ValueError, match="recurrence is skip:2, but gru has its own"):
        grid.config({"model": "gru", "recurrence": "skip:2"})


def test_the_command_sweeps_models(cli, swept):
    out, _ = swept
    code, said, err = cli("sweep", "--out", out)
    assert (code, err) == (0, "")
    lines = said.splitlines()
    assert lines[1].split() == ["model", "test", "validation", "done"]
    assert [line.split()[0] for line in lines[2:6]] == list(MODELS)
    code, _, err = cli(
        "sweep", "delayed-recall", "--model", "lstm,gru", "--recurrence", "skip:2", "--out", "x"
    )
    assert code == 1
    assert "recurrence is skip:2, but lstm has its own" in err


def test_runs_are_labelled_by_what_learns(swept):
    out, _ = swept
    chosen = [run_of(out, model) for model in MODELS] + [run_of(out, "gru", 1)]
    found = evaluate_runs(chosen)
    names = ["vanilla", "LSTM", "GRU", "tanh RNN", "GRU"]
    assert found.group.values.tolist() == names
    seeds = [0, 0, 0, 0, 1]
    assert found.run.values.tolist() == [
        f"{name}, seed {seed}" for name, seed in zip(names, seeds, strict=True)
    ]
    # two runs of one baseline are a group that bears its name, not that of a recurrence
    alone = evaluate_runs(chosen[2::2])
    assert alone.group.values.tolist() == ["GRU", "GRU"]
    assert alone.run.values.tolist() == ["seed 0", "seed 1"]


def test_disturbed_inputs_are_those_of_all_and_inner_ones_are_refused(cli, swept):
    out, _ = swept
    runs = [run_of(out, "snn"), run_of(out, "lstm")]
    code, said, err = cli("evaluate", *runs, "--disturb", "input-noise=0,2", "--repetitions", 2, "-o", "x.nc")
    assert (code, err) == (0, "")
    assert re.search(r"^ *LSTM +\d", said, re.MULTILINE)
    assert "none" not in said
    found = gf.load("x.nc")
    assert found.run.values.tolist() == ["vanilla", "LSTM"]
    assert found.accuracy_input_noise.sizes == {"run": 2, "input_noise": 2, "repetition": 2}
    undisturbed = found.accuracy_input_noise.sel(input_noise=0).isel(repetition=0)
    np.testing.assert_array_equal(undisturbed, found.accuracy)
    assert found.energy.isnull().values.tolist() == [False, True]


@pytest.mark.parametrize("word", ["delete=0.1", "membrane-noise=0.1", "span-shift=1"])
def test_inner_disturbances_are_refused_before_anything_is_computed(cli, swept, monkeypatch, word):
    out, _ = swept
    monkeypatch.setattr("gradflow.evaluation.runs.evaluate", None)
    code, said, err = cli("evaluate", run_of(out, "snn"), run_of(out, "lstm"), "--disturb", word)
    assert (code, said) == (1, "")
    (line,) = err.splitlines()
    kind = word.partition("=")[0]
    assert f"model=lstm,seed=0: {kind}: reaches inside a RecurrentSNN, and this is a BaselineNetwork" in line
    assert "disturb what it reads (input-noise, jitter, event-jitter)" in line


def test_a_watched_baseline_is_analysed_and_drawn(cli, swept):
    out, _ = swept
    gru, snn = run_of(out, "gru"), run_of(out, "snn")
    code, said, err = cli("analyze", gru, snn)
    assert (code, err) == (0, "")
    rows = [line.split() for line in said.splitlines() if re.match(" *(GRU|vanilla) +[01] ", line)]
    assert [row[0] for row in rows] == ["GRU"] * 2 + ["vanilla"] * 2
    rate = gf.load(gru / "gradients.nc").rate
    assert [float(row[3]) for row in rows[:2]] == pytest.approx(rate.values.ravel().tolist(), rel=1e-3)
    code, said, err = cli("plot", "rates", gru, snn, "-o", "rates.png")
    assert (code, err) == (0, "")
    drawn = draw_view("rates", [read_source(gru), read_source(snn)])
    assert list(drawn.artists[0].curves) == ["GRU", "vanilla"]
    line = drawn.artists[0].curves["GRU"]
    np.testing.assert_array_equal(line.get_ydata(), rate.sel(layer=0))
    plt.close(drawn.picture)
    (legend,) = drawn.picture.legends
    assert legend.get_title().get_text() == "delayed-recall, α = 0.5"
    alone = draw_view("rates", [read_source(gru)])
    widths = ",".join(map(str, load_run(gru).net.hidden))
    assert alone.picture.get_suptitle() == f"delayed-recall, hidden {widths}, GRU"
    plt.close(alone.picture)
