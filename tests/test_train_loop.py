"""The training loop: rates, steps, epochs, what is learned, what is read, and how it ends."""

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import gradflow as gf
from gradflow import engine
from gradflow.tasks import Examples, Split
from gradflow.train import DivergedError, Session, Summary, evaluate, load_run, resolve, train, train_step
from gradflow.train import session as sessions
from gradflow.train.build import build_optimiser, set_rate
from gradflow.train.config import OptimiserPart, SchedulePart
from gradflow.train.devices import OneDevice
from gradflow.train.position import Best
from gradflow.train.schedule import one_cycle, rate_of

SMALL = {
    "task": {"name": "smnist", "options": {"pool": 4}},
    "network": {"hidden": [16], "recurrence": "skip:4"},
    "optimiser": {"lr": 0.01},
    "training": {"epochs": 2, "batch": 500},
    "watch": {"every": 0},
}
"""49 steps, 8 optimiser steps an epoch: a fifth of a second."""


def small(*tables):
    return resolve(SMALL, *tables)


def log_of(folder):
    return list(csv.DictReader((folder / "log.csv").read_text().splitlines()))


@pytest.mark.parametrize("epochs", [3, 10, 20, 200])
@pytest.mark.parametrize("rise", [0.3, 0.45])
def test_one_cycle_is_that_of_torch(epochs, rise):
    """torch's OneCycleLR with total_steps = epochs, stepped after each epoch, is what was published."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.AdamW([{"params": [parameter]}], lr=0.1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.1, total_steps=epochs, pct_start=rise)
    for epoch in range(epochs):
        own = rate_of(SchedulePart(rise=rise), epoch, epochs)
        group = optimiser.param_groups[0]
        # the same cosines in another order: rounding alone
        assert 0.1 * own.factor == pytest.approx(group["lr"], rel=1e-9, abs=1e-15)
        assert own.momentum == pytest.approx(group["betas"][0], rel=1e-12)
        optimiser.step()
        theirs.step() if epoch < epochs - 1 else None


def test_one_cycle_has_the_published_ends_and_peak():
    rates = [rate_of(SchedulePart(), epoch, 10) for epoch in range(10)]
    assert rates[0].factor == pytest.approx(1 / 25)
    assert rates[2].factor == 1.0  # 0.3 · 10 − 1
    assert rates[9].factor == pytest.approx(1 / 25 / 1e4)
    assert (rates[0].momentum, rates[2].momentum) == (pytest.approx(0.95), pytest.approx(0.85))
    middle = 1 / 25 / 1e4 + (1 - 1 / 25 / 1e4) * 0.5 * (1 + math.cos(math.pi * 3 / 7))
    assert rates[5].factor == pytest.approx(middle)
    assert rate_of(SchedulePart(cycle_momentum=False), 0, 10).momentum is None
    assert one_cycle(0, 1, 0.3, 0.0, 1.0, 0.0) == 1.0
    assert one_cycle(0, 2, 0.5, 0.0, 1.0, 0.0) == 1.0  # rises in no time


def test_cosine_is_that_of_torch_and_constant_is_constant():
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=7)
    for epoch in range(7):
        # torch's is recursive: rounding adds up over the epochs
        assert rate_of(SchedulePart(name="cosine"), epoch, 7).factor == pytest.approx(
            optimiser.param_groups[0]["lr"], rel=1e-9
        )
        optimiser.step()
        theirs.step()
    assert {rate_of(SchedulePart(name="constant"), epoch, 3).factor for epoch in range(3)} == {1.0}
    with pytest.raises(ValueError, match="epoch: got 3, expected 0 to 2"):
        rate_of(SchedulePart(), 3, 3)


def groups_net():
    return gf.RecurrentSNN(
        gf.Sizes(1, 10, 49),
        hidden=6,
        recurrence=gf.AdaptiveSkip(3),
        neuron=gf.PLIF(),
        norm=gf.LayerNorm(),
        dtype=torch.float64,
    )


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_one_step_of_the_optimiser_is_the_one_on_paper(name):
    """First steps: AdamW p − lr wd p − lr g/(|g| + ε); Adam the same of g + wd p; SGD p − lr (g + wd p)."""
    part = OptimiserPart(name=name, lr=0.1, weight_decay=0.3, neuron_lr=0.02, span_lr=0.5, epsilon=1e-3)
    net = groups_net()
    optimiser = build_optimiser(part, net)
    set_rate(optimiser, rate_of(SchedulePart(), 3, 10))
    factor = rate_of(SchedulePart(), 3, 10).factor
    before = {key: value.clone() for key, value in net.named_parameters()}
    for key, parameter in net.named_parameters():
        noise = gf.seeds.normal(0, "gradient", key, shape=tuple(parameter.shape))
        parameter.grad = torch.from_numpy(np.asarray(noise))
    optimiser.step()
    for key, parameter in net.named_parameters():
        group = (
            "span" if "span" in key else "neuron" if "raw" in key else "norm" if "norm" in key else "weight"
        )
        lr = factor * {"span": 0.5, "neuron": 0.02, "norm": 0.1, "weight": 0.1}[group]
        decay = 0.3 if group == "weight" else 0.0
        p, g = before[key], parameter.grad
        if name == "adamw":
            expected = p - lr * decay * p - lr * g / (g.abs() + 1e-3)
        else:
            g = g + decay * p
            expected = p - lr * (g / (g.abs() + 1e-3) if name == "adam" else g)
        # torch's bias corrections divide what they multiplied: rounding alone
        assert torch.allclose(parameter, expected, rtol=1e-12, atol=1e-14), key


def test_momentum_follows_the_schedule_in_adam_and_sgd():
    for name in ("adamw", "sgd"):
        optimiser = build_optimiser(OptimiserPart(name=name, momentum=0.5), groups_net())
        group = optimiser.param_groups[0]
        set_rate(optimiser, rate_of(SchedulePart(name="constant"), 0, 10))
        assert (group["betas"][0] if name == "adamw" else group["momentum"]) == 0.5
        set_rate(optimiser, rate_of(SchedulePart(), 2, 10))
        assert (group["betas"][0] if name == "adamw" else group["momentum"]) == pytest.approx(0.85)


@pytest.mark.parametrize("clip", [None, 1e-3])
def test_a_training_step_moves_parameters_by_the_mean_gradient(clip):
    """SGD without momentum, against autograd through the reference engine in float64."""
    tables = {
        "network": {"dtype": "float64", "recurrence": "asrc:3", "neuron": "plif", "dropout": 0.2},
        "optimiser": {"name": "sgd", "momentum": 0.0, "weight_decay": 0.0, "clip": clip},
        "schedule": {"name": "constant"},
    }
    session = Session.start(small(tables))
    batch = session.task.sample(20)
    twin = Session.start(small(tables)).net
    generator = torch.Generator().manual_seed(gf.seeds.derive(0, "dropout", 0, 0))
    run = twin(batch.inputs.double(), engine=engine.reference, generator=generator)
    mean = torch.nn.functional.cross_entropy(run.logits, batch.targets)
    mean.backward()
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in twin.parameters()))
    scale = 1.0 if clip is None else clip / (norm + 1e-6)
    rates = {"raw_decay": 1e-4, "span_logits": 0.1}
    expected = {
        name: p - rates.get(name.rpartition(".")[2], 0.01) * scale * p.grad
        for name, p in twin.named_parameters()
    }
    loss, correct, seen = train_step(session, batch)
    assert loss / 20 == pytest.approx(mean.item())
    assert correct == (run.logits.argmax(1) == batch.targets).sum()
    assert seen == pytest.approx(norm, rel=1e-9)  # two engines, float64
    for name, parameter in session.net.named_parameters():
        assert torch.allclose(parameter, expected[name], rtol=1e-9, atol=1e-12), name


def test_dropout_is_drawn_from_epoch_and_batch_alone():
    session = Session.start(small({"network": {"dropout": 0.5}}))
    batch = session.task.sample(4)
    first = train_step(session, batch)
    again = Session.start(small({"network": {"dropout": 0.5}}))
    torch.rand(7)  # wherever the global stream happens to be
    assert train_step(again, batch) == first
    later = Session.start(small({"network": {"dropout": 0.5}}))
    later.position = later.position._replace(batch=1)
    assert train_step(later, batch) != first


def test_evaluation_is_in_evaluation_mode_and_counts_every_example():
    session = Session.start(small({"network": {"recurrence": "asrc:5", "dropout": 0.5}}))
    with torch.no_grad():
        for layer in session.net.recurrent_layers():
            layer.spans.span_logits.copy_(torch.tensor([0.0, 0.3, 0.1, 0.0, 0.2]))
    tally = evaluate(session, Split.VALIDATION)
    whole = session.task.validation.batch(range(len(session.task.validation)))
    run = session.net.eval()(whole.inputs, span_mode=gf.SpanMode.HARD, engine=engine.reference)
    assert tally.examples == len(session.task.validation)
    assert tally.accuracy == float((run.logits.argmax(1) == whole.targets).double().mean())
    # float32 logits, summed in another order
    expected = torch.nn.functional.cross_entropy(run.logits.double(), whole.targets).item()
    assert tally.mean_loss == pytest.approx(expected, rel=1e-5)


def test_it_learns_real_digits(tmp_path, no_shape_checks):
    """Chance is 10 % ± 1.3 %; 160 steps of a small network must clearly do better."""
    tables = {
        "task": {"options": {"pool": 7}},
        "network": {"hidden": [48]},
        "optimiser": {"lr": 0.05},
        "training": {"epochs": 4, "batch": 100},
    }
    summary = train(small(tables), tmp_path / "run")
    rows = log_of(tmp_path / "run")
    losses = [float(row["train_loss"]) for row in rows]
    assert losses[-1] < 0.8 * losses[0]
    assert summary.test_accuracy > 0.3
    assert summary.validation_accuracy == max(float(row["validation_accuracy"]) for row in rows)
    # 500 examples each: standard errors of 2.2 %
    assert abs(summary.test_accuracy - summary.validation_accuracy) < 0.1


class Counted(Examples):
    """Examples that remember what was read of them."""

    def __init__(self, examples):
        self.examples, self.read = examples, []

    def __len__(self):
        return len(self.examples)

    def batch(self, indices):
        self.read.append(np.asarray(indices))
        return self.examples.batch(indices)


def test_the_test_split_is_read_once_and_at_the_end(tmp_path, monkeypatch):
    counted, build, seen = [], sessions.build_task, []

    def building(part):
        task = build(part)
        counted.append(Counted(task.test))
        return replace(task, test=counted[-1])

    monkeypatch.setattr(sessions, "build_task", building)

    def progress(done, total, what):
        seen.append((done, total, len(counted[0].read)))

    config = small()
    train(config, tmp_path / "run", progress=progress)
    assert seen == [(step, 16, 0) for step in range(1, 17)]  # not a single read while training
    assert np.sort(np.concatenate(counted[0].read)).tolist() == list(range(500))
    train(config, tmp_path / "run", resume=True)  # a finished run is not tested again
    assert len(counted) == 1


def test_each_epoch_goes_through_the_training_split_in_its_own_order(tmp_path, monkeypatch):
    read, build = [], sessions.build_task

    def building(part):
        task = build(part)
        read.append(Counted(task.train))
        return replace(task, train=read[-1])

    monkeypatch.setattr(sessions, "build_task", building)
    train(small({"training": {"seed": 5}}), tmp_path / "run")
    task = build(small().task)
    epochs = [task.order(seed=5, epoch=epoch) for epoch in (0, 1)]
    batches = [rows for rows in read[0].read if len(rows) == 500]
    assert np.array_equal(np.concatenate(batches), np.concatenate(epochs))


def test_the_log_has_a_row_for_each_epoch_and_the_temperature_falls_by_its_factor(tmp_path):
    config = small(
        {"network": {"recurrence": "asrc:4", "hidden": [8, 8]}, "training": {"epochs": 3, "batch": 1000}}
    )
    train(config, tmp_path / "run")
    rows = log_of(tmp_path / "run")
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    assert [int(row["step"]) for row in rows] == [4, 8, 12]
    # the temperature of the epoch itself; kept in float32
    assert [float(row["temperature"]) for row in rows] == pytest.approx([1, 0.96, 0.96**2], rel=1e-6)
    assert [float(row["lr_spans"]) for row in rows] == pytest.approx(
        [0.1 * rate_of(SchedulePart(), epoch, 3).factor for epoch in range(3)]
    )
    assert all(len(row["spans"].split()) == 2 for row in rows)
    session = load_run(tmp_path / "run", step=12)
    assert float(session.net.layers[0].spans.temperature) == pytest.approx(0.96**3, rel=1e-6)


def test_the_summary_is_of_the_best_epoch_and_comes_back_from_its_file(tmp_path):
    summary = train(small({"training": {"epochs": 3}}), tmp_path / "run")
    assert Summary.read(tmp_path / "run") == summary
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["test_examples"] == 500
    session = load_run(tmp_path / "run")
    tally = evaluate(session, Split.VALIDATION)
    assert (tally.accuracy, tally.mean_loss) == (summary.validation_accuracy, summary.validation_loss)
    assert summary.parameters == 16 + 16 + 256 + 160 + 10
    assert (summary.task, summary.recurrence, summary.epochs, summary.steps) == ("smnist", "skip:4", 3, 24)
    assert summary.lines()[0].startswith("smnist, skip:4: 458 parameters, 3 epochs, 24 steps in ")
    (tmp_path / "run" / "summary.json").write_text("{}")
    with pytest.raises(ValueError, match="not a summary"):
        Summary.read(tmp_path / "run")


def test_the_better_epoch_has_more_right_answers_or_the_smaller_loss():
    first = Best(1, 8, accuracy=0.5, loss=1.0)
    assert first.beats(None)
    assert Best(2, 16, accuracy=0.6, loss=2.0).beats(first)
    assert Best(2, 16, accuracy=0.5, loss=0.9).beats(first)
    assert not Best(2, 16, accuracy=0.5, loss=1.0).beats(first)  # the earlier one stays
    assert not Best(2, 16, accuracy=0.4, loss=0.1).beats(first)


BROKEN = r"the loss is (nan|inf|[\d.]+e\+)|parameters are no longer finite \(V holds NaN"


@pytest.mark.parametrize(
    ("tables", "seen"),
    [
        (
            {"optimiser": {"name": "sgd", "lr": 1e38, "weight_decay": 0.0}},
            BROKEN,
        ),
        ({"training": {"explosion": 1.01}, "optimiser": {"lr": 50.0}}, r"the loss is [\d.e+]+ and the norm"),
    ],
)
def test_a_loss_that_explodes_ends_the_run_and_names_the_last_good_checkpoint(tmp_path, tables, seen):
    config = small(tables, {"schedule": {"name": "constant"}, "checkpoint": {"every": 1}})
    with pytest.raises(DivergedError, match=seen) as caught:
        train(config, tmp_path / "run")
    text = str(caught.value)
    assert "training diverged in epoch 1, step " in text
    assert "lower optimiser.lr or set optimiser.clip" in text
    last = text.rpartition("The last good checkpoint is ")[2]
    step = int(last.rpartition("step-")[2])
    session = load_run(tmp_path / "run", step=step)
    assert session.position.step == step
    assert not (tmp_path / "run" / "summary.json").exists()


def test_a_gradient_that_is_not_finite_moves_nothing(monkeypatch):
    session = Session.start(small())
    before = {name: value.clone() for name, value in session.net.named_parameters()}

    def spoiled(loss):
        loss.backward()
        session.net.output.weight.grad[0, 0] = math.nan

    monkeypatch.setattr(session.devices, "backward", spoiled)
    with pytest.raises(DivergedError, match="the norm of its gradient nan"):
        train_step(session, session.task.sample(4))
    assert all(torch.equal(value, before[name]) for name, value in session.net.named_parameters())


def test_running_averages_of_batch_norm_are_moved_and_used(tmp_path):
    session = Session.start(small({"network": {"norm": "batch"}}))
    train_step(session, session.task.sample(50))
    norm = session.net.layers[0].norm
    assert not torch.equal(norm.running_mean, torch.zeros_like(norm.running_mean))


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path):
    train(small({"training": {"epochs": 1}}), tmp_path / "run")
    with pytest.raises(ValueError, match="holds a run; go on with --resume, or choose another folder"):
        train(small({"training": {"epochs": 1}}), tmp_path / "run")


def test_devices_that_are_not_there_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"training\.device: got cuda, but torch sees no GPU"):
        OneDevice("cuda")
    assert OneDevice("auto").device.type == "cpu"


def test_events_are_written_where_tensorboard_is_installed(tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(small(), tmp_path / "run")
    events = accumulators.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    rows = log_of(tmp_path / "run")
    scalars = events.Scalars("validation/accuracy")
    assert [scalar.step for scalar in scalars] == [8, 16]
    # events hold float32
    assert [scalar.value for scalar in scalars] == pytest.approx(
        [float(row["validation_accuracy"]) for row in rows], rel=1e-6
    )


def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("gradflow.train.loop.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"training needs safetensors and tomli_w.*gradflow-snn\[train\]"):
        train(small(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["delayed-recall", "copy", "adding"])
def test_every_kind_of_objective_is_trained_and_watched(tmp_path, name):
    """A class, a class for each of several steps, a number; the loss is where the task places it."""
    tables = {
        "task": {"name": name, "options": {"delay": 12, "examples": 100}},
        "network": {"hidden": [6], "recurrence": "skip:2"},
        "training": {"epochs": 1, "batch": 50},
        "watch": {"budget": 1e6, "samples": 2},
    }
    session = Session.start(resolve(tables))
    batch = session.task.sample(5)
    run = session.net.train()(batch.inputs)
    expected = session.task.objective.losses(run, batch.targets).sum().item()
    assert train_step(session, batch)[0] == pytest.approx(expected, rel=1e-6)  # float32
    summary = train(resolve(tables), tmp_path / "run")
    assert summary.test_examples == len(session.task.test)
    data = gf.load(tmp_path / "run" / "gradients.nc")
    assert data.attrs["loss_placement"] == session.task.objective.placement(session.net.readout)
