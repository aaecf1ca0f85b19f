"""Every number of a record against the numpy network and its adjoint, or against probes in the loop."""

import math

import numpy as np
import oracle
import pytest
import torch
from cases import TABLE, Case, networks, one_layer
from compare import assert_close, assert_equal
from hypothesis import assume, given, settings
from probes import probed_gradients

import gradflow as gf
from gradflow.recording import cross_entropy

ENGINES = (gf.engine.automatic, gf.engine.reference)
SUMS = {"rtol": 1e-10, "atol": 1e-13, "why": "up to ten steps of float64 sums in another order"}
PLAIN = [name for name, case in TABLE.items() if case.norm is None]


def norm(values):
    return np.sqrt((values**2).sum(-1))


def quantile(values, q):
    """Interpolate linearly between the order statistics."""
    ordered = np.sort(np.abs(values), axis=-1)
    place = q * (ordered.shape[-1] - 1)
    low, high = math.floor(place), math.ceil(place)
    return ordered[..., low] + (place - low) * (ordered[..., high] - ordered[..., low])


def in_window(spec, layer):
    peak = oracle.PHI[type(spec.surrogate)](0.0, spec.surrogate.scale)
    return np.abs(layer.phi) > (0 if spec.surrogate.compact else 0.01 * peak)


def check_numbers(case):
    net = case.net()
    values = oracle.parameters(net)
    run = oracle.forward(case, values, case.x().numpy())
    if run.kink_distance < 1e-9:
        return False
    rec = gf.record(net, case.data(), keep=gf.Keep.SUMMARIES, quantiles=(0.0, 0.3, 1.0))
    observed = gf.record(net, case.data())
    targets = case.data().targets
    assert_close(rec.loss, oracle.cross_entropy(run.logits, targets), **SUMS)
    for index, want in enumerate(oracle.adjoint(case, values, run, targets)):
        layer, spec, got = run.layers[index], case.neurons[index], rec.isel(layer=index)
        expected = {
            "grad_u": norm(want.g),
            "grad_u_neuron": norm(want.neuron),
            "grad_u_recurrent": norm(layer.phi * want.recurrent),
            "grad_u_direct": norm(layer.phi * want.direct),
            "grad_s_recurrent": norm(want.recurrent),
            "grad_s_direct": norm(want.direct * np.ones_like(want.g)),
            "firing_rate": layer.s.mean(-1),
            "window": in_window(spec, layer).mean(-1),
            "grad_u_quantile": np.stack([quantile(want.g, q) for q in (0.0, 0.3, 1.0)], -1),
        }
        past = np.zeros_like(layer.s)
        for d, p in layer.spans.items():
            past[d:] += p * layer.s[: max(case.steps - d, 0)]
        for name, right in (("grad_V_step", past), ("grad_W_step", layer.x)):
            steps = np.einsum("tbi,tbj->tij", layer.gate * want.g, right) / case.batch
            expected[name] = np.linalg.norm(steps, axis=(1, 2))
        if case.recurrences[index] == gf.NoRecurrence():
            expected["grad_V_step"] = np.zeros(case.steps)
        for name, value in expected.items():
            assert_close(got[name], value, **SUMS)
            if name in observed:
                assert_close(observed[name][index], value, **SUMS)
    return True


@pytest.mark.parametrize("name", PLAIN)
def test_every_number_of_every_case_is_the_adjoints(name):
    assert check_numbers(TABLE[name])


@given(networks(norms=False))
@settings(max_examples=60)
def test_every_number_of_every_network_is_the_adjoints(case):
    assume(check_numbers(case))


@pytest.mark.parametrize("name", TABLE)
def test_gradients_at_spikes_are_what_probes_see(name):
    case = TABLE[name]
    net = case.net()
    rec, observed = gf.record(net, case.data(), keep=gf.Keep.SUMMARIES), gf.record(net, case.data())
    at_u, at_s, _ = probed_gradients(net, case.data(), cross_entropy)
    for index, (u, s) in enumerate(zip(at_u, at_s, strict=True)):
        got = rec.isel(layer=index)
        assert_close(got.grad_u, norm(u.numpy()), **SUMS)
        assert_close(got.grad_s, norm(s.numpy()), **SUMS)
        assert_close(got.zero_share, (u == 0).double().mean(-1), **SUMS)
        for name in ("grad_u", "grad_s", "zero_share"):
            assert_close(observed[name][index], got[name], **SUMS)
        for k, q in enumerate((0.1, 0.5, 0.9)):
            assert_close(got.grad_s_quantile[..., k], quantile(s.numpy(), q), **SUMS)


@pytest.mark.parametrize("readout", list(gf.Readout))
def test_the_loss_may_be_placed_elsewhere_than_the_network_reads(readout):
    case = TABLE["two layers that differ"]
    placed = gf.record(case.net(), case.data(), loss_placement=readout.value)
    own = Case(**{**vars(case), "readout": readout})
    assert placed.equals(gf.record(own.net(), own.data()))
    assert placed.attrs["loss_placement"] == readout.value
    assert gf.record(case.net(), case.data()).attrs["loss_placement"] == "sum"


def test_only_a_loss_on_the_last_step_shows_the_gradient_vanish():
    """Design §2: with logits summed over time every step is fed directly."""
    case = one_layer(gf.LIF(decay=0.3), hidden=(8,), steps=60)
    summed, last = (
        gf.record(case.net(), case.data(), loss_placement=where).grad_u.mean("sample")[0]
        for where in ("sum", "last")
    )
    assert last[0] < 1e-6 * last[-5:].max()
    assert summed[:5].max() > 0.1 * summed[-5:].max()
    direct = gf.record(case.net(), case.data(), loss_placement="last").grad_s_direct[0]
    assert (direct[:-1] == 0).all()
    assert (direct[-1] > 0).all()


