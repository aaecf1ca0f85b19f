"""Checks of notebook 6: Jacobians of any step, the layer that starves, and the rules for span and gain."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from gradflow.adapters import torch_transition
from gradflow.course.checking import NotYet, close, exercise
from gradflow.theory import critical_gain, predicted_horizon, smallest_span
from gradflow.transition import DenseTransition


@exercise(
    "jacobians",
    "walk the states forward; at each step after the first, torch.func.jacrev(step, argnums=1)(x[t], h) is "
    "∂h[t]/∂h[t−1].",
)
def jacobians(found: Callable[..., Any]) -> None:
    """Check (step, x, h) → J (time − 1, state, state) of a tanh RNN against the library's adapter."""
    torch.manual_seed(3)
    module = torch.nn.RNN(2, 5).double()
    x = torch.rand(9, 2, dtype=torch.float64)
    W, U, b, c = (parameter.detach() for parameter in module.parameters())
    b = b + c

    def step(now: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        return torch.tanh(W @ now + U @ state + b)

    (layer,) = torch_transition(module, x[:, None]).layers
    assert isinstance(layer, DenseTransition)
    got = found(step, x, torch.zeros(5, dtype=torch.float64))
    close(torch.as_tensor(got).detach().numpy(), layer.jacobians[:, 0], what="J at (time, row, column) =")


@exercise("starving", "compare log-norms of one time step, the first, between layers: which is the smallest?")
def starving(layer: Callable[[Any], int]) -> None:
    """Check log-norms (layer, time) → the layer that gets least at the first step."""
    for seed in (1, 2, 3):
        norms = -np.abs(np.random.default_rng(seed).normal(50.0, 20.0, (4, 9)))
        # a layer that gets exactly nothing starves most
        norms[seed % 4, 0] = -np.inf if seed == 3 else norms[seed % 4, 0]
        truth = int(norms[:, 0].argmin())
        if int(layer(norms)) != truth:
            raise NotYet(f"you said layer {layer(norms)}; at the first step the log-norms are {norms[:, 0]}.")


@exercise("span-rule", "try λ = 1, 2, 3 … with gf.theory.predicted_horizon(a², gain², [λ], [1.0]) and stop.")
def span_rule(smallest: Callable[[int, float, float], int]) -> None:
    """Check (demand, E[a²], g² E[φ²]) → span against the library's rule."""
    for demand, a, gain in ((30, 0.2, 0.2), (100, 0.1, 0.3), (60, 0.25, 0.1)):
        truth, said = smallest_span(demand, a, gain), int(smallest(demand, a, gain))
        if said != truth:
            raise NotYet(
                f"for a demand of {demand} steps you said λ = {said}, whose predicted horizon is "
                f"{predicted_horizon(a, gain, [max(said, 1)], [1.0]):.1f}; that is not the smallest enough."
            )


@exercise("gain-rule", "put z = 1 into 1 = E[a²] z⁻¹ + g² E[φ²] z^(−λ) and solve for g.")
def gain_rule(gain: Callable[[float, float], float]) -> None:
    """Check (E[a²], E[φ²]) → g against the library's critical gain."""
    for a, phi in ((0.25, 0.5), (0.1, 0.05)):
        close(
            float(gain(a, phi)), critical_gain(a, phi, [1.0]).item(), what=f"g at E[a²] = {a}, E[φ²] = {phi}"
        )
