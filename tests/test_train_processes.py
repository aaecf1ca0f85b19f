"""Several processes: they train as one does, one writes, all stop together, runs go on with any number."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import gradflow as gf
from gradflow.layer import MaskRows, sequence_mask
from gradflow.tasks import Split
from gradflow.train import CheckpointStore, Session, Summary, resolve, train
from gradflow.train.devices import Devices, OneDevice
from gradflow.train.processes import WholeBatchNorm, choose_devices

pytest.importorskip("accelerate", reason="needs accelerate: pip install 'gradflow-snn[train]'")

BASE = {
    "task": {"name": "delayed-recall", "options": {"delay": 8, "examples": 103, "noise": 0.6}},
    "network": {
        "hidden": [12, 10],
        "recurrence": "asrc:4",
        "neuron": {"kind": "plif", "decay": 0.9},
        "dropout": 0.2,
    },
    "optimiser": {"lr": 0.05, "span_lr": 0.5, "clip": 0.4},
    "schedule": {"name": "constant"},
    "training": {"epochs": 2, "batch": 30, "device": "cpu"},
    "watch": {"every": 0},
    "checkpoint": {"every": 2},
    "logging": {"tensorboard": False},
}
"""Annealed spans, learned decays, dropout, clipping; neurons that fire; 30 + 30 + 30 + 13 examples."""

EXACT = {"network": {"dtype": "float64"}, "watch": {"every": 1, "budget": 1e6, "samples": 1}}
# without biases: batch norm takes them off again, so that their gradient is rounding, which Adam enlarges
NORMED = {"network": {"dtype": "float64", "norm": "batch", "bias": False}}
SHORT = {"training": {"epochs": 1}, "task": {"options": {"examples": 61}}}
# a last batch of one example, for two processes
SINGLE = {"network": {"dtype": "float64"}, "task": {"options": {"examples": 31}}}
BASELINE = {"network": {"model": "gru", "recurrence": "vanilla", "neuron": "lif", "dtype": "float64"}}
CASES = {"float64": EXACT, "float32": SHORT, "normed": NORMED, "single": SINGLE, "baseline": BASELINE}

# float64: the same sums in another order, over 8 steps of Adam, which divides by small roots (seen: 7e-15,
# with batch norm 2e-14; with masks or statistics of a share alone: 3). float32: 5e8 times that (seen: 2e-6),
# unless a potential lies so near the threshold that it crosses it in one of the two alone: of 30,000
# potentials, with rounding of 1e-7, one in a thousand such runs; weights would then part by a step, 0.05
TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "normed": 1e-12, "single": 1e-12, "baseline": 1e-12}

WORKER = """
import json, os, sys
from pathlib import Path
import torch
from gradflow.train import DivergedError, resolve, train
from gradflow.train.processes import end_together
torch.set_num_threads(1)
out = Path(sys.argv[1])
for name, tables in json.loads((out / "cases.json").read_text()).items():
    train(resolve(tables), out / f"two-{name}")
half = resolve(json.loads((out / "resumed.json").read_text()))
train(half, out / "resumed", resume=True)
try:
    train(resolve(json.loads((out / "diverging.json").read_text())), out / "diverging")
except DivergedError as error:
    (out / f"diverged-{os.environ['RANK']}").write_text(str(error))
try:
    train(half, out / "resumed")
except ValueError as error:
    (out / f"refused-{os.environ['RANK']}").write_text(str(error))
end_together()
"""


def launched(*command, cwd):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def stopped_early(config, out):
    """Train until a checkpoint inside the second epoch is written, and a step further."""

    class StoppedError(Exception):
        pass

    def progress(done, total, what):
        if done == 7:
            raise StoppedError

    with pytest.raises(StoppedError):
        train(config, out, progress=progress)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Every case in one process (one-…) and in two (two-…), a run begun by one and finished by two."""
    out = tmp_path_factory.mktemp("processes")
    cases = {name: resolve(BASE, tables) for name, tables in CASES.items()}
    for name, config in cases.items():
        train(config, out / f"one-{name}")
    stopped_early(cases["float64"], out / "resumed")
    explosive = resolve(BASE, {"optimiser": {"lr": 50.0}, "training": {"explosion": 1.01}})
    written = {
        "cases": {name: config.as_tables() for name, config in cases.items()},
        "resumed": cases["float64"].as_tables(),
        "diverging": explosive.as_tables(),
    }
    for name, content in written.items():
        (out / f"{name}.json").write_text(json.dumps(content))
    (out / "worker.py").write_text(WORKER)
    launched("torch.distributed.run", "--standalone", "--nproc-per-node", 2, "worker.py", out, cwd=out)
    return out


