"""Pictures that only the course draws: one neuron's potential, and curves against it.

Axes: time for traces, and the potential above threshold x = u − θ for the others.
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Real
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from gradflow.neurons import LIF, Reset
from gradflow.plots.lines import dashes_of
from gradflow.plots.style import ordered_colours
from gradflow.surrogate import Triangle

Trace = Float[np.ndarray, " time"]
Curve = Float[np.ndarray, " x"]


def potential(ax: Axes, u: Trace, s: Trace, *, threshold: float | int = 1.0, label: str = "u[t]") -> Line2D:
    """Draw the potential of one neuron over time, its threshold and its spikes; return the potential's line.

    The potential is that before the reset, so that a step with a spike stands above the threshold.
    """
    steps = np.arange(len(u))
    ax.axhline(threshold, color="0.4", linestyle=":", linewidth=1.2, label="threshold θ")
    (line,) = ax.plot(steps, u, marker="o", markersize=3.5, color=ordered_colours(1)[0], label=label)
    fired = steps[s > 0]
    top = max(1.35 * threshold, 1.08 * float(np.max(u)))
    ax.vlines(fired, 0.94 * top, top, color="black", linewidth=2.0, label="spike")
    ax.set(xlabel="time $t$  (steps)", ylabel="potential $u[t]$  (units of θ)", ylim=(min(0.0, u.min()), top))
    return line


def log_lines(
    ax: Axes, x: Real[np.ndarray, " x"], curves: Mapping[str, Float[np.ndarray, " x"]], words: str
) -> dict[str, Line2D]:
    """Draw log₁₀ |y| of each curve against x, told apart by dashes; exact zeros are gaps. `words` name y.

    >>> from matplotlib.figure import Figure
    >>> lines = log_lines(Figure().subplots(), np.arange(2.0), {"fall": np.array([1.0, 0.0])}, "y")
    >>> lines["fall"].get_ydata().tolist()
    [0.0, nan]
    """
    lines = {}
    for place, (label, values) in enumerate(curves.items()):
        size = np.abs(values)
        logs = np.full(size.shape, np.nan)
        np.log10(size, out=logs, where=size > 0)
        shade = f"{0.22 * place}"
        (lines[label],) = ax.plot(x, logs, color=shade, linestyle=dashes_of(place), label=label)
    ax.set_ylabel(rf"$\log_{{10}}\,|$ {words} $|$")
    ax.legend()
    return lines


def against_potential(ax: Axes, x: Curve, curves: Mapping[str, Curve], words: str) -> dict[str, Line2D]:
    """Draw curves against x = u − θ, told apart by colour and dashes; return their lines by label."""
    lines = {}
    for place, (label, colour) in enumerate(zip(curves, ordered_colours(len(curves)), strict=True)):
        (lines[label],) = ax.plot(x, curves[label], color=colour, linestyle=dashes_of(place), label=label)
    ax.axvline(0.0, color="0.4", linestyle=":", linewidth=1.2)
    ax.set(xlabel="potential above threshold  $u - θ$", ylabel=words)
    if len(curves) > 1:
        ax.legend()
    return lines


def surrogate_curves() -> tuple[Curve, dict[str, Curve], dict[str, Curve]]:
    """Return x = u − θ, and what the triangle makes of it: the spike and its smooth twin, and φ."""
    x = torch.linspace(-2.0, 2.0, 401, dtype=torch.float64)
    triangle = Triangle()
    forward = {"spike (forward)": (x >= 0).double().numpy(), "smooth twin": triangle.twin(x).numpy()}
    return x.numpy(), forward, {"triangle φ (backward)": triangle.derivative(x).numpy()}


def reset_factors() -> tuple[Curve, dict[str, Curve]]:
    """Return x = u − θ, and the neuron path a of a LIF neuron (α = ½, θ = 1) under each kind of reset."""
    x = torch.linspace(-1.5, 1.5, 601, dtype=torch.float64)
    found = {}
    for kind in Reset:
        for detach in (False, True):
            neuron = LIF(reset=kind, detach_reset=detach)
            dynamics = neuron.build(1, None).dynamics(x)
            u = x + neuron.threshold
            label = f"{kind.value}, {'detached' if detach else 'attached'}"
            found[label] = dynamics.local(u, (x >= 0).double(), dynamics.phi(u)).numpy()
    return x.numpy(), found
