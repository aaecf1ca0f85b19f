"""Each neuron model against its published equations, one neuron at a time, and against its limits."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import SURROGATES
from compare import assert_close, assert_equal
from scipy.special import expit, logit

import gradflow as gf
from gradflow.engine import reference
from gradflow.recurrence import Taps

STEPS, NEURONS = 7, 3
NOTHING = Taps((), torch.ones(0, dtype=torch.float64))
ROUNDING = {"rtol": 1e-12, "atol": 1e-14, "why": "a few operations a step in float64"}
MODELS = {
    "lif soft": gf.LIF(),
    "lif hard": gf.LIF(reset=gf.Reset.HARD, decay=0.8, threshold=0.7),
    "plif": gf.PLIF(decay=0.3, per_neuron=True, reset=gf.Reset.HARD),
    "glif": gf.GLIF(per_neuron=True),
    "glif shared": gf.GLIF(alpha=0.2, beta=0.9, gamma=0.7),
}


def build(spec, steps=STEPS):
    parameters = spec.build(NEURONS, steps).double()
    with torch.no_grad():
        for parameter in parameters.parameters():
            parameter += torch.linspace(-0.5, 0.7, parameter.numel()).double().reshape(parameter.shape)
    return parameters


def currents(seed=0, steps=STEPS, batch=4):
    return torch.from_numpy(gf.seeds.normal(seed, "currents", shape=(steps, batch, NEURONS)) * 1.2 + 0.4)


def run(parameters, current):
    dynamics = parameters.dynamics(current)
    return reference(dynamics.drive(current), None, dynamics, NOTHING)


@pytest.mark.parametrize("reset", list(gf.Reset))
def test_lif_by_hand(reset):
    """α = ½, θ = 1: worked out on paper for one neuron driven by 0.8, 0.8, 0.2, 1.5."""
    drive = torch.tensor([0.8, 0.8, 0.2, 1.5], dtype=torch.float64)[:, None, None].expand(4, 1, NEURONS)
    trace = run(build(gf.LIF(reset=reset)), drive)
    u = {"soft": [0.8, 1.2, 0.3, 1.65], "hard": [0.8, 1.2, 0.2, 1.6]}[reset.value]
    assert_close(trace.u[:, 0, 0], u, **ROUNDING)
    assert trace.s[:, 0, 0].tolist() == [0, 1, 0, 1]


def test_plif_is_lif_with_the_sigmoid_as_decay():
    parameters = build(gf.PLIF(per_neuron=True))
    alphas = expit(parameters.raw_decay.detach().numpy())
    assert len(set(alphas)) == NEURONS
    trace = run(parameters, currents())
    for j, alpha in enumerate(alphas):
        same = run(build(gf.LIF(decay=float(alpha))), currents())
        assert_close(trace.u[..., j], same.u[..., j], **ROUNDING)


def test_plif_starts_at_its_decay():
    for decay in (0.1, 0.5, 0.99):
        leak = gf.PLIF(decay=decay).build(3, None).dynamics(torch.zeros(1).double()).leak
        assert_close(leak, decay, rtol=1e-14, why="sigmoid of logit")


def test_glif_follows_the_published_update():
    parameters = build(MODELS["glif"])
    al, be, ga, tau, lin, r, g = (
        expit(getattr(parameters, f"raw_{key}").detach().numpy())
        for key in ("alpha", "beta", "gamma", "leak", "linear_decay", "reset_voltage", "conductance")
    )
    theta, current = parameters.threshold.detach().numpy(), currents().numpy()
    u, s = np.zeros((4, NEURONS)), np.zeros((4, NEURONS))
    trace = run(parameters, torch.from_numpy(current))
    for t in range(STEPS):
        decay = (1 - al * (1 - tau)) * u * (1 - ga * s) - (1 - al) * lin
        u = decay + (1 - be * (1 - g[t])) * current[t] - (1 - ga) * r * s
        s = (u >= theta).astype(float)
        assert_close(trace.u[t], u, **ROUNDING)
        assert_equal(trace.s[t], s)
    assert 0.1 < trace.s.mean() < 0.9


def test_glif_with_open_and_shut_gates_is_lif():
    """α → 1, β → 0, γ → 0 leaves u ← τ u + I − r s: soft LIF of decay τ where r = τ θ; γ → 1: hard."""
    for gamma, reset in ((1e-16, gf.Reset.SOFT), (1 - 1e-16, gf.Reset.HARD)):
        spec = gf.GLIF(leak=0.6, reset_voltage=0.6, threshold=1.0, per_neuron=False)
        parameters = spec.build(NEURONS, STEPS).double()
        with torch.no_grad():
            parameters.raw_alpha.fill_(40.0)
            parameters.raw_beta.fill_(-40.0)
            parameters.raw_gamma.fill_(-40.0 if gamma < 0.5 else 40.0)
        trace = run(parameters, currents())
        same = run(gf.LIF(decay=0.6, reset=reset).build(NEURONS, STEPS), currents())
        assert_close(trace.u, same.u, atol=1e-14, rtol=1e-13, why="sigmoid(40) is 1 − 4e-18")
        assert_equal(trace.s, same.s)


def test_glif_starts_at_its_coefficients():
    spec = gf.GLIF(
        alpha=0.2, beta=0.3, gamma=0.4, leak=0.6, reset_voltage=0.7, conductance=0.8, threshold=-0.5
    )
    parameters = spec.build(NEURONS, 10).double()
    given = {name: getattr(spec, name) for name in ("alpha", "beta", "gamma", "leak", "reset_voltage")}
    for name, value in given.items():
        assert_close(getattr(parameters, f"raw_{name}"), logit(value), rtol=1e-12, why="two logs")
    assert parameters.raw_conductance.shape == (10,)
    assert parameters.threshold.item() == -0.5
    # published: θ / 2T
    assert_close(expit(parameters.raw_linear_decay.item()), 0.5 / 20, rtol=1e-12, why="sigmoid of logit")
    assert gf.GLIF(per_neuron=True).build(3, 10).raw_conductance.shape == (10, 3)


def test_the_glif_threshold_is_free_and_learned():
    parameters = build(MODELS["glif"])
    with torch.no_grad():
        parameters.threshold.copy_(torch.tensor([-2.0, 0.5, 30.0]))
    trace = run(parameters, currents())
    trace.s.sum().backward()
    assert trace.s[..., 2].sum() == 0
    assert parameters.threshold.grad[1] != 0


@pytest.mark.parametrize("surrogate", list(SURROGATES))
@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_the_local_jacobian_is_that_of_autograd(model, detached, surrogate):
    """a[t] = ∂u[t+1]/∂u[t] without recurrence, and ∂c/∂s, for every reset, surrogate and model."""
    spec = replace(MODELS[model], detach_reset=detached, surrogate=SURROGATES[surrogate]())
    current = currents(steps=2)
    dynamics = build(spec).dynamics(current)
    drive = dynamics.drive(current).detach().requires_grad_()
    trace = reference(drive, None, dynamics, NOTHING)
    (a,) = torch.autograd.grad(trace.u[1].sum(), drive)
    u, s = trace.u[0].detach(), trace.s[0].detach()
    assert_close(dynamics.local(u, s, dynamics.phi(u)), a[0], **ROUNDING)
    spike = s.clone().requires_grad_()
    carried = dynamics.carry(u, spike)
    through = torch.zeros_like(s) if detached else torch.autograd.grad(carried.sum(), spike)[0]
    assert_close(dynamics.through_reset(u), through, **ROUNDING)


@pytest.mark.parametrize("model", MODELS)
def test_coefficients_follow_the_dtype(model):
    for dtype in (torch.float32, torch.float64):
        current = currents().to(dtype)
        trace = run(MODELS[model].build(NEURONS, STEPS).to(dtype), current)
        assert trace.u.dtype == trace.s.dtype == dtype


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gf.LIF(decay=1.1), r"LIF\(decay=1.1\): expected a number from 0"),
        (lambda: gf.LIF(decay=-0.1), r"LIF\(decay=-0.1\): expected a number from 0"),
        (lambda: gf.LIF(decay=math.nan), r"LIF\(decay=nan\)"),
        (lambda: gf.LIF(decay=True), r"LIF\(decay=True\)"),
        (lambda: gf.LIF(threshold=0), r"LIF\(threshold=0\): expected a number strictly between 0"),
        (lambda: gf.LIF(threshold=math.inf), r"LIF\(threshold=inf\)"),
        (lambda: gf.LIF(reset="none"), r"LIF\(reset='none'\): expected Reset.SOFT or Reset.HARD"),
        (lambda: gf.PLIF(decay=0.0), r"PLIF\(decay=0.0\): expected a number strictly between 0"),
        (lambda: gf.PLIF(decay=1.0), r"PLIF\(decay=1.0\)"),
        (lambda: gf.GLIF(alpha=1.0), r"GLIF\(alpha=1.0\)"),
        (lambda: gf.GLIF(conductance=0), r"GLIF\(conductance=0\)"),
        (lambda: gf.GLIF(threshold=math.nan), r"GLIF\(threshold=nan\)"),
        (lambda: gf.GLIF(steps=0), r"GLIF\(steps=0\)"),
        (lambda: gf.GLIF(steps=2.5), r"GLIF\(steps=2.5\)"),
        (lambda: gf.GLIF().build(3, None), r"number of steps is unknown; give GLIF\(steps=T\)"),
        (
            lambda: run(build(gf.GLIF(), 3), currents()),
            r"has 7 steps but .* 3; build it with GLIF\(steps=7\)",
        ),
    ],
)
def test_a_choice_that_makes_no_neuron_is_refused(make, message, no_shape_checks):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_reset_may_be_given_by_its_word(no_shape_checks):
    assert gf.LIF(reset="hard") == gf.LIF(reset=gf.Reset.HARD)


def test_conventions_say_what_changes_a_curve():
    said = gf.LIF(decay=0.9, threshold=2.0, reset=gf.Reset.HARD, detach_reset=True).conventions()
    assert said == {
        "neuron": "LIF", "decay": 0.9, "threshold": 2.0, "reset": "hard", "detach_reset": "detached",
        "surrogate": "triangle", "surrogate_scale": 1.0,
    }  # fmt: skip
    said = gf.GLIF(alpha=0.5, leak=0.25, per_neuron=True, surrogate=gf.Sigmoid(2.0)).conventions()
    assert said["decay"] == 1 - 0.5 * 0.75
    assert (said["neuron"], said["surrogate"], said["surrogate_scale"]) == ("GLIF", "sigmoid", 2.0)
    assert said["neuron_parameters"] == "per neuron"
