"""The figures of learning: what they read of real runs, claims, tables, and what their pictures show."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from compare import assert_close

import gradflow as gf
from gradflow.figures import (
    accuracy_vs_span,
    gradient_over_training,
    softmax_kernel,
    trained,
    training_curves,
)
from gradflow.figures.make import draw_from, make
from gradflow.figures.trained import TrainedConfig, grid_of, spoken
from gradflow.plots.learning import accuracy_against_span, kernel_over_epochs, learning_curves
from gradflow.sweep import run_sweep
from gradflow.train import read_toml, resolve, stored_config

SAME = "the same numbers"
SMALL = TrainedConfig(
    task="psmnist", pool=4, spans=(1,), max_span=3, hidden=(6, 5), epochs=1, seeds=1, watch_budget=1000.0
)
FIGURES = [
    module.FIGURE for module in (training_curves, accuracy_vs_span, softmax_kernel, gradient_over_training)
]
WORDS = ["vanilla", "skip:4", "skip:8", "skip:16", "asrc:16"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.setattr(trained, "run_sweep", partial(run_sweep, jobs=1, threads=1))
        yield folder


@pytest.fixture(scope="module")
def real(cache):
    return training_curves.compute(SMALL)


def runs(cache):
    return sorted(
        folder for folder in (cache / "gradflow" / "figures").glob("trained-*/runs/*") if folder.is_dir()
    )


# what is trained


def test_the_runs_are_those_of_the_preset_and_the_options(cache, real):
    assert [run.name for run in runs(cache)] == [
        "task.name=psmnist,recurrence=asrc3,seed=0",
        "task.name=psmnist,recurrence=vanilla,seed=0",
    ]
    config = stored_config(runs(cache)[1])
    chosen = {
        "task": {"options": {"pool": 4}},
        "network": {"hidden": [6, 5], "recurrence": "vanilla"},
        "training": {"epochs": 1},
        "watch": {"budget": 1000.0},
        "logging": {"tensorboard": False},
    }
    assert config == resolve(gf.train.preset("quick", "psmnist"), chosen)
    assert read_toml(runs(cache)[0] / "config.toml")["network"]["recurrence"]["max_span"] == 3


def test_what_is_shown_is_what_the_runs_say(cache, real):
    for word, run in zip(("asrc:3", "vanilla"), runs(cache), strict=True):
        here = real.sel(task="psmnist", recurrence=word, seed=0)
        log, looks = pd.read_csv(run / "log.csv").iloc[-1], gf.load(run / "gradients.nc")
        assert_close(here.validation_accuracy.sel(epoch=1), log.validation_accuracy, rtol=1e-12, why=SAME)
        assert_close(here.train_loss.sel(epoch=1), log.train_loss, rtol=1e-12, why=SAME)
        assert_close(here.test_accuracy, gf.train.Summary.read(run).test_accuracy, rtol=1e-12, why=SAME)
        assert_close(here.rate.sel(epoch=[0, 1]), looks.rate.sel(epoch=[0, 1]), rtol=1e-12, why=SAME)
        taps = looks.span.values
        assert_close(here.p.sel(tap=taps, epoch=1).T, looks.p.sel(epoch=1).T, rtol=1e-12, why=SAME)


def test_all_figures_share_the_runs_and_train_none_again(cache, real, monkeypatch):
    before = {run: (run / "summary.json").stat().st_mtime_ns for run in runs(cache)}
    monkeypatch.setattr("gradflow.sweep.cell.train", None)
    for figure in FIGURES:
        data = figure.compute(figure.config.model_validate(SMALL.model_dump()))
        assert data.attrs["figure"] == figure.name
    assert {run: (run / "summary.json").stat().st_mtime_ns for run in runs(cache)} == before


def test_other_code_trains_other_networks(monkeypatch):
    before = trained.sweep_folder(grid_of(SMALL))
    assert trained.sweep_folder(grid_of(SMALL.model_copy(update={"seeds": 2}))) == before
    monkeypatch.setattr(trained, "sources", lambda module: {module.__name__: "changed"})
    assert trained.sweep_folder(grid_of(SMALL)) != before


def test_a_network_without_a_result_is_named(monkeypatch):
    def failed(grid, *args, **kwargs):
        one = {
            "status": "failed",
            "error": "training diverged",
            "run": "task.name=psmnist,recurrence=vanilla,seed=0",
        }
        shape = tuple(len(values) for values in grid.axes.values())
        parts = {name: (tuple(grid.axes), np.full(shape, value)) for name, value in one.items()}
        return xr.Dataset(parts, {key: list(values) for key, values in grid.axes.items()})

    monkeypatch.setattr(trained, "run_sweep", failed)
    with pytest.raises(
        ValueError, match=r"training-curves: task.name=psmnist,.* has no result: training diverged"
    ):
        training_curves.compute(SMALL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "copy"}, "got copy, expected one of psmnist, smnist or both"),
        ({"spans": (0,)}, "got 0, expected spans of 1 or more"),
        ({"spans": ()}, "got none, expected spans"),
        ({"seeds": 0}, "greater than or equal to 1"),
        ({"decay": 0.5}, "not permitted"),
    ],
)
def test_options_that_make_no_figure_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TrainedConfig(**options)


def test_the_adaptive_figure_needs_adaptive_networks():
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        softmax_kernel.KernelConfig(max_span=0)
    assert "asrc:16" not in grid_of(TrainedConfig(max_span=0)).axes["recurrence"]


# made up: three seeds of the book's recurrences


def made_up(figure, **options):
    """Networks whose accuracies are known, as the book's options would give them."""
    config = TrainedConfig(task=("psmnist",), **options)
    random = np.random.default_rng(0)
    epochs, seeds = np.arange(21.0), 3
    best = np.array([0.3, 0.5, 0.6, 0.7, 0.65])[:, None] + 0.01 * np.arange(seeds)
    grown = 0.1 + (best[..., None] - 0.1) * (1.0 - np.exp(-epochs / 5.0))
    grown[..., 0] = np.nan  # before training nothing is validated
    rate = (
        -0.5 / np.array([1, 4, 8, 16, 6.0])[:, None, None, None] * (1.0 - 0.02 * epochs[:, None]) * [1.0, 1.2]
    )
    rate = np.broadcast_to(rate, (5, seeds, 21, 2)) * (1.0 + 0.05 * random.uniform(size=(5, seeds, 1, 1)))
    logits = random.normal(size=(5, seeds, 1, 2, 16)) * epochs[:, None, None]
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    dims = ("task", "recurrence", "seed")
    parts = {
        "validation_accuracy": ((*dims, "epoch"), grown[None]),
        "validation_loss": ((*dims, "epoch"), 1.0 / grown[None]),
        "train_accuracy": ((*dims, "epoch"), grown[None]),
        "train_loss": ((*dims, "epoch"), 1.0 / grown[None]),
        "rate": ((*dims, "epoch", "layer"), rate[None]),
        "p": ((*dims, "epoch", "layer", "tap"), p[None]),
        "spans": ((*dims, "epoch", "layer"), p.argmax(axis=-1)[None] + 1.0),
        "test_accuracy": (dims, best[None]),
        "test_loss": (dims, 1.0 / best[None]),
        "best_epoch": (dims, np.full((1, 5, seeds), 20.0)),
        "parameters": (dims, np.full((1, 5, seeds), 63114.0)),
    }
    parts |= {
        "rate_low": (parts["rate"][0], 1.1 * rate[None]),
        "rate_high": (parts["rate"][0], 0.9 * rate[None]),
    }
    coords = {"task": ["psmnist"], "recurrence": WORDS, "seed": np.arange(seeds), "epoch": epochs}
    data = xr.Dataset(parts, coords | {"tap": np.arange(1, 17), "layer": [0, 1]})
    data = data.sel(recurrence=["asrc:16"]) if figure is softmax_kernel.FIGURE else data
    return data.assign_attrs(config=config.model_dump_json(), figure=figure.name)


