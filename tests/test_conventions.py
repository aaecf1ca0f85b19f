"""Everything that changes a decay curve is in the attributes, says what really ran, and survives a file."""

import json
import math
import subprocess
from functools import partial

import pytest
import torch
from cases import TABLE, one_layer
from compare import assert_close

import gradflow as gf
from gradflow import conventions
from gradflow.conventions import Conventions, conventions_of, package_versions, source_commit


def attrs_of(case, **options):
    return gf.record(case.net(), case.data(), **options).attrs


def test_a_record_says_everything_the_design_lists():
    case = one_layer(gf.LIF(decay=0.8, threshold=0.9, reset=gf.Reset.HARD, detach_reset=True), gf.Skip(3))
    found = attrs_of(case, loss_placement="last")
    expected = {
        "neuron": "LIF",
        "decay": 0.8,
        "threshold": 0.9,
        "reset": "hard",
        "detach_reset": "detached",
        "surrogate": "triangle",
        "surrogate_scale": 1.0,
        "neuron_parameters": "none",
        "recurrence": "skip:3",
        "p": '{"3": 1.0}',
        "span_mode": "soft",
        "loss_placement": "last",
        "task": "tensors",
        "permutation_seed": "none",
        "network_seed": 0,
        "dtype": "float64",
        "engine": "fused",
        "hidden": "4",
        "mode": "training",
        "norm": "none",
        "dropout": 0.0,
        "recurrent_gain": 1.0,
        "steps": 6,
        "batch": 2,
        "kind": "record",
        "criterion": "cross_entropy",
    }
    assert {key: found[key] for key in expected} == expected
    assert json.loads(found["versions"])["torch"] == torch.__version__
    assert found["commit"] == source_commit()


@pytest.mark.parametrize("name", TABLE)
def test_attributes_are_strings_and_finite_numbers(name):
    for key, value in attrs_of(TABLE[name]).items():
        assert type(value) in (str, int, float), key
        assert value != "unknown", key
        assert isinstance(value, str) or math.isfinite(value), key


@pytest.mark.parametrize("name", TABLE)
def test_conventions_are_read_back_from_attributes(name, tmp_path):
    case = TABLE[name]
    net = case.net()
    said = conventions_of(net, net(case.x()), loss_placement=case.readout.value)
    rec = gf.record(net, case.data())
    assert Conventions.from_attrs(rec.attrs) == said
    assert Conventions.from_attrs(gf.load(gf.save(rec, tmp_path / "a.nc")).attrs) == said
    assert Conventions.from_attrs({}) == Conventions()


def test_layers_that_differ_are_joined_and_layers_that_agree_are_not():
    found = attrs_of(TABLE["two layers that differ"])
    assert found["neuron"] == "LIF | PLIF"
    assert found["reset"] == "soft | hard"
    assert found["surrogate"] == "sigmoid | arctangent"
    assert found["recurrence"] == "skip:2 | asrc:3"
    assert found["neuron_parameters"] == "none | shared by the layer"
    assert found["detach_reset"] == "attached"
    assert found["hidden"] == "3,4"


def test_p_is_what_the_run_read():
    case = one_layer(recurrence=gf.AdaptiveSkip(3))
    net = case.net()
    soft, hard = (json.loads(gf.record(net, case.data(), span_mode=mode).attrs["p"]) for mode in gf.SpanMode)
    spans = net.layers[0].spans
    powers = torch.exp(spans.span_logits / spans.temperature)
    assert_close(list(soft.values()), powers / powers.sum(), rtol=1e-13, why="a softmax of three")
    assert hard == {str(int(spans.span_logits.argmax()) + 1): 1.0}
    assert json.loads(attrs_of(TABLE["two layers that differ"])["p"])[0] == {"2": 1.0}
    assert attrs_of(TABLE["no recurrence"])["p"] == "{}"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_learned_decay_is_recorded_as_learned(dtype):
    case = one_layer(gf.PLIF(per_neuron=True))
    net = case.net(dtype=dtype)
    fresh = gf.RecurrentSNN(gf.Sizes(2, 3), hidden=4, neuron=gf.PLIF(decay=0.8), dtype=dtype)
    assert gf.record(fresh, case.data()).attrs["decay"] == 0.8
    decay = torch.sigmoid(net.layers[0].neuron.raw_decay.detach().double()).mean()
    found = gf.record(net, case.data()).attrs
    assert abs(decay - 0.5) > 0.01
    assert_close(found["decay"], decay, rtol=2e-7, why="seven digits of a float32 sigmoid")
    assert found["neuron_parameters"] == "per neuron"


