"""Sweeps: grids and names, what is kept of each run, what goes on, what is refused, what fails alone."""

import fcntl
import json
import threading

import jaxtyping
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import gradflow as gf
from gradflow.sweep import (
    Grid,
    Outcome,
    read_grid,
    read_sweep,
    run_cell,
    run_sweep,
    runner,
    table_of,
    workers,
)
from gradflow.sweep import cell as cells
from gradflow.sweep.claims import claimed, forget_deaths
from gradflow.sweep.grid import LONGEST, cell_name
from gradflow.sweep.stacking import stack
from gradflow.train import Summary, resolve, train

TINY = {
    "task": {"name": "delayed-recall", "options": {"delay": 6, "examples": 60}},
    "network": {"hidden": [4, 3]},
    "training": {"epochs": 2, "batch": 60, "device": "cpu"},
    "watch": {"every": 0},
    "logging": {"tensorboard": False},
}
"""One optimiser step an epoch."""


def grid_of(axes, *tables):
    base = TINY
    for table in tables:
        base = gf.train.merge(base, table)
    return Grid(axes, base)


def test_a_grid_goes_through_every_combination_and_names_what_differs():
    grid = Grid({"recurrence": ("vanilla", "skip:4"), "neuron": ("plif",), "optimiser.lr": (0.1, 1e-5)}, TINY)
    assert [cell.name for cell in grid.cells()] == [
        "recurrence=vanilla,neuron=plif,optimiser.lr=0.1",
        "recurrence=vanilla,neuron=plif,optimiser.lr=1e-05",
        "recurrence=skip4,neuron=plif,optimiser.lr=0.1",
        "recurrence=skip4,neuron=plif,optimiser.lr=1e-05",
    ]
    assert [cell.place for cell in grid.cells()] == [(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1)]
    config = grid.config(grid.cells()[3].values)
    assert (config.network.recurrences().label, config.optimiser.lr) == ("skip:4", 1e-5)
    assert (config.network.neuron["kind"], config.task.options["delay"]) == ("plif", 6)


def test_one_seed_is_that_of_parameters_and_of_order():
    config = Grid({"seed": (3,)}, TINY).config({"seed": 3})
    assert (config.network.seed, config.training.seed) == (3, 3)


@pytest.mark.parametrize(
    ("axes", "label", "hidden"),
    [
        ({"recurrence": ("skip:16",)}, "skip:16", (64, 212, 212)),
        ({"span": (16,)}, "skip:16", (64, 212, 212)),
        ({"recurrence": ("asrc:51",)}, "asrc:51", (64, 128, 128)),
    ],
)
def test_a_preset_is_that_of_the_run_s_own_recurrence(axes, label, hidden):
    grid = Grid(axes, {"task": {"name": "psmnist"}}, "paper")
    config = grid.config(grid.cells()[0].values)
    assert (config.network.recurrences().label, config.network.hidden) == (label, hidden)
    quick = Grid({"recurrence": ("asrc:8",)}, {"task": {"name": "psmnist"}}, "quick").config(
        {"recurrence": "asrc:8"}
    )
    assert quick.network.recurrences().temperature_decay == pytest.approx(0.96**10)


