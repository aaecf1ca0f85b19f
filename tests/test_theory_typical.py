"""The typical product: dense twins of the steady state and of a step, and the mean log of direct products."""

import math

import numpy as np
import pytest
from compare import assert_close

from gradflow.theory import Moments, second_moments, transfer_curve, typical_product
from gradflow.theory.steady import steady_state
from gradflow.theory.typical import Spread, Step, spread, twice
from gradflow.transition import LayerTransition

TAPS = {"vanilla": {1: 1.0}, "skip": {3: 1.0}, "adaptive": {1: 0.6, 3: 0.5}}
ATOMS, NEURONS = 9, 4


def atoms(taps, neurons=NEURONS, count=ATOMS, seed=0, gated=False):
    """A layer whose steps before the last are equally likely values of (a, φ), correlated between neurons."""
    random = np.random.default_rng(seed)
    drive = random.normal(size=(count + 1, 1, neurons)) + 0.7 * random.normal(size=(count + 1, 1, 1))
    phi = np.maximum(0.0, 1.0 - np.abs(drive))
    V = np.linalg.qr(random.normal(size=(neurons, neurons)))[0] * 1.2
    gate = np.tile(random.uniform(0.7, 1.3, neurons), (count + 1, 1)) if gated else None
    return LayerTransition(0.6 * (1.0 - phi), phi, V, tuple(taps), tuple(taps.values()), gate)


def one_step(layer, taps, t):
    """J: the state (v(t+1), …, v(t+D)) to (v(t), …, v(t+D−1))."""
    depth, n = max(taps), layer.V.shape[0]
    gate = np.ones(n) if layer.gate is None else layer.gate[t]
    J = np.eye(depth * n, k=-n)
    J[:n, :n] += np.diag(layer.a[t, 0])
    for d, p in taps.items():
        J[:n, (d - 1) * n : d * n] += p * layer.phi[t, 0][:, None] * (gate[:, None] * layer.V).T
    return J


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("taps", TAPS.values(), ids=TAPS)
def test_both_eigenvectors_are_those_of_the_dense_operator(taps, gated):
    layer = atoms(taps, gated=gated)
    state = steady_state(second_moments(layer), layer.V, taps, tolerance=1e-12)
    steps = [one_step(layer, taps, t) for t in range(ATOMS)]
    mu = math.exp(state.log_mu)
    after = sum(J @ state.right @ J.T for J in steps) / ATOMS
    before = sum(J.T @ state.left @ J for J in steps) / ATOMS
    assert_close(after, mu * state.right, atol=1e-9 * state.right.max(), why="iterated to 1e-12 a sweep")
    assert_close(before, mu * state.left, atol=1e-9 * state.left.max(), why="iterated to 1e-12 a sweep")
    assert_close(np.sum(state.left * state.right), 1.0, atol=1e-12, why="rounding")


@pytest.mark.parametrize("taps", TAPS.values(), ids=TAPS)
def test_one_step_in_blocks_equals_the_dense_step(taps):
    layer = atoms(taps)
    state = steady_state(second_moments(layer), layer.V, taps)
    step = Step(state, layer.V, taps)
    for t in range(ATOMS):
        J = one_step(layer, taps, t)
        M = J.T @ state.left @ J
        one, two = step(layer.a[t, 0], layer.phi[t, 0])
        assert_close(one, np.sum(M * state.right), rtol=1e-11, why="rounding in a few hundred terms")
        assert_close(two, twice(M, state.right), rtol=1e-11, why="rounding in a few hundred terms")


def direct(layer, taps, draws, last, seed=1):
    """log ‖P(T,t)‖_F (lag, draw) for steps drawn from the atoms independently of each other."""
    random = np.random.default_rng(seed)
    n, count = layer.V.shape[0], len(layer.a) - 1
    P, log, found = {0: np.broadcast_to(np.eye(n), (draws, n, n))}, np.zeros(draws), []
    found.append(np.full(draws, 0.5 * math.log(n)))
    for lag in range(1, last + 1):
        now = random.integers(0, count, draws)
        new = P[lag - 1] * layer.a[now, 0][:, None, :]
        for d, p in taps.items():
            if d <= lag:
                new = new + p * P[lag - d] @ layer.V * layer.phi[now, 0][:, None, :]
        size = np.sqrt((new**2).sum(axis=(1, 2)))
        log = log + np.log(size)
        P = {k: old / size[:, None, None] for k, old in P.items() if k > lag - max(taps)}
        P[lag] = new / size[:, None, None]
        found.append(log.copy())
    return np.array(found)


