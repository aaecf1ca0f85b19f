"""Training runs side by side: labels, groups, what is common and what is not, folders that will not do."""

import json
import shutil

import numpy as np
import pytest
import torch
from compare import assert_close, assert_equal
from scipy import stats

import gradflow as gf
from gradflow.evaluation import (
    EnergyModel,
    SpanShift,
    SpikeDeletion,
    TimeJitter,
    accuracies,
    accuracy_band,
    disturbed_words,
    evaluate,
    evaluate_runs,
    robustness,
)
from gradflow.evaluation.tables import by_group, by_strength, confusion_rows, overview, plain, tidy
from gradflow.train import load_run, resolve, train

SMALL = {
    "task": {"name": "smnist", "options": {"pool": 7}},
    "network": {"hidden": [6]},
    "optimiser": {"lr": 0.02},
    "schedule": {"name": "constant"},
    "training": {"epochs": 1, "batch": 250},
    "watch": {"every": 0},
}
RUNS = {
    "one": {"network": {"seed": 0}},
    "two": {"network": {"seed": 1}},
    "skip": {"network": {"recurrence": "skip:2", "hidden": [6, 5]}},
}
DISTURBANCES = [SpikeDeletion(0), SpikeDeletion(0.5), SpanShift(-1), SpanShift(1)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Train three tiny runs, once."""
    place = tmp_path_factory.mktemp("runs")
    for name, tables in RUNS.items():
        train(resolve(SMALL, tables), place / name)
    return place


@pytest.fixture(scope="module")
def found(folder):
    return evaluate_runs([folder / name for name in RUNS], DISTURBANCES, repetitions=2, batch=250)


def test_runs_are_labelled_by_what_differs_and_grouped_by_all_but_seeds(found):
    assert found.run.values.tolist() == [
        "vanilla, hidden 6, seed 0", "vanilla, hidden 6, seed 1", "λ = 2, hidden 6,5, seed 0"
    ]  # fmt: skip
    assert found.group.values.tolist() == ["vanilla, hidden 6"] * 2 + ["λ = 2, hidden 6,5"]
    assert found.attrs["kind"] == "evaluation of runs"
    shared = {"split": "validation", "task": "smnist", "mode": "evaluation"}
    assert shared.items() <= found.attrs.items()
    assert "recurrence" not in found.attrs, "they differ"
    assert json.loads(found.conventions[2].item())["recurrence"] == "skip:2"
    assert disturbed_words(found) == ["delete", "span-shift"]


def test_each_run_has_its_own_best_weights_and_numbers(found, folder):
    session = load_run(folder / "skip")
    alone = evaluate(session.net, session.task)
    disturbed = robustness(session.net, session.task, DISTURBANCES, repetitions=2, batch=250)
    run = found.isel(run=2)
    for data in (alone, disturbed):
        for name, values in data.data_vars.items():
            # beside runs of fewer layers whole numbers are floating point ones
            assert_equal(run[name].values.astype(float), values.values.astype(float))
    history = session.position.best
    assert run.accuracy.item() == pytest.approx(history.accuracy)
    assert run.loss.item() == pytest.approx(history.loss, rel=1e-6)


def test_what_a_shallower_network_lacks_is_missing(found):
    assert np.isnan(found.firing_rate.sel(layer=1).values).tolist() == [True, True, False]
    assert found.stage.values.tolist() == ["layer 0", "layer 1", "readout"]
    assert np.isnan(found.synops_forward.sel(stage="layer 1").values).tolist() == [True, True, False]
    assert found.confusion.dtype.kind == "i"
    assert (found.confusion.sum(["actual", "predicted"]) == 500).all()


def test_a_group_has_the_interval_over_its_runs(found):
    values = found.accuracy.values[:2]
    band = accuracies(found).isel(group=0)
    assert values[0] != values[1]
    half = stats.t.ppf(0.975, 1) * stats.sem(values)
    expected = np.clip(values.mean() + half * np.array([0.0, -1.0, 1.0]), 0.0, 1.0)
    assert_close([band.centre, band.low, band.high], expected, rtol=1e-9, why="other order of sums")
    assert band.interval.item().endswith("over 2 runs with other seeds")
    undisturbed = accuracy_band(found, "delete").sel(strength=0.0)
    assert_equal(undisturbed.centre.values, accuracies(found).centre.values)


def test_everything_is_saved_and_read_back(found, tmp_path):
    again = gf.load(gf.save(found, tmp_path / "all.nc"))
    for name in found.data_vars:
        assert_equal(again[name].values, found[name].values)
    assert again.delete.attrs["long_name"] == "probability that a spike is lost"
    assert accuracy_band(again, "delete").identical(accuracy_band(found, "delete"))


def test_tables_say_the_numbers(found):
    heads, rows = overview(found)
    assert heads[:4] == ["run", "accuracy", "95 % interval", "loss"]
    for run, row in zip(found.run.values, rows, strict=True):
        one = found.sel(run=run)
        assert row[:2] == [run, f"{one.accuracy.item():.2%}"]
        synops = np.nansum(one.synops_forward) + np.nansum(one.synops_recurrent)
        assert float(row[heads.index("synops")]) == pytest.approx(synops, rel=1e-3)
        assert float(row[heads.index("energy (nJ)")]) == pytest.approx(one.energy.item() * 1e9, rel=1e-3)
    assert len(rows[0][heads.index("firing rate")].split()) == 1
    assert len(rows[2][heads.index("firing rate")].split()) == 2
    assert by_group(found)[1][0][0] == "vanilla, hidden 6"
    title, (heads, rows) = by_strength(found, "span-shift")
    assert heads == ["group", "-1", "1"]
    assert "over 2 runs with other seeds | Wilson score, 95 %, over 500 examples, one run" in title
    assert rows[1][1].startswith(f"{100 * found.accuracy_span_shift[2, 0].item():.1f} [")
    heads, rows = confusion_rows(found, str(found.run[0].item()))
    assert [[int(cell) for cell in row[1:]] for row in rows] == found.confusion[0].values.tolist()


def test_objects_and_rows_hold_every_number(found):
    said = json.loads(json.dumps(plain(found)))
    skip = said["runs"]["λ = 2, hidden 6,5, seed 0"]
    assert skip["accuracy_delete"] == found.accuracy_delete[2].values.tolist()
    assert said["axes"]["delete"] == [0.0, 0.5]
    assert said["runs"]["vanilla, hidden 6, seed 0"]["firing_rate"][1] is None
    assert said["groups"]["vanilla, hidden 6"]["accuracy"] == accuracies(found).centre[0].item()
    table = tidy(found)
    assert len(table) == sum(found[name].size for name in found.data_vars)
    here = (table.quantity == "confusion") & (table.run == found.run[1].item())
    assert table[here].value.sum() == 500


class Mean(torch.nn.Module):
    """No spikes inside."""

    def forward(self, x):
        return gf.Run(x.mean(dim=0).expand(-1, 10), x.expand(-1, -1, 10), (), gf.SpanMode.HARD, "")


def test_a_network_of_another_kind_stands_beside(folder, monkeypatch):
    """As a baseline's run: no spikes, no operations, and no disturbance of its inside."""
    places = [folder / "one", folder / "skip"]
    whole = load_run(places[0])

    def loaded(place):
        session = load_run(place)
        if place == places[0]:
            session.net = Mean()
        return session

    monkeypatch.setattr("gradflow.evaluation.runs.load_run", loaded)
    mixed = evaluate_runs(places, [TimeJitter(1)], repetitions=1, batch=500)
    assert mixed.accuracy.notnull().all()
    assert np.isnan(mixed.energy.values).tolist() == [True, False]
    heads, rows = overview(mixed)
    assert rows[0][heads.index("synops")] == "-"
    assert json.loads(mixed.conventions[0].item())["task"] == whole.task.name
    with pytest.raises(ValueError, match="one: delete: reaches inside a RecurrentSNN, and this is a Mean"):
        evaluate_runs(places, [SpikeDeletion(0.1)])


def test_energies_and_the_split_are_passed_on(folder):
    one = evaluate_runs([folder / "one"], split=gf.Split.TEST, energy=EnergyModel(1.0, 1.0), batch=500)
    assert (one.attrs["split"], one.attrs["joules_per_ac"]) == ("test", 1.0)
    assert one.run.values.tolist() == ["one"]
    assert one.attrs["recurrence"] == "vanilla", "one run shares all with itself"


def test_folders_that_will_not_do(folder, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "file").write_text("text")
    names = ("going", "damaged", "foreign")
    going, damaged, foreign = (shutil.copytree(folder / "one", tmp_path / name) for name in names)
    (going / "summary.json").unlink()
    for weights in damaged.glob("checkpoints/*/best.safetensors"):
        weights.write_bytes(b"nothing")
    (foreign / "config.toml").write_text("[other]\nthing = 1\n")
    for place, kind, message in (
        (tmp_path / "none", FileNotFoundError, "none: no such folder; expected the folder of a run"),
        (tmp_path / "file", FileNotFoundError, "file: is a file; expected the folder of a run"),
        (empty, FileNotFoundError, "empty: holds no config.toml, so no run"),
        (going, ValueError, "going: the run is not finished; go on with `gradflow train --resume --out"),
        (damaged, ValueError, "no checkpoint is whole.*best.safetensors"),
        (foreign, ValueError, "other: unknown"),
    ):
        with pytest.raises(kind, match=message):
            evaluate_runs([folder / "one", place])


def test_a_run_twice_none_and_two_tasks_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="runs: got none, expected folders"):
        evaluate_runs([])
    with pytest.raises(ValueError, match="expected folders, each once"):
        evaluate_runs([folder / "one", folder / "skip" / ".." / "one"])
    other = {"task": {"name": "delayed-xor", "options": {}}, "network": {"hidden": [4]}}
    train(resolve({**SMALL, **other}, {"training": {"batch": 100000}}), tmp_path / "other")
    with pytest.raises(ValueError, match=r"other learned delayed-xor with 2 classes, .*one learned smnist"):
        evaluate_runs([folder / "one", tmp_path / "other"])
