"""What a record is asked for, what it refuses, and that it leaves nothing behind."""

import copy
import functools

import numpy as np
import pytest
import torch
from cases import TABLE, Case, one_layer
from compare import assert_close, assert_equal
from hypothesis import given
from hypothesis import strategies as st

import gradflow as gf
from gradflow import Keep

HOLDS = {
    Keep.NORMS: {"grad_u", "grad_s", "zero_share"},
    Keep.PATHS: {f"grad_{at}_{path}" for at in "us" for path in ("neuron", "recurrent", "direct")},
    Keep.QUANTILES: {"grad_u_quantile", "grad_s_quantile"},
    Keep.WEIGHTS: {"grad_V_step", "grad_W_step"},
    Keep.ACTIVITY: {"firing_rate", "window"},
    Keep.TENSORS: {f"{name}_layer_{i}" for name in ("u", "s", "grad_u", "grad_s") for i in (0, 1)},
}
CASE = TABLE["two layers that differ"]
WHOLE = gf.record(CASE.net(), CASE.data(), keep=Keep.SUMMARIES | Keep.TENSORS)


@given(st.sets(st.sampled_from(list(HOLDS))))
def test_a_record_holds_what_was_asked_for_and_nothing_else(members):
    rec = gf.record(CASE.net(), CASE.data(), keep=functools.reduce(lambda a, b: a | b, members, Keep(0)))
    assert set(rec) == {"loss"}.union(*(HOLDS[member] for member in members))
    assert ("quantile" in rec.coords) == (Keep.QUANTILES in members)
    for name in rec:
        assert_close(
            rec[name], WHOLE[name], rtol=1e-13, atol=1e-16, why="measured in the adjoint, or afterwards"
        )
        assert rec[name].attrs == WHOLE[name].attrs
        assert rec[name].attrs["long_name"]
        assert rec[name].attrs["units"]
    assert rec.attrs == WHOLE.attrs


def test_the_default_is_what_the_adjoint_measures_and_the_summaries_all_but_whole_tensors():
    rec = gf.record(CASE.net(), CASE.data())
    assert set(rec) == {"loss"}.union(*(HOLDS[keep] for keep in (Keep.NORMS, Keep.PATHS, Keep.ACTIVITY)))
    rec = gf.record(CASE.net(), CASE.data(), keep=Keep.SUMMARIES)
    assert set(rec) == {"loss"}.union(*(names for keep, names in HOLDS.items() if keep is not Keep.TENSORS))
    assert rec.sizes == {"sample": 2, "layer": 2, "time": 6, "quantile": 3}
    assert rec["quantile"].values.tolist() == [0.1, 0.5, 0.9]
    assert rec.time.attrs == {"units": "steps"}


@pytest.mark.parametrize("name", ["two layers that differ", "batch norm", "asrc evaluated", "glif shared"])
def test_a_record_leaves_nothing_behind(name):
    case = TABLE[name]
    net, batch = case.net(), case.data()
    net.dropout = 0.3
    first, *others = net.parameters()
    first.grad = torch.full_like(first, 7.0)
    state, random = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    before = batch.inputs.clone()
    assert gf.record(net, batch).identical(gf.record(net, batch))
    assert (first.grad == 7.0).all()
    assert all(other.grad is None for other in others)
    for key, value in net.state_dict().items():
        assert_equal(value, state[key])
    assert_equal(torch.get_rng_state(), random)
    assert_equal(batch.inputs, before)
    assert net.training is case.training


def test_a_record_does_not_depend_on_what_ran_before():
    case = one_layer(recurrence=gf.Skip(2), steps=9, batch=3)
    net, alone = case.net(), gf.record(case.net(), case.data())
    gf.record(net, gf.Batch(case.x()[:4, :2], torch.tensor([0, 1])))
    net(case.x()[:1]).logits.sum().backward()
    assert gf.record(net, case.data()).identical(alone)


def frozen(net, batch):
    return gf.record(net.requires_grad_(False), batch)


def without_gradients(net, batch):
    with torch.no_grad():
        return gf.record(net, batch)


def under_inference(net, batch):
    with torch.inference_mode():
        return gf.record(net, gf.Batch(batch.inputs.clone(), batch.targets))


def with_inputs_that_learn(net, batch):
    return gf.record(net, gf.Batch(batch.inputs.requires_grad_(), batch.targets))


