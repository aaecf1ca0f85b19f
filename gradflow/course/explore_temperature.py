"""A panel for adaptive spans: their weights p = softmax(c/τ), and how far the gradient then reaches.

Axes: span for weights, lag for curves.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float

from gradflow.analysis import curve_band, horizon
from gradflow.analysis.horizons import LEVEL
from gradflow.course.explore import Panel, Slider, stops
from gradflow.jacobian import MatrixNorm, jacobian_products
from gradflow.network import RecurrentSNN
from gradflow.plots import decay_curves
from gradflow.plots.style import ordered_colours
from gradflow.recurrence import AdaptiveSkip, AdaptiveSpanParameters, SpanMode
from gradflow.tasks import Batch, Task, psmnist
from gradflow.theory import mean_square

SPANS = 16
NEURONS = 32
"""Few, for a picture in an instant: a rate is some percent off that of a wide layer."""
ALT = (
    "Sliders over temperature τ, the lead of one span's logit, and which span leads. Left: bars of the "
    "softmax weights of spans 1 to 16, even when hot, a single bar when cold. Right: the log-norm of the "
    "Jacobian product against lag for the mixture, for the leading span alone, and the mean-square "
    "prediction: the mixture reaches less far than a wide span alone, and further than that theory has it."
)


def softmax(c: Float[np.ndarray, " span"], temperature: float) -> Float[np.ndarray, " span"]:
    """Return p_d = exp(c_d/τ) / Σ_k exp(c_k/τ).

    >>> softmax(np.zeros(4), 1.0).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    powers = np.exp((c - c.max()) / temperature)
    return np.asarray(powers / powers.sum())


def mixed(
    task: Task, c: Float[np.ndarray, " span"], temperature: float, *, hidden: int = NEURONS, seed: int = 0
) -> RecurrentSNN:
    """Return a fresh one-layer network whose adaptive recurrence has these logits and this temperature.

    >>> net = mixed(psmnist(pool=4), np.array([0.0, 1.0]), 0.5, hidden=4)
    >>> net.recurrent_layers()[0].spans.span_logits.tolist()
    [0.0, 1.0]
    """
    net = RecurrentSNN(
        task, hidden=hidden, recurrence=AdaptiveSkip(len(c), temperature=temperature), seed=seed
    )
    spans = net.recurrent_layers()[0].spans
    assert isinstance(spans, AdaptiveSpanParameters)
    with torch.no_grad():
        spans.span_logits.copy_(torch.from_numpy(np.asarray(c, dtype=np.float64)))
    return net


@cache
def _digits() -> tuple[Task, Batch]:
    task = psmnist(pool=2)
    return task, task.sample(2)


def products(c: Float[np.ndarray, " span"], temperature: float, mode: SpanMode) -> xr.Dataset:
    """Return the Jacobian products of that network on two permuted digits of 196 steps."""
    task, batch = _digits()
    net = mixed(task, c, temperature)
    return jacobian_products(net, batch, span_mode=mode, norms=(MatrixNorm.FROBENIUS,))


@cache
def _alone(span: int) -> xr.Dataset:
    """Return the curve of one span, which no temperature moves."""
    return curve_band(products(np.eye(SPANS)[span - 1], 1.0, SpanMode.HARD)).isel(layer=0)


def draw_temperature(axes: Any, *, temperature: float, lead: float, span: float) -> None:
    """Draw the weights of the spans, and the decay curves of the mixture and of the leading span alone."""
    left, right = axes
    c = lead * np.eye(SPANS)[int(span) - 1]
    p = softmax(c, temperature)
    left.bar(np.arange(1, SPANS + 1), p, color=ordered_colours(2)[0])
    left.set(xlabel="span $d$  (steps)", ylabel="weight $p_d$", ylim=(0.0, 1.0))
    left.set_title(f"as many as {1.0 / np.sum(p**2):.1f} even spans")
    soft = products(c, temperature, SpanMode.SOFT)
    both = xr.concat(
        [curve_band(soft).isel(layer=0), _alone(int(span))],
        dim="which",
        join="override",
        combine_attrs="drop",
    )
    both = both.drop_vars("p", errors="ignore").assign_coords(which=["mixture", f"span {int(span)} alone"])
    artists = decay_curves(both, ax=right, label="{value}", envelopes=True)
    predicted = mean_square(soft).log_frobenius.isel(layer=0) / np.log(10.0)
    right.plot(
        predicted.lag, predicted, color="0.35", linestyle=":", linewidth=1.4, label="mixture, mean square"
    )
    reach = float(horizon(both.envelope.values[0]))
    level = float(both.envelope[0, 0] / np.log(10.0)) + np.log10(LEVEL)
    right.plot([reach], [level], marker="D", color=ordered_colours(2)[0], linestyle="")
    right.set_ylim(-6.5, 1.5)
    right.set_title(f"the mixture reaches {reach:.0f} steps (◆)")
    right.legend(list(artists.envelopes.values()) + right.lines[-2:-1], [*artists.envelopes, "mean square"])


def explore_temperature() -> Panel:
    """Return a panel over temperature, the lead of one span, and which one leads.

    >>> explore_temperature().figure(temperature=0.1).axes[0].get_ylabel()
    'weight $p_d$'
    """
    powers = tuple(round(0.02 * 100 ** (k / 20), 3) for k in range(21))
    sliders = (
        Slider("temperature", "temperature τ", powers, powers[-4]),
        Slider("lead", "lead of one logit", stops(0.0, 2.0, 21), 1.0),
        Slider("span", "the leading span λ", tuple(float(d) for d in range(1, SPANS + 1)), float(SPANS)),
    )
    settings = ({"temperature": powers[-1]}, {"temperature": powers[10]}, {"temperature": powers[0]})
    return Panel(sliders, draw_temperature, 2, settings, ALT)
