"""The bound: no Jacobian product is larger than the scalar recursion with the largest factors.

Axes: … layer sample lag. P(T,t) = P(T,t+1) A_t + Σ_d p_d P(T,t+d) Γ_{t+d} V Φ_t, with A_t, Φ_t and the gate
Γ_t diagonal, gives ‖P(T,t)‖₂ ≤ x_{T−t} for x_n = a x_{n−1} + b Σ_d |p_d| x_{n−d}, x_0 = 1, a = max |a[t]| and
b = max |γ[t]| ‖V‖₂ max |φ[t]| (induction over n, by the triangle inequality). Where factors are constant both
sides are equal, so allow for rounding (1e-9 nats) when comparing.
"""

import numpy as np
import xarray as xr
from jaxtyping import Float

from gradflow.analysis.schema import Array, Lags, Numbers, Spans, labelled, lag_values, ordered, span_weights
from gradflow.results import Results
from gradflow.theory.root import impulse_log, log_root


def product_bound(
    a_max: Numbers, gain: Numbers, spans: Numbers, weights: Numbers, length: int
) -> Float[np.ndarray, "*rest lag"]:
    """Return log x_n ≥ log ‖P(T, T−n)‖₂ for n = 0 … length − 1, from a = `a_max` and b = `gain`.

    `weights` (…, span) may be negative: their absolute values count. Add ½ log H for the Frobenius norm.

    Raises ValueError for a negative `a_max` or `gain`, as `impulse_log` does.

    >>> product_bound(0.5, 1.0, [2], [-0.25], length=4).round(4).tolist()
    [0.0, -0.6931, -0.6931, -0.9808]
    """
    return impulse_log(a_max, gain, spans, np.abs(np.asarray(weights, dtype=np.float64)), length)


def bound(prod: xr.Dataset) -> xr.Dataset:
    """Return the bound on every curve of `prod`, in nats.

    `log_bound` (…, layer, sample, lag) = log x_n bounds `log_spectral`; `log_bound_frobenius`, larger by
    ½ log H, bounds `log_frobenius`; `rate` (…, layer, sample) = log ρ is the slope both tend to, in nats per
    step. a = a_max and b = V_spectral · phi_max · gate_max, maxima of absolute values.

    Raises ValueError where one of these, `neurons`, `p` or the coordinates lag and span are missing or wrong.

    >>> dims, one = ("layer", "sample"), [[0.5]]
    >>> prod = xr.Dataset(
    ...     {"a_max": (dims, one), "phi_max": (dims, [[1.0]]), "gate_max": (dims, [[1.0]])}
    ...     | {"V_spectral": ("layer", [1.0]), "neurons": ("layer", [4]), "p": (("layer", "span"), [[1.0]])},
    ...     {"lag": [0, 1, 2], "span": [2]},
    ... )
    >>> bound(prod).log_bound.round(4).values.tolist()
    [[[0.0, -0.6931, 0.2231]]]
    """
    weights, spans = span_weights(prod)
    lags = lag_values(prod)
    a = labelled(prod, "a_max")
    gain = labelled(prod, "V_spectral") * labelled(prod, "phi_max") * labelled(prod, "gate_max")
    curve, rate = xr.apply_ufunc(
        _curve_and_rate,
        a,
        gain,
        np.abs(weights),
        input_core_dims=[[], [], ["span"]],
        output_core_dims=[["lag"], []],
        kwargs={"spans": spans, "lags": lags},
    )
    wide = curve + 0.5 * np.log(labelled(prod, "neurons"))
    parts = {"log_bound": curve, "log_bound_frobenius": wide, "rate": rate}
    result = xr.Dataset({name: ordered(part, "layer", "sample", "lag") for name, part in parts.items()})
    for name in parts:
        result[name].attrs = {"units": "nats per step" if name == "rate" else "nats"}
    found = result.assign_coords(lag=prod["lag"]).assign_attrs({**prod.attrs, "theory": "bound"})
    return Results.of(found)


def _curve_and_rate(
    a: Numbers, gain: Numbers, weights: Array, *, spans: Spans, lags: Lags
) -> tuple[Array, Array]:
    curve = product_bound(a, gain, spans, weights, int(lags[-1]) + 1)[..., lags]
    return curve, log_root(a, gain, spans, weights)
