"""Two regimes of decay, neuron path and recurrent path, and the span at which they cross.

A neuron that never enters its window keeps a = leak, and its own path decays at log leak whatever the span.
The recurrent path loses about the same factor with every hop, so that its rate goes as 1/λ. The slower
decay wins: the neuron path at spans below the crossing, the recurrent path above it.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from gradflow.analysis.schema import Numbers
from gradflow.theory.moments import Moments
from gradflow.theory.transfer_curve import Matrix
from gradflow.theory.transfer_rate import transfer_rate, transfer_rate_arnoldi

TOLERANCE = 1e-5
"""Nats per step: a tenth of the last digit of a measured rate; closer to the crossing, iteration creeps."""

SWEEPS = 400
MARGIN = 0.03
"""By how much of log leak a rate must exceed it to be read as recurrent: rates are known to about as much."""

LARGEST = 64
"""The largest span that is tried: twice the widest of the usual grid."""


class Crossing(NamedTuple):
    """Where the regimes cross, in steps, and the rates it was read off, in nats per step.

    `span` is a real number; below 1 the recurrent path wins at every span, +∞ the neuron path does.
    """

    span: float
    neuron_rate: float
    spans: tuple[int, ...]
    rates: tuple[float, ...]


def recurrent_rate(moments: Moments, V: Matrix, taps: Mapping[int, float]) -> float:
    """Return the rate of the transfer operator among the neurons that ever enter their window, nats per step.

    A neuron with φ = 0 throughout hands nothing on, so it is left out exactly: the operator is
    block-triangular, and its other eigenvalue is log of that neuron's own a. −∞ where no neuron is left.

    Raises ValueError as `transfer_rate_arnoldi` does.

    Cost: that of `transfer_rate`.
    """
    active = np.flatnonzero(np.diag(moments.phi_phi) > 0.0)
    if not active.size:
        return -np.inf
    block = np.ix_(active, active)
    inner = Moments(
        moments.a_a[block],
        moments.a_phi[block],
        moments.phi_phi[block],
        moments.a[active],
        moments.phi[active],
        None if moments.gate is None else moments.gate[active],
        None if moments.gate_gate is None else moments.gate_gate[block],
    )
    if set(taps) != {1}:
        with suppress(ValueError):  # two eigenvalues close together: Arnoldi tells them apart
            return transfer_rate(inner, V[block], taps, tolerance=TOLERANCE, max_sweeps=SWEEPS)
    return transfer_rate_arnoldi(inner, V[block], taps, tolerance=TOLERANCE)


def crossing_span(moments: Moments, V: Matrix, leak: float, *, largest: int = LARGEST) -> Crossing:
    """Return the span at which the recurrent path overtakes the neuron path, moments held as they are.

    The recurrent rate is found at the smallest whole span at which it exceeds log `leak` by `MARGIN` of it
    (it rises with the span) and at the next; the crossing is where rate = −c λ^(−β) through both meets log
    leak. Moments change with the span, most near the crossing: take them from a network near it.

    Raises ValueError for a leak outside 0 < leak ≤ 1, or as `recurrent_rate` does.

    Cost: that of `recurrent_rate` about 2 log₂ λ times.

    >>> full = np.ones((2, 2))
    >>> constant = Moments(0.04 * full, 0.1 * full, 0.25 * full, 0.2 * full[0], 0.5 * full[0])
    >>> round(crossing_span(constant, 0.6 * np.eye(2), leak=0.9).span, 2)
    9.04
    """
    if not 0.0 < leak <= 1.0:
        raise ValueError(
            f"leak: got {leak}, expected the largest |a| of a neuron outside its window, 0 < leak <= 1"
        )
    bar = float(np.log(leak))
    found: dict[int, float] = {}

    def rate(span: int) -> float:
        if span not in found:
            found[span] = recurrent_rate(moments, V, {span: 1.0})
        return found[span]

    low, high = 0, 1
    while not rate(high) > bar * (1.0 - MARGIN):  # narrow spans first: they cost least
        if high == largest:
            return Crossing(np.inf, bar, (largest,), (rate(largest),))
        low, high = high, min(2 * high, largest)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if rate(middle) > bar * (1.0 - MARGIN) else (middle, high)
    spans = high, high + 1
    return measured_crossing(spans, [rate(span) for span in spans], leak)


def measured_crossing(
    spans: Sequence[int], rates: Numbers, leak: float, *, margin: float = MARGIN
) -> Crossing:
    """Return the crossing that rates at several spans show, by the same reading as `crossing_span`.

    The recurrent branch is where rates exceed log `leak` by more than `margin` of it (default 3 %); its two
    smallest spans give rate = −c λ^(−β), which meets log leak at the crossing. One span alone gives β = 1.
    Rates ≥ 0 cannot be so extended: then the smallest span of the branch is an upper end.

    >>> round(measured_crossing([1, 2, 4, 8], [-0.105, -0.105, -0.1, -0.05], 0.9).span, 2)
    3.8
    """
    bar = float(np.log(leak))
    order = np.argsort(spans)
    at, height = np.asarray(spans, dtype=np.float64)[order], np.asarray(rates, dtype=np.float64)[order]
    above = np.flatnonzero(height > bar * (1.0 - margin))[:2]
    used = tuple(int(span) for span in at[above]), tuple(float(rate) for rate in height[above])
    if not above.size:
        return Crossing(np.inf, bar, *used)
    first = above[0]
    if (height[above] >= 0.0).any() or bar >= 0.0:
        return Crossing(float(at[first]), bar, *used)
    power = 1.0
    if above.size == 2:
        power = float(-np.diff(np.log(-height[above])).item() / np.diff(np.log(at[above])).item())
    span = at[first] * (height[first] / bar) ** (1.0 / power) if power > 0.0 else at[first]
    return Crossing(float(span), bar, *used)