@pytest.mark.parametrize("training", [True, False])
def test_the_span_is_soft_in_training_and_hard_in_evaluation_unless_asked(training):
    case = one_layer(recurrence=gf.AdaptiveSkip(4), steps=9, training=training)
    net = case.net()
    by_mode = {mode: gf.record(net, case.data(), span_mode=mode) for mode in gf.SpanMode}
    default = gf.record(net, case.data())
    assert not by_mode["soft"].equals(by_mode["hard"])
    assert default.identical(by_mode["soft" if training else "hard"])
    assert [rec.attrs["span_mode"] for rec in by_mode.values()] == ["soft", "hard"]
    assert default.attrs["mode"] == ("training" if training else "evaluation")


def test_dropped_currents_carry_no_gradient():
    """One mask per sequence multiplies the currents: the numpy network with the same mask says the same."""
    case = one_layer(gf.PLIF(), gf.Skip(2), hidden=(6,), batch=3)
    net = case.net()
    net.dropout = 0.5
    mask = (torch.rand((3, 6), generator=net.mask_generator()) >= 0.5).double().numpy() * 2
    assert 0 < (mask == 0).sum() < mask.size
    values = oracle.parameters(net)
    run = oracle.forward(case, values, case.x().numpy(), masks=[mask])
    g = oracle.adjoint(case, values, run, case.data().targets)[0].g
    rec = gf.record(net, case.data(), keep=gf.Keep.SUMMARIES)
    assert_close(rec.grad_u[0], norm(g), **SUMS)
    assert_close(gf.record(net, case.data()).grad_u[0], norm(g), **SUMS)
    steps = np.einsum("tbi,tbj->tij", mask * g, case.x().numpy()) / 3
    assert_close(rec.grad_W_step[0], np.linalg.norm(steps, axis=(1, 2)), **SUMS)


def test_whole_tensors_are_the_runs():
    case = TABLE["two layers that differ"]
    net = case.net()
    rec = gf.record(net, case.data(), keep=gf.Keep.TENSORS | gf.Keep.NORMS)
    for index, layer in enumerate(net(case.x()).layers):
        assert_equal(rec[f"u_layer_{index}"].values, layer.u)
        assert_equal(rec[f"s_layer_{index}"].values, layer.s)
        for name in ("grad_u", "grad_s"):
            whole = rec[f"{name}_layer_{index}"]
            assert whole.dims == ("time", "sample", f"neuron_{index}")
            assert_close(rec[name][index], norm(whole.values), rtol=1e-14, why="scaled before the squares")


def test_a_float32_record_is_the_float64_one_to_float32_precision():
    case = TABLE["two layers that differ"]
    single, double = (gf.record(case.net(dtype=d), case.data(d)) for d in (torch.float32, torch.float64))
    assert (single.attrs["dtype"], double.attrs["dtype"]) == ("float32", "float64")
    for name in double:
        assert single[name].dtype == np.float64
        assert_close(single[name], double[name], rtol=1e-4, atol=1e-6, why="six steps of 6e-8 roundings")


def test_a_gradient_that_underflows_in_float32_is_recorded_as_the_zero_that_training_sees():
    case = one_layer(gf.LIF(decay=0.1, surrogate=gf.Sigmoid()), gf.NoRecurrence(), steps=80)
    single, double = (
        gf.record(case.net(dtype=d), case.data(d), loss_placement="last")
        for d in (torch.float32, torch.float64)
    )
    assert (double.grad_u > 0).all()
    assert (double.grad_u[0, 0] < 1e-60).all()
    assert (single.grad_u[0, 0] == 0).all()
    assert (single.zero_share[0, 0] == 1).all()
    assert (double.zero_share == 0).all()


def test_norms_far_below_the_range_of_their_squares_are_exact():
    """A loss of 1e-250 has gradients whose squares underflow in float64; they are scaled before."""
    case = TABLE["two layers that differ"]

    def faint(logits, targets):
        return 2.0**-830 * cross_entropy(logits, targets)

    small, plain = gf.record(case.net(), case.data(), criterion=faint), gf.record(case.net(), case.data())
    for name in plain:
        if name.startswith(("grad", "loss")):
            assert float(small[name].max()) < 1e-240
            assert_close(small[name] * 2.0**830, plain[name], rtol=1e-14, why="a power of two rounds nothing")
        else:
            assert_equal(small[name], plain[name])


def test_what_cannot_be_observed_is_recorded_all_the_same():
    case = TABLE["two layers that differ"]
    smooth = [gf.record(case.net(smooth=True), case.data(), engine=e) for e in ENGINES]
    for rec in smooth:
        assert rec.attrs["engine"] == "reference"
        for name in rec:
            assert_close(rec[name], smooth[1][name], **SUMS)


def test_another_criterion_is_used_and_named():
    def halved_square(logits, targets):
        return (logits - targets[:, None]).square().sum(1) / 2

    case = TABLE["last step"]
    rec = gf.record(case.net(), case.data(), criterion=halved_square)
    at_u, _, _ = probed_gradients(case.net(), case.data(), halved_square)
    assert_close(rec.grad_u[0], norm(at_u[0].numpy()), **SUMS)
    assert (rec.attrs["criterion"], rec.loss.attrs["units"]) == ("halved_square", "1")
    assert gf.record(case.net(), case.data()).loss.attrs["units"] == "nats"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", TABLE)
def test_a_record_on_cuda_is_that_on_the_cpu(name):
    case = TABLE[name]
    there, here = gf.record(case.net().cuda(), case.data()), gf.record(case.net(), case.data())
    for key in here:
        assert_close(there[key], here[key], **SUMS)
