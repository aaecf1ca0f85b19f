"""Checks of notebook 2: one-step Jacobians, their product, and what number formats make of it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from gradflow.analysis.zeros import zero_summary
from gradflow.course.checking import NotYet, close, exercise
from gradflow.gradients import layer_gradients
from gradflow.jacobian import dense_products, jacobian_products
from gradflow.network import RecurrentSNN
from gradflow.recurrence import Vanilla
from gradflow.tasks import Sizes
from gradflow.theory import mean_square
from gradflow.transition import DenseTransition, LayerTransition, Transition, local_jacobians

STEPS, NEURONS = 12, 5


def small_network(seed: int) -> tuple[RecurrentSNN, torch.Tensor]:
    """Return a vanilla network in float64, small enough for autograd, and an input that makes it fire."""
    net = RecurrentSNN(Sizes(2, 3), hidden=NEURONS, recurrence=Vanilla(), seed=seed, dtype=torch.float64)
    stream = torch.Generator().manual_seed(seed)
    return net, 3.0 * torch.rand(STEPS, 1, 2, generator=stream, dtype=torch.float64)


def factors(net: RecurrentSNN, x: torch.Tensor) -> LayerTransition:
    """Return a, φ and V of the network's only layer."""
    (layer,) = local_jacobians(net, x).layers
    assert isinstance(layer, LayerTransition)
    return layer


@exercise("one-step-jacobian", "a on the diagonal; and V, whose column j is multiplied by φ of the sender j.")
def one_step_jacobian(jacobian: Callable[..., Any]) -> None:
    """Check (a, phi, V) → J against torch's autograd through the reference engine."""
    net, x = small_network(1)
    layer = factors(net, x)
    found = jacobian(layer.a[-2, 0], layer.phi[-2, 0], layer.V)
    close(found, dense_products(net, x)[0][0, 1], what="J")


@exercise("zero-lag", "a curve e^(rate · n) meets the smallest number where rate · n = log(smallest).")
def zero_lag(lag: Callable[[float, float], float]) -> None:
    """Check (rate, smallest) → lag: a scalar that decays at this rate passes the number right there."""
    for rate, smallest in ((-0.5, 2.0**-149), (-0.04, 2.0**-24), (-1.3, 5e-324)):
        found = float(lag(rate, smallest))
        powers = rate * np.array([found - 1.0, found + 1.0])
        if not powers[1] < np.log(smallest) < powers[0]:
            raise NotYet(f"with a rate of {rate} the curve does not pass {smallest:.2g} at lag {found:.4g}.")


@exercise(
    "log-norms", "divide P by its norm after each step and add up the logarithms of what you divided by."
)
def log_norms(logs: Callable[..., Any]) -> None:
    """Check (jacobians, from the last step to the first) → log ‖P‖ at lags 1, 2, … against the library."""
    stream = np.random.default_rng(3)
    jacobians = 1e-3 * stream.standard_normal((200, 4, 4))
    truth = jacobian_products(Transition((DenseTransition(jacobians[:, None]),)))
    found = logs(list(jacobians[::-1]))
    close(found, truth.log_frobenius.values[0, 0, 1:], what="log ‖P‖ at place", rtol=1e-9)


@exercise(
    "structural-zeros", "replace every number by whether it is 0, and multiply those matrices: @ of booleans."
)
def structural_zeros(share: Callable[..., float]) -> None:
    """Check (jacobians, from the last step to the first) → share of structural zeros of their product."""
    stream = np.random.default_rng(4)
    for steps in (3, 60):
        sparse = stream.uniform(0.5, 1.0, (steps, 6, 6)) * (stream.random((steps, 6, 6)) < 0.2) * 1e-9
        products = jacobian_products(Transition((DenseTransition(sparse[:, None]),)))
        truth = zero_summary(products).share_structural.values[0, -1]
        close(float(share(list(sparse[::-1]))), truth, what=f"the share after {steps} steps")


@exercise("adjoint", "go back in time; at each t: φ[t] times (e[t] + Vᵀ g[t+1]), plus a[t] times g[t+1].")
def adjoint(backward: Callable[..., Any]) -> None:
    """Check (a, phi, V, e) → g, each (time, neuron), against autograd for a loss on every step."""
    net, x = small_network(5)
    run = net(x, track_drive=True)
    weights = torch.linspace(-1.0, 1.0, 3, dtype=torch.float64)
    (gradients,) = layer_gradients(run, (run.outputs * weights).sum(dim=(0, 2)))
    layer = factors(net, x)
    e = np.tile((net.output.weight.T @ weights).detach().numpy(), (STEPS, 1))
    found = backward(layer.a[:, 0], layer.phi[:, 0], layer.V, e)
    close(found, gradients.u[:, 0].detach().numpy(), what="g at (t, neuron)", atol=1e-12)


@exercise(
    "mean-square-rate",
    "half the logarithm of E[a²] + g² E[φ²], where g² is the sum of all V² over the neurons.",
)
def mean_square_rate(rate: Callable[..., float]) -> None:
    """Check (a, phi, V) → rate of a vanilla layer, nats per step, against the library's mean square."""
    for seed in (6, 7):
        net, x = small_network(seed)
        layer = factors(net, x)
        truth = mean_square(jacobian_products(net, x)).rate.item()
        # the library takes moments over the steps before the last
        close(float(rate(layer.a[:-1, 0], layer.phi[:-1, 0], layer.V)), truth, what="the rate")