def failing(figure, data):
    return [claim.text for claim in figure.claims(data) if not claim.holds]


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_the_claims_hold_of_networks_that_bear_them_out(figure):
    data = made_up(figure)
    assert figure.claims(data)
    assert failing(figure, data) == []


@pytest.mark.parametrize(
    ("module", "name", "where", "value", "text"),
    [
        (
            training_curves,
            "validation_accuracy",
            {"recurrence": "skip:4", "seed": 1},
            0.1,
            "every recurrence learns",
        ),
        (training_curves, "validation_accuracy", {"recurrence": "skip:4"}, np.nan, "every network has"),
        (
            accuracy_vs_span,
            "test_accuracy",
            {"recurrence": "skip:8", "seed": 2},
            0.3,
            "psmnist: the worst network",
        ),
        (accuracy_vs_span, "test_accuracy", {"recurrence": "asrc:16", "seed": 0}, 0.2, "psmnist: every ASRC"),
        (
            softmax_kernel,
            "p",
            {"epoch": 7.0, "tap": 2, "layer": 1},
            0.9,
            "the weights of each layer add up to 1",
        ),
        (softmax_kernel, "p", {"epoch": 0.0, "tap": [1, 2]}, [0.0, 0.125], "all spans weigh the same"),
        (softmax_kernel, "p", {"epoch": 20.0, "layer": 0}, 1 / 16, "in every layer and network fewer"),
        (
            gradient_over_training,
            "rate",
            {"epoch": 0.0, "recurrence": "skip:8"},
            -0.3,
            "before training: the wider",
        ),
        (
            gradient_over_training,
            "rate",
            {"epoch": 0.0, "layer": 1, "recurrence": "asrc:16"},
            0.1,
            "every layer's",
        ),
    ],
)
def test_each_claim_fails_where_the_data_does_not_bear_it_out(module, name, where, value, text):
    data = made_up(module.FIGURE).copy(deep=True)
    data[name].loc[where] = value
    assert any(found.startswith(text) for found in failing(module.FIGURE, data))


