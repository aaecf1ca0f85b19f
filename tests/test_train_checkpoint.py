"""Checkpoints: whole or not there, refused when damaged or foreign, and runs that end as if never killed."""

import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tomllib

import numpy as np
import pytest
import torch

import gradflow as gf
from gradflow.train import (
    CheckpointError,
    CheckpointStore,
    ForeignCheckpointError,
    Session,
    load_run,
    read_checkpoint,
    resolve,
    state,
    train,
    train_step,
    write_checkpoint,
    write_toml,
)
from gradflow.train import files as files_module
from gradflow.train.checkpoint import FILES, MANIFEST
from gradflow.train.position import Best, Position, Seconds, Tally

TABLES = {
    "task": {"name": "psmnist", "options": {"pool": 4}},
    "network": {"hidden": [12, 8], "recurrence": "asrc:5", "neuron": "plif", "norm": "batch", "dropout": 0.2},
    "optimiser": {"lr": 0.01, "clip": 1.0},
    "training": {"epochs": 2, "batch": 800},
    "watch": {"budget": 100.0, "samples": 2},
    "checkpoint": {"every": 2},
}
"""Everything that has a state, 5 steps an epoch."""


@pytest.fixture
def session():
    session = Session.start(resolve(TABLES))
    train_step(session, session.task.sample(20))
    session.position = Position(step=1, batch=1, tally=Tally(1 / 3, 2.0, 20, 0.1, 1), first_loss=0.1 + 0.2)
    session.remember_best()
    return session


def test_a_checkpoint_comes_back_bit_for_bit(session, tmp_path):
    saved = session.checkpoint()
    found = read_checkpoint(write_checkpoint(tmp_path / "step", saved))
    for part in ("model", "best", "optimiser", "generators", "data"):
        own, other = getattr(saved, part), getattr(found, part)
        assert own.keys() == other.keys()
        for name, tensor in own.items():
            assert other[name].dtype == tensor.dtype
            assert torch.equal(other[name], tensor), name
    assert found.config == saved.config
    assert found.state == json.loads(json.dumps(saved.state))
    assert Position.from_json(found.state["position"]) == session.position
    assert {path.name for path in (tmp_path / "step").iterdir()} == {*FILES, MANIFEST}
    assert not [name for name in FILES if not name.endswith((".safetensors", ".json", ".toml"))]  # no pickles


def test_a_checkpoint_is_complete(session, tmp_path):
    """Parameters, buffers, moments, counts, order and splits of the data, conventions, configuration."""
    saved = session.checkpoint()
    assert saved.model.keys() == session.net.state_dict().keys()
    parameters = dict(session.net.named_parameters())
    assert saved.optimiser.keys() == {
        f"{name}/{kind}" for name in parameters for kind in ("step", "exp_avg", "exp_avg_sq")
    }
    task = session.task
    assert tuple(saved.data["permutation"].tolist()) == task.permutation
    assert saved.data["index_test"].tolist() == task.test.index.tolist()
    assert saved.state["conventions"]["recurrence"] == "asrc:5"
    assert saved.state["conventions"]["permutation_seed"] == 0
    assert resolve(TABLES) == resolve(tomllib.loads(saved.config))


def test_a_session_restored_goes_on_with_the_same_bits(session, tmp_path):
    folder = write_checkpoint(tmp_path / "step", session.checkpoint())
    batch = session.task.sample(20, seed=1)
    expected = train_step(session, batch)
    other = Session.start(resolve(TABLES))
    other.restore(read_checkpoint(folder))
    assert train_step(other, batch) == expected
    for name, value in state.model_tensors(session.net).items():
        assert torch.equal(value, state.model_tensors(other.net)[name]), name


def test_shared_spans_are_kept_once_and_stay_shared(tmp_path):
    recurrence = {"kind": "asrc", "max_span": 3, "shared": True}
    session = Session.start(resolve(TABLES, {"network": {"recurrence": recurrence}}))
    train_step(session, session.task.sample(9))
    session.net.anneal()
    folder = write_checkpoint(tmp_path / "step", session.checkpoint())
    other = Session.start(session.config)
    other.restore(read_checkpoint(folder))
    first, second = (layer.spans for layer in other.net.recurrent_layers())
    assert first is second
    assert torch.equal(first.span_logits, session.net.layers[0].spans.span_logits)
    assert float(first.temperature) == float(np.float32(0.96))


def test_global_generators_go_on_where_they_were(session):
    saved = session.checkpoint()
    drawn = (torch.rand(3), np.random.rand(3), random.random(), random.gauss(0, 1))  # noqa: NPY002
    torch.rand(1), np.random.rand(1), random.random()  # noqa: NPY002
    state.load_generators(saved.generators, json.loads(json.dumps(saved.state["generators"])))
    again = (torch.rand(3), np.random.rand(3), random.random(), random.gauss(0, 1))  # noqa: NPY002
    assert torch.equal(drawn[0], again[0])
    assert drawn[1].tolist() == again[1].tolist()
    assert drawn[2:] == again[2:]