def last(folder):
    return CheckpointStore(folder / "checkpoints").read_latest()


def require_alike(one, two, tolerance):
    """Compare weights, buffers, moments and the log; print what differs most."""
    for part in ("model", "best", "optimiser"):
        own, other = getattr(one, part), getattr(two, part)
        assert own.keys() == other.keys()
        for name, tensor in own.items():
            apart = float((tensor - other[name]).abs().max())
            assert apart <= tolerance * max(1.0, float(tensor.abs().max())), (part, name, apart)
    ours, theirs = one.state["position"], two.state["position"]
    assert [row["spans"] for row in ours["history"]] == [row["spans"] for row in theirs["history"]]
    for row, other in zip(ours["history"], theirs["history"], strict=True):
        for name in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "temperature"):
            # a baseline has no temperature
            wanted = row[name] if row[name] == "" else pytest.approx(row[name], rel=10 * tolerance)
            assert other[name] == wanted, name
        assert other["gradient_norm"] == pytest.approx(row["gradient_norm"], rel=1e3 * tolerance)


@pytest.mark.parametrize("name", CASES)
def test_two_processes_end_with_the_weights_of_one(runs, name):
    require_alike(last(runs / f"one-{name}"), last(runs / f"two-{name}"), TOLERANCE[name])
    one, two = (Summary.read(runs / f"{which}-{name}") for which in ("one", "two"))
    assert two.test_loss == pytest.approx(one.test_loss, rel=10 * TOLERANCE[name])
    assert (two.test_accuracy, two.test_examples) == (one.test_accuracy, one.test_examples)
    assert (one.processes, two.processes) == (1, 2)
    assert "on 2 processes" in two.lines()[0]


