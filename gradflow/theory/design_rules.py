"""Rules for choosing a span, a gain and a temperature, read off the mean-square recursion.

    x_n = E[a²] x_{n−1} + g² E[φ²] Σ_d p_d² x_{n−d},  ‖P‖ ∝ √x_n       (`mean_square`)

They inherit its assumptions: moments stay as they were measured while a span or gain is changed, and the
recurrent path carries the gradient. Measure again after the change. Axes: … temperature.
"""

import numpy as np
import xarray as xr
from jaxtyping import Float

from gradflow.analysis.horizons import LEVEL, horizon
from gradflow.analysis.schema import Array, Numbers, labelled, ordered, span_weights
from gradflow.results import Results
from gradflow.theory.bound import bound
from gradflow.theory.mean_square import mean_square_curve
from gradflow.theory.root import log_root

LONGEST = 4096
"""Lags looked at, unless told otherwise: a horizon beyond is given as infinite."""


def predicted_horizon(
    a_square: float,
    gain_square: float,
    spans: Numbers,
    weights: Numbers,
    level: float = LEVEL,
    longest: int = LONGEST,
) -> float:
    """Return the lag at which the envelope of √x_n falls below `level`, in steps; +∞ beyond `longest` lags.

    Raises ValueError as `mean_square_curve` and `horizon` do.

    Cost: longest · spans operations.

    >>> round(predicted_horizon(0.0, 0.25, [4], [1.0], level=0.1), 2)
    12.32
    """
    curve = mean_square_curve(a_square, gain_square, spans, weights, longest + 1)
    return float(horizon(curve, level))


def smallest_span(
    demand: int, a_square: float, gain_square: float, *, level: float = LEVEL, largest: int = 512
) -> int:
    """Return the smallest span λ whose predicted horizon is at least `demand` steps.

    Args:
        demand: steps over which a task needs memory.
        a_square: E[a²] of the layer, as `jacobian_products` records it.
        gain_square: g² E[φ²] E[γ²], with g² = ‖V‖_F²/H.
        level: share of the norm at lag 0 that still trains.
        largest: the largest span that is tried.

    Raises:
        ValueError: for a demand below 1, or where no span up to `largest` is enough; the message says how far
            the best one reaches.

    >>> smallest_span(100, a_square=0.1, gain_square=0.2)
    13
    """
    if demand < 1:
        raise ValueError(f"demand: got {demand}, expected 1 or more steps")
    reaches = []
    for span in range(1, largest + 1):
        reaches.append(predicted_horizon(a_square, gain_square, [span], [1.0], level, 2 * demand + 2 * span))
        if reaches[-1] >= demand:
            return span
    best = int(np.argmax(reaches))
    raise ValueError(
        f"demand: {demand} steps are beyond every span up to {largest}; span {best + 1} reaches "
        f"{reaches[best]:.0f}. Allow larger spans, a lower level, or a larger gain of V"
    )


def critical_gain(a_square: Numbers, phi_square: Numbers, weights: Numbers) -> Array:
    """Return the gain g = ‖V‖_F/√H at which the largest root is 1, whatever the spans.

    At z = 1 the characteristic equation reads 1 = E[a²] + g² E[φ²] Σ_d p_d²: a span delays what comes back,
    but not how much. `phi_square` includes the gate (E[φ²] E[γ²]); `weights` (…, span) are p.

    Raises ValueError where E[a²] ≥ 1, E[φ²] ≤ 0 or all weights are 0: no gain makes the root 1 there.

    >>> round(critical_gain(0.25, 0.5, [1.0]).item(), 4)
    1.2247
    """
    a, phi = np.asarray(a_square, dtype=np.float64), np.asarray(phi_square, dtype=np.float64)
    squares = np.sum(np.asarray(weights, dtype=np.float64) ** 2, axis=-1)
    if not ((a >= 0) & (a < 1)).all() or not (phi * squares > 0).all():
        raise ValueError(
            f"critical gain: got E[a²] = {a}, E[φ²] Σ p² = {phi * squares}; expected 0 ≤ E[a²] < 1 and a "
            "recurrent path that carries something (neurons in their window, spans within the sequence)"
        )
    return np.asarray(np.sqrt((1.0 - a) / (phi * squares)))


