"""The transfer operator: the mean of direct products, closed forms, and one rate by three methods."""

import math
from dataclasses import replace

import numpy as np
import pytest
from compare import assert_close

import gradflow as gf
from gradflow.theory import (
    Moments,
    impulse_log,
    log_root,
    residual,
    second_moments,
    transfer_curve,
    transfer_operator,
    transfer_rate,
    transfer_rate_arnoldi,
)
from gradflow.transition import LayerTransition, Transition

TAPS = {
    "vanilla": {1: 1.0},
    "skip": {4: 1.0},
    "adaptive": {1: 0.5, 2: 0.2, 4: 0.3},
    "sparse": {3: 0.7, 5: -0.3},
}
ATOMS = 7
NEURONS = 4


def atoms(kind, seed=0):
    """A layer whose steps are the equally likely values of (a, φ) and, independently, of the gate.

    φ is correlated between neurons and a tied to it as by a soft reset, or a spike cuts a as by a hard one.
    """
    random = np.random.default_rng(seed)
    drive = random.normal(size=(ATOMS + 1, 1, NEURONS)) + random.normal(size=(ATOMS + 1, 1, 1))
    phi = np.maximum(0.0, 1.0 - np.abs(drive))
    a = 0.6 * (1.0 - phi) if kind == "soft" else 0.8 * (drive < 0.5) - 0.3 * phi
    gate = random.uniform(0.2, 1.5, (ATOMS + 1, NEURONS)) if kind == "hard, gated" else None
    V = np.linalg.qr(random.normal(size=(NEURONS, NEURONS)))[0] * 1.2
    return LayerTransition(a=a, phi=phi, V=V, gate=gate)


def direct(layer, taps, draws, last, seed=1):
    """‖P(T,t)‖_F² (lag, draw) for steps drawn from the atoms independently of each other."""
    random = np.random.default_rng(seed)
    now, later = (random.integers(0, ATOMS, (last + 1, draws)) for _ in range(2))
    P = {last: np.broadcast_to(np.eye(NEURONS), (draws, NEURONS, NEURONS))}
    gate = np.ones((ATOMS + 1, NEURONS)) if layer.gate is None else layer.gate
    for t in range(last - 1, -1, -1):
        P[t] = P[t + 1] * layer.a[now[t], 0][:, None, :]
        for d, p in taps.items():
            if t + d <= last:
                gated = P[t + d] * gate[1 + later[t + d]][:, None, :]
                P[t] = P[t] + p * gated @ layer.V * layer.phi[now[t], 0][:, None, :]
    return np.stack([(P[last - n] ** 2).sum(axis=(1, 2)) for n in range(last + 1)])


@pytest.mark.parametrize("kind", ["soft", "hard", "hard, gated"])
@pytest.mark.parametrize("taps", TAPS.values(), ids=TAPS)
def test_the_mean_of_direct_products(taps, kind):
    layer, last = atoms(kind), 12
    if len(taps) > 1 and layer.gate is not None:  # several spans meet one gate: exact where it is constant
        layer = replace(layer, gate=np.broadcast_to(layer.gate[0], layer.gate.shape))
    squares = direct(layer, taps, draws=1000, last=last)
    error = squares.std(axis=1, ddof=1) / math.sqrt(squares.shape[1])
    theory = np.exp(2 * transfer_curve(second_moments(layer), layer.V, taps, last + 1))
    # 4 standard errors, exceeded once in 16,000; lag 0 has no error but rounding
    assert (np.abs(squares.mean(axis=1) - theory) <= 4 * error + 1e-12).all()
    # and with a hundred times as many products, to a few per cent
    squares = direct(layer, taps, draws=100_000, last=last, seed=2)
    error = squares.std(axis=1, ddof=1) / math.sqrt(squares.shape[1])
    assert (np.abs(squares.mean(axis=1) - theory) <= 4 * error + 1e-12).all()
    assert (error <= 0.03 * theory).all(), "the comparison is sharp"


@pytest.mark.parametrize("taps", TAPS.values(), ids=TAPS)
@pytest.mark.parametrize("gated", [False, True])
def test_constant_factors_give_the_product_itself(taps, gated):
    random = np.random.default_rng(3)
    steps, samples = 40, 1
    a, phi = (np.tile(random.uniform(0.2, 0.9, NEURONS), (steps, samples, 1)) for _ in range(2))
    gate = np.tile(random.uniform(0.5, 1.5, NEURONS), (steps, 1)) if gated else None
    V = random.normal(size=(NEURONS, NEURONS)) / 2
    layer = LayerTransition(a, phi, V, tuple(taps), tuple(taps.values()), gate)
    measured = gf.jacobian_products(Transition((layer,)), end=30).log_frobenius[0, 0]
    predicted = transfer_operator(layer, end=30).log_frobenius[0]
    assert_close(predicted.values, measured.values, atol=1e-10, why="30 steps of rounding, cancellation in V")


