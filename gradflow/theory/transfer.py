"""The transfer operator of a transition, labelled: the predicted curve of every layer, and its rates.

Axes: layer lag.
"""

import numpy as np
import xarray as xr

from gradflow.theory.factors import Factors, LayerFactors, acting, fitted_rate, joined, last_step, layers_of
from gradflow.theory.moments import second_moments
from gradflow.theory.transfer_curve import transfer_curve
from gradflow.theory.transfer_rate import transfer_rate, transfer_rate_arnoldi


def transfer_operator(
    source: Factors | LayerFactors, *, end: int = -1, asymptotic: bool = False
) -> xr.Dataset:
    """Return what the second-moment transfer operator predicts for each layer of a transition.

    `log_frobenius` (layer, lag) = ½ log E ‖P(T,t)‖_F² in nats, over the lags of `jacobian_products` with the
    same `end`, from moments over all steps before the end and all samples; `rate` (layer) its slope in nats
    per step, fitted as `fit_decay` fits the measured curve (NaN where it cannot be); with `asymptotic`,
    `rate_asymptotic` (layer) is the slope far from the end, to 1e-7 nats per step: at wide spans a record
    of some tens of spans has not come down to it.

    It is the average product; the typical one decays a little faster.

    Raises ValueError for an end outside the sequence, layers without a, φ and V, or what `transfer_curve`
    refuses.

    Cost: that of `transfer_curve` for each layer: its time does not grow with the samples.

    >>> from types import SimpleNamespace
    >>> a, phi = np.full((40, 1, 2), 0.5), np.full((40, 1, 2), 0.5)
    >>> skip = SimpleNamespace(a=a, phi=phi, V=0.5 * np.eye(2), spans=(4,), weights=(1.0,), gate=None)
    >>> transfer_operator(skip, asymptotic=True).rate_asymptotic.round(4).values.tolist()
    [-0.1344]
    """
    layers, conventions = layers_of(source)
    parts = []
    for layer in layers:
        last = last_step(layer, end)
        taps = acting(layer, last)
        if not last:
            curve = np.array([0.5 * np.log(layer.a.shape[2])])
            parts.append(xr.Dataset({"log_frobenius": ("lag", curve), "rate": ((), np.nan)}))
            continue
        moments = second_moments(layer, end=end)
        curve = transfer_curve(moments, layer.V, taps, last + 1)
        found = {"log_frobenius": ("lag", curve), "rate": ((), float(fitted_rate(curve, taps)))}
        if asymptotic:
            # one span of 1: Arnoldi needs a single round, and iteration is ten times slower
            rate = transfer_rate_arnoldi if set(taps) == {1} else transfer_rate
            found["rate_asymptotic"] = ((), rate(moments, layer.V, taps))
        parts.append(xr.Dataset(found))
    return joined(parts, "transfer operator", conventions)
