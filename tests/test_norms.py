"""Layer and batch norm against torch's own, and running averages that move only when they are told to."""

import pytest
import torch
from cases import one_layer
from compare import assert_close, assert_equal

import gradflow as gf

H = 5
SAME = {"rtol": 1e-12, "atol": 1e-13, "why": "the same formula in another order of operations"}


def currents(seed=0, shape=(7, 4, H), dtype=torch.float64):
    return torch.from_numpy(3 * gf.seeds.normal(seed, "currents", shape=shape) + 1).to(dtype)


def build(spec, dtype=torch.float64):
    module = spec.build(H)
    with torch.no_grad():
        module.scale.copy_(torch.linspace(0.5, 1.5, H))
        module.shift.copy_(torch.linspace(-1, 1, H))
    return module.to(dtype)


def torchs(module, x, mean, variance, training, spec):
    """Batch norm over everything but the neurons, as torch computes it; moves `mean` and `variance`."""
    flat = x.reshape(-1, H)
    normed = torch.nn.functional.batch_norm(
        flat, mean, variance, module.scale, module.shift, training, spec.momentum, spec.epsilon
    )
    return normed.reshape(x.shape)


@pytest.mark.parametrize("spec", [gf.BatchNorm(), gf.BatchNorm(epsilon=0.1, momentum=0.3)])
@pytest.mark.parametrize("shape", [(7, 4, H), (1, 2, H), (2, 1, H)])
def test_batch_norm_is_torchs_in_both_modes(spec, shape):
    module, mean, variance = build(spec), torch.zeros(H).double(), torch.ones(H).double()
    for seed in range(3):
        x = currents(seed, shape)
        normed, statistics = module(x)
        assert_close(normed, torchs(module, x, mean, variance, True, spec), **SAME)
        module.update(statistics)
        assert_close(module.running_mean, mean, **SAME)
        assert_close(module.running_variance, variance, **SAME)
    module.eval()
    normed, statistics = module(x)
    assert statistics is None
    assert_close(normed, torchs(module, x, mean, variance, False, spec), **SAME)


@pytest.mark.parametrize("training", [True, False])
def test_the_gradients_of_batch_norm_are_torchs(training):
    spec = gf.BatchNorm()
    module = build(spec).train(training)
    grads = []
    for normed in (
        lambda x: module(x)[0],
        lambda x: torchs(module, x, torch.zeros(H).double(), torch.ones(H).double(), training, spec),
    ):
        x = currents().requires_grad_()
        loss = (normed(x) * currents(1)).sum()
        grads.append(torch.autograd.grad(loss, [x, module.scale, module.shift]))
    for ours, theirs in zip(*grads, strict=True):
        assert_close(ours, theirs, rtol=1e-11, atol=1e-12, why="a backward pass of a few sums of 28 terms")


def test_layer_norm_is_torchs():
    for epsilon in (1e-5, 0.1):
        module = build(gf.LayerNorm(epsilon))
        theirs = torch.nn.LayerNorm(H, eps=epsilon, dtype=torch.float64)
        theirs.weight.data.copy_(module.scale)
        theirs.bias.data.copy_(module.shift)
        normed, statistics = module(currents())
        assert_close(normed, theirs(currents()), **SAME)
        assert statistics is None


def test_layer_norm_does_not_mix_samples_or_steps():
    module, x = build(gf.LayerNorm()), currents()
    assert_close(module(x)[0][2:4, 1:2], module(x[2:4, 1:2])[0], **SAME)


@pytest.mark.parametrize("norm", [gf.LayerNorm(), gf.BatchNorm()])
def test_a_new_norm_scales_by_one_and_shifts_by_nothing(norm):
    module = norm.build(H)
    assert module.scale.tolist() == [1.0] * H
    assert module.shift.tolist() == [0.0] * H
    assert norm.label == type(norm).__name__.removesuffix("Norm").lower()


def test_running_averages_move_only_by_update_norms():
    case = one_layer(norm=gf.BatchNorm(momentum=0.25))
    net = case.net()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    run = net(case.x())
    gf.record(net, case.data())
    gf.jacobian_products(net, case.data())
    for key, value in net.state_dict().items():
        assert_equal(value, before[key])
    net.update_norms(run)
    linear = run.layers[0].linear.detach()
    expected = 0.75 * before["layers.0.norm.running_mean"] + 0.25 * linear.mean((0, 1))
    assert_close(net.layers[0].norm.running_mean, expected, **SAME)
    expected = 0.75 * before["layers.0.norm.running_variance"] + 0.25 * linear.flatten(0, 1).var(
        0, correction=1
    )
    assert_close(net.layers[0].norm.running_variance, expected, **SAME)


def test_an_evaluation_run_holds_no_statistics_and_update_norms_ignores_it():
    case = one_layer(norm=gf.BatchNorm(), training=False)
    net = case.net()
    before = net.layers[0].norm.running_mean.clone()
    run = net(case.x())
    assert run.layers[0].norm_statistics is None
    net.update_norms(run)
    assert_equal(net.layers[0].norm.running_mean, before)


def test_the_statistics_hold_no_graph():
    case = one_layer(norm=gf.BatchNorm())
    statistics = case.net()(case.x()).layers[0].norm_statistics
    assert not statistics.mean.requires_grad
    assert not statistics.variance.requires_grad


def test_a_variance_needs_two_values():
    with pytest.raises(ValueError, match="at least two time steps or samples"):
        build(gf.BatchNorm())(currents(shape=(1, 1, H)))


def test_samples_of_an_evaluated_batch_norm_do_not_meet():
    module, x = build(gf.BatchNorm()).eval(), currents()
    assert_close(module(x)[0][:, 1:3], module(x[:, 1:3])[0], **SAME)


def test_norms_run_in_float32():
    for spec in (gf.LayerNorm(), gf.BatchNorm()):
        normed, _ = build(spec, torch.float32)(currents(dtype=torch.float32))
        assert normed.dtype == torch.float32
        exact, _ = build(spec)(currents())
        assert_close(normed, exact, rtol=1e-5, atol=1e-5, why="float32 has 6e-8 per operation")
