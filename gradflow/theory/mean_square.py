"""The mean-square prediction: how the mean of ‖P(T,t)‖_F² would decay if V were drawn afresh at every step.

Axes: … layer lag. x_n = E[a²] x_{n−1} + g² E[φ²] E[γ²] Σ_d p_d² x_{n−d} with x_0 = 1 and g² = ‖V‖_F²/H (γ:
the gate in front of V); then ‖P‖_F ≈ √(H x_n) and the rate is ½ log ρ. V is reused at every step, neurons
differ and several spans meet the same V, so this is an approximation, good where the recurrent path wins over
one span; where neurons that never enter their window carry the gradient, the rate is log leak instead
(`neuron_path_rate`).
"""

import numpy as np
import xarray as xr
from jaxtyping import Float

from gradflow.analysis.schema import Array, Lags, Numbers, Spans, labelled, lag_values, ordered, span_weights
from gradflow.results import Results
from gradflow.theory.root import impulse_log, log_root


def mean_square_curve(
    a_square: Numbers, gain_square: Numbers, spans: Numbers, weights: Numbers, length: int
) -> Float[np.ndarray, "*rest lag"]:
    """Return ½ log x_n for n = 0 … length − 1, from E[a²] and g² E[φ²] E[γ²]; add ½ log H for ‖P‖_F.

    `weights` (…, span) are p, not p²; their sign does not matter.

    Raises ValueError as `impulse_log` does.

    >>> mean_square_curve(0.25, 0.16, [1], [1.0], length=3).round(4).tolist()
    [0.0, -0.4458, -0.8916]
    """
    square = np.asarray(weights, dtype=np.float64) ** 2
    return 0.5 * impulse_log(a_square, gain_square, spans, square, length)


def mean_square(prod: xr.Dataset) -> xr.Dataset:
    """Return the mean-square prediction of every layer from its recorded moments.

    `rate` (…, layer) = ½ log ρ and `neuron_path_rate` = log leak in nats per step; `log_frobenius` (…, layer,
    lag) = ½ log H + ½ log x_n in nats. E[a²], E[φ²] and E[γ²] are the means of a_square, phi_square and
    gate_square over samples; further dimensions, such as seed, are kept.

    Raises ValueError where one of these, `V_frobenius`, `neurons`, `leak`, `p` or the coordinates lag and
    span are missing or wrong.

    >>> dims = ("layer", "sample")
    >>> prod = xr.Dataset(
    ...     {"a_square": (dims, [[0.25]]), "phi_square": (dims, [[0.16]]), "gate_square": (dims, [[1.0]])}
    ...     | {"V_frobenius": ("layer", [2.0]), "neurons": ("layer", [4]), "leak": ("layer", [0.5])}
    ...     | {"p": (("layer", "span"), [[1.0]])},
    ...     {"lag": [0, 1, 2], "span": [1]},
    ... )
    >>> mean_square(prod).rate.round(4).values.tolist()
    [-0.4458]
    """
    weights, spans = span_weights(prod)
    lags = lag_values(prod)
    moment = {name: labelled(prod, name) for name in ("a_square", "phi_square", "gate_square")}
    moment = {name: mean.mean("sample") if "sample" in mean.dims else mean for name, mean in moment.items()}
    neurons, leak = labelled(prod, "neurons"), labelled(prod, "leak")
    gain = labelled(prod, "V_frobenius") ** 2 / neurons * moment["phi_square"] * moment["gate_square"]
    curve, rate = xr.apply_ufunc(
        _curve_and_rate,
        moment["a_square"],
        gain,
        weights,
        input_core_dims=[[], [], ["span"]],
        output_core_dims=[["lag"], []],
        kwargs={"spans": spans, "lags": lags},
    )
    with np.errstate(divide="ignore"):  # a neuron that keeps nothing: log 0 = −∞
        alone = np.log(leak)
    parts = {"log_frobenius": curve + 0.5 * np.log(neurons), "rate": rate, "neuron_path_rate": alone}
    result = xr.Dataset({name: ordered(part, "layer", "lag") for name, part in parts.items()})
    for name in parts:
        result[name].attrs = {"units": "nats" if name == "log_frobenius" else "nats per step"}
    found = result.assign_coords(lag=prod["lag"]).assign_attrs({**prod.attrs, "theory": "mean square"})
    return Results.of(found)


def _curve_and_rate(
    a_square: Numbers, gain_square: Numbers, weights: Array, *, spans: Spans, lags: Lags
) -> tuple[Array, Array]:
    curve = mean_square_curve(a_square, gain_square, spans, weights, int(lags[-1]) + 1)[..., lags]
    return curve, np.asarray(0.5 * log_root(a_square, gain_square, spans, weights**2))
