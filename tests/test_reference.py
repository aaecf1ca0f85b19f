"""The reference engine against an independent numpy network: spikes exact, gradients by differences."""

import numpy as np
import oracle
import pytest
import torch
from cases import TABLE, networks
from compare import assert_close, assert_equal
from hypothesis import assume, given, settings

import gradflow as gf
from gradflow.engine import reference

STEP = 1e-6
AWAY = 1e-4
"""How far u − θ must keep from bends of φ: a step of 1e-6 moves no potential that far in these networks."""


def losses(logits, targets):
    return torch.nn.functional.cross_entropy(logits, targets, reduction="sum")


def check_forward(case):
    net, x = case.net(), case.x()
    run, expected = net(x, engine=reference), oracle.forward(case, oracle.parameters(net), x.numpy())
    # a potential within rounding of the threshold may fall on either side of it
    if expected.kink_distance < 1e-9:
        return False
    for layer, want in zip(run.layers, expected.layers, strict=True):
        assert_equal(layer.s, want.s)
        assert_close(layer.u, want.u, atol=1e-12, rtol=1e-12, why="ten steps of sums in another order")
    for got, want in ((run.outputs, expected.outputs), (run.logits, expected.logits)):
        assert_close(got, want, atol=1e-12, rtol=1e-12, why="sums in another order")
    return True


def same_parameter(net, name):
    """Return every name under which the state holds the parameter of this name; layers may share one."""
    state = net.state_dict()
    return [other for other, value in state.items() if value.data_ptr() == state[name].data_ptr()]


def differences(net, case, values, x, targets, frozen):
    """Return a function: key and direction → the directional derivative of the oracle's smooth loss."""

    def loss(key, shift):
        moved = x + shift if key == "inputs" else x
        names = [] if key == "inputs" else same_parameter(net, key)
        changed = {**values, **{name: values[name] + shift for name in names}}
        logits = oracle.forward(case, changed, moved, smooth=True, frozen=frozen).logits
        return oracle.cross_entropy(logits, targets).sum()

    return lambda key, way: (loss(key, STEP * way) - loss(key, -STEP * way)) / (2 * STEP)


def check_gradients(case, *, every_element=False):
    net, batch = case.net(smooth=True), case.data()
    x = batch.inputs.clone().requires_grad_()
    run = net(x, engine=reference)
    values = oracle.parameters(net)
    smooth = oracle.forward(case, values, batch.inputs.numpy(), smooth=True)
    if smooth.kink_distance < AWAY:
        return False
    for layer, want in zip(run.layers, smooth.layers, strict=True):
        assert_close(layer.u, want.u, atol=1e-12, rtol=1e-12, why="sums in another order")
    leaves = {"inputs": x, **dict(net.named_parameters())}
    grads = torch.autograd.grad(losses(run.logits, batch.targets), list(leaves.values()), allow_unused=True)
    slope = differences(net, case, values, batch.inputs.numpy(), batch.targets, smooth.spikes)
    for (key, leaf), grad in zip(leaves.items(), grads, strict=True):
        grad = np.zeros(leaf.shape) if grad is None else grad.numpy()
        ways = np.eye(max(leaf.numel(), 1)) if every_element else directions(case.seed, key, leaf.numel())
        for way in ways:
            way = way.reshape(leaf.shape)
            # truncation h² L'''/6 and rounding 1e-16 · L / h come to 1e-9 with losses and slopes of order 1
            assert_close(
                slope(key, way),
                (grad * way).sum(),
                rtol=1e-6,
                atol=3e-8,
                why=f"differences of {key}, h = 1e-6",
            )
    return True


def directions(seed, key, count):
    return gf.seeds.normal(seed, "direction", key, shape=(2, max(count, 1)))


@pytest.mark.parametrize("name", TABLE)
def test_every_case_runs_as_the_oracle(name):
    assert check_forward(TABLE[name])


@given(networks())
@settings(max_examples=60)
def test_every_network_runs_as_the_oracle(case):
    assume(check_forward(case))


@pytest.mark.parametrize("name", TABLE)
def test_every_gradient_of_every_case_is_a_finite_difference(name):
    assert check_gradients(TABLE[name], every_element=True)


@given(networks())
@settings(max_examples=60)
def test_gradients_of_every_network_are_finite_differences(case):
    assume(check_gradients(case))


