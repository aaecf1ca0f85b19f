"""Numbers of each layer as plain arrays, and the warnings that several kinds of file share."""

from collections.abc import Iterable, Iterator

import numpy as np
import xarray as xr
from jaxtyping import Float

SILENT, LOW, SATURATED = 0.0, 0.01, 0.9
"""Firing rates: none; so low that gradients have hardly a spike to pass; and no longer sparse."""
EMPTY, NARROW = 0.0, 0.01
"""Shares of neurons in the surrogate's window: none, and so few that most paths are cut."""

PerLayer = Float[np.ndarray, " layer"]


def per_layer(array: xr.DataArray) -> PerLayer:
    """Return one number for each layer: the mean over all other dimensions, NaN left out.

    >>> per_layer(xr.DataArray([[1.0, 3.0], [5.0, np.nan]], dims=("layer", "sample"))).tolist()
    [2.0, 5.0]
    """
    layered = array if "layer" in array.dims else array.expand_dims("layer")
    table = layered.transpose("layer", ...).values.astype(np.float64).reshape(layered.sizes["layer"], -1)
    there = ~np.isnan(table)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0/0 is NaN: nothing is known of the layer
        return np.asarray(np.where(there, table, 0.0).sum(axis=1) / there.sum(axis=1))


def layer_names(data: xr.Dataset) -> list[int]:
    """Return the numbers of the layers."""
    return [int(layer) for layer in data["layer"].values] if "layer" in data.coords else [0]


def activity_warnings(firing: PerLayer | None, window: PerLayer | None) -> Iterator[str]:
    """Yield what is wrong with firing rates and with the occupancy of the surrogate's window.

    >>> list(activity_warnings(np.array([0.0]), np.array([0.3])))
    ['layer 0 is silent: no neuron fires, so what follows sees nothing of the input']
    """
    for layer, rate in _numbered(firing):
        if rate == SILENT:
            yield f"layer {layer} is silent: no neuron fires, so what follows sees nothing of the input"
        elif rate < LOW:
            yield f"layer {layer} fires at {100 * rate:.2g} % only: rates are too low to carry much"
        elif rate > SATURATED:
            yield f"layer {layer} fires at {100 * rate:.0f} %: its neurons are saturated"
    for layer, share in _numbered(window):
        if share == EMPTY:
            yield f"layer {layer}: the surrogate's window is empty, no gradient passes a spike"
        elif share < NARROW:
            yield f"layer {layer}: only {100 * share:.2g} % of the neurons are in the surrogate's window"


def growth_warnings(rate: PerLayer, low: PerLayer) -> Iterator[str]:
    """Yield the layers whose products grow: their interval lies above 0, or their rate where there is none.

    >>> list(growth_warnings(np.array([0.1, -0.1]), np.array([0.05, np.nan])))
    ['layer 0: grows by 0.1 nats per step, the gradient explodes']
    """
    least = np.where(np.isnan(low), rate, low)
    for layer, (grows, at_least) in enumerate(zip(rate, least, strict=True)):
        if at_least > 0.0:
            yield f"layer {layer}: grows by {grows:.3g} nats per step, the gradient explodes"


def zero_warnings(lags: PerLayer, what: str) -> Iterator[str]:
    """Yield from which lag on something is exactly 0, where it ever is."""
    for layer, lag in enumerate(lags):
        if np.isfinite(lag):
            yield f"layer {layer}: {what} from lag {lag:.0f} on"


def _numbered(values: PerLayer | None) -> Iterable[tuple[int, float]]:
    return () if values is None else enumerate(values.tolist())
