"""The figure memory-horizon: its networks against the library's own, the delays tried, claims, picture."""

import json
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from compare import assert_close

import gradflow as gf
from gradflow.analysis.horizons import LEVEL, horizon_at
from gradflow.figures import memory_horizon_runs as runs
from gradflow.figures.make import draw_from, make
from gradflow.figures.memory_horizon import FIGURE, compute
from gradflow.figures.memory_horizon_claims import LEVELS, agreement, claims, fit_level, summary
from gradflow.figures.memory_horizon_runs import MemoryHorizonConfig, climb, grid, run_config
from gradflow.figures.registry import find
from gradflow.train import DivergedError, Session, train

SAME = "the same float64 numbers"
SMALL = MemoryHorizonConfig(
    spans=(1, 4), hidden=8, seeds=2, samples=2, longest=8, examples=40, epochs=1, batch=20
)
COMMAND = "gradflow figures memory-horizon --spans 1,4"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # everything in this process
    try:
        yield make(FIGURE, SMALL, tmp_path_factory.mktemp("figure"), command=COMMAND)
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data(made):
    return gf.load(made.files[0])


# networks


@pytest.mark.parametrize(("span", "seed"), [(1, 0), (4, 1)])
def test_horizons_are_the_librarys_own_for_the_network_that_training_starts_from(data, span, seed):
    session = Session.start(run_config(SMALL, (span, SMALL.longest, seed)))
    batch = session.task.sample(SMALL.samples, seed=seed)
    found = gf.local_jacobians(session.net, batch)
    here = data.sel(span=span, seed=seed)
    products = gf.jacobian_products(found)
    assert_close(
        here.predicted, horizon_at(gf.theory.transfer_operator(found)).horizon[0], rtol=1e-12, why=SAME
    )
    middle = products[["log_frobenius"]].isel(layer=0).median("sample")
    assert_close(here.jacobian, horizon_at(middle).horizon, rtol=1e-12, why=SAME)
    assert_close(here.window, products.window.mean(), rtol=1e-12, why=SAME)
    spikes = session.net(batch.inputs).layers[0].s
    assert_close(here.firing_rate, float(spikes.detach().mean()), rtol=1e-6, why="a mean in float32")


def test_an_accuracy_is_that_of_a_training_of_ones_own(data, tmp_path):
    summary = train(run_config(SMALL, (4, 8, 1)), tmp_path / "run")
    here = data.sel(span=4, delay=8, seed=1)
    assert here.accuracy == summary.test_accuracy
    assert here.validation_accuracy == summary.validation_accuracy


def test_trainings_differ_in_span_delay_and_seed_alone():
    config = MemoryHorizonConfig()
    one, other = (run_config(config, cell).model_dump() for cell in ((1, 8, 0), (16, 64, 3)))
    differing = {(part, key) for part in one for key in one[part] if one[part][key] != other[part][key]}
    assert differing == {
        ("task", "options"), ("network", "recurrence"), ("network", "seed"), ("training", "seed")
    }  # fmt: skip
    options = (one["task"]["options"], other["task"]["options"])
    assert {key for key in options[0] if options[0][key] != options[1][key]} == {"delay", "data_seed"}


def test_the_class_is_in_sight_at_every_residue_of_every_span_and_no_sooner_than_the_delay():
    config = MemoryHorizonConfig(spans=(1, 6, 8))
    task = gf.tasks.delayed_recall(**config.recall(11, 0))
    x = task.sample(1).inputs[:, 0].numpy()
    lags = task.steps - 1 - np.flatnonzero(x[: max(config.spans)].any(axis=1))
    assert lags.min() == 11
    for span in config.spans:
        assert set(lags % span) == set(range(span))


def test_a_run_that_diverges_has_learned_nothing(tmp_path, monkeypatch):
    def diverge(*_, **__):
        raise DivergedError

    monkeypatch.setattr(runs, "train", diverge)
    assert runs.trained(run_config(SMALL, (1, 4, 0)), tmp_path) == (0.0, 0.0)