def test_names_are_safe_for_file_systems_and_differ_where_values_do():
    assert cell_name({"seed": 1, "recurrence": "asrc:51"}) == "seed=1,recurrence=asrc51"
    lists = [cell_name({"network.hidden": value}) for value in ([8, 8], [88], [8, 8, 8])]
    assert len(set(lists)) == 3
    long = [cell_name({"task.folder": "x" * 300 + end}) for end in "ab"]
    assert long[0] != long[1]
    for name in (*lists, *long):
        assert len(name) <= LONGEST
        assert not set(name) & set('/\\:*?"<>| ')


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({}, "got nothing to vary"),
        ({"seed": ()}, "seed: got no values"),
        ({"seed": (1, 2, 1)}, "seed: got 1 more than once"),
        ({"span": (0, 2)}, "span: got 0, 2, expected whole numbers"),
        ({"optimiser.lrr": (1, 2)}, r"optimiser\.lrr: unknown key; the nearest is optimiser\.lr"),
        ({"span": (1,), "recurrence": ("vanilla",)}, r"span and recurrence both say network\.recurrence"),
        ({"seed": (1,), "training.seed": (2,)}, r"seed and training\.seed both say training\.seed"),
        ({"neuron": ("lif",), "network.neuron.decay": (0.5,)}, "neuron and network.neuron.decay both say"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(axes, message):
    with pytest.raises(ValueError, match=message):
        Grid(axes, TINY)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep over all that a dataset must hold: spans learned and fixed, rates, runs that fail."""
    out = tmp_path_factory.mktemp("sweep") / "out"
    axes = {"recurrence": ("skip:2", "asrc:3"), "optimiser.lr": (0.01, -1.0), "seed": (0, 1)}
    watched = {"watch": {"every": 2, "budget": 1e6, "samples": 1}}
    seen = []
    jaxtyping.config.update("jaxtyping_disable", True)  # they are checked in the other tests
    data = run_sweep(grid_of(axes, watched), out, jobs=1, progress=lambda *said: seen.append(said))
    jaxtyping.config.update("jaxtyping_disable", False)
    return out, data, seen


def test_everything_is_in_one_labelled_dataset(swept):
    _, data, _ = swept
    assert data.status.dims == ("recurrence", "optimiser.lr", "seed")
    assert data["optimiser.lr"].values.tolist() == [0.01, -1.0]
    assert data.recurrence.values.tolist() == ["skip:2", "asrc:3"]
    good = data.sel({"optimiser.lr": 0.01})
    assert (good.status == "done").all()
    assert data.epoch.values.tolist() == [0, 1, 2]
    assert data.spans.dims == (*data.status.dims, "epoch", "layer")
    assert good.spans.sel(recurrence="skip:2", epoch=2).values.tolist() == [[2, 2], [2, 2]]
    # the kernel before training: uniform over 1 … 3; a fixed span has no weight elsewhere
    assert good.p.sel(recurrence="asrc:3", epoch=0, seed=1, layer=1).values == pytest.approx([1 / 3] * 3)
    assert good.p.sel(recurrence="skip:2", epoch=0, seed=1, layer=1, tap=2) == 1
    assert np.isfinite(good.rate.values).any()
    assert np.isnan(good.train_loss.sel(epoch=0)).all()
    assert np.isfinite(good.train_loss.sel(epoch=[1, 2])).all()


def test_its_numbers_are_those_of_the_runs_alone(swept, tmp_path):
    out, data, _ = swept
    grid = read_grid(out)
    values = {"recurrence": "asrc:3", "optimiser.lr": 0.01, "seed": 1}
    alone = train(grid.config(values), tmp_path / "alone")
    one = data.sel(values)
    assert (one.test_accuracy, one.test_loss) == (alone.test_accuracy, alone.test_loss)
    assert (one.parameters, one.best_epoch) == (alone.parameters, alone.best_epoch)
    log = pd.read_csv(tmp_path / "alone" / "log.csv")
    for name in ("train_loss", "validation_accuracy", "gradient_norm", "temperature", "lr_spans"):
        assert one[name].sel(epoch=[1, 2]).values.tolist() == log[name].tolist()
    looks = gf.load(tmp_path / "alone" / "gradients.nc")
    assert looks.epoch.values.tolist() == [0, 2]
    np.testing.assert_array_equal(one.rate.sel(epoch=[0, 2]), looks.rate)
    np.testing.assert_array_equal(one.p.sel(epoch=[0, 2]), looks.p)


def test_a_run_that_fails_stops_no_other_and_says_why(swept):
    _, data, seen = swept
    bad = data.sel({"optimiser.lr": -1.0})
    assert (bad.status == "failed").all()
    assert "optimiser.lr: got -1.0" in str(bad.error.values.flat[0])
    assert np.isnan(bad.test_accuracy).all()
    assert [said[:2] for said in seen] == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    assert seen[1][2].startswith("recurrence=skip2,optimiser.lr=0.01,seed=0: test ")


def test_the_files_hold_all_of_it(swept):
    out, data, _ = swept
    xr.testing.assert_identical(gf.load(out / "sweep.nc"), data)
    xr.testing.assert_identical(read_sweep(out), data)
    rows = pd.read_csv(out / "sweep.csv")
    assert len(rows) == 8
    assert list(rows.columns[:5]) == ["recurrence", "optimiser.lr", "seed", "run", "status"]
    pd.testing.assert_series_equal(rows.test_accuracy, table_of(data).test_accuracy)
    named = {key: data.attrs[key] for key in ("task", "kind", "neuron")}
    assert named == {"task": "delayed-recall", "kind": "sweep", "neuron": "LIF"}
    assert "recurrence" not in data.attrs  # the runs differ in it


def test_a_finished_sweep_is_left_as_it_is_and_a_larger_one_extends_it(swept, monkeypatch):
    out, data, _ = swept
    ran = []

    def counted(name, *arguments):
        ran.append(name)
        return run_cell(name, *arguments)

    monkeypatch.setattr(workers, "run_cell", counted)
    stored = read_grid(out)
    again = run_sweep(stored, out, jobs=1)
    assert ran == []
    xr.testing.assert_identical(again, data)
    watched = {"watch": {"every": 2, "budget": 1e6, "samples": 1}}
    more = grid_of({"recurrence": ("skip:2",), "optimiser.lr": (0.01,), "seed": (1, 7)}, watched)
    larger = run_sweep(more, out, jobs=1)
    assert ran == ["recurrence=skip2,optimiser.lr=0.01,seed=7"]
    assert larger.seed.values.tolist() == [0, 1, 7]
    xr.testing.assert_identical(
        larger.test_accuracy.sel(seed=[0, 1]).drop_attrs(), data.test_accuracy.drop_attrs()
    )
    missing = larger.status.sel({"recurrence": "asrc:3", "optimiser.lr": 0.01, "seed": 7})
    assert missing == "missing"
    assert dict(read_grid(out).axes)["seed"] == (0, 1, 7)


@pytest.mark.parametrize(
    ("axes", "tables", "message"),
    [
        ({"recurrence": ("skip:2",), "seed": (0,)}, {}, "varies recurrence, optimiser.lr, seed, this one"),
        (
            {"recurrence": ("skip:2",), "optimiser.lr": (0.01,), "seed": (0,)},
            {"training": {"epochs": 3}},
            r"seed=0 is another run: training\.epochs = 2 there, 3 here",
        ),
    ],
)
def test_another_sweep_in_the_folder_is_refused(swept, axes, tables, message):
    out = swept[0]
    watched = {"watch": {"every": 2, "budget": 1e6, "samples": 1}}
    before = (out / "grid.json").read_bytes()
    with pytest.raises(ValueError, match=f"out: holds another sweep: .*{message}"):
        run_sweep(grid_of(axes, watched, tables), out, jobs=1)
    assert (out / "grid.json").read_bytes() == before


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "precious.txt").write_text("text")
    with pytest.raises(ValueError, match="is not empty and holds no sweep"):
        run_sweep(grid_of({"seed": (0,)}), tmp_path, jobs=1)
    with pytest.raises(FileNotFoundError, match=r"grid\.json: no such file"):
        read_sweep(tmp_path)
    (tmp_path / "grid.json").write_text("{}")
    with pytest.raises(ValueError, match=r"grid\.json: not a sweep's grid"):
        read_sweep(tmp_path)


def test_a_grid_of_which_no_run_can_be_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"optimiser\.lr: got -1"):
        run_sweep(grid_of({"optimiser.lr": (-1, -2)}), tmp_path / "out", jobs=1)
    assert not (tmp_path / "out").exists()


def test_a_run_that_was_stopped_goes_on_and_its_curve_so_far_is_there(tmp_path):
    grid, out = grid_of({"seed": (5,)}, {"training": {"epochs": 3}}), tmp_path / "out"
    (name, values, _) = grid.cells()[0]

    def stop(done, total, what):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cell(name, grid.config(values), out / "runs" / name, progress=stop)
    (out / "grid.json").write_text(json.dumps(grid.as_json()))
    partial = read_sweep(out).isel(seed=0)
    assert partial.status == "unfinished"
    assert partial.epoch.values.tolist() == [1]
    whole = run_sweep(grid, out, jobs=1).isel(seed=0)
    assert whole.status == "done"
    assert whole.train_loss[0] == partial.train_loss[0]
    assert "start" in (out / "runs" / name / "claim").read_text()


def test_what_failed_is_tried_again(tmp_path, monkeypatch):
    grid, out = grid_of({"seed": (0,)}), tmp_path / "out"

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(cells, "train", full)
        data = run_sweep(grid, out, jobs=1)
    assert data.status.values.tolist() == ["failed"]
    assert "No space left on device" in str(data.error[0].item())
    assert run_sweep(grid, out, jobs=1).status.values.tolist() == ["done"]
    assert not (out / "runs" / "seed=0" / "error.json").exists()


def test_a_run_that_diverges_is_recorded(tmp_path):
    exploding = {"optimiser": {"lr": 100.0}, "training": {"explosion": 1.0001, "epochs": 6}}
    data = run_sweep(grid_of({"seed": (0,)}, exploding), tmp_path / "out", jobs=1)
    assert data.status.item() == "failed"
    assert "training diverged in epoch" in data.error.item()
    assert np.isfinite(data.train_loss.values).any()  # the epochs before are there


def test_a_claim_is_held_by_one_at_a_time(tmp_path):
    order = []

    def second():
        with claimed(tmp_path / "run"):
            order.append("second")

    with claimed(tmp_path / "run") as deaths:
        assert deaths == 0
        other = threading.Thread(target=second)
        other.start()
        other.join(0.2)
        assert other.is_alive()
        order.append("first")
    other.join(10)
    assert order == ["first", "second"]


def test_deaths_are_counted_until_one_comes_to_an_end_or_the_sweep_is_begun_anew(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "claim").write_text("start 1 here\nend 1\nstart 2 here\nstart 3 here\n")
    with claimed(folder) as deaths:
        assert deaths == 2
    with claimed(folder) as deaths:
        assert deaths == 0
    (folder / "claim").write_text("start 2 here\n")
    with (folder / "claim").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        forget_deaths(folder)  # at work: left alone, and nobody waits
    assert (folder / "claim").read_text() == "start 2 here\n"
    forget_deaths(folder)
    with claimed(folder) as deaths:
        assert deaths == 0
    forget_deaths(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_run_at_which_processes_die_is_given_up(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "claim").write_text("start 1 here\nstart 2 here\nstart 3 here\n")
    outcome = run_cell("run", resolve(TINY), tmp_path / "run")
    assert outcome.accuracy is None
    assert "3 processes died at it" in outcome.error
    assert not (tmp_path / "run" / "config.toml").exists()


def test_where_workers_die_the_runs_left_are_started_again(tmp_path, monkeypatch, caplog):
    rounds = []

    def dying(left, *arguments):
        rounds.append(sorted(left))
        yield Outcome(rounds[-1][0], 0.5)
        if len(rounds) == 1:
            raise RuntimeError("a worker process was terminated")
        for name in rounds[-1][1:]:
            yield Outcome(name, 0.5)

    monkeypatch.setattr(workers, "_outcomes", dying)
    pending = dict.fromkeys(("a", "b", "c"), resolve(TINY))
    options = {"jobs": 2, "threads": 1, "scheduler": None, "progress": lambda *said: None}
    found = workers.compute(pending, tmp_path, **options)
    assert [outcome.name for outcome in found] == ["a", "b", "c"]
    assert rounds == [["a", "b", "c"], ["b", "c"]]
    assert "a worker died (a worker process was terminated); going on with the 2 runs left" in caplog.text

    def dead(*arguments):
        raise RuntimeError("killed")
        yield

    monkeypatch.setattr(workers, "_outcomes", dead)
    with pytest.raises(RuntimeError, match=r"the workers die whatever they do \(killed\)"):
        workers.compute(pending, tmp_path, **options)


def test_runs_that_workers_left_elsewhere_are_missed(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "compute", lambda pending, *a, **o: [Outcome(n, 0.5) for n in pending])
    with pytest.raises(OSError, match=r"finished 1 runs that are not there .*that all of them share"):
        run_sweep(grid_of({"seed": (0,)}), tmp_path / "out")


def test_the_machine_is_shared_out(monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 8)
    runs = {str(k): resolve(TINY) for k in range(6)}
    assert workers.share_of_machine(runs, None, None) == (6, 1)
    assert workers.share_of_machine(runs, 2, None) == (2, 4)
    assert workers.share_of_machine(runs, 3, 5) == (3, 5)
    on_gpu = {"one": resolve(TINY, {"training": {"device": "cuda"}}), "two": resolve(TINY)}
    assert workers.share_of_machine(on_gpu, None, None) == (1, 8)


def test_threads_are_given_back(tmp_path):
    before = torch.get_num_threads()
    seen = []
    run_cell("run", resolve(TINY), tmp_path, 2, lambda *said: seen.append(torch.get_num_threads()))
    assert set(seen) == {2}
    assert torch.get_num_threads() == before
    assert Summary.read(tmp_path).epochs == 2


def test_runs_of_different_shapes_are_stacked_without_mixing(tmp_path):
    one = xr.Dataset(
        {"p": (("epoch", "layer"), [[1.0, 2.0]]), "word": "a"}, {"epoch": [0.5], "layer": [0, 1]}
    )
    two = xr.Dataset(
        {"p": (("layer", "epoch"), [[3.0, 4.0]]), "word": "bb"}, {"epoch": [0.5, 1], "layer": [0]}
    )
    data = stack({(0, 1): one, (1, 0): two}, {"x": np.array([1, 2]), "y": np.array(["u", "v"])})
    nan = np.nan
    np.testing.assert_array_equal(data.p.sel(x=1, y="v"), [[1, 2], [nan, nan]])
    np.testing.assert_array_equal(data.p.sel(x=2, y="u"), [[3, nan], [4, nan]])
    assert np.isnan(data.p.sel(x=1, y="u")).all()
    assert data.word.values.tolist() == [["", "a"], ["bb", ""]]


def test_it_is_started_once_not_by_torchrun(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="got 2 processes that were started together"):
        run_sweep(grid_of({"seed": (0,)}), tmp_path / "out")


def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"needs joblib and dask and distributed.*gradflow-snn\[cluster\]"):
        run_sweep(grid_of({"seed": (0,)}), tmp_path / "out", scheduler="tcp://127.0.0.1:1")
