"""A panel for one neuron: its potential under a constant current, and what each step keeps of a gradient."""

from typing import Any

import numpy as np

from gradflow.course.explore import Panel, Slider, stops
from gradflow.course.pictures import potential
from gradflow.course.single import run_neuron
from gradflow.neurons import LIF
from gradflow.plots.style import ordered_colours
from gradflow.surrogate import Triangle

STEPS = 40
ALT = (
    "Sliders over decay α, current I and surrogate width. Left: the potential of one neuron over time with "
    "its spikes. Right: the factor a[t] by which the gradient is multiplied at each step, soft reset, "
    "attached and detached: wherever the neuron is in its window the attached factor drops below α."
)


def draw_neuron(axes: Any, *, decay: float | int, current: float | int, width: float | int) -> None:
    """Draw potential and gradient factor of one LIF neuron under a constant current."""
    left, right = axes
    for place, detach in enumerate((False, True)):
        neuron = LIF(decay=decay, detach_reset=detach, surrogate=Triangle(width))
        found = run_neuron(np.full(STEPS, current), neuron)
        if not detach:
            potential(left, found.u, found.s)
        right.step(
            np.arange(STEPS), found.a, where="mid", color=ordered_colours(2)[place],
            linestyle=("-", "--")[place], label=("reset attached", "reset detached")[place],
        )  # fmt: skip
    right.set(xlabel="time $t$  (steps)", ylabel="neuron path $a[t]$", ylim=(-1.6, 1.1))
    right.legend(loc="lower right")


def explore_neuron() -> Panel:
    """Return a panel over decay α, current and surrogate width of one neuron.

    >>> explore_neuron().figure(decay=0.9).axes[0].get_xlabel()
    'time $t$  (steps)'
    """
    sliders = (
        Slider("decay", "decay α", stops(0.0, 1.0, 21), 0.5),
        Slider("current", "current I (units of θ)", stops(0.0, 1.5, 31), 0.6),
        Slider("width", "surrogate width", stops(0.1, 2.0, 20), 1.0),
    )
    settings = ({"current": 0.4}, {"current": 0.6}, {"decay": 0.9, "current": 0.6, "width": 0.3})
    return Panel(sliders, draw_neuron, 2, settings, ALT)