def test_another_process_trains_the_same_network(data, tmp_path):
    with runs.trainers(2) as train_all:  # for one network it starts one
        (found,) = train_all([run_config(SMALL, (4, 8, 1))], [tmp_path / "run"])
    assert found.accuracy == data.accuracy.sel(span=4, delay=8, seed=1)


def test_what_was_trained_is_not_trained_again(made, data, monkeypatch):
    monkeypatch.setattr("gradflow.train.loop.Session", None)
    again = compute(SMALL, folder=made.files[0].parent / "memory-horizon-runs")
    xr.testing.assert_equal(gf.Results.of(again), data)


def test_a_run_is_kept_under_another_name_where_anything_else_was_asked_for(tmp_path, monkeypatch):
    cell = (1, 4, 0)
    first = runs.run_folder(tmp_path, run_config(SMALL, cell), cell)
    longer = SMALL.model_copy(update={"epochs": 3})
    assert runs.run_folder(tmp_path, run_config(SMALL, cell), cell) == first
    assert runs.run_folder(tmp_path, run_config(longer, cell), cell) != first
    monkeypatch.setattr(runs, "source_commit", lambda: "another")
    assert runs.run_folder(tmp_path, run_config(SMALL, cell), cell) != first


# which delays


def test_delays_are_a_geometric_grid():
    assert grid(64) == [4, 6, 8, 11, 16, 23, 32, 45, 64]
    assert grid(63)[-1] == 45
    ratios = np.array(grid(4096)[1:]) / grid(4096)[:-1]
    assert_close(np.log2(ratios), np.full(ratios.shape, 0.5), atol=0.09, why="rounded to whole steps")


@pytest.mark.parametrize(
    ("span", "reaches", "tried"),
    [
        (1, (8, 4), [4, 6, 8, 11, 16]),
        (2, (8, 8), [8, 11, 16]),
        (4, (9, 8), [16, 23, 11, 8]),
        (4, (16, 8), [16, 23, 32, 11, 8]),
        (8, (4, 1), [32, 45, 23, 16, 11, 8, 6, 4]),
        (1, (45, 4), [4, 6, 8, 11, 16, 23, 32, 45]),
        (30, (99, 99), [45]),
    ],
)
def test_delays_go_up_until_two_fail_and_down_until_each_seed_has_learned_one(span, reaches, tried):
    found = climb(span, grid(50), lambda delay: [delay <= reach for reach in reaches])
    assert [delay for delay, _ in found] == tried


def test_one_failure_between_does_not_end_the_climb():
    learned = {4, 6, 11}
    tried = [delay for delay, _ in climb(1, grid(50), lambda delay: [delay in learned])]
    assert tried == [4, 6, 8, 11, 16, 23]


@pytest.mark.parametrize(
    ("learned", "longest"),
    [("+++--", 8), ("+-+--", 8), ("++--+", 6), ("-----", 0), ("+++++", 16), ("--+++", 0)],
)
def test_a_network_reaches_the_last_delay_before_two_failures(learned, longest):
    assert runs.reach([4, 6, 8, 11, 16], [sign == "+" for sign in learned]) == longest


def test_the_longest_delay_learned_is_read_off_the_accuracies(data):
    for span in SMALL.spans:
        for seed in range(SMALL.seeds):
            found = data.accuracy.sel(span=span, seed=seed).dropna("delay")
            expected = runs.reach(found.delay.values.tolist(), (found.values > 0.625).tolist())
            assert data.learned.sel(span=span, seed=seed) == expected


# prediction and training