def test_the_check_would_see_a_wrong_gradient():
    """Attached and detached resets differ: each fails against the other's finite differences."""
    case = TABLE["lif soft detached, vanilla"]
    net, batch = case.net(smooth=True), case.data()
    values = oracle.parameters(net)
    attached = differences(net, case, values, batch.inputs.numpy(), batch.targets, None)
    way = np.ones_like(values["layers.0.V"])
    loss = losses(net(batch.inputs, engine=reference).logits, batch.targets)
    grad = torch.autograd.grad(loss, net.layers[0].V)[0].sum()
    assert abs(attached("layers.0.V", way) / grad.item() - 1) > 1e-3


def test_hard_networks_have_the_gradient_of_their_adjoint():
    """∂L/∂V and ∂L/∂p of the design, from the oracle's own adjoint, for spikes that are steps."""
    for name in ("lif soft attached, vanilla", "lif hard detached, asrc", "glif per neuron, detached, asrc"):
        case = TABLE[name]
        net, batch = case.net(), case.data()
        run = oracle.forward(case, oracle.parameters(net), batch.inputs.numpy())
        layer = run.layers[0]
        g = layer.gate * oracle.adjoint(case, oracle.parameters(net), run, batch.targets)[0].g
        losses(net(batch.inputs, engine=reference).logits, batch.targets).backward()
        past = np.zeros_like(layer.s)
        for d, p in layer.spans.items():
            past[d:] += p * layer.s[:-d]
        expected = np.einsum("tbi,tbj->ij", g, past)
        assert_close(net.layers[0].V.grad, expected, rtol=1e-11, atol=1e-13, why="sums of 12 terms")
        if len(layer.spans) > 1:
            slopes = {d: np.sum(g[d:] * (layer.s[:-d] @ layer.V.T)) for d in layer.spans}
            mean = sum(p * slopes[d] for d, p in layer.spans.items())
            expected = [p * (slopes[d] - mean) for d, p in layer.spans.items()]
            logits = net.layers[0].spans
            got = logits.span_logits.grad * logits.temperature
            assert_close(got, expected, rtol=1e-10, atol=1e-12, why="sums of 12 terms")


def test_a_span_beyond_the_sequence_is_no_recurrence_exactly():
    case = TABLE["span over the end"]
    net, plain = case.net(), TABLE["no recurrence"].net()
    state = {key: value for key, value in net.state_dict().items() if key in plain.state_dict()}
    plain.load_state_dict(state)
    x = case.x().requires_grad_()
    got, want = net(x, engine=reference), plain(x, engine=reference)
    assert_equal(got.layers[0].u, want.layers[0].u)
    assert_equal(*(torch.autograd.grad(run.logits.square().sum(), x)[0] for run in (got, want)))


def test_a_prefix_of_a_sequence_runs_as_the_prefix_of_the_run():
    case = TABLE["lif hard attached, skip"]
    net, x = case.net(), case.x()
    whole = net(x, engine=reference).layers[0]
    for steps in (1, 4, 8):
        assert_equal(net(x[:steps], engine=reference).layers[0].u, whole.u[:steps])


def test_samples_do_not_meet():
    for name in ("lif hard attached, skip", "glif shared", "two layers that differ", "layer norm"):
        case = TABLE[name]
        net, x = case.net(), case.x()
        alone = net(x[:, 1:], engine=reference)
        assert_close(
            net(x, engine=reference).logits[1:],
            alone.logits,
            rtol=1e-12,
            atol=1e-13,
            why="products of another shape round apart",
        )


def test_float32_follows_float64():
    case = TABLE["two layers that differ"]
    singles = case.net(dtype=torch.float32).named_parameters()
    for (name, single), double in zip(singles, case.net().parameters(), strict=True):
        assert_close(single.double(), double, rtol=6e-8, atol=1e-45, why=f"{name} rounded to float32")
    run = case.net(dtype=torch.float32)(case.x(torch.float32), engine=reference)
    exact = case.net()(case.x(), engine=reference)
    assert run.logits.dtype == torch.float32
    assert_equal(run.layers[0].s.double(), exact.layers[0].s)
    assert_close(run.layers[0].u.double(), exact.layers[0].u, rtol=1e-5, atol=1e-5, why="float32 rounding")
