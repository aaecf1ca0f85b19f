"""Pictures of the course for a wall: notebooks 1 to 4 in the style of slides, one idea each."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from gradflow.analysis import curve_band
from gradflow.analysis.steps import norm_band
from gradflow.course.explore_temperature import explore_temperature
from gradflow.course.pictures import against_potential, potential, reset_factors, surrogate_curves
from gradflow.course.setting import size
from gradflow.course.single import run_neuron
from gradflow.jacobian import jacobian_products
from gradflow.network import RecurrentSNN
from gradflow.neurons import LIF
from gradflow.plots import collapsed_curves, decay_curves, float32_floor, gradient_norms, style
from gradflow.plots.look import Look, dress
from gradflow.recording import record
from gradflow.recurrence import Skip
from gradflow.tasks import Batch, Task, psmnist
from gradflow.theory import characteristic_root, transfer_operator
from gradflow.transition import local_jacobians

WIDE = (6.4, 3.6)
"""Inches before they are made larger for slides: 16 : 9."""
SPANS = (1, 4, 16)


class Slide(NamedTuple):
    """One picture: its name, its title, and who draws it on a figure."""

    name: str
    title: str
    draw: Callable[[Figure], None]


def picture(slide: Slide) -> Figure:
    """Draw one slide, its letters and lines made larger."""
    with style():
        found = Figure(figsize=WIDE)
        slide.draw(found)
        found.suptitle(slide.title)
        dress(found, Look("slides"))
    return found


@cache
def _digits() -> tuple[Task, Batch]:
    task = psmnist(pool=size(1, 4))
    return task, task.sample(size(4, 2))


def _network(span: int, decay: float = 0.5) -> RecurrentSNN:
    task, _ = _digits()
    return RecurrentSNN(task, hidden=size(128, 16), recurrence=Skip(span), neuron=LIF(decay=decay))


def _curve(net: RecurrentSNN) -> xr.Dataset:
    """Return one layer's decay curve over the digits."""
    band = curve_band(jacobian_products(net, _digits()[1], norms=("frobenius",)))
    return band.isel(layer=0, drop=True)[["centre", "low", "high", "envelope"]]


@cache
def _curves() -> tuple[xr.Dataset, xr.Dataset]:
    """Return curves of three spans, measured and by the transfer operator."""
    nets = [_network(span) for span in SPANS]
    theory = [transfer_operator(local_jacobians(net, _digits()[1])).isel(layer=0, drop=True) for net in nets]
    pair = [[_curve(net) for net in nets], [found[["log_frobenius"]] for found in theory]]
    measured, predicted = (
        xr.concat(parts, dim="span", combine_attrs="drop").assign_coords(span=list(SPANS)) for parts in pair
    )
    return measured, predicted


def _neuron(page: Figure) -> None:
    found = run_neuron(np.full(30, 0.6), LIF())
    ax = page.subplots()
    potential(ax, found.u, found.s)
    ax.legend(loc="lower right")


def _surrogate(page: Figure) -> None:
    left, right = page.subplots(1, 2)
    x, forward, backward = surrogate_curves()
    against_potential(left, x, forward, "spike $s$")
    against_potential(right, x, backward, "surrogate derivative $φ$")


def _resets(page: Figure) -> None:
    x, curves = reset_factors()
    against_potential(page.subplots(), x, curves, "neuron path $a$  ($α = 0.5$)")


def _floor(page: Figure) -> None:
    ax = page.subplots()
    measured, _ = _curves()
    decay_curves(measured.sel(span=1), ax=ax, label="vanilla, exact")
    float32_floor(ax)
    ax.legend(loc="upper right")


def _losses(page: Figure) -> None:
    net = _network(1)
    bands = {place: norm_band(record(net, _digits()[1], loss_placement=place)) for place in ("sum", "last")}
    parts = [band.isel(layer=0, drop=True) for band in bands.values()]
    both = xr.concat(parts, dim="loss", combine_attrs="drop").assign_coords(
        loss=["sum of all steps", "last step"]
    )
    ax = page.subplots()
    gradient_norms(both, ax=ax, label="loss on the {value}")
    ax.legend(loc="center left")


def _spans(page: Figure) -> None:
    ax = page.subplots()
    measured, predicted = _curves()
    decay_curves(measured, theory=predicted, ax=ax, label="λ = {value}", envelopes=True)
    ax.legend(loc="lower left")


def _roots(page: Figure) -> None:
    spans = np.arange(1, 33)
    rho = [characteristic_root(0.2, 0.5, [int(span)], [1.0]).item() for span in spans]
    ax = page.subplots()
    ax.plot(spans, rho, "o-", color="black", markersize=3)
    ax.set(xlabel="span $λ$  (steps)", ylabel="largest root of  $z^λ = 0.2\\,z^{λ-1} + 0.5$")


def _comb(page: Figure) -> None:
    ax = page.subplots()
    band = _curve(_network(size(16, 4), 0.2))
    decay_curves(band.sel(lag=slice(0, 80)), ax=ax, label="comb (thin), envelope (thick)", envelopes=True)
    ax.legend(loc="lower left")


def _collapse(page: Figure) -> None:
    measured, _ = _curves()
    folded = xr.Dataset({"relative": measured.envelope - measured.envelope.sel(lag=0)})
    folded["lag_in_spans"] = (folded.lag / folded.span).transpose("span", "lag")
    ax = page.subplots()
    collapsed_curves(folded, ax=ax)
    ax.set(xlim=(0, 12), ylim=(-5, 0.3))
    ax.legend()


def _temperature(page: Figure) -> None:
    panel = explore_temperature()
    axes: Any = page.subplots(1, panel.columns)
    panel.draw(axes, **panel.numbers({}))


SLIDES = (
    Slide("01-neuron", "A neuron leaks, integrates, fires and is reset", _neuron),
    Slide("02-surrogate", "Forward a step, backward a bump", _surrogate),
    Slide("03-resets", "The three faces of the reset", _resets),
    Slide("04-product", "The gradient along time vanishes, below what float32 can hold", _floor),
    Slide("05-two-losses", "A loss at every step hides it", _losses),
    Slide("06-spans", "A skip of λ steps: fewer hops, slower decay (dashed: theory)", _spans),
    Slide("07-roots", "The wider the span, the nearer the root to 1", _roots),
    Slide("08-comb", "Between the multiples of λ there are holes", _comb),
    Slide("09-collapse", "Time measured in spans", _collapse),
    Slide("10-temperature", "A mixture of spans, and how far it reaches", _temperature),
)