@pytest.mark.parametrize("how", [frozen, without_gradients, under_inference, with_inputs_that_learn])
@pytest.mark.parametrize("name", ["two layers that differ", "layer norm", "glif per neuron, detached, asrc"])
def test_a_record_is_the_same_whatever_learns(name, how):
    case = TABLE[name]
    assert how(case.net(), case.data()).identical(gf.record(case.net(), case.data()))


@pytest.mark.parametrize("name", TABLE)
def test_a_record_comes_back_from_a_file_as_it_was(name, tmp_path):
    case = TABLE[name]
    rec = gf.record(case.net(), case.data(), keep=Keep.SUMMARIES | Keep.TENSORS)
    again = gf.load(gf.save(rec, tmp_path / "run.nc"))
    assert again.identical(rec)
    assert {key: type(value) for key, value in again.attrs.items()} == {
        key: type(value) for key, value in rec.attrs.items()
    }


def batch_with(inputs=None, targets=(0, 1)):
    return gf.Batch(CASE.x() if inputs is None else inputs, torch.tensor(targets))


def x_with(value):
    x = CASE.x()
    x[3, 1, 0] = value
    return x


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (None, "batch: got NoneType, expected inputs with targets"),
        (CASE.x(), r"batch: got Tensor, expected inputs with targets.*task.sample\(n\), or Batch"),
        (batch_with(targets=(0, 3)), r"targets: sample 1 has class 3, the network knows 0 … 2"),
        (batch_with(targets=(-100, 1)), r"targets: sample 0 has class -100, the network knows 0 … 2"),
        (
            batch_with(x_with(np.nan)),
            "1 of 24 values are NaN or infinite, the first at time 3, sample 1, input 0",
        ),
        (batch_with(x_with(-np.inf)), "1 of 24 values are NaN or infinite"),
        (batch_with(torch.zeros(6, 2, 5)), r"got \(6, 2, 5\), expected a tensor \(time, batch, 2\)"),
        (batch_with(torch.zeros(0, 2, 2)), r"got \(0, 2, 2\).*at least one step and one sample"),
        (gf.Batch(torch.zeros(6, 0, 2), torch.zeros(0).long()), "at least one step and one sample"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(batch, message, no_shape_checks):
    with pytest.raises(ValueError, match=message):
        gf.record(CASE.net(), batch)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": "norms"}, r"keep: got 'norms', expected members of Keep, as in Keep.NORMS"),
        ({"keep": 3}, "keep: got 3"),
        ({"quantiles": (0.5, 1.5)}, r"quantiles: got \(0.5, 1.5\), expected numbers from 0 to 1"),
        ({"quantiles": ()}, r"quantiles: got \(\)"),
        ({"quantiles": 0.5}, "quantiles: got 0.5"),
        ({"quantiles": (np.nan,)}, r"quantiles: got \(nan,\)"),
        ({"loss_placement": "first"}, "readout 'first': expected sum, mean or last"),
        (
            {"criterion": lambda x, y: x.sum()},
            r"criterion: returned \(\), expected one loss per sample.*\(2,\)",
        ),
        ({"criterion": lambda x, y: 3.0}, "criterion: returned float"),
        ({"criterion": lambda x, y: y.double()}, "criterion: the losses do not depend on the logits"),
        ({"criterion": lambda x, y: (x[:, 0] - 1e6).sqrt()}, "the loss of sample 0 is nan: look for NaN"),
    ],
)
def test_a_request_that_makes_no_record_is_refused(options, message, no_shape_checks):
    with pytest.raises(ValueError, match=message):
        gf.record(CASE.net(), CASE.data(), **options)


@pytest.mark.parametrize(("layer", "name"), [(0, "linear.weight"), (1, "V")])
def test_a_network_that_holds_nan_is_refused(layer, name):
    net = CASE.net()
    with torch.no_grad():
        net.get_parameter(f"layers.{layer}.{name}")[0, 0] = np.nan
    with pytest.raises(
        ValueError, match=f"(the potentials of layer {layer} hold|V holds) NaN or infinity: look for NaN"
    ):
        gf.record(net, CASE.data())


def test_glif_refuses_more_steps_than_it_has_conductances():
    case = TABLE["glif shared"]
    long = Case(**{**vars(case), "steps": 9})
    with pytest.raises(ValueError, match="the sequence has 9 steps but the layer has conductances for 6"):
        gf.record(case.net(), long.data())
