"""Checks of notebook 3: routes, roots, envelopes, and the choice of a span."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gradflow.analysis.curves import envelope as true_envelope
from gradflow.course.checking import NotYet, close, exercise
from gradflow.jacobian import count_routes, path_products
from gradflow.theory import characteristic_root, impulse_log, mean_square_curve
from gradflow.theory import smallest_span as true_span
from gradflow.transition import LayerTransition, Transition


@exercise("most-hops", "every hop bridges one span; how many whole spans fit into the lag?")
def most_hops(hops: Callable[[int, int], int]) -> None:
    """Check (lag, span) → the largest number of hops, against the parts of a product that are not zero."""
    ones = np.ones((25, 1, 1))
    for span in (1, 4, 7):
        layer = LayerTransition(ones, ones, np.eye(1), spans=(span,))
        parts = path_products(Transition((layer,))).log_hops.isel(layer=0, sample=0)
        for lag in (0, 3, 12, 24):
            there = parts.sel(lag=lag)
            truth = int(there.hop.values[np.isfinite(there.values)].max())
            close(float(hops(lag, span)), float(truth), what=f"lag {lag}, span {span}")


@exercise("routes", "k hops and n − kλ neuron steps: in how many orders can one take them?")
def routes(count: Callable[[int, int, int], Any]) -> None:
    """Check (lag, span, hops) → number of routes with exactly so many hops."""
    for lag, span, hops in ((8, 4, 1), (30, 5, 3), (100, 16, 6), (7, 4, 2), (60, 1, 20)):
        if int(count(lag, span, hops)) != count_routes(lag, span, hops):
            raise NotYet(
                f"lag {lag}, span {span}, {hops} hops: got {count(lag, span, hops)}, and there are others."
            )


@exercise(
    "recursion",
    "start with x = [1]; each further x[n] is a times the last one, plus b times the one span back.",
)
def recursion(course_of: Callable[[float, float, int, int], Any]) -> None:
    """Check (a, b, span, length) → x against the library's exact recursion."""
    for a, b, span in ((0.2, 0.5, 1), (0.3, 0.6, 5), (0.0, 0.5, 3)):
        close(course_of(a, b, span, 40), np.exp(impulse_log(a, b, [span], [1.0], 40)), what="x at n =")


@exercise(
    "largest-root",
    "np.roots takes coefficients from the highest power down; mind that at λ = 1 two of them meet.",
)
def largest_root(root: Callable[[float, float, int], float]) -> None:
    """Check (a, b, span) → the largest root of z^λ = a z^(λ−1) + b."""
    for a, b, span in ((0.2, 0.5, 1), (0.25, 0.5, 4), (0.1, 0.3, 16), (0.0, 0.7, 2)):
        found = root(a, b, span)
        # the roots of a polynomial of degree 16 are known to about eps^(1/2) where they are close together
        close(
            float(np.real(found)),
            characteristic_root(a, b, [span], [1.0]),
            what=f"ρ for λ = {span}",
            rtol=1e-6,
        )


@exercise("envelope", "the largest value that is still to come: go from the end and keep the maximum so far.")
def envelope(above: Callable[[np.ndarray], Any]) -> None:
    """Check log-norms → their envelope."""
    stream = np.random.default_rng(8)
    curve = -0.1 * np.arange(60.0) + stream.normal(size=60)
    curve[[7, 8, 31]] = -np.inf
    before = curve.copy()
    close(above(curve), true_envelope(before), what="the envelope at lag")


@exercise("choose-a-span", "try λ = 1, 2, 3, …; take the first whose predicted horizon reaches the demand.")
def choose_a_span(span: Callable[[int, float, float], int]) -> None:
    """Check (demand, a_square, gain_square) → the smallest span that reaches, by the mean square."""
    for demand, a_square, gain_square in ((20, 0.1, 0.3), (100, 0.13, 0.2), (60, 0.05, 0.5)):
        truth, found = true_span(demand, a_square, gain_square), int(span(demand, a_square, gain_square))
        if found != truth:
            curve = mean_square_curve(a_square, gain_square, [max(found, 1)], [1.0], demand + 1)
            there = true_envelope(curve)[-1] / np.log(10.0)
            side = "reaches, but it is not the smallest" if found > truth else "does not reach"
            raise NotYet(f"for a demand of {demand} steps λ = {found} {side} (10^{there:.1f} is left there).")
