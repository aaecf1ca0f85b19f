"""The transfer operator of the stack: the mean of direct products, products of constants, and rates."""

import math
from dataclasses import replace

import numpy as np
import pytest
from compare import assert_close

import gradflow as gf
from gradflow.links import Link
from gradflow.theory import (
    StackLayer,
    second_moments,
    transfer_operator,
    transfer_rate_arnoldi,
    transfer_stack,
    transfer_stack_curve,
)
from gradflow.theory.transfer_stack import link_moments
from gradflow.transition import LayerTransition, Transition

ATOMS = 7
SIZES = (3, 4, 2)
TAPS = {
    "vanilla": ({1: 1.0},) * 3,
    "skip": ({4: 1.0}, {2: 1.0}, {3: 1.0}),
    "adaptive": ({1: 0.5, 4: 0.3}, {1: 0.5, 2: 0.2, 4: 0.3}, {2: 0.7}),
    "mixed": ({}, {3: 0.7, 5: -0.3}, {1: 1.0}),
}


def atoms(taps, *, seed=0, together=False, steps=ATOMS):
    """A stack whose steps are equally likely values of (a, φ): φ correlated within layers and, where
    `together`, between them; every other a is cut as by a hard reset."""
    random = np.random.default_rng(seed)
    common = random.normal(size=(steps, 1, 1))
    layers, links, below = [], [], 2
    for k, (n, spans) in enumerate(zip(SIZES, taps, strict=True)):
        shared = common if together else random.normal(size=(steps, 1, 1))
        drive = 0.5 * random.normal(size=(steps, 1, n)) + shared
        phi = np.maximum(0.0, 1.0 - np.abs(drive))
        a = 0.7 * (1.0 - phi) if k % 2 else 0.8 * (drive < 0.5) - 0.3 * phi
        V = np.linalg.qr(random.normal(size=(n, n)))[0] * 1.1
        layers.append(LayerTransition(a, phi, V, tuple(spans), tuple(spans.values())))
        links.append(Link(random.normal(size=(n, below)) / math.sqrt(below)))
        below = n
    return Transition(tuple(layers), links=tuple(links))


def direct(made, draws, last, *, together=False, seed=1):
    """‖∂u_m[T]/∂u_l[t]‖_F² (layer, lag, draw) for steps drawn independently in time, and of each layer."""
    random = np.random.default_rng(seed)
    at = random.integers(0, ATOMS, (last + 1, draws))
    frames = [at if together else random.integers(0, ATOMS, at.shape) for _ in made.layers]
    P = [{} for _ in made.layers]
    for t in range(last, -1, -1):
        for k in range(len(made.layers) - 1, -1, -1):
            layer = made.layers[k]
            a, phi = (x[frames[k][t], 0][:, None, :] for x in (layer.a, layer.phi))
            C = np.zeros((draws, SIZES[-1], SIZES[k]))
            for d, p in zip(layer.spans, layer.weights, strict=True):
                if t + d <= last:
                    C += p * P[k][t + d] @ layer.V
            if k + 1 < len(made.layers):
                C += P[k + 1][t] @ made.links[k + 1].W
                P[k][t] = C * phi + (P[k][t + 1] * a if t < last else 0.0)
            elif t == last:
                P[k][t] = np.broadcast_to(np.eye(SIZES[k]), C.shape)
            else:
                P[k][t] = C * phi + P[k][t + 1] * a
    return np.array(
        [[(P[k][last - n] ** 2).sum(axis=(1, 2)) for n in range(last + 1)] for k in range(len(P))]
    )


def stack_layers(made, link_spread=1.0):
    """What the operator reads, with moments over all atoms."""
    doubled = [
        replace(x, a=np.concatenate([x.a, x.a[:1]]), phi=np.concatenate([x.phi, x.phi[:1]]))
        for x in made.layers
    ]
    return [
        StackLayer(second_moments(x), x.V, dict(zip(x.spans, x.weights, strict=True)), link.W, link_spread)
        for x, link in zip(doubled, made.links, strict=True)
    ]


@pytest.mark.parametrize("taps", TAPS.values(), ids=TAPS)
def test_the_mean_of_direct_products(taps):
    made, last = atoms(taps), 6  # later squares have tails of which 1,000 draws do not know their error
    theory = np.exp(2 * transfer_stack_curve(stack_layers(made), last + 1))
    for draws, seed in ((1000, 1), (30_000, 2)):
        squares = direct(made, draws, last, seed=seed)
        error = squares.std(axis=2, ddof=1) / math.sqrt(draws)
        # 4 standard errors, exceeded once in 16,000; the target's lag 0 has no error but rounding
        assert (np.abs(squares.mean(axis=2) - theory) <= 4 * error + 1e-12).all()
    assert (error <= 0.03 * theory)[:, :5].all(), "the comparison is sharp"