def usual(**options):
    """A dataset as the usual options would give it: curves −0.45 n / λ, learned nearly as predicted."""
    config = MemoryHorizonConfig(spans=(1, 2, 4, 8), seeds=3, longest=362).model_copy(update=options)
    spans, seeds, delays = list(config.spans), list(range(config.seeds)), grid(config.longest)
    scale = np.array(spans)[:, None] * (1 + 0.1 * np.arange(config.seeds))
    lags = np.arange(500)
    curve = -0.45 * lags / scale[..., None]
    reach = np.log(1e3) / 0.45 * scale
    learned = np.array([[max(d for d in delays if d <= far) for far in row] for row in reach])
    accuracy = np.full((len(spans), len(delays), len(seeds)), np.nan)
    for place, row in enumerate(learned):
        for there, delay in enumerate(delays):
            if delay >= 4 * spans[place] and there <= delays.index(row.max()) + 2:
                accuracy[place, there] = np.where(delay <= row, 0.98, 0.31)
    by_network = ("span", "seed")
    found = xr.Dataset(
        {
            "accuracy": (("span", "delay", "seed"), accuracy),
            "validation_accuracy": (("span", "delay", "seed"), accuracy),
            "predicted_curve": ((*by_network, "lag"), curve),
            "jacobian_curve": ((*by_network, "lag"), curve),
            "predicted": (by_network, reach),
            "jacobian": (by_network, reach),
            "learned": (by_network, learned.astype(float)),
            "firing_rate": (by_network, 0.01 + 0.0 * reach),
            "window": (by_network, 0.5 + 0.0 * reach),
        },
        {"span": spans, "delay": delays, "seed": seeds, "lag": lags},
        {
            "config": config.model_dump_json(),
            "level": LEVEL,
            "chance": config.chance,
            "threshold": config.threshold,
        },
    )
    return found.merge(fit_level(found))


def test_the_level_fitted_is_the_one_that_training_was_made_with():
    given = usual()
    level = float(LEVELS[170])
    given["learned"] = given.learned * 0 - np.log(level) / 0.45 * given.predicted * 0.45 / np.log(1e3)
    found = fit_level(given)
    assert_close(found.level_fitted, level, rtol=1e-12, why="one of the levels tried")
    for name in ("predicted_fitted", "predicted_left_out"):
        assert_close(found[name], given.learned, rtol=1e-9, why="straight curves: the horizon is exact")


def test_a_span_that_is_left_out_does_not_touch_its_own_prediction():
    given = usual()
    given["learned"].loc[{"span": 8}] *= 50.0
    found, before = fit_level(given), fit_level(usual())
    assert_close(
        found.predicted_left_out.sel(span=8), before.predicted_left_out.sel(span=8), rtol=1e-12, why=SAME
    )
    assert float(found.level_fitted) < float(before.level_fitted)
    assert (found.predicted_left_out.sel(span=1) > before.predicted_left_out.sel(span=1)).all()


def test_nothing_learned_leaves_nothing_to_fit():
    given = usual()
    given["learned"] = given.learned * 0.0
    found = fit_level(given)
    assert np.isnan(found.level_fitted)
    assert np.isnan(found.predicted_left_out).all()
    said = agreement(given.assign(found))
    assert said.networks == 0
    assert np.isnan(said.rank)


def test_agreement_counts_networks_and_ranks_them():
    given = usual()
    given["learned"] = given.predicted * 1.1
    given["learned"].loc[{"span": 4, "seed": 0}] = float(given.predicted.sel(span=4, seed=0)) * 2.2
    given["learned"].loc[{"span": 8, "seed": 1}] = 0.0
    found = agreement(given)
    assert (found.within, found.networks) == (10, 11)
    assert_close(found.ratio, 1.1, rtol=1e-12, why=SAME)
    assert 0.9 < found.rank < 1.0
    assert found.within_spans < 0.9  # the one of span 4 reaches further than theory has it
    assert agreement(usual()).rank > 0.95


def test_two_networks_have_no_rank():
    assert np.isnan(agreement(usual().isel(span=[0], seed=[0, 1])).rank)


# claims


def failing(data):
    return [claim.text for claim in claims(data) if not claim.holds]


