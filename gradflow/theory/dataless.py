"""Prediction without data: moments, curve and rate from the law of the input and the weights alone.

Axes: layer lag. The closures (`density_closure`, `sampled_closure`) give the moments of a and φ that the
transfer operator reads; everything downstream of them is as with measured moments.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import xarray as xr

from gradflow.theory.closure import Closed
from gradflow.theory.density_closure import density_closure
from gradflow.theory.factors import fitted_rate, joined
from gradflow.theory.input_law import InputLaw
from gradflow.theory.transfer_curve import transfer_curve
from gradflow.theory.update_rule import LayerWeights

Closure: TypeAlias = Callable[[InputLaw, Sequence[LayerWeights]], list[Closed]]


def predict_without_data(
    law: InputLaw,
    layers: Sequence[LayerWeights],
    *,
    closure: Closure = density_closure,
    conventions: Mapping[str, str | int | float] | None = None,
) -> xr.Dataset:
    """Return what the transfer operator predicts for each layer from the law of the input and the weights.

    `log_frobenius` (layer, lag) and `rate` (layer) as of `transfer_operator`, for as many lags as the law has
    steps; `firing_rate`, `phi`, `phi_square`, `a`, `a_square` (layer), means over neurons and steps. Each has
    a companion `…_error`, its standard error from the parts of a sampled closure; NaN for one that samples
    nothing. What a closure itself leaves out is in no error: `benchmarks/dataless.md` has it measured.

    Args:
        law: of the input, (time, input).
        layers: from the input upwards.
        closure: `density_closure` (no samples; the default), or `sampled_closure`, with its options by
            functools.partial.
        conventions: to be written beside the numbers.

    Raises ValueError as the closure and `transfer_curve` do.

    Cost: the closure's, and 1 + parts times that of `transfer_curve` for each layer.

    >>> from gradflow.theory import GaussianInput, LayerWeights, lif
    >>> law = GaussianInput(np.full((40, 1), 0.45), np.zeros((0, 40, 1)))
    >>> layer = LayerWeights(np.ones((2, 1)), np.zeros(2), 0.5 * np.eye(2), {1: 1.0}, lif(0.5))
    >>> found = predict_without_data(law, [layer])  # u → 0.9, φ = 0.9, a = 0.05: log ½
    >>> found.rate.round(2).values.tolist(), found.firing_rate.values.tolist()
    ([-0.69], [0.0])
    """
    parts = [
        of_layer(layer, found, len(law.mean))
        for layer, found in zip(layers, closure(law, layers), strict=True)
    ]
    return joined(parts, "transfer operator without data", conventions or {})


def of_layer(layer: LayerWeights, found: Closed, steps: int) -> xr.Dataset:
    """Return the prediction of one layer, with the standard errors that its parts give."""
    values = predicted(layer, found, steps)
    errors = standard_errors([predicted(layer, part, steps) for part in found.parts], values)
    return values.merge(errors.rename({name: f"{name}_error" for name in errors.data_vars}))


def predicted(layer: LayerWeights, found: Closed, steps: int) -> xr.Dataset:
    """Return curve, rate and mean statistics that one set of moments gives."""
    taps = {d: p for d, p in sorted(layer.taps.items()) if d < steps and p != 0.0}
    moments = found.moments
    curve = transfer_curve(moments, layer.V, taps, steps)
    means = {
        "rate": float(fitted_rate(curve, taps)),
        "firing_rate": found.firing_rate.mean(),
        "phi": moments.phi.mean(),
        "phi_square": np.diag(moments.phi_phi).mean(),
        "a": moments.a.mean(),
        "a_square": np.diag(moments.a_a).mean(),
    }
    return xr.Dataset({"log_frobenius": ("lag", curve)} | {name: ((), mean) for name, mean in means.items()})


def standard_errors(parts: Sequence[xr.Dataset], of: xr.Dataset) -> xr.Dataset:
    """Return the standard error of the parts' mean, or NaN where there are no parts."""
    if not parts:
        return xr.full_like(of, np.nan)
    deviation: xr.Dataset = xr.concat(list(parts), dim="part").std("part", ddof=1)
    return deviation / float(np.sqrt(len(parts)))
