"""Panels over a real network, small enough to be run with each move: its decay curve and what makes it.

Axes: lag for curves; the complex plane for roots.
"""

from functools import cache
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Complex

from gradflow.analysis import fit_decay, zero_summary
from gradflow.course.explore import Panel, Slider, stops
from gradflow.jacobian import jacobian_products
from gradflow.network import RecurrentSNN
from gradflow.neurons import LIF
from gradflow.plots.curves import LOG10, decay_curves
from gradflow.plots.marks import FLOAT32_FLOOR
from gradflow.plots.products import zero_shares
from gradflow.plots.style import ordered_colours
from gradflow.recurrence import Skip
from gradflow.surrogate import Triangle
from gradflow.tasks import Batch, Task, psmnist
from gradflow.theory import mean_square

NEURONS = 48
POOL = 2
"""Pixels are averaged 2 × 2: 196 steps, on which a network of 48 neurons is measured in some 50 ms."""
PRODUCT_ALT = (
    "Sliders over decay α, gain of V and surrogate width of a vanilla network of 48 neurons. Left: log-norm "
    " of the Jacobian product against lag, measured and predicted by the mean square, with the floor "
    "of float32. Right: the share of its elements that are zero, by structure and in float32. A larger "
    "gain slows the decay; a narrow surrogate leaves more zeros of the structure."
)
SPANS_ALT = (
    "Sliders over span λ, decay α, gain of V and surrogate width of a skip network of 48 neurons. Left: "
    "log-norm of the Jacobian product against lag with its envelope, the mean-square prediction dashed "
    "and the neuron path dotted. Right: the roots of the mean-square polynomial in the complex plane with "
    "the unit circle: as many as the span, the largest real and positive, nearer to 1 the wider the span."
)


@cache
def _digits() -> tuple[Task, Batch]:
    """Return the task and the two sequences that all panels measure."""
    task = psmnist(pool=POOL)
    return task, task.sample(2)


def measured(span: int, *, decay: float | int, gain: float | int, width: float | int) -> xr.Dataset:
    """Return the Jacobian products of a skip network with these settings, on two permuted digits.

    >>> round(fit_decay(measured(1, decay=0.5, gain=1.0, width=1.0)).rate.item(), 2)
    -0.57
    """
    task, batch = _digits()
    neuron = LIF(decay=decay, surrogate=Triangle(width))
    net = RecurrentSNN(task, hidden=NEURONS, recurrence=Skip(span), neuron=neuron, recurrent_gain=float(gain))
    return jacobian_products(net, batch, norms=("frobenius",)).isel(layer=[0])


def square_roots(products: xr.Dataset, span: int) -> Complex[np.ndarray, " root"]:
    """Return the roots z of z^λ = E[a²] z^(λ−1) + g² E[φ²]: the growth of the mean square per step.

    They are the eigenvalues of the recursion's companion matrix; the largest is real and positive.
    """
    a = float(products.a_square.mean())
    b = float((products.V_frobenius**2 / products.neurons * products.phi_square).mean())
    polynomial = np.zeros(span + 1)
    polynomial[0] = 1.0
    polynomial[1] -= a
    polynomial[-1] -= b
    return np.roots(polynomial).astype(np.complex128)


def _curve(ax: Any, products: xr.Dataset, decay: float | int, *, envelopes: bool) -> None:
    """Draw what is measured and what the mean square predicts, and say both rates."""
    theory = mean_square(products)
    one = products.isel(layer=0)
    decay_curves(one, theory=theory.isel(layer=0), ax=ax, label="measured", envelopes=envelopes)
    lag = one.lag.values
    ax.plot(
        lag, LOG10 * (0.5 * np.log(NEURONS) + lag * np.log(max(decay, 1e-6))), color="black", linestyle=":"
    )
    ax.set_ylim(min(-10.0, float(np.clip(ax.get_ylim()[0], -120.0, 0.0))), 6.0)
    fit = fit_decay(products).rate.item()
    ax.set_title(f"rate {fit:.3f}, predicted {theory.rate.item():.3f} nats per step", fontsize=9)


def draw_product(axes: Any, *, decay: float | int, gain: float | int, width: float | int) -> None:
    """Draw a vanilla network's decay curve and its zeros."""
    products = measured(1, decay=decay, gain=gain, width=width)
    left, right = axes
    _curve(left, products, decay, envelopes=False)
    left.axhline(FLOAT32_FLOOR, color="0.4", linewidth=0.8)
    shares = zero_summary(products)[["share_structural", "share_float32"]]
    zero_shares(shares.isel(layer=0), ax=right, label="in float32")
    right.set_title("thin: by structure   bold: in float32", fontsize=9)


def draw_spans(
    axes: Any, *, span: float | int, decay: float | int, gain: float | int, width: float | int
) -> None:
    """Draw a skip network's decay curve and the roots behind it."""
    products = measured(int(span), decay=decay, gain=gain, width=width)
    left, right = axes
    _curve(left, products, decay, envelopes=True)
    roots = square_roots(products, int(span))
    turn = np.exp(2j * np.pi * np.linspace(0.0, 1.0, 200))
    right.plot(turn.real, turn.imag, color="0.6", linewidth=0.8)
    right.plot(roots.real, roots.imag, "o", color=ordered_colours(2)[1], markersize=5)
    largest = roots[np.argmax(np.abs(roots))]
    right.plot([largest.real], [largest.imag], "*", color="black", markersize=12)
    right.set(xlabel="real part of $z$", ylabel="imaginary part of $z$", aspect="equal")
    right.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.3))
    right.set_title(f"largest root {abs(largest):.3f}", fontsize=9)


DECAY = Slider("decay", "decay α", stops(0.0, 1.0, 21), 0.5)
GAIN = Slider("gain", "gain of V", stops(0.2, 3.0, 29), 1.0)
WIDTH = Slider("width", "surrogate width", stops(0.1, 2.0, 20), 1.0)


def explore_product() -> Panel:
    """Return a panel over decay α, gain and surrogate width of a vanilla network.

    >>> [slider.name for slider in explore_product().sliders]
    ['decay', 'gain', 'width']
    """
    settings: tuple[dict[str, float | int], ...] = ({}, {"gain": 2.0}, {"width": 0.2})
    return Panel((DECAY, GAIN, WIDTH), draw_product, 2, settings, PRODUCT_ALT)


def explore_spans() -> Panel:
    """Return a panel over span λ, decay α, gain and surrogate width of a skip network.

    >>> [slider.name for slider in explore_spans().sliders]
    ['span', 'decay', 'gain', 'width']
    """
    span = Slider("span", "span λ (steps)", tuple(range(1, 33)), 8)
    settings: tuple[dict[str, float | int], ...] = ({"span": 1}, {}, {"span": 16}, {"decay": 0.9, "span": 2})
    return Panel((span, DECAY, GAIN, WIDTH), draw_spans, 2, settings, SPANS_ALT)