def test_layers_that_are_correlated_at_a_step_are_not_what_it_computes():
    """The closure, measured: factors of different layers drawn together move the average, here by a sixth."""
    made, last = atoms(TAPS["skip"], together=True), 6
    theory = np.exp(2 * transfer_stack_curve(stack_layers(made), last + 1))
    apart, joint = (direct(made, 30_000, last, together=together).mean(axis=2) for together in (False, True))
    assert_close(apart, theory, rtol=0.06, why="4 standard errors of 1.5 %")
    assert_close(joint[2], theory[2], rtol=0.06, why="the target alone has no other layer")
    assert 0.1 < np.log(joint[0] / theory[0])[2:].mean() < 0.25


@pytest.mark.parametrize("taps", TAPS.values(), ids=TAPS)
@pytest.mark.parametrize("gated", [False, True])
def test_constant_factors_give_the_product_itself(taps, gated):
    random, steps = np.random.default_rng(3), 60
    layers, links, below = [], [], 2
    for n, spans in zip(SIZES, taps, strict=True):
        a, phi = (np.tile(random.uniform(0.2, 0.9, n), (steps, 1, 1)) for _ in range(2))
        gate = np.tile(random.uniform(0.5, 1.5, n), (steps, 1)) if gated else None
        V = random.normal(size=(n, n)) / 2
        layers.append(LayerTransition(a, phi, V, tuple(spans), tuple(spans.values()), gate))
        normed = np.tile(random.normal(size=n), (steps, 1, 1)) if gated else None
        deviation = None if normed is None else np.full((steps, 1), 0.8)
        factor = random.uniform(0.5, 1.5, (1, n))
        links.append(Link(random.normal(size=(n, below)), factor, normed, deviation))
        below = n
    made = Transition(tuple(layers), {"task": "none"}, tuple(links))
    for target in (2, 1):
        found = transfer_stack(made, target=target, end=50)
        measured = gf.stack_products(made, end=50).log_frobenius.sel(target=target, layer=found.layer)
        assert_close(
            found.log_frobenius, measured[:, 0], atol=1e-9, why="50 steps of rounding, cancellation in V"
        )
    assert found.attrs["task"] == "none"
    assert found.attrs["theory"] == "transfer operator of the stack"


def test_long_products_do_not_underflow_and_each_layer_keeps_its_own_size():
    steps = 1200
    parts = [
        LayerTransition(np.full((steps, 1, 1), a), np.full((steps, 1, 1), 0.7), np.zeros((1, 1)), (), ())
        for a in (0.9, 0.05)
    ]
    made = Transition(tuple(parts), links=(Link(np.ones((1, 1))), Link(np.full((1, 1), 4.0))))
    curves = transfer_stack(made).log_frobenius
    n = np.arange(steps)
    expected = math.log(4 * 0.7 / 0.85) + (n + 1) * math.log(0.9) + np.log1p(-((0.05 / 0.9) ** (n + 1)))
    assert_close(curves.sel(layer=0), expected, rtol=1e-12, why="1,200 steps of rounding")
    assert_close(curves.sel(layer=1), n * math.log(0.05), rtol=1e-12, why="1,200 steps of rounding")
    assert curves.sel(layer=1)[-1] < -3000, "further than float64 reaches"


def test_a_layer_with_itself_has_its_own_curve_and_the_slowest_layer_the_rate():
    made = atoms(TAPS["skip"], steps=300)
    found, own = transfer_stack(made, asymptotic=True), transfer_operator(made, asymptotic=True)
    assert_close(found.log_frobenius[2], own.log_frobenius[2], atol=1e-11, why="the same recursion")
    rates = own.rate_asymptotic.values
    expected = [max(rates[k:]) for k in range(3)]
    assert_close(found.rate_asymptotic, expected, atol=3e-3, why="moments with and without the end step")
    curve = transfer_stack_curve(stack_layers(made), 601)
    slopes = (curve[:, 600] - curve[:, 400]) / 200
    assert_close(slopes, found.rate_asymptotic, atol=5e-3, why="the same, and transients of slow layers")
    assert rates.argmax() != 0 or rates[0] > rates[1:].max() + 0.01, "layers differ"


