"""Flossing: exponents where everything is constant, their gradient by differences, and that they move."""

import numpy as np
import pytest
import torch
from cases import TABLE, Case
from compare import assert_close

import gradflow as gf
from gradflow.flossing import flossing_loss, leading_exponents

SIGMOID = gf.Sigmoid(2.0)


def network(recurrence, *, hidden=5, smooth=False, seed=0, **neuron):
    surrogate = gf.SmoothTwin(SIGMOID) if smooth else SIGMOID
    return gf.RecurrentSNN(
        gf.Sizes(2, 3),
        hidden=hidden,
        recurrence=recurrence,
        neuron=gf.LIF(surrogate=surrogate, **neuron),
        seed=seed,
    ).double()


def inputs(steps=60, batch=2):
    return 2.0 * torch.from_numpy(gf.seeds.normal(0, "x", shape=(steps, batch, 2)))


def test_without_recurrence_the_exponents_are_the_neurons_own():
    """Diagonal dynamics: the exponents are the means of log a, and the largest leads."""
    net = network(gf.NoRecurrence(), detach_reset=True, decay=0.7)
    found = leading_exponents(net(inputs()).layers[0], 2)
    assert_close(found, np.full((2, 2), np.log(0.7)), rtol=1e-12, why="sixty products of 0.7")


@pytest.mark.parametrize("span", [1, 3])
def test_constant_factors_give_the_roots_of_the_characteristic_equation(span):
    """a and φ constant, V diagonal: the exponents solve z^λ = a z^(λ−1) + φ v for the elements v of V."""
    net = network(gf.Skip(span), hidden=4, detach_reset=True, decay=0.6)
    with torch.no_grad():
        net.layers[0].V.copy_(torch.diag(torch.tensor([0.9, 0.5, 0.3, 0.1])))
        net.layers[0].linear.weight.zero_()
        net.layers[0].linear.bias.fill_(-30.0)
    steps = 400
    layer = net(torch.zeros(steps, 1, 2, dtype=torch.float64)).layers[0]
    phi = float(layer.dynamics.phi(layer.u[-1, 0, 0]).detach())
    middle = [-0.6, *[0.0] * (span - 2)] if span > 1 else []
    last = [-phi * v if span > 1 else -0.6 - phi * v for v in (0.9, 0.5, 0.3, 0.1)]
    roots = np.abs(np.concatenate([np.roots([1.0, *middle, constant]) for constant in last]))
    found = leading_exponents(layer, 1)
    assert_close(
        found, np.full((1, 1), np.log(roots.max())), rtol=0, atol=5e-3, why="a transient of order 1 / 400"
    )


@pytest.mark.parametrize("recurrence", [gf.Vanilla(), gf.Skip(3), gf.AdaptiveSkip(3)], ids=str)
def test_the_leading_exponent_is_the_slope_of_the_product(recurrence):
    net = network(recurrence, hidden=6)
    x = inputs(400, 1)
    prod = gf.jacobian_products(net, x).log_spectral[0, 0].values
    slope = np.polyfit(np.arange(100, 400), prod[100:], 1)[0]
    found = float(leading_exponents(net(x).layers[0], 1).detach())
    assert_close(
        found, slope, rtol=0.02, atol=3e-3, why="finite time: 400 steps, and the fluctuation over them"
    )


@pytest.mark.parametrize("recurrence", [gf.Vanilla(), gf.Skip(2), gf.AdaptiveSkip(2)], ids=str)
@pytest.mark.parametrize("leading", [1, 2])
def test_the_gradient_is_a_finite_difference_on_the_smooth_twin(recurrence, leading):
    net, x = network(recurrence, smooth=True), inputs(12)
    parameters = dict(net.named_parameters())
    loss = flossing_loss(net, x, target=0.1, leading=leading, every=3)
    grads = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    h = 1e-6
    for (name, parameter), grad in zip(parameters.items(), grads, strict=True):
        way = torch.from_numpy(gf.seeds.normal(1, name, shape=tuple(parameter.shape)))
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * h * way
                values.append(float(flossing_loss(net, x, target=0.1, leading=leading, every=3)))
                parameter -= sign * h * way
        expected = 0.0 if grad is None else float((grad * way).sum())
        slope = (values[0] - values[1]) / (2 * h)
        assert_close(slope, expected, rtol=1e-5, atol=1e-8, why=f"differences of {name}, h = 1e-6")


def test_flossing_moves_the_measured_exponents_to_the_target():
    net, x = network(gf.Skip(2), hidden=8), inputs(80, 4)
    before = float(gf.fit_decay(gf.jacobian_products(net, x)).rate[0])
    target = before + 0.15
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        flossing_loss(net, x, target=target).backward()
        optimiser.step()
    after = float(gf.fit_decay(gf.jacobian_products(net, x)).rate[0])
    assert_close(
        after, target, rtol=0, atol=0.05, why="a third of the way moved: rates of 80 steps and 4 samples"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"leading": 0}, "leading=0: expected 1 to 8"),
        ({"leading": 9}, "leading=9: expected 1 to 8"),
        ({"every": 0}, "every=0"),
    ],
)
def test_exponents_that_cannot_be_are_refused(options, message):
    case = Case(recurrences=(gf.Skip(2),))
    with pytest.raises(ValueError, match=message):
        flossing_loss(case.net(), case.x(), **options)
    with pytest.raises(ValueError, match="has 6 steps, expected more than the longest span, 50"):
        flossing_loss(TABLE["span over the end"].net(), TABLE["span over the end"].x())


def test_an_empty_window_is_said():
    net = gf.RecurrentSNN(gf.Sizes(2, 3), hidden=4, neuron=gf.LIF(decay=0.0)).double()
    with pytest.raises(ValueError, match="a tangent became exactly zero by step"):
        flossing_loss(net, -100.0 + 0 * inputs(20))