@pytest.mark.parametrize("taps", [TAPS["vanilla"], TAPS["skip"], TAPS["adaptive"]])
def test_constant_scalars_follow_the_closed_form_at_any_length(taps):
    steps, a, b = 1200, 0.1, 0.02
    constant = scalars(a, b)
    expected = impulse_log(a, b, list(taps), list(taps.values()), steps) + 0.5 * math.log(NEURONS)
    got = transfer_curve(constant, np.eye(NEURONS), taps, steps)
    assert expected[-1] < -700, "further than float64 reaches"
    assert_close(got, expected, rtol=1e-12, why="1200 steps of rounding, 1e-16 each, in logs up to 2500")


def scalars(a, phi):
    full = np.ones((NEURONS, NEURONS))
    return Moments(a * a * full, a * phi * full, phi * phi * full, a * full[0], phi * full[0])


def test_holes_of_a_comb_are_exact_zeros():
    curve = transfer_curve(scalars(0.0, 0.5), np.eye(NEURONS), {3: 1.0}, 8)
    assert np.isneginf(curve[[1, 2, 4, 5, 7]]).all()
    assert_close(curve[[0, 3, 6]], math.log(0.5) * np.arange(3) + math.log(2), atol=1e-14, why="rounding")


@pytest.mark.parametrize("kind", ["soft", "hard, gated"])
@pytest.mark.parametrize("taps", TAPS.values(), ids=TAPS)
def test_iteration_arnoldi_and_a_long_curve_agree_on_the_rate(taps, kind):
    layer = atoms(kind)
    moments = second_moments(layer)
    iterated, arnoldi = (rate(moments, layer.V, taps) for rate in (transfer_rate, transfer_rate_arnoldi))
    curve = transfer_curve(moments, layer.V, taps, 1001)
    long = (curve[1000] - curve[600]) / 400
    assert_close(iterated, arnoldi, atol=2e-7, why="each is within 1e-7")
    assert_close(iterated, long, atol=2e-7, why="1e-7, and transients that have died out after 600 steps")


def test_rates_in_closed_form():
    for taps in (TAPS["vanilla"], TAPS["skip"], TAPS["adaptive"]):
        expected = log_root(0.5, 0.35, list(taps), list(taps.values())).item()
        for rate in (transfer_rate, transfer_rate_arnoldi):
            got = rate(scalars(0.5, 0.5), 0.7 * np.eye(NEURONS), taps)
            assert_close(got, expected, atol=1e-7, why="the tolerance of both")
    none = scalars(0.5, 0.0)
    assert_close(transfer_rate(none, np.eye(NEURONS), {}), math.log(0.5), atol=1e-12, why="nothing but a")
    dead = scalars(0.0, 0.0)
    for rate in (transfer_rate, transfer_rate_arnoldi):
        assert rate(dead, np.eye(NEURONS), {2: 1.0}) == -np.inf


def test_two_equal_paths_are_refused_by_iteration_rather_than_guessed():
    layer = atoms("soft")
    with pytest.raises(ValueError, match="3 sweeps, and the last one changed the rate by"):
        transfer_rate(second_moments(layer), layer.V, {4: 1.0}, max_sweeps=3)


def test_the_prediction_meets_a_network_of_its_own_kind():
    task = gf.tasks.psmnist(pool=2)
    net = gf.RecurrentSNN(task, hidden=48, recurrence=gf.Skip(2), neuron=gf.LIF(), seed=1)
    found = gf.local_jacobians(net, task.sample(8))
    prod, theory = gf.jacobian_products(found), transfer_operator(found, asymptotic=True)
    assert theory.log_frobenius.dims == ("layer", "lag")
    assert theory.sizes["lag"] == prod.sizes["lag"]
    assert theory.attrs["surrogate"] == prod.attrs["surrogate"]
    assert theory.rate.attrs["units"] == "nats per step"
    error = residual(gf.fit_decay(prod), theory).relative_error.item()
    assert abs(error) < 0.06, "196 steps and 48 neurons: fluctuations of a few per cent"
    own = transfer_rate(second_moments(found.layers[0]), found.layers[0].V, {2: 1.0})
    assert_close(theory.rate_asymptotic.values, [own], why="the same number")
    error = theory.rate_asymptotic.item() / theory.rate.item() - 1
    assert abs(error) < 0.04, "the fit begins after a tenth of the lags"


def test_refusals():
    layer = atoms("soft")
    moments = second_moments(layer)
    with pytest.raises(ValueError, match="length: got 0"):
        transfer_curve(moments, layer.V, {1: 1.0}, 0)
    with pytest.raises(ValueError, match=r"spans \[0, 2\]"):
        transfer_curve(moments, layer.V, {0: 1.0, 2: 1.0}, 5)
    with pytest.raises(ValueError, match="V: got \\(2, 2\\), expected \\(4, 4\\)"):
        transfer_rate(moments, np.eye(2), {1: 1.0})
    with pytest.raises(ValueError, match=r"V: its largest element is 1e-200"):
        transfer_rate_arnoldi(moments, 1e-200 * np.eye(4), {1: 1.0})
    with pytest.raises(ValueError, match="end=0: there is no step before it"):
        second_moments(layer, end=0)
    with pytest.raises(ValueError, match="phi holds NaN"):
        Moments(moments.a_a, moments.a_phi, moments.phi_phi, moments.a, moments.phi * np.nan)
    alone = transfer_operator(layer, end=0)
    assert_close(alone.log_frobenius.values, [[math.log(2)]], atol=1e-15, why="P(T,T) = 1")