def test_positions_come_back_from_json_exactly():
    position = Position(
        step=7,
        epoch=1,
        batch=2,
        tally=Tally(1e-300, 2.5, 30, 1 / 7, 2),
        first_loss=2.302585092994046,
        history=({"epoch": 1, "train_loss": 0.1 + 0.2, "spans": "1 4", "temperature": ""},),
        best=Best(1, 5, 1 / 3, 0.7),
        seconds=Seconds(1.0, 2.0, 0.3, 0.4),
    )
    assert Position.from_json(json.loads(json.dumps(position.as_json()))) == position
    assert Position.from_json(json.loads(json.dumps(Position().as_json()))) == Position()
    assert position.seconds.overhead == pytest.approx(0.1)


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_damage_to_any_file_is_found(session, tmp_path, name):
    whole = write_checkpoint(tmp_path / "whole", session.checkpoint())

    def damaged(how):
        folder = tmp_path / how
        shutil.copytree(whole, folder)
        return folder, folder / name

    content = (whole / name).read_bytes()
    folder, path = damaged("flipped")
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    with pytest.raises(CheckpointError, match=r"flipped: (damaged|not a checkpoint|is of version)"):
        read_checkpoint(folder)
    folder, path = damaged("cut")
    path.write_bytes(content[:-1])
    with pytest.raises(CheckpointError, match=f"cut: damaged, {name}"):
        read_checkpoint(folder)
    folder, path = damaged("gone")
    path.unlink()
    with pytest.raises(CheckpointError, match=f"gone: .*{name}"):
        read_checkpoint(folder)


def test_what_is_no_checkpoint_of_ours_is_said(session, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such checkpoint"):
        read_checkpoint(tmp_path / "nowhere")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / MANIFEST).write_text('{"format": "other"}')
    with pytest.raises(CheckpointError, match="not a checkpoint of gradflow"):
        read_checkpoint(foreign)
    (foreign / MANIFEST).write_text('{"format": "gradflow checkpoint", "version": 99}')
    with pytest.raises(CheckpointError, match="is of version 99, this gradflow reads version 1"):
        read_checkpoint(foreign)


def test_a_write_that_fails_leaves_the_old_checkpoint_and_no_rest(session, tmp_path, monkeypatch):
    folder = write_checkpoint(tmp_path / "step", session.checkpoint())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    train_step(session, session.task.sample(9))

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files_module.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(folder, session.checkpoint())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(tmp_path.iterdir()) == [folder]


def store_of(session, tmp_path, steps):
    store = CheckpointStore(tmp_path / "checkpoints", keep=2)
    for step in steps:
        session.position = Position(step=step)
        store.write(session.checkpoint())
    return store


def test_the_latest_are_kept_and_drafts_of_killed_processes_go(session, tmp_path):
    store = store_of(session, tmp_path, (1, 2, 10))
    assert [path.name for path in store.paths()] == ["step-00000002", "step-00000010"]
    draft = store.folder / ".part-0123"
    draft.mkdir()
    (draft / "model.safetensors").write_bytes(b"half")
    assert store.read_latest().step == 10
    assert not draft.exists()
    assert CheckpointStore(tmp_path / "none").read_latest() is None


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_and_said(session, tmp_path, caplog):
    store = store_of(session, tmp_path, (1, 2))
    (store.path(2) / "model.safetensors").write_bytes(b"")
    with caplog.at_level(logging.WARNING, "gradflow"):
        assert store.read_latest().step == 1
    assert "step-00000002: damaged, model.safetensors has 0 bytes instead of" in caplog.text
    assert f"going on from {store.path(1)}" in caplog.text
    (store.path(1) / MANIFEST).write_text("{")
    with pytest.raises(
        CheckpointError, match=r"no checkpoint is whole, start anew .*00002: .*00001: damaged"
    ):
        store.read_latest()


def test_checkpoints_of_another_network_or_other_data_are_refused(session):
    saved = session.checkpoint()
    narrow = Session.start(resolve(TABLES, {"network": {"hidden": [12, 9]}}))
    with pytest.raises(
        ForeignCheckpointError, match=r"not of the network: layers.1.V is torch.float32 \(8, 8\)"
    ):
        narrow.restore(saved)
    vanilla = Session.start(resolve(TABLES, {"network": {"recurrence": "vanilla"}}))
    with pytest.raises(
        ForeignCheckpointError, match="the checkpoint's optimiser has the groups weights, neurons"
    ):
        vanilla.restore(saved)
    permuted = Session.start(resolve(TABLES, {"task": {"options": {"permutation_seed": 1}}}))
    with pytest.raises(ForeignCheckpointError, match="not of this task: permutation holds other numbers"):
        permuted.restore(saved)
    plain = Session.start(resolve(TABLES, {"task": {"name": "smnist"}}))
    with pytest.raises(ForeignCheckpointError, match=r"it lacks nothing, and only it has \['permutation'\]"):
        plain.restore(saved)