def critical_initialisation(prod: xr.Dataset) -> xr.Dataset:
    """Return by what factor to scale V of every layer so that its largest root is 1, and what that costs.

    `factor` (…, layer) multiplies V; `gain` = ‖V‖_F/√H after it; `rate` is that of the mean square before, in
    nats per step. The cost is `rate_bound`, the rate of the bound after it, in nats per step (largest over
    samples): how fast a gradient could grow along the worst path while the average one keeps its size.

    Raises ValueError as `mean_square`, `bound` and `critical_gain` do.
    """
    weights, spans = span_weights(prod)
    mean = {name: labelled(prod, name) for name in ("a_square", "phi_square", "gate_square")}
    mean = {name: value.mean("sample") if "sample" in value.dims else value for name, value in mean.items()}
    now = labelled(prod, "V_frobenius") / np.sqrt(labelled(prod, "neurons"))
    carried = mean["phi_square"] * mean["gate_square"]
    gain = xr.apply_ufunc(
        critical_gain, mean["a_square"], carried, weights, input_core_dims=[[], [], ["span"]]
    )
    rate = xr.apply_ufunc(
        lambda a, b, p: 0.5 * log_root(a, b, spans, p**2),
        mean["a_square"],
        now**2 * carried,
        weights,
        input_core_dims=[[], [], ["span"]],
    )
    factor = gain / now
    scaled = prod.assign(V_spectral=prod["V_spectral"] * factor)
    worst = bound(scaled)["rate"]
    parts = {
        "factor": factor,
        "gain": gain,
        "rate": rate,
        "rate_bound": worst.max("sample") if "sample" in worst.dims else worst,
    }
    result = xr.Dataset({name: ordered(part, "layer") for name, part in parts.items()}, attrs=prod.attrs)
    for name in ("rate", "rate_bound"):
        result[name].attrs = {"units": "nats per step"}
    return Results.of(result)


def temperature_horizons(
    span_logits: Float[np.ndarray, " span"],
    temperatures: Numbers,
    a_square: float,
    gain_square: float,
    *,
    level: float = LEVEL,
    longest: int = LONGEST,
) -> xr.Dataset:
    """Return how far an adaptive skip layer reaches while its softmax sharpens.

    With p = softmax(c / τ) over the spans 1 … D: `horizon` (temperature), in steps; `rate`, in nats per step;
    `spans_used` = 1 / Σ p², the number of spans that an even mixture of the same Σ p² has; `horizon_hard` and
    `rate_hard` are those of the one span of the largest c, which evaluation uses. A soft mixture splits the
    weight, Σ p_d² < 1: at the start the gradient sees far less recurrence than the hard span will give it.

    Raises ValueError for temperatures that are not positive, or logits that are not one axis of numbers.

    >>> float(temperature_horizons(np.zeros(4), [1.0], 0.0, 0.25).spans_used[0])
    4.0
    """
    c, tau = np.asarray(span_logits, dtype=np.float64), np.asarray(temperatures, dtype=np.float64)
    if c.ndim != 1 or not c.size or not np.isfinite(c).all():
        raise ValueError(f"span_logits: got shape {c.shape}, expected one finite number for each span 1 … D")
    if tau.ndim != 1 or not (np.isfinite(tau) & (tau > 0)).all():
        raise ValueError(f"temperatures: got {temperatures!r}, expected one axis of positive numbers")
    spans = np.arange(1, c.size + 1)
    powers = np.exp((c - c.max()) / tau[:, None])
    soft = powers / powers.sum(axis=1, keepdims=True)
    hard = (np.arange(c.size) == c.argmax()).astype(np.float64)
    reach = [predicted_horizon(a_square, gain_square, spans, p, level, longest) for p in (*soft, hard)]
    rates = 0.5 * log_root(a_square, gain_square, spans, np.stack([*soft, hard]) ** 2)
    steps, nats = {"units": "steps"}, {"units": "nats per step"}
    return Results(
        {
            "horizon": ("temperature", np.array(reach[:-1]), steps),
            "rate": ("temperature", rates[:-1], nats),
            "spans_used": ("temperature", 1.0 / (soft**2).sum(axis=1), {"units": "1"}),
            "horizon_hard": ((), reach[-1], steps),
            "rate_hard": ((), rates[-1], nats),
        },
        {"temperature": tau},
    )