def test_one_process_alone_writes_what_one_writes(runs):
    def listed(folder):
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))

    assert listed(runs / "two-float64") == listed(runs / "one-float64")
    seen, expected = (gf.load(runs / f"{which}-float64" / "gradients.nc") for which in ("two", "one"))
    assert seen.epoch.values.tolist() == [0, 1, 2]
    # the same networks, to rounding
    np.testing.assert_allclose(seen.rate, expected.rate, rtol=1e-9)
    rows = list(csv.DictReader((runs / "two-float64" / "log.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == [1, 2]


def test_a_run_begun_by_one_process_is_finished_by_two(runs):
    require_alike(last(runs / "one-float64"), last(runs / "resumed"), TOLERANCE["float64"])
    assert last(runs / "resumed").state["processes"] == 2


def test_all_processes_stop_where_training_diverges_and_say_the_same(runs):
    said = [(runs / f"diverged-{rank}").read_text() for rank in (0, 1)]
    assert said[0] == said[1]
    assert "training diverged in epoch 1, step " in said[0]
    assert str(runs / "diverging" / "checkpoints") in said[0]
    assert not (runs / "diverging" / "summary.json").exists()


def test_what_one_process_refuses_all_refuse(runs):
    said = [(runs / f"refused-{rank}").read_text() for rank in (0, 1)]
    assert said[0] == said[1]
    assert "holds a run; go on with --resume" in said[0]


def test_accelerate_launch_trains_by_the_command_and_one_process_reports(runs, tmp_path):
    out = launched(
        "accelerate.commands.launch",
        *("--multi_gpu", "--num_processes", 2, "--num_machines", 1, "--mixed_precision", "no"),
        *("--dynamo_backend", "no", "--main_process_port", 0, "-m", "gradflow", "train"),
        *("--config", runs / "one-float64" / "config.toml", "--out", "run", "--json"),
        cwd=tmp_path,
    )
    # one summary and nothing else
    summary = json.loads(out)
    assert summary["processes"] == 2
    require_alike(last(runs / "one-float64"), last(tmp_path / "run"), TOLERANCE["float64"])


class Third(OneDevice):
    """The third of four processes, without the others."""

    processes, rank = 4, 2


def test_shares_of_a_batch_are_read_alone_and_cover_it_once():
    task = gf.tasks.smnist(pool=14)
    whole = list(task.batches(1500, seed=3, epoch=1, start=1))
    parts = []
    for rank in range(4):
        devices = Third()
        devices.rank = rank
        parts.append(list(devices.shares(task, 1500, seed=3, epoch=1, start=1)))
    for k, batch in enumerate(whole):
        rows = [row for shares in parts for row in shares[k].rows]
        assert sorted(rows) == list(range(batch.inputs.shape[1]))
        for shares in parts:
            assert torch.equal(shares[k].batch.inputs, batch.inputs[:, list(shares[k].rows)])
            assert torch.equal(shares[k].batch.targets, batch.targets[list(shares[k].rows)])
            own = Third.share(devices_of(shares[k].rows.start), batch)
            assert torch.equal(own.batch.inputs, shares[k].batch.inputs)
            assert (own.rows, own.whole, own.weight) == (shares[k].rows, batch.inputs.shape[1], 1.0)


def devices_of(rank) -> Devices:
    devices = Third()
    devices.rank = rank
    return devices


def test_of_a_batch_smaller_than_the_processes_each_computes_all_at_its_weight():
    batch = gf.tasks.smnist(pool=14).sample(3)
    share = Third().share(batch)
    assert (list(share.rows), share.whole, share.weight) == ([0, 1, 2], 3, 0.25)
    assert torch.equal(share.batch.inputs, batch.inputs)


def test_masks_of_rows_are_those_of_the_whole_batch():
    like = torch.zeros(1, dtype=torch.float64)

    def masks(source, batch):
        return [sequence_mask(like, batch, width, 0.4, source) for width in (5, 3)]

    whole = masks(torch.Generator().manual_seed(1), 10)
    own = masks(MaskRows(torch.Generator().manual_seed(1), range(1, 10, 3), 10), 3)
    for every, some in zip(whole, own, strict=True):
        assert torch.equal(some, every[[1, 4, 7]])
        assert 0 < float((every == 0).double().mean()) < 1


def test_a_precision_that_the_configuration_does_not_say_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(ValueError, match=r"--mixed_precision fp16, and training.precision is full; .*=bf16"):
        train(resolve(BASE), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert choose_devices("cpu", precision="bf16").processes == 1


def test_several_processes_without_accelerate_say_what_to_install(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("gradflow.train.processes.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"training in 2 processes needs accelerate.*gradflow-snn\[train\]"):
        choose_devices("cpu")


def test_batch_norm_needs_an_example_for_each_process():
    from gradflow.train.processes import Processes

    session = Session.start(resolve(BASE, {"network": {"norm": "batch"}}), OneDevice("cpu"))
    for layer in session.net.recurrent_layers():
        layer.norm = WholeBatchNorm(layer.norm)
    two = Processes.__new__(Processes)
    two.processes, two.rank = 2, 0
    two.require_divisible(session.net, 2)
    with pytest.raises(ValueError, match="a last batch of 1 examples for 2 processes, and batch norm needs"):
        two.require_divisible(session.net, 1)
    two.require_divisible(groups_without_norm(), 1)


def groups_without_norm():
    return gf.RecurrentSNN(gf.Sizes(1, 2), hidden=3)


def test_shared_validation_counts_every_example_once(runs):
    session = Session.start(resolve(BASE), OneDevice("cpu"))
    history = last(runs / "two-float64").state["position"]["history"]
    right = history[-1]["validation_accuracy"] * len(session.task.part(Split.VALIDATION))
    assert right == pytest.approx(round(right), abs=1e-9)