def test_a_run_goes_on_only_under_its_own_configuration(tmp_path):
    config = resolve(TABLES, {"training": {"epochs": 1}, "watch": {"every": 0}})
    train(config, tmp_path / "run")
    other = resolve(TABLES, {"training": {"epochs": 1}, "watch": {"every": 0}, "optimiser": {"lr": 0.5}})
    with pytest.raises(
        ForeignCheckpointError, match=r"run is another run: optimiser.lr = 0.01 there, 0.5 here"
    ):
        train(other, tmp_path / "run", resume=True)
    # whatever no number depends on may change
    free = resolve(config.as_tables(), {"checkpoint": {"keep": 5}, "logging": {"tensorboard": False}})
    assert train(free, tmp_path / "run", resume=True).epochs == 1
    (tmp_path / "run" / "config.toml").write_text(write_toml(other))
    (tmp_path / "run" / "summary.json").unlink()
    with pytest.raises(ForeignCheckpointError, match="checkpoints is another run"):
        train(other, tmp_path / "run", resume=True)


def test_another_number_of_threads_is_said(session, caplog):
    saved = session.checkpoint()
    saved.state["threads"] = 64
    with caplog.at_level(logging.WARNING, "gradflow"):
        session.restore(saved)
    assert "written with 64 threads" in caplog.text


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
import gradflow.train.loop as loop
from gradflow.train import read_toml, resolve, train

torch.set_num_threads(1)
config, out, where, count = sys.argv[1:]
count = int(count)

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

if where == "rename":  # while a checkpoint is written: its files are there, its name is not
    rename = Path.rename
    def renaming(self, target):
        if Path(target).name == f"step-{count:08d}":
            kill()
        return rename(self, target)
    Path.rename = renaming
if where == "log":  # between epochs: before the checkpoint of the one that ended
    loop.write_rows = kill
train(resolve(read_toml(config)), out, resume=True)
"""
WHERE = [("rename", 4), ("log", 0)]
"""Inside the first epoch, while its second checkpoint is written; between the epochs."""


def test_a_run_killed_again_and_again_ends_like_one_that_never_was(tmp_path, no_shape_checks):
    config = tmp_path / "config.toml"
    config.write_text(write_toml(resolve(TABLES)))
    whole = train(resolve(TABLES), tmp_path / "whole")
    for where, count in WHERE:
        arguments = [sys.executable, "-c", KILLED, config, tmp_path / "killed", where, str(count)]
        done = subprocess.run(arguments, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False, timeout=120)
        assert done.returncode == -signal.SIGKILL, (where, count)
    resumed = train(resolve(TABLES), tmp_path / "killed", resume=True)

    first, second = (
        CheckpointStore(tmp_path / run / "checkpoints").read_latest() for run in ("whole", "killed")
    )
    assert first.step == second.step == 10
    for part in ("model", "best", "optimiser", "data"):
        own, other = getattr(first, part), getattr(second, part)
        assert own.keys() == other.keys()
        for name, tensor in own.items():
            assert torch.equal(tensor, other[name]), (part, name)
    assert timeless(first.state["position"]) == timeless(second.state["position"])
    for name in ("test_accuracy", "test_loss", "validation_loss", "best_epoch", "steps"):
        assert getattr(whole, name) == getattr(resumed, name)
    one, two = (gf.load(tmp_path / run / "gradients.nc") for run in ("whole", "killed"))
    assert one.epoch.values.tolist() == [0.0, 1.0, 2.0]
    assert one.identical(two)
    assert not list(tmp_path.rglob(".part-*"))


def timeless(position):
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in position["history"]]
    return {**position, "history": rows, "seconds": None}


def test_the_network_of_a_run_can_be_had_while_it_runs(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.toml: no such file"):
        load_run(tmp_path / "run")

    class EnoughError(Exception):
        pass

    def progress(done, total, what):
        if done == 7:
            raise EnoughError

    with pytest.raises(EnoughError):
        train(resolve(TABLES), tmp_path / "run", progress=progress)
    session = load_run(tmp_path / "run")
    assert session.position.step == 6
    assert session.position.best.step == 5
    best = read_checkpoint(tmp_path / "run" / "checkpoints" / "step-00000006").best
    assert torch.equal(session.net.layers[0].V, best["layers.0.V"])
