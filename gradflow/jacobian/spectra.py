"""What is read off singular values: participation ratio, angle to a gradient, and where windows are empty.

Axes: sample lag index.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from gradflow.jacobian.sweep import AnyTransition
from gradflow.transition import DenseTransition


@dataclass(frozen=True)
class Spectra:
    """What one layer yields; `direction` is the leading right singular vector, NaN where P is zero."""

    logs: Float[np.ndarray, "sample lag index"]
    direction: Float[np.ndarray, "sample lag neuron"]
    bound: Int[np.ndarray, "sample lag"]
    participation: Float[np.ndarray, "sample lag"]


def labelled(
    spectra: Spectra, lags: Int[np.ndarray, " lag"], no_window: Int[np.ndarray, "sample lag"]
) -> xr.Dataset:
    """Return one layer's dataset."""
    neurons = spectra.direction.shape[-1]
    return xr.Dataset(
        {
            "log_singular": (("sample", "lag", "index"), spectra.logs, {"units": "nats"}),
            "rank_bound": (("sample", "lag"), spectra.bound.astype(np.float64), {"units": "1"}),
            "no_window": (("sample", "lag"), no_window.astype(np.float64), {"units": "1"}),
            "participation": (("sample", "lag"), spectra.participation, {"units": "1"}),
            "neurons": ((), float(neurons), {"units": "1"}),
        },
        coords={
            "sample": np.arange(len(spectra.logs)),
            "lag": lags,
            "index": np.arange(spectra.logs.shape[-1]),
        },
    )


def empty_windows(
    layer: AnyTransition, last: int, lags: Int[np.ndarray, " lag"], *, own: bool
) -> Int[np.ndarray, "sample lag"]:
    """Return of how many neurons nothing after t depends on u[t], for all factors of the step are 0.

    `own` says that u[T] is the layer's: at lag 0 nothing is multiplied. Below it, u[T] is read through φ[T].
    """
    t = last - lags
    if isinstance(layer, DenseTransition):
        J = layer.jacobians[np.minimum(t, len(layer.jacobians) - 1)] if len(layer.jacobians) else None
        dead = np.zeros((len(lags), layer.jacobians.shape[1])) if J is None else (J == 0).all(2).sum(2)
    else:
        dead = ((layer.phi[t] == 0) & ((layer.a[t] == 0) | (lags == 0)[:, None, None])).sum(axis=2)
    if own:
        dead = np.where((lags == 0)[:, None], 0, dead)
    return np.asarray(dead, dtype=np.int64).T


def angles(
    direction: Float[np.ndarray, "*rest neuron"], gradient: Float[np.ndarray, "*rest neuron"]
) -> Float[np.ndarray, "*rest"]:
    """Return the angle in radians between each unit direction (of any sign) and each gradient.

    >>> angles(np.array([1.0, 0.0]), np.array([-3e-200, 3e-200])).round(6).item()
    0.785398
    """
    top = np.abs(gradient).max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):  # 0/0 is the NaN of a gradient that is zero
        unit = gradient / top
    along = np.sum(unit * direction, axis=-1)
    across = np.linalg.norm(unit - along[..., None] * direction, axis=-1)
    return np.asarray(np.arctan2(across, np.abs(along)))  # arccos would lose small angles


def participation_ratio(logs: Float[np.ndarray, "*rest index"]) -> Float[np.ndarray, "*rest"]:
    """Return (Σσ²)²/Σσ⁴ of descending log singular values; NaN where all are −∞.

    Values that are NaN add nothing if the one before them is under 2⁻¹² of the first; else the ratio is NaN.

    >>> participation_ratio(np.array([-900.0, -900.0, -np.inf])).item()
    2.0
    """
    missing = np.isnan(logs)
    known = np.where(missing, -np.inf, logs)
    top = known[..., :1]
    before = np.concatenate([top, known[..., :-1]], axis=-1)
    with np.errstate(invalid="ignore"):  # −∞ − (−∞) is the documented NaN
        doubtful = np.any(missing & (before - top > np.log(2.0**-12)), axis=-1)
        squares = np.exp(2.0 * (known - top))
        ratio = squares.sum(axis=-1) ** 2 / (squares**2).sum(axis=-1)
    return np.asarray(np.where(doubtful, np.nan, ratio))
