"""Checks of notebook 1: one neuron, its gradient, and what the reset does to it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from gradflow.course.checking import NotYet, close, exercise
from gradflow.course.single import run_neuron
from gradflow.engine import reference
from gradflow.neurons import LIF, Reset
from gradflow.recurrence import Taps
from gradflow.surrogate import Rectangle, SmoothTwin, Triangle

STEPS = 30


def currents(seed: int, steps: int = STEPS) -> np.ndarray:
    """Return a current that makes a neuron fire now and then: uniform between 0 and 1.2 thresholds."""
    return np.random.default_rng(seed).uniform(0.0, 1.2, steps)


@exercise("one-step", "first leak and add the current, then compare with θ (≥ fires), then subtract θ if so.")
def one_step(step: Callable[[float, float, float, float], Any]) -> None:
    """Check (v, current, decay, threshold) → (u, s, v) against the library's own run."""
    for decay, threshold, seed in ((0.5, 1.0, 1), (0.9, 0.7, 2)):
        truth = run_neuron(currents(seed), LIF(decay=decay, threshold=threshold))
        v = 0.0
        for t, current in enumerate(currents(seed)):
            u, s, v = step(v, float(current), decay, threshold)
            close(u, truth.u[t], what=f"u at step {t}")
            close(float(s), truth.s[t], what=f"s at step {t}")
            close(v, truth.u[t] - threshold * truth.s[t], what=f"v after step {t}")


@exercise("rheobase", "where does u settle when it never fires? Solve u = αu + I, and ask when it reaches θ.")
def rheobase(smallest: Callable[[float, float], float]) -> None:
    """Check (decay, threshold) → current: a little more makes the neuron fire, a little less never does."""
    for decay, threshold in ((0.2, 1.0), (0.5, 0.8), (0.9, 2.0)):
        neuron = LIF(decay=decay, threshold=threshold)
        said = smallest(decay, threshold)
        fires = [run_neuron(np.full(300, said * part), neuron).s.any() for part in (1.001, 0.999)]
        if not fires[0]:
            raise NotYet(f"with α = {decay}, θ = {threshold} a current of {said:.4g} never makes it fire.")
        if fires[1]:
            raise NotYet(f"with α = {decay}, θ = {threshold} less than {said:.4g} is enough to make it fire.")


@exercise("rectangle", "a window of the given width around x = 0; its area is 1, so a wider one is lower.")
def rectangle(phi: Callable[[Any, float], Any]) -> None:
    """Check (x, width) → φ against the library's rectangle."""
    x = np.linspace(-1.5, 1.5, 61) + 0.003  # no point on an edge
    for width in (1.0, 0.4, 2.0):
        truth = Rectangle(width).derivative(torch.as_tensor(x)).numpy()
        close([float(phi(float(one), width)) for one in x], truth, what=f"φ for width {width}, at point")


@exercise("hard-reset", "differentiate v = u (1 − s) by the product rule, and put φ for ds/du.")
def hard_reset(factor: Callable[[float, float, float], float]) -> None:
    """Check (u, decay, threshold) → a for an attached hard reset, against the library's local Jacobian."""
    for decay, threshold, seed in ((0.5, 1.0, 3), (0.8, 0.6, 4)):
        neuron = LIF(decay=decay, threshold=threshold, reset=Reset.HARD)
        truth = run_neuron(currents(seed), neuron)
        close([float(factor(float(u), decay, threshold)) for u in truth.u], truth.a, what="a at step")


@exercise("all-lags", "start at 1 for t = T and go back in time: one more factor a[t] at each step.")
def all_lags(products: Callable[[np.ndarray], Any]) -> None:
    """Check a → (∂u[T]/∂u[t] for t = 0 … T) against torch's autograd through the reference engine."""
    neuron = LIF(decay=0.8, surrogate=Triangle(0.6))
    for seed in (5, 6):
        drive = torch.as_tensor(currents(seed)).reshape(-1, 1, 1).requires_grad_()
        dynamics = neuron.build(1, None).dynamics(drive)
        trace = reference(drive, None, dynamics, Taps((), torch.ones(0, dtype=torch.float64)))
        (truth,) = torch.autograd.grad(trace.u[-1].sum(), drive)
        found = products(run_neuron(currents(seed), neuron).a)
        close(found, truth[:, 0, 0].numpy(), what="∂u[T]/∂u[t] at t =", atol=1e-14)


@exercise("smooth-twin", "move current[t] up by h and down by h, and divide the difference of run(…) by 2h.")
def smooth_twin(slope: Callable[[Callable[[np.ndarray], float], np.ndarray, int], float]) -> None:
    """Check (run, current, t) → ∂run/∂current[t] against autograd on the smooth twin."""
    neuron = LIF(decay=0.7, surrogate=SmoothTwin(Triangle()))
    current = currents(7, 12)
    drive = torch.as_tensor(current).reshape(-1, 1, 1).requires_grad_()
    dynamics = neuron.build(1, None).dynamics(drive)
    trace = reference(drive, None, dynamics, Taps((), torch.ones(0, dtype=torch.float64)))
    (truth,) = torch.autograd.grad(trace.u[-1].sum(), drive)
    before = current.copy()
    for t in (0, 4, 11):
        found = slope(lambda given: float(run_neuron(given, neuron).u[-1]), current, t)
        # central differences of step 1e-3 or less err by at most its square times the third derivative
        close(found, truth[t, 0, 0].item(), what=f"the slope at t = {t}", rtol=1e-3, atol=1e-5)
    if not np.array_equal(before, current):
        raise NotYet("your function changed the current it was given; work on a copy.")