def test_what_was_found_with_the_book_is_not_claimed_of_other_networks():
    for options in ({"epochs": 5}, {"hidden": (8, 8)}, {"pool": 4}, {"seeds": 2}):
        assert accuracy_vs_span.claims(made_up(accuracy_vs_span.FIGURE, **options)) == []


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_files_are_drawn_again_byte_for_byte(figure, tmp_path):
    given = made_up(figure)
    from dataclasses import replace

    first = make(replace(figure, compute=lambda *_: given), figure.config(), tmp_path / "a", command="x")
    again = draw_from(figure, first.files[0], tmp_path / "b")
    for old, new in zip(first.files[1:], again.files[1:], strict=True):
        assert old.read_bytes() == new.read_bytes()
    rows = pd.read_csv(first.files[1])
    assert len(rows)
    assert not rows.isna().any(axis=None)
    assert len(first.summary)


def lines_of(ax):
    return {line.get_label(): np.asarray(line.get_ydata(), dtype=float) for line in ax.get_lines()}


def test_learning_curves_show_mean_and_range_of_the_networks():
    data = made_up(training_curves.FIGURE)
    left, right = training_curves.draw(data).axes
    for word, name in zip(WORDS, spoken(WORDS), strict=True):
        values = data.sel(task="psmnist", recurrence=word).isel(epoch=slice(1, None))
        assert_close(
            lines_of(left)[name], 100 * values.validation_accuracy.mean("seed"), rtol=1e-12, why=SAME
        )
        assert_close(lines_of(right)[name], values.train_loss.mean("seed"), rtol=1e-12, why=SAME)
    band = learning_curves(
        trained.seed_band(data.validation_accuracy.sel(task="psmnist", recurrence="vanilla"))
    )
    edges = gf.plots.data(band)
    edges = edges[edges.part == "bands"].dropna(subset="low")
    shown = data.validation_accuracy.sel(task="psmnist", recurrence="vanilla").isel(epoch=slice(1, None))
    assert_close(edges.low, 100 * shown.min("seed"), rtol=1e-12, why=SAME)
    assert_close(edges.high, 100 * shown.max("seed"), rtol=1e-12, why=SAME)


