"""Variance propagation: exact when V is drawn afresh, without underflow, and not what one V does."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from compare import assert_close

import gradflow as gf
from gradflow.theory import impulse_log, residual, variance_curve, variance_propagation
from gradflow.transition import LayerTransition, Transition

# products and sums of fewer than a hundred numbers, and logs near 1
ROUNDING = 1e-12
TAPS = {"vanilla": {1: 1.0}, "skip": {3: -1.0}, "adaptive": {1: 0.5, 2: 0.2, 4: 0.3}}


def factors(seed, steps=10, samples=1, neurons=4):
    """Factors of a layer in which neurons differ and every path matters."""
    random = np.random.default_rng(seed)
    a = random.uniform(0.1, 0.9, (steps, samples, neurons))
    phi = random.uniform(0.0, 1.0, (steps, samples, neurons)) * (
        random.random((steps, samples, neurons)) < 0.8
    )
    gate = random.uniform(0.5, 1.5, (steps, neurons))
    V = random.normal(size=(neurons, neurons)) / math.sqrt(neurons)
    return a, phi, gate, V


def squares(a, phi, gate, taps, draw, last):
    """‖P(T,t)‖_F² of many draws, (lag, draw), by the recursion of the design; `draw(t, d)` gives their V."""
    P = {last: np.broadcast_to(np.eye(a.shape[1]), (len(draw(0, 1)), *[a.shape[1]] * 2))}
    for t in range(last - 1, -1, -1):
        P[t] = P[t + 1] * a[t]
        for d, p in taps.items():
            if t + d <= last:
                P[t] = P[t] + p * (P[t + d] * gate[t + d]) @ draw(t, d) * phi[t]
    return np.stack([(P[last - n] ** 2).sum(axis=(1, 2)) for n in range(last + 1)])


@pytest.mark.parametrize("taps", TAPS.values(), ids=TAPS)
def test_exact_in_the_mean_when_v_is_drawn_afresh_and_not_when_it_is_reused(taps):
    a, phi, gate, profile = factors(0)
    random = np.random.default_rng(1)
    draws = 20_000

    def fresh(t, d):
        return profile * random.normal(size=(draws, *profile.shape))

    reused = fresh(0, 0)
    theory = np.exp(2 * variance_curve(a, phi, profile, taps, gate)[0])
    alone, together = (
        squares(a[:, 0], phi[:, 0], gate, taps, draw, 9) for draw in (fresh, lambda t, d: reused)
    )
    error = alone.std(axis=1, ddof=1) / math.sqrt(draws)
    # 4 standard errors of the mean: exceeded once in 16,000; lag 0 has no error but rounding
    assert (np.abs(alone.mean(axis=1) - theory) <= 4 * error + 1e-12).all()
    assert (error[1:] < 0.05 * theory[1:]).all(), "the comparison is sharp"
    spread = together[-1].std(ddof=1) / math.sqrt(draws)
    assert together[-1].mean() > theory[-1] + 8 * spread, "one V throughout gives more than V drawn afresh"


@pytest.mark.parametrize("taps", TAPS.values(), ids=TAPS)
def test_constant_factors_follow_the_scalar_recursion_at_any_length(taps):
    steps, neurons = 3000, 3
    a, phi = np.full((steps, 1, neurons), 0.3), np.full((steps, 1, neurons), 0.2)
    V = np.sqrt(
        np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5]])
    )  # columns of V∘V add to 1
    square = np.array([taps[d] ** 2 for d in taps])
    expected = 0.5 * impulse_log(0.09, 0.04, list(taps), square, steps) + 0.5 * math.log(neurons)
    got = variance_curve(a, phi, V, taps)[0]
    assert expected.min() < -400, "further than float64 reaches in x"
    assert_close(got, expected, rtol=1e-12, why="3000 steps of rounding, 1e-16 each, in logs up to 4000")


def test_no_element_is_lost_however_far_it_lies_under_the_others():
    # neuron 0 fades by 10⁻¹⁰⁰ a step and dies at t = 2; neuron 1, 10⁻⁸⁰⁰ below it, then carries all
    a = np.array([[[0.0, 0.5]]] * 3 + [[[1.0, 1e-100]]] * 8 + [[[1.0, 1.0]]])
    got = variance_curve(a, np.zeros_like(a), np.zeros((2, 2)), {1: 1.0})[0]
    assert_close(
        got[:9], np.zeros(9) + np.r_[0.5 * math.log(2), np.zeros(8)], atol=ROUNDING, why="1 + 10⁻²⁰⁰"
    )
    assert_close(got[9:], math.log(0.5) * np.arange(1, 4) - 800 * math.log(10), rtol=ROUNDING, why="rounding")
    # the same through V: target 1 feeds source 0 alone, its own square 10⁻⁴⁰⁰ lying under the other's 1
    V = np.array([[0.0, 1.0], [1.0, 0.0]])
    a = np.array([[[0.0, 0.0]], [[1.0, 1e-200]], [[1.0, 1.0]]])
    phi = np.array([[[1.0, 0.0]], [[0.0, 0.0]], [[1.0, 1.0]]])
    assert_close(
        variance_curve(a, phi, V, {1: 1.0})[0, 2], -200 * math.log(10), rtol=ROUNDING, why="rounding"
    )


def test_zeros_are_exact():
    a, phi = np.zeros((7, 1, 2)), np.full((7, 1, 2), 0.5)
    curve = variance_curve(a, phi, np.eye(2), {3: 1.0})[0]
    assert np.isneginf(curve[[1, 2, 4, 5]]).all()
    assert_close(curve[::3], math.log(0.5) * np.arange(3) + 0.5 * math.log(2), atol=ROUNDING, why="rounding")


def test_a_transition_of_a_network_is_labelled_like_its_products():
    net = gf.RecurrentSNN(gf.Sizes(2, 3, 60), hidden=(5, 4), recurrence=gf.AdaptiveSkip(3), neuron=gf.GLIF())
    found = gf.local_jacobians(net, net_inputs(60, 3))
    prod, theory = gf.jacobian_products(found, end=50), variance_propagation(found, end=50)
    assert theory.log_frobenius.dims == prod.log_frobenius.dims
    assert theory.log_frobenius.shape == prod.log_frobenius.shape
    assert theory.attrs["surrogate"] == prod.attrs["surrogate"]
    assert theory.log_frobenius.attrs["units"] == "nats"
    layer = found.layers[1]
    taps = dict(zip(layer.spans, layer.weights, strict=True))
    own = variance_curve(layer.a[:51], layer.phi[:51], layer.V, taps, layer.gate[:51])
    assert_close(theory.log_frobenius[1].values, own, why="the same numbers")
    refitted = gf.fit_decay(theory.assign(p=prod.p))
    assert_close(theory.rate.values, refitted.rate_samples.values, rtol=1e-12, why="fitted in the same way")
    assert np.isfinite(residual(gf.fit_decay(prod), theory).relative_error).all()


def net_inputs(steps, samples):
    import torch

    return torch.from_numpy(np.random.default_rng(3).normal(size=(steps, samples, 2)).astype(np.float32))


def test_refusals():
    layer = LayerTransition(*factors(0)[:2], V=np.eye(4))
    with pytest.raises(ValueError, match="end=10: the sequence has 10 steps"):
        variance_propagation(layer, end=10)
    dense = Transition((gf.DenseTransition(np.zeros((3, 1, 2, 2))),))
    with pytest.raises(ValueError, match=r"DenseTransition.*a dense Jacobian does not have"):
        variance_propagation(dense)
    with pytest.raises(ValueError, match="theory: got layers"):
        variance_propagation(SimpleNamespace(layers=(), conventions={}))
