"""A panel on what a few seeds can tell: intervals of the mean difference, and the chance to see it.

Axes: network (one pair of networks with the same seed each).
"""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from gradflow.analysis import student_interval
from gradflow.course.explore import Panel, Slider, stops
from gradflow.plots.style import ordered_colours

MOST = 20
"""Networks that anyone trains of each kind, for a course."""
TRIES = 20
"""Repetitions of the whole experiment that are drawn."""
ALT = (
    "Sliders over the number of networks, their spread and the true difference. Left: twenty repetitions of "
    "the whole experiment, each with the 95 % interval of its mean difference: with three networks the "
    "intervals are wide and most of them hold zero. Right: the chance that an interval excludes zero against "
    "the number of networks, rising to one."
)


def chance_to_see(
    difference: float, spread: float, networks: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Return the chance that the 95 % interval of the mean of n differences does not hold 0.

    The differences are normal with this mean and standard deviation: 1 − P(|t'| < t), t' noncentral with
    n − 1 degrees of freedom and noncentrality √n · difference / spread.

    >>> chance_to_see(2.0, 1.0, np.array([3.0, 6.0])).round(2).tolist()
    [0.47, 0.97]
    """
    edge = stats.t.ppf(0.975, networks - 1)
    shift = np.sqrt(networks) * difference / spread
    freedom = networks - 1
    return np.asarray(stats.nct.sf(edge, freedom, shift) + stats.nct.cdf(-edge, freedom, shift))


def draw_seeds(axes: Any, *, networks: float, spread: float, difference: float) -> None:
    """Draw repetitions of an experiment with so many networks, and what more of them would bring."""
    left, right = axes
    n = int(networks)
    drawn = np.random.default_rng(1).standard_normal((TRIES, MOST))[:, :n]
    mean, low, high = student_interval(difference + spread * drawn)
    holds = (low <= 0.0) & (high >= 0.0)
    dark, light = ordered_colours(2)
    for place in range(TRIES):
        look = {"color": light if holds[place] else dark, "linewidth": 1.6}
        left.plot([place + 1] * 2, [low[place], high[place]], **look)
        left.plot([place + 1], [mean[place]], "o", markersize=3, color=look["color"])
    left.axhline(0.0, color="0.3", linewidth=0.9)
    left.axhline(difference, color="0.5", linewidth=0.9, linestyle=":")
    left.set(xlabel="repetition of the experiment", ylabel="difference  (points)", ylim=(-30.0, 40.0))
    left.set_title(f"{TRIES - holds.sum()} of {TRIES} exclude zero")
    count = np.arange(2.0, MOST + 1.0)
    right.plot(count, 100.0 * chance_to_see(difference, spread, count), color="black")
    right.plot([n], 100.0 * chance_to_see(difference, spread, np.array([networks])), "o", color=dark)
    right.set(xlabel="networks of each kind", ylabel="chance to see it  (%)", ylim=(0.0, 103.0))
    right.set_xticks([2, 5, 10, 15, 20])
    right.set_title(f"true difference {difference:g}, spread {spread:g}")


def explore_seeds() -> Panel:
    """Return a panel over the number of networks, their spread and the true difference.

    >>> explore_seeds().figure(networks=3.0).axes[1].get_xlabel()
    'networks of each kind'
    """
    sliders = (
        Slider("networks", "networks of each kind", tuple(float(n) for n in range(2, MOST + 1)), 3.0),
        Slider("spread", "spread s of the difference (points)", stops(1.0, 12.0, 12), 4.0),
        Slider("difference", "true difference (points)", stops(0.0, 20.0, 21), 5.0),
    )
    settings: tuple[dict[str, float], ...] = ({}, {"networks": 10.0}, {"difference": 0.0})
    return Panel(sliders, draw_seeds, 2, settings, ALT)