def test_accuracy_against_span_shows_every_network_the_mean_and_the_adaptive_ones():
    data = made_up(accuracy_vs_span.FIGURE)
    (ax,) = accuracy_vs_span.draw(data).axes
    shares = 100 * data.test_accuracy.sel(task="psmnist")
    assert_close(lines_of(ax)["mean"], shares.sel(recurrence=WORDS[:-1]).mean("seed"), rtol=1e-12, why=SAME)
    level = shares.sel(recurrence="asrc:16").mean("seed")
    assert_close(lines_of(ax)["ASRC, spans to 16"], [level, level], rtol=1e-12, why=SAME)
    artists = accuracy_against_span(accuracy_vs_span.fixed(data.sel(task="psmnist")))
    for seed in range(3):
        points = artists.points[f"network {seed}"].get_ydata()
        assert_close(points, shares.sel(recurrence=WORDS[:-1], seed=seed), rtol=1e-12, why=SAME)
    alone = accuracy_vs_span.draw(data.sel(recurrence=WORDS[:-1])).axes[0]
    assert "ASRC, spans to 16" not in lines_of(alone)


def test_the_kernel_shows_weights_and_the_spans_that_are_read():
    data = made_up(softmax_kernel.FIGURE)
    panels = softmax_kernel.draw(data).axes
    one = data.isel(recurrence=0, task=0)
    for layer, ax in enumerate(panels):
        for seed in range(3):
            expected = one.spans.sel(seed=seed, layer=layer)
            assert_close(lines_of(ax)[f"network {seed}"], expected, rtol=1e-12, why=SAME)
        (mesh,) = ax.collections
        expected = np.sqrt(one.p.mean("seed").sel(layer=layer).transpose("tap", "epoch"))
        assert_close(np.asarray(mesh.get_array()).ravel(), expected.values.ravel(), rtol=1e-12, why=SAME)
    p = xr.DataArray([[1.0, 0.0], [0.25, 0.75]], {"epoch": [0, 1], "tap": [1, 2]}, ("epoch", "tap"))
    spans = xr.DataArray([[1], [2]], {"epoch": [0, 1]}, ("epoch", "seed"))
    cells = gf.plots.data(kernel_over_epochs(xr.Dataset({"p": p, "spans": spans})))
    cell = cells[(cells.part == "maps") & (cells.x == 1) & (cells.y == 2)]
    assert_close(cell.value.iloc[0] ** 2, 0.75, rtol=1e-12, why="the colour is that of √p")


def test_rates_over_training_show_the_mean_of_the_networks():
    data = made_up(gradient_over_training.FIGURE)
    panels = gradient_over_training.draw(data).axes
    for layer, ax in enumerate(panels):
        for word, name in zip(WORDS, spoken(WORDS), strict=True):
            expected = data.rate.sel(task="psmnist", recurrence=word, layer=layer).mean("seed")
            assert_close(lines_of(ax)[name], expected, rtol=1e-12, why=SAME)
        low, high = ax.get_ylim()
        assert low < float(data.rate.min())
        assert high > float(data.rate.max())
    summary = gradient_over_training.summary(data)
    assert_close(summary["after / before"], np.full(10, 0.6), rtol=1e-12, why="1 − 0.02 · 20")


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_no_label_lies_outside_the_picture_and_every_axis_says_its_unit(figure):
    picture = figure.draw(made_up(figure))
    picture.draw_without_rendering()
    frame = picture.bbox
    for ax in picture.axes:
        for text in (*ax.texts, ax.title):
            box = text.get_window_extent()
            assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and box.y1 <= frame.y1, text.get_text()  # noqa: PT018
    words = [picture.axes[0].get_ylabel(), picture.axes[-1].get_xlabel()]
    assert all("(" in word for word in words)
