"""Every surrogate against its closed form, its twin, and the backward pass that a network really uses."""

import itertools
import math

import numpy as np
import pytest
import torch
from cases import SURROGATES, one_layer
from compare import assert_close, assert_equal

import gradflow as gf


def bell(x, mean, deviation):
    return math.exp(-((x - mean) ** 2) / (2 * deviation**2)) / (deviation * math.sqrt(2 * math.pi))


# φ(x) with the width or steepness as published; written out per point, without gradflow or torch
CLOSED = {
    "triangle": lambda x, w: max(0.0, 1 - abs(x) / w) / w,
    "rectangle": lambda x, w: 1 / w if abs(x) < w / 2 else 0.0,
    "exponential": lambda x, k: k * math.exp(-k * abs(x)),
    "sigmoid": lambda x, k: k * math.exp(-k * abs(x)) / (1 + math.exp(-k * abs(x))) ** 2,
    "arctangent": lambda x, k: k / 2 / (1 + (math.pi / 2 * k * x) ** 2),
    "multi-gaussian": lambda x, w: (
        0.5 * (1.15 * bell(x, 0, w) - 0.15 * bell(x, w, 6 * w) - 0.15 * bell(x, -w, 6 * w))
    ),
}
DEFAULT = {
    "triangle": 1,
    "rectangle": 1,
    "exponential": 1,
    "sigmoid": 4,
    "arctangent": 2,
    "multi-gaussian": 0.5,
}
RISE = {
    "triangle": 1,
    "rectangle": 1,
    "exponential": 2,
    "sigmoid": 1,
    "arctangent": 1,
    "multi-gaussian": 0.425,
}
GRID = torch.cat([torch.linspace(-3, 3, 121), torch.tensor([-40.0, 1e-9, 40.0])]).double()
ROUNDING = {"rtol": 1e-12, "atol": 1e-15, "why": "a dozen operations in float64"}


def closed(name, x, scale):
    return np.array([CLOSED[name](float(value), scale) for value in x.flatten()]).reshape(x.shape)


@pytest.fixture(params=SURROGATES)
def name(request):
    return request.param


def test_the_default_scale_is_the_published_one(name):
    assert SURROGATES[name]().scale == DEFAULT[name]
    assert SURROGATES[name]().name == name


@pytest.mark.parametrize("factor", [1.0, 0.5, 3.0])
def test_phi_is_its_closed_form_at_every_scale(name, factor):
    scale = DEFAULT[name] * factor
    assert_close(SURROGATES[name](scale).derivative(GRID), closed(name, GRID, scale), **ROUNDING)


def test_narrowing_keeps_the_area(name):
    kind, x = SURROGATES[name], GRID
    for factor in (0.5, 2.0):
        # a width divides the argument, a steepness multiplies it
        squeeze = factor if "steepness" in kind.__dataclass_fields__ else 1 / factor
        expected = squeeze * kind().derivative(squeeze * x)
        assert_close(kind(DEFAULT[name] * factor).derivative(x), expected, **ROUNDING)


def test_the_peak_is_the_largest_value_and_lies_at_the_threshold(name):
    kind = SURROGATES[name]
    for factor in (1.0, 0.7):
        surrogate = kind(DEFAULT[name] * factor)
        assert surrogate.peak == pytest.approx(CLOSED[name](0.0, surrogate.scale), rel=1e-14)
        assert float(surrogate.derivative(GRID).max()) <= surrogate.peak


@pytest.mark.parametrize("factor", [1.0, 0.4])
def test_the_twin_is_the_antiderivative(name, factor):
    surrogate, h = SURROGATES[name](DEFAULT[name] * factor), 1e-5
    bends = torch.tensor([-1, -0.5, 0, 0.5, 1], dtype=torch.float64) * surrogate.scale
    x = GRID[(GRID[:, None] - bends).abs().min(dim=1).values > 2 * h]
    assert len(x) > 100
    slope = (surrogate.twin(x + h) - surrogate.twin(x - h)) / (2 * h)
    # truncation h² φ''/6 with φ'' up to about 100 at these scales; rounding 1e-16 / h
    assert_close(slope, surrogate.derivative(x), rtol=1e-7, atol=3e-9, why="central differences, h = 1e-5")
    assert_close(
        surrogate.twin(torch.tensor([-1e9, 1e9]).double()),
        [0, RISE[name]],
        atol=1e-8,
        why="tail of 1/x at 1e9",
    )


