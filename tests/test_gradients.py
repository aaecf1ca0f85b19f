"""The split of the loss gradient, against the numpy adjoint and against autograd at probes in the loop."""

import math

import numpy as np
import oracle
import pytest
import torch
from cases import TABLE, networks
from compare import assert_close
from hypothesis import assume, given, settings
from probes import probed_gradients

import gradflow as gf
from gradflow.gradients import layer_gradients, norms, outer_norms, weight_step_norms
from gradflow.recording import cross_entropy

SUMS = {"rtol": 1e-10, "atol": 1e-13, "why": "up to ten steps of float64 sums in another order"}


def split(case, net=None):
    net = net or case.net()
    run = net(case.x(), track_drive=True)
    return net, run, layer_gradients(run, cross_entropy(run.logits, case.data().targets))


def reset_slope(case, values, index, layer):
    """∂c[t]/∂s[t] from the published equations: what the potential of t + 1 loses by a spike at t."""
    spec, name = case.neurons[index], f"layers.{index}.neuron"
    if spec.detach_reset:
        return np.zeros_like(layer.u)
    if isinstance(spec, gf.GLIF):
        al, _, ga, tau, _, r, _ = (oracle.expit(values[f"{name}.raw_{key}"]) for key in oracle.GATES)
        return -(1 - al * (1 - tau)) * ga * layer.u - (1 - ga) * r
    decay = oracle.expit(values[f"{name}.raw_decay"]) if isinstance(spec, gf.PLIF) else spec.decay
    return -decay * (spec.threshold if spec.reset == "soft" else layer.u)


def check_against_the_adjoint(case):
    net, _, found = split(case)
    values = oracle.parameters(net)
    run = oracle.forward(case, values, case.x().numpy())
    if run.kink_distance < 1e-9:
        return False
    adjoints = oracle.adjoint(case, values, run, case.data().targets)
    for index, (got, want, layer) in enumerate(zip(found, adjoints, run.layers, strict=True)):
        later = np.concatenate([want.g[1:], np.zeros_like(want.g[:1])])
        neuron_s = reset_slope(case, values, index, layer) * later
        assert_close(got.u, want.g, **SUMS)
        assert_close(got.neuron_u, want.neuron, **SUMS)
        assert_close(got.recurrent, want.recurrent, **SUMS)
        assert_close(got.direct, np.broadcast_to(want.direct, got.direct.shape), **SUMS)
        assert_close(got.neuron_s, neuron_s * np.ones_like(want.g), **SUMS)
        assert_close(got.s, want.direct + want.recurrent + neuron_s, **SUMS)
        assert_close(got.phi, layer.phi, **SUMS)
    return True


@pytest.mark.parametrize("name", [name for name, case in TABLE.items() if case.norm is None])
def test_every_path_of_every_case_is_that_of_the_adjoint(name):
    assert check_against_the_adjoint(TABLE[name])


@given(networks(norms=False))
@settings(max_examples=60)
def test_every_path_of_every_network_is_that_of_the_adjoint(case):
    assume(check_against_the_adjoint(case))


def check_against_probes(case):
    net, _, found = split(case)
    at_u, at_s, _ = probed_gradients(net, case.data(), cross_entropy)
    for got, u, s in zip(found, at_u, at_s, strict=True):
        assert_close(got.u, u, **SUMS)
        assert_close(got.s, s, **SUMS)
        whole = got.neuron_u + got.phi * (got.recurrent + got.direct)
        assert_close(whole, u, **SUMS)


@pytest.mark.parametrize("name", TABLE)
def test_the_paths_of_every_case_add_up_to_what_probes_see(name):
    check_against_probes(TABLE[name])


@given(networks())
@settings(max_examples=40)
def test_the_paths_of_every_network_add_up_to_what_probes_see(case):
    check_against_probes(case)


def numpy_past(layer):
    s, past = layer.s.detach().numpy(), np.zeros(layer.s.shape)
    for d, p in zip(layer.taps.spans, layer.taps.weights.tolist(), strict=True):
        past[d:] += p * s[: max(len(s) - d, 0)]
    return past


@pytest.mark.parametrize("name", TABLE)
def test_the_steps_add_up_to_the_gradients_of_the_weights(name):
    case = TABLE[name]
    net, run, found = split(case)
    cross_entropy(net(case.x()).logits, case.data().targets).sum().backward()
    for parameters, layer, grads in zip(net.layers, run.layers, found, strict=True):
        x, past = layer.inputs.detach().numpy(), numpy_past(layer)
        steps_W = np.einsum("tbi,tbj->tij", grads.linear.numpy(), x)
        steps_V = np.einsum("tbi,tbj->tij", grads.gated.numpy(), past)
        assert_close(steps_W.sum(0), parameters.linear.weight.grad, **SUMS)
        if parameters.V is not None and parameters.V.grad is not None:
            assert_close(steps_V.sum(0), parameters.V.grad, **SUMS)
        at_V, at_W = weight_step_norms(layer, grads)
        assert_close(at_W, np.sqrt((steps_W**2).sum((1, 2))), **SUMS)
        assert_close(at_V, np.sqrt((steps_V**2).sum((1, 2))), **SUMS)


def test_some_case_has_every_path():
    """Or else the comparisons above would compare zeros."""
    _, _, found = split(TABLE["lif hard attached, skip"])
    grads = found[0]
    for part in (grads.neuron_u, grads.neuron_s, grads.phi * grads.recurrent, grads.phi * grads.direct):
        assert (part != 0).double().mean() > 0.2


@pytest.mark.parametrize("size", [5e-324, 1e-310, 1e-200, 1.0, 1e200])
def test_norms_neither_under_nor_overflow(size):
    found = norms(torch.tensor([[3 * size, -4 * size], [0.0, 0.0]], dtype=torch.float64))
    assert_close(found, [5 * size, 0.0], rtol=1e-15, why="two roundings")


def test_norms_keep_infinity_and_nan():
    values = torch.tensor([[1.0, -math.inf], [1.0, math.nan], [math.inf, math.nan]], dtype=torch.float64)
    np.testing.assert_array_equal(norms(values), [math.inf, math.nan, math.nan])


@pytest.mark.parametrize("size", [1e-300, 1.0, 1e300])
def test_outer_norms_are_those_of_the_sum_over_samples(size):
    left, right = (gf.seeds.normal(0, name, shape=(5, 3, n)) for name, n in (("left", 4), ("right", 2)))
    expected = size * np.linalg.norm(np.einsum("tbi,tbj->tij", left, right), axis=(1, 2))
    assert_close(
        outer_norms(torch.from_numpy(size * left), torch.from_numpy(right)),
        expected,
        rtol=1e-14,
        why="sums of three products in another order",
    )