def test_rates_of_the_stack_are_those_of_its_own_operator():
    layers = stack_layers(atoms(TAPS["vanilla"]))
    curve = transfer_stack_curve(layers, 801)
    rates = [transfer_rate_arnoldi(x.moments, x.V, x.taps) for x in layers]
    slopes = (curve[:, 800] - curve[:, 600]) / 200
    assert_close(slopes, [max(rates[k:]) for k in range(3)], atol=1e-6, why="gaps of 0.05 over 600 steps")


def test_a_stack_that_does_not_connect_has_no_rate_below():
    made = atoms(TAPS["vanilla"])
    cut = replace(made, links=(*made.links[:2], Link(np.zeros((2, 4)))))
    found = transfer_stack(cut, asymptotic=True)
    assert np.isneginf(found.log_frobenius[:2]).all()
    assert np.isneginf(found.rate_asymptotic[:2]).all()
    assert np.isfinite(found.rate_asymptotic[2])


def test_the_mean_link_of_layer_norm():
    random = np.random.default_rng(0)
    normed = random.normal(size=(30, 4, 5))
    normed -= normed.mean(axis=2, keepdims=True)
    link = Link(random.normal(size=(5, 3)), None, normed, random.uniform(0.5, 1.5, (30, 4)))
    mean, spread = link_moments(link, 19)
    all_of_them = np.array([link.jacobian(t, slice(0, 4)) for t in range(20)])
    assert_close(mean, all_of_them.mean(axis=(0, 1)), rtol=1e-12, why="sums")
    inverse = 1 / link.deviation[:20]
    assert_close(spread, (inverse**2).mean() / inverse.mean() ** 2, rtol=1e-12, why="the same")


@pytest.mark.parametrize("norm", [None, gf.LayerNorm()], ids=["plain", "layer norm"])
def test_the_prediction_meets_a_network_of_its_own_kind(norm):
    task = gf.tasks.psmnist(pool=2)
    net = gf.RecurrentSNN(
        task, hidden=(12, 16, 16), recurrence=gf.Skip(2), neuron=gf.LIF(), norm=norm, seed=1
    )
    found = gf.local_jacobians(net.eval(), task.sample(4))
    theory = transfer_stack(found, end=80)
    measured = gf.stack_products(found, end=80, norms=("frobenius",)).log_frobenius.sel(target=2)
    average = 0.5 * np.log(np.exp(2 * measured).mean("sample"))
    gap = (theory.log_frobenius - average)[:, 60]
    assert np.abs(gap).max() < 2.0, "nats at lag 60 of a product of e^−16; one end, 8 samples, 32 neurons"
    assert average[:, 60].max() < -8


def test_refusals(no_shape_checks):
    made = atoms(TAPS["skip"])
    with pytest.raises(ValueError, match="no links between its layers: it was made without any"):
        transfer_stack(Transition(made.layers))
    for target in (3, -4):
        with pytest.raises(ValueError, match=rf"target={target}\): expected a layer, −3 … 2"):
            transfer_stack(made, target=target)
    with pytest.raises(ValueError, match="end=7: the sequence has 7 steps"):
        transfer_stack(made, end=7)
    with pytest.raises(ValueError, match=r"memory_budget=100: the second moments .* take \d+ bytes"):
        transfer_stack(made, memory_budget=100)
    links = tuple(Link(link.W, np.ones((2, len(link.W)))) for link in made.links)
    twice = [replace(x, a=np.tile(x.a, (1, 2, 1)), phi=np.tile(x.phi, (1, 2, 1))) for x in made.layers]
    with pytest.raises(ValueError, match=r"hold dropout masks.*net.eval\(\)"):
        transfer_stack(Transition(tuple(twice), links=links))
    layers = stack_layers(made)
    with pytest.raises(ValueError, match="got 0 layers, length 3"):
        transfer_stack_curve([], 3)
    with pytest.raises(ValueError, match=r"link of layer 1: got \(2, 4\), expected \(4, 3\)"):
        transfer_stack_curve([layers[0], replace(layers[1], link=layers[2].link)], 3)
    alone = transfer_stack(made, end=0)
    assert_close(alone.log_frobenius[2], [0.5 * math.log(2)], atol=1e-15, why="P(T,T) = 1")
    assert np.isnan(alone.rate).all()