@pytest.mark.parametrize("taps", TAPS.values(), ids=TAPS)
def test_the_mean_log_of_direct_products(taps):
    layer, last = atoms(taps, neurons=16, count=60), 120
    logs = direct(layer, taps, draws=400, last=last)
    error = logs.std(axis=1, ddof=1) / math.sqrt(logs.shape[1])
    average = transfer_curve(second_moments(layer), layer.V, taps, last + 1)
    found = spread(layer, taps, draws=2000)
    predicted = average - found.gap(last + 1)
    gap = (average - logs.mean(axis=1))[-1]
    assert gap > 10 * error[-1], "there is a gap, and the comparison is sharp"
    # the closure is not exact: log-norms are not normal and rows not Gaussian
    assert abs(predicted - logs.mean(axis=1))[-1] < 0.2 * gap + 4 * error[-1]
    measured = (logs[last].var(ddof=1) - logs[last // 2].var(ddof=1)) / (last - last // 2)
    assert 0.6 < found.variance / measured < 1.5, (
        "a variance from 400 draws is known to 10 %, and the closure"
    )


def test_scalars_scatter_as_their_logs_do():
    # one neuron without recurrence: log |P| is a sum of independent logs; a ratio near 1 is nearly log-normal
    random = np.random.default_rng(0)
    a = np.exp(0.1 * random.normal(size=(4001, 1, 1)) - 0.5)
    layer = LayerTransition(a, np.zeros_like(a), np.ones((1, 1)), (), ())
    found = spread(layer, {}, draws=4000)
    assert_close(found.variance, 0.01, rtol=0.08, why="fourth moments of 4,000 draws are known to 5 %")
    assert_close(found.average_rate - found.variance, -0.5, atol=0.003, why="two standard errors of the mean")


@pytest.mark.parametrize("seed", range(4))
def test_where_all_rows_become_parallel_only_their_size_scatters(seed):
    # one neuron outlives the others, whose V is all but nothing: log-norms scatter as its own factors do
    random = np.random.default_rng(2)
    a = random.uniform(0.3, 0.5, size=(2001, 1, 4))
    a[..., 0] = np.exp(0.1 * random.normal(size=(2001, 1)) - 0.1)
    layer = LayerTransition(a, 0.05 * np.ones_like(a), 0.02 * random.normal(size=(4, 4)), (2,), (1.0,))
    found = spread(layer, {2: 1.0}, seed=seed)
    assert found.overlap > 0.999
    plus, minus = found.growth
    assert minus <= plus
    slope = np.diff(found.gap(200))[-1]
    assert_close(
        slope, 0.01, rtol=0.1, why="the variance of 2,000 logs is known to 3 %, their fourth moments less"
    )


def test_spread_in_closed_form():
    # independent Gaussian matrices of variance 1/H: w = 1/H, q₁ = 1 + 2/H², q₂ = (2 + 1/H)/H, and exactly
    # E ‖X v‖⁴ = (1 + 2/H) (E ‖X v‖²)²
    H = 50
    gaussian = Spread(1 + 2 / H**2, (2 + 1 / H) / H, 1 / H, 0.0)
    assert_close(gaussian.variance, 0.25 * math.log(1 + 2 / H), rtol=0.05, why="corrections of order 1/H")
    gap = gaussian.gap(4000)
    assert_close(gap[0], 0.0, atol=1e-15, why="P(T,T) = 1")
    assert_close(gap[-1] - gap[-2], gaussian.variance, rtol=1e-6, why="rows are parallel by then")
    assert gap[1] < 0.1 * gaussian.variance, "at first every row scatters on its own"


def test_a_transition_is_labelled_and_constant_factors_have_no_gap():
    a, phi = np.full((60, 2, 3), 0.4), np.full((60, 2, 3), 0.5)
    layer = LayerTransition(a, phi, 0.9 * np.eye(3), (2,), (1.0,))
    found = typical_product(layer)
    average = transfer_curve(second_moments(layer), layer.V, {2: 1.0}, 60)
    assert found.log_frobenius.dims == ("layer", "lag")
    assert_close(found.log_frobenius.values[0], average, atol=1e-9, why="nothing scatters: rounding")
    assert abs(found.scatter.item()) + abs(found.memory.item()) < 1e-10
    assert found.rate.attrs["units"] == "nats per step"


def test_refusals():
    layer = atoms({1: 1.0})
    with pytest.raises(ValueError, match="draws: got 0"):
        spread(layer, {1: 1.0}, draws=0)
    zero = np.zeros((2, 2))
    dead = Moments(zero, zero, zero, np.zeros(2), np.zeros(2))
    with pytest.raises(ValueError, match="every product ends in 0"):
        steady_state(dead, np.eye(2), {1: 1.0})
