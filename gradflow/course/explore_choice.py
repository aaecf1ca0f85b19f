"""A panel for choosing span and gain: the predicted horizon against the span, and the rate against the gain.

Axes: span, gain.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from gradflow.analysis import horizon
from gradflow.course.explore import Panel, Slider, stops
from gradflow.plots.style import ordered_colours
from gradflow.theory import critical_gain, log_root, mean_square_curve

SPANS = tuple(range(1, 33))
LONGEST = 512
"""Lags looked at, in steps: beyond, a horizon has no place in the picture."""
ALT = (
    "Sliders over the demand of a task, the gain of V, E[a²] and E[φ²]. Left: predicted horizon against the "
    "span, rising about in proportion, with the demand as a level and the smallest span that reaches it "
    "marked. Right: decay rate of that span against the gain; it crosses zero at the critical gain, the same "
    "for every span."
)


def reaches_of(a_square: float, gain_square: float) -> Float[np.ndarray, " span"]:
    """Return the predicted horizon of every span, at most `LONGEST` steps.

    >>> reaches_of(0.0, 0.25)[[0, 3]].round(1).tolist()
    [10.0, 37.0]
    """
    a, gain = np.full(len(SPANS), a_square), np.full(len(SPANS), gain_square)
    curves = mean_square_curve(a, gain, SPANS, np.eye(len(SPANS)), LONGEST + 1)
    return np.asarray(np.minimum(horizon(curves), float(LONGEST)))


def draw_choice(axes: Any, *, demand: float, gain: float, a_square: float, phi_square: float) -> None:
    """Draw the horizon of every span with the demand, and the rate of the chosen span at every gain."""
    left, right = axes
    dark, light = ordered_colours(2)
    reaches = reaches_of(a_square, gain**2 * phi_square)
    enough = np.flatnonzero(reaches >= demand)
    span = SPANS[enough[0]] if enough.size else SPANS[-1]
    left.plot(SPANS, reaches, color="black")
    left.axhline(demand, color="0.4", linestyle=":")
    left.plot([span], [reaches[span - 1]], "o" if enough.size else "x", color=dark, markersize=8)
    left.set(xlabel="span λ  (steps)", ylabel="predicted horizon  (steps)", ylim=(0.0, 400.0))
    left.set_title(f"smallest span: {span}" if enough.size else f"no span up to {SPANS[-1]} is enough")
    critical = critical_gain(a_square, phi_square, [1.0]).item()
    gains = np.linspace(0.3, 3.0, 55)
    for one, colour, dashes in ((1, light, "--"), (span, dark, "-")):
        rates = 0.5 * log_root(np.full(len(gains), a_square), gains**2 * phi_square, [one], [1.0])
        right.plot(gains, rates, color=colour, linestyle=dashes, label=f"λ = {one}")
    right.axvline(critical, color="0.4", linestyle=":")
    right.plot(
        [gain], [0.5 * float(log_root(a_square, gain**2 * phi_square, [span], [1.0]))], "o", color=dark
    )
    right.axhline(0.0, color="0.4", linewidth=0.8)
    right.set(xlabel="gain $g$ of $V$", ylabel="rate  (nats per step)", ylim=(-0.9, 0.3))
    right.set_title(f"critical gain {critical:.2f}")
    right.legend(loc="lower right")


def explore_choice() -> Panel:
    """Return a panel over demand, gain and the two moments that a layer shows.

    >>> explore_choice().figure(demand=60.0).axes[0].get_xlabel()
    'span λ  (steps)'
    """
    sliders = (
        Slider("demand", "demand of the task (steps)", stops(10.0, 300.0, 30), 100.0),
        Slider("gain", "gain g of V", stops(0.3, 2.5, 23), 1.0),
        Slider("a_square", "E[a²]", stops(0.0, 0.6, 13), 0.2),
        Slider("phi_square", "E[φ²]", stops(0.05, 0.4, 8), 0.2),
    )
    return Panel(sliders, draw_choice, 2, ({}, {"gain": 1.4}, {"demand": 300.0}), ALT)