def test_the_spike_is_a_step_that_fires_at_the_threshold(name):
    surrogate = SURROGATES[name]()
    for dtype in (torch.float32, torch.float64):
        x = torch.tensor([-1.0, -1e-30, -0.0, 0.0, 1e-30, 2.0], dtype=dtype)
        assert_equal(surrogate.spike(x), torch.tensor([0, 0, 1, 1, 1, 1], dtype=dtype))


def test_the_smooth_twin_goes_forward_by_the_antiderivative_and_back_by_phi(name):
    surrogate = SURROGATES[name]()
    smooth = gf.SmoothTwin(surrogate)
    x = GRID.clone().requires_grad_()
    y = smooth.spike(x)
    assert_equal(y, surrogate.twin(GRID))
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert_close(grad, closed(name, GRID, DEFAULT[name]), **ROUNDING)
    assert smooth.scale == surrogate.scale
    assert smooth.name == f"smooth {name}"
    assert_equal(smooth.in_window(GRID), surrogate.in_window(GRID))


def test_the_backward_inside_a_network_is_the_one_named(name):
    """∂s/∂u and ∂u[1]/∂u[0] of a network against the closed form (a known failure of other libraries)."""
    case = one_layer(gf.LIF(decay=0.5, surrogate=SURROGATES[name]()), gf.NoRecurrence(), hidden=(9,), steps=2)
    layer = case.net()(case.x(), track_drive=True).layers[0]
    phi = closed(name, layer.u.detach().numpy() - 1.0, DEFAULT[name])
    assert np.ptp(phi) > 0.1 * phi.max(), "the potentials must tell surrogates apart"
    (through_spike,) = torch.autograd.grad(layer.s[1].sum(), layer.drive, retain_graph=True)
    assert_close(through_spike[1], phi[1], **ROUNDING)
    (through_reset,) = torch.autograd.grad(layer.u[1].sum(), layer.drive)
    assert_close(through_reset[0], 0.5 * (1 - phi[0]), **ROUNDING)


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(SURROGATES, 2)))
def test_networks_with_different_surrogates_have_different_gradients(one, other):
    def grad(name):
        case = one_layer(gf.LIF(surrogate=SURROGATES[name]()))
        net = case.net()
        return torch.autograd.grad(net(case.x()).logits.square().sum(), net.layers[0].linear.weight)[0]

    assert not torch.allclose(grad(one), grad(other), rtol=1e-3)


def test_in_window_means_not_zero_or_more_than_a_hundredth_of_the_peak(name):
    phi = closed(name, GRID, DEFAULT[name])
    threshold = 0.0 if name in ("triangle", "rectangle") else 0.01 * CLOSED[name](0.0, DEFAULT[name])
    assert_equal(SURROGATES[name]().in_window(GRID), np.abs(phi) > threshold)
    assert SURROGATES[name].compact == (name in ("triangle", "rectangle"))


def test_phi_is_finite_far_from_the_threshold(name):
    for dtype in (torch.float32, torch.float64):
        far = torch.tensor([-1e30, 1e30], dtype=dtype)
        assert_close(SURROGATES[name]().derivative(far), np.zeros(2), atol=1e-30, why="φ vanishes far away")


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan, True, "1", None])
def test_a_width_that_is_no_positive_number_is_refused(name, scale, no_shape_checks):
    with pytest.raises(ValueError, match="width or steepness must be a positive finite number"):
        SURROGATES[name](scale)


def test_gradients_pass_torchs_own_check_on_the_twin(name):
    x = torch.tensor([-1.3, -0.7, -0.2, 0.3, 0.8, 1.4], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gf.SmoothTwin(SURROGATES[name]()).spike, (x,))