def test_all_claims_are_made_of_the_usual_options():
    assert [claim.text for claim in claims(usual())] == [
        "vanilla fails with every seed where a skip succeeds with every: at 23 steps (λ = 2, 4)",
        "the wider the span, the longer the delay learned, strictly: λ = 1, 2, 4, 8",
        "the median network of every span learns what is predicted, within a factor of 2",
        "rank correlation of predicted and learned, over all networks, is 0.9 or more",
    ]
    assert failing(usual()) == []


@pytest.mark.parametrize("options", [{"seeds": 2}, {"hidden": 32}, {"noise": 0.0}, {"spans": (1, 8)}])
def test_how_near_training_comes_is_claimed_of_the_usual_options_alone(options):
    assert len(claims(usual(**options))) == 2


def vanilla_learns_too(data):
    data["accuracy"].loc[{"span": 1}] = data.accuracy.sel(span=1).where(
        data.accuracy.sel(span=1).isnull(), 0.9
    )


def two_spans_alike(data):
    data["learned"].loc[{"span": 8}] = data.learned.sel(span=4).values


def one_span_far(data):
    data["learned"].loc[{"span": 8}] *= 2.5


def the_wrong_order(data):
    data["predicted"] = data.predicted.copy(data=data.predicted.values[::-1])


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (vanilla_learns_too, "vanilla fails"),
        (two_spans_alike, "the wider"),
        (one_span_far, "the median network"),
        (the_wrong_order, "rank correlation"),
    ],
)
def test_each_claim_fails_where_the_data_does_not_bear_it_out(spoil, text):
    spoilt = usual()
    spoil(spoilt)
    assert any(found.startswith(text) for found in failing(spoilt))


def test_a_failure_of_vanilla_that_was_not_tried_does_not_count():
    given = usual()
    given["accuracy"].loc[{"span": 1}] = given.accuracy.sel(span=1).where(given.accuracy.sel(span=1) > 0.9)
    assert any(found.startswith("vanilla fails") for found in failing(given))


# files


def test_the_table_has_a_row_for_every_training(made, data):
    rows = pd.read_csv(made.files[1])
    assert len(rows) == int(data.accuracy.notnull().sum())
    for _, row in rows.iterrows():
        here = data.sel(span=row.span, delay=row.delay, seed=row.seed)
        for name in ("accuracy", "learned", "predicted", "jacobian", "window"):
            assert_close(row[name], here[name], rtol=1e-8, why="nine digits are written")


def test_the_summary_has_a_row_for_every_span():
    rows = summary(usual()).set_index("span")
    assert list(rows.index) == [1, 2, 4, 8]
    assert list(rows.learned) == [16, 32, 64, 128]
    assert (rows.learned_low <= rows.learned).all()
    assert_close(rows.learned_per_span.to_numpy(), np.full(4, 16.0), rtol=1e-12, why=SAME)


def test_the_file_holds_all_conventions_and_every_option(data):
    assert {field.name for field in fields(gf.Conventions)} <= set(data.attrs)
    said = data.attrs
    assert said["loss_placement"] == "last"
    assert said["recurrence"] == "vanilla,skip:4"
    assert [list(taps) for taps in json.loads(said["p"])] == [["1"], ["4"]]
    assert said["command"] == COMMAND
    assert "one-cycle" in said["training"]
    assert MemoryHorizonConfig.model_validate_json(said["config"]) == SMALL
    assert find("memory-horizon") is FIGURE


def test_a_picture_drawn_again_from_the_file_alone_is_the_same_byte_for_byte(made, tmp_path, monkeypatch):
    monkeypatch.setattr("gradflow.figures.memory_horizon.RecurrentSNN", None)
    again = draw_from(FIGURE, made.files[0], tmp_path)
    for old, new in zip(made.files[1:], again.files[1:], strict=True):
        assert old.read_bytes() == new.read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spans": (0, 4)}, r"got 0,4, expected spans"),
        ({"spans": ()}, r"got none, expected spans"),
        ({"classes": 1}, "greater than or equal to 2"),
        ({"colour": "red"}, "not permitted"),
    ],
)
def test_options_that_make_no_figure_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MemoryHorizonConfig(**options)