def test_what_a_glif_layer_has_learned_is_recorded():
    case = TABLE["glif shared"]
    net = case.net()
    found, neuron = gf.record(net, case.data()).attrs, net.layers[0].neuron
    alpha, tau, gamma = (torch.sigmoid(neuron.get_parameter(f"raw_{n}")) for n in ("alpha", "leak", "gamma"))
    assert_close(found["decay"], 1 - alpha * (1 - tau), rtol=1e-14, why="fifteen digits")
    assert_close(found["threshold"], neuron.threshold, rtol=1e-14, why="fifteen digits")
    assert found["reset"] == f"gated, gamma {gamma.item():g}"


def test_a_task_s_batch_brings_its_provenance():
    batch = gf.tasks.psmnist(permutation_seed=3, pool=4).sample(2, split=gf.Split.TEST, seed=5)
    net = gf.RecurrentSNN(gf.Sizes(1, 10), hidden=3, seed=7, readout="last")
    for attrs in (gf.record(net, batch).attrs, gf.local_jacobians(net, batch).conventions):
        assert (attrs["task"], attrs["permutation_seed"], attrs["pool"]) == ("psmnist", 3, 4)
        assert (attrs["split"], attrs["sample_seed"], attrs["network_seed"]) == ("test", 5, 7)
        assert (attrs["steps"], attrs["batch"]) == tuple(batch.inputs.shape[:2])
    assert gf.local_jacobians(net, batch).conventions["loss_placement"] == "none"


def test_provenance_adds_to_the_conventions_and_never_overrules_them():
    case = one_layer()
    origin = {"task": "cells", "electrode": 12, "neuron": "GLIF", "steps": 99}
    batch = gf.Batch(case.x(), case.data().targets, origin)
    for attrs in (gf.record(case.net(), batch).attrs, gf.local_jacobians(case.net(), batch).conventions):
        assert (attrs["task"], attrs["electrode"]) == ("cells", 12)
        assert (attrs["neuron"], attrs["steps"]) == ("LIF", 6)


def test_the_engine_that_ran_is_named():
    case = TABLE["lif soft attached, vanilla"]

    def own(drive, V, dynamics, taps):
        trace = gf.engine.reference(drive, V, dynamics, taps)
        return gf.engine.LayerTrace(trace.u, trace.s)

    words = {
        gf.engine.automatic: "fused",
        gf.engine.fused: "fused",
        partial(gf.engine.reference): "reference",
    }
    for engine, word in {**words, own: own.__module__}.items():
        assert gf.record(case.net(), case.data(), engine=engine).attrs["engine"] == word


def test_versions_of_missing_packages_are_said_to_be_missing(monkeypatch):
    monkeypatch.setattr(conventions, "PACKAGES", ("numpy", "no-such-package"))
    assert package_versions()["no-such-package"] == "not installed"
    assert package_versions()["numpy"][0].isdigit()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Pretend that gradflow lives in a folder of its own."""
    (tmp_path / "gradflow").mkdir()
    monkeypatch.setattr(conventions, "__file__", str(tmp_path / "gradflow" / "conventions.py"))
    source_commit.cache_clear()
    yield tmp_path
    source_commit.cache_clear()


def git(folder, *arguments):
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_the_commit_is_that_of_the_checkout_and_says_when_it_was_changed(checkout):
    assert source_commit() == "none"
    (checkout / "a").write_text("one")
    for arguments in (["init", "-q"], ["add", "a"], ["commit", "-qm", "first"]):
        git(checkout, *arguments)
    head = git(checkout, "rev-parse", "HEAD")
    source_commit.cache_clear()
    assert source_commit() == head
    (checkout / "a").write_text("two")
    source_commit.cache_clear()
    assert source_commit() == f"{head}+changes"


def test_without_git_there_is_no_commit(checkout, monkeypatch):
    (checkout / ".git").mkdir()
    assert source_commit() == "none"
    monkeypatch.setenv("PATH", "")
    source_commit.cache_clear()
    assert source_commit() == "none"
