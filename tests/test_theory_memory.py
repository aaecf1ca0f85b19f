"""Memory of steps: windows against dense steps, none where there is none, and products of paired steps."""

import math
from dataclasses import replace

import numpy as np
import pytest
from compare import assert_close
from test_theory_typical import TAPS, atoms, direct, one_step

import gradflow as gf
from gradflow.theory import (
    second_moments,
    spread,
    steady_state,
    transfer_curve,
    transfer_operator,
    typical_product,
)
from gradflow.theory.memory import Frame, gated, memory
from gradflow.theory.memory import one_step as one_step_of
from gradflow.theory.typical import Step
from gradflow.transition import LayerTransition, Transition


@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize("taps", TAPS.values(), ids=TAPS)
def test_windows_equal_dense_steps(taps, gate):
    layer = atoms(taps, gated=gate)
    state = steady_state(second_moments(layer), layer.V, taps)
    frame = Frame(gated(layer, -1), taps, state, steps=6)
    for start in (8, 6):  # the frame is used again
        G, found = state.right, []
        for t in range(start, start - 6, -1):
            J = one_step(layer, taps, t)
            G = J @ G @ J.T
            found.append(math.log(np.sum(state.left * G)) - len(found) * state.log_mu - state.log_mu)
        back = slice(start, start - 6 if start >= 6 else None, -1)
        got = frame(layer.a[back, 0], layer.phi[back, 0], half=4)
        assert_close(got, [found[3], found[5]], atol=1e-10, why="rounding, six steps of a hundred terms")


@pytest.mark.parametrize("taps", TAPS.values(), ids=TAPS)
def test_single_steps_have_mean_one_and_equal_the_dense_step(taps):
    layer = atoms(taps)
    state = steady_state(second_moments(layer), layer.V, taps, tolerance=1e-12)
    x = one_step_of(layer, taps, state)
    assert_close(x.mean(), 1.0, atol=1e-9, why="G and Λ are iterated to 1e-12 a sweep")
    step = Step(state, layer.V, taps)
    dense = [step(layer.a[t, 0], layer.phi[t, 0])[0] / math.exp(state.log_mu) for t in range(len(x))]
    assert_close(x[:, 0], dense, rtol=1e-10, why="rounding")


def test_steps_without_memory_are_found_to_have_none():
    layer = atoms(TAPS["skip"], neurons=12, count=1500)
    state = steady_state(second_moments(layer), layer.V, TAPS["skip"])
    gap = spread(layer, TAPS["skip"], state=state).gap(13)
    found = memory(layer, TAPS["skip"], state, gap, windows=150)
    # four standard errors, and a tenth of the gap for the closure of its fourth moments
    assert abs(found.shift) < 4 * found.error + 0.1 * gap[12] / 12
    assert found.error < 0.01, "the comparison is sharp"
    assert memory(layer, TAPS["skip"], state, gap[:2], windows=5) == (0.0, 0.0)


def test_the_decay_of_steps_that_come_in_pairs():
    # every step is taken twice, so that the mean of J ⊗ J is not what two steps do
    taps, random = {1: 1.0}, np.random.default_rng(1)
    layer = atoms(taps, neurons=16, count=400, seed=3)
    order = np.repeat(random.integers(0, 400, (200, 30)), 2, axis=0)
    paired = replace(layer, a=layer.a[order, 0], phi=layer.phi[order, 0])
    fit = gf.fit_decay(gf.jacobian_products(Transition((paired,)), norms=("frobenius",)))
    theory, measured = typical_product(paired, window=16, windows=400), fit.rate.item()
    plain = transfer_operator(paired).rate.item()
    assert abs(plain / measured - 1.0) > 0.1, "memory and scatter matter"
    # what is left is a tenth of what they matter, or what 30 samples leave open
    left = 0.1 * abs(plain - measured) + (fit.rate_high - fit.rate_low).item()
    assert abs(theory.rate.item() - measured) < left
    assert abs(theory.memory.item()) > 4 * theory.rate_error.item()
    assert_close(theory.rate_average.item(), plain, why="the same number")


@pytest.mark.parametrize("taps", [TAPS["vanilla"], TAPS["skip"]])
def test_the_curve_is_the_mean_log_of_direct_products(taps):
    layer, last = atoms(taps, neurons=16, count=400), 80
    logs = direct(layer, taps, draws=300, last=last)
    curve = typical_product(layer, window=1).log_frobenius.values[0][: last + 1]
    average = transfer_curve(second_moments(layer), layer.V, taps, last + 1)
    error = logs.std(axis=1, ddof=1) / math.sqrt(logs.shape[1])
    gap = average - logs.mean(axis=1)
    assert gap[-1] > 5 * error[-1]
    # the closure of fourth moments is good to a fifth, at every lag
    assert (np.abs(curve - logs.mean(axis=1)) < 0.2 * np.maximum(gap, 0.0) + 4 * error + 0.02).all()


def test_refusals():
    layer = atoms({1: 1.0})
    state = steady_state(second_moments(layer), layer.V, {1: 1.0})
    with pytest.raises(ValueError, match="0 windows of 3 steps; expected one or more, of 1 … 9 steps"):
        memory(layer, {1: 1.0}, state, np.zeros(4), windows=0)
    with pytest.raises(ValueError, match="2 windows of 10 steps"):
        memory(layer, {1: 1.0}, state, np.zeros(11), windows=2)
    a = np.where(np.arange(10)[:, None, None] == 4, 0.0, layer.a)
    cut = replace(layer, a=a, phi=np.where(a == 0.0, 0.0, layer.phi))
    with pytest.raises(ValueError, match="1 of 9 steps let nothing through"):
        typical_product(cut, window=3, windows=2)
    alone = LayerTransition(layer.a[:, :, :2], layer.phi[:, :, :2] * 0.0, np.eye(2), (), ())
    assert np.isfinite(typical_product(alone, window=3, windows=4).rate.item())