# the picture


def test_the_panels_show_accuracies_horizons_and_equality():
    given = usual()
    left, right = FIGURE.draw(given).axes
    curves = {line.get_label(): line for line in left.get_lines()}
    for span, name in ((1, "vanilla"), (8, "λ = 8")):
        tried = given.accuracy.sel(span=span).dropna("delay")
        assert_close(curves[name].get_xdata(), tried.delay, rtol=1e-12, why=SAME)
        assert_close(curves[name].get_ydata(), tried.median("seed"), rtol=1e-12, why=SAME)
    diamonds = [container.lines[0] for container in left.containers]
    assert_close(
        [float(line.get_xdata()[0]) for line in diamonds],
        given.predicted.median("seed"),
        rtol=1e-12,
        why=SAME,
    )
    assert {float(line.get_ydata()[0]) for line in diamonds} == {given.attrs["threshold"]}
    for span, points in zip(given.span, right.containers, strict=True):
        here = given.sel(span=span)
        assert_close(points.lines[0].get_xdata(), here.predicted, rtol=1e-12, why=SAME)
        assert_close(points.lines[0].get_ydata(), here.learned, rtol=1e-12, why=SAME)
        top = np.array([segment[1][1] for segment in points.lines[2][0].get_segments()])
        assert_close(np.log2(top / here.learned), np.full(3, 0.5), atol=0.09, why="the next of the grid")
    (equal,) = (line for line in right.get_lines() if line.get_label() == "equality")
    assert list(equal.get_xdata()) == list(equal.get_ydata())
    for axis in (left.xaxis, right.xaxis, right.yaxis):
        assert "(steps)" in axis.get_label().get_text()
    assert f"{agreement(given).within} of 12 networks" in right.texts[-1].get_text()


def test_a_network_that_learned_nothing_has_no_point():
    given = usual()
    given["learned"].loc[{"span": 2}] = 0.0
    points = FIGURE.draw(given).axes[1].containers[1]
    assert points.get_label() == "λ = 2"
    assert not len(points.lines[0].get_xdata())


def test_no_label_covers_another_and_all_lie_within_the_picture():
    given = usual()
    given["learned"].loc[{"span": 4}] = given.learned.sel(span=2).values  # whose names would meet above
    picture = FIGURE.draw(given)
    picture.draw_without_rendering()
    frame = picture.bbox
    boxes = [
        text.get_window_extent() for ax in picture.axes for text in (*ax.texts, ax.title) if text.get_text()
    ]
    assert len(boxes) == 4 + 4 + 2 + 1  # names above, names of points, two lines, what is said
    for place, box in enumerate(boxes):
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1  # noqa: PT018
        assert not any(box.overlaps(other) for other in boxes[:place])


def test_the_table_of_the_book_is_the_committed_one():
    folder = Path(__file__).parent.parent / "figures"
    rows = pd.read_csv(folder / "memory-horizon.csv")
    row = r"^\| (\d+) \| ([\d, ]+) \| (\d+) \| (\d+) … (\d+) \| (\d+) \| ([\d.]+) \| (\d+) \|$"
    said = re.findall(row, (folder / "README.md").read_text(), re.MULTILINE)
    assert [int(cells[0]) for cells in said] == sorted(rows.span.unique()) == [1, 2, 4, 8, 16, 32]
    for span, learned, middle, low, high, jacobian, ratio, left_out in said:
        each = rows[rows.span == int(span)].drop_duplicates("seed").sort_values("seed")
        assert [int(delay) for delay in learned.split(",")] == each.learned.tolist()
        assert [int(middle), int(low), int(high)] == [
            round(value) for value in (each.predicted.median(), each.predicted.min(), each.predicted.max())
        ]
        assert int(jacobian) == round(each.jacobian.median())
        assert float(ratio) == round((each.learned / each.predicted).median(), 2)
        assert int(left_out) == round(each.predicted_left_out.median())
