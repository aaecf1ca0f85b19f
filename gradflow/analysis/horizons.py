"""How far back a gradient reaches: the lag at which a curve falls below a level, and half-lives.

Axes: … lag. Horizons and half-lives are in steps.
"""

import numpy as np
import xarray as xr
from jaxtyping import Float

from gradflow.analysis.curves import envelope
from gradflow.analysis.schema import Array, Lags, Numbers, labelled, lag_values, ordered
from gradflow.results import Results

LEVEL = 1e-3
"""Default level: a gradient of a thousandth is lost among the noise of a mini-batch."""


def horizon(
    log_norm: Float[np.ndarray, "*rest lag"], level: float = LEVEL, lags: Lags | None = None
) -> Float[np.ndarray, "*rest"]:
    """Return the lag at which the envelope, relative to lag 0, falls below `level` for good.

    With e[n] = env[n] − env[0] and m the first lag at which e[m] < log(level), it is the place between
    the lags m' (the one before m) and m where the straight line from e[m'] to e[m] meets log(level); m' where
    e[m] = −∞. It is +∞ where the curve stays at or above the level to its last lag, and NaN where the
    curve is an exact zero throughout. `lags` are the lags of the entries (default 0, 1, …).

    Raises ValueError for a level outside 0 < level ≤ 1, lags that do not begin at 0, NaN or +∞.

    >>> horizon(-0.5 * np.arange(30.0), level=np.exp(-6.25)).item()
    12.5
    """
    if not 0.0 < level <= 1.0:
        raise ValueError(f"level: got {level}, expected 0 < level <= 1, a share of the norm at lag 0")
    lag = np.arange(log_norm.shape[-1]) if lags is None else lags
    if not lag.size or lag[0] != 0:
        raise ValueError(f"lag: begins at {lag[:1]}, expected 0: a horizon is relative to the norm at lag 0")
    env = envelope(log_norm.astype(np.float64))
    with np.errstate(invalid="ignore"):  # −∞ − (−∞) where all is zero: NaN, as documented
        drop = env - env[..., :1]
    below = drop < np.log(level)
    after = below.argmax(axis=-1)
    before = np.maximum(after - 1, 0)
    at_before = np.take_along_axis(drop, before[..., None], axis=-1)[..., 0]
    at_after = np.take_along_axis(drop, after[..., None], axis=-1)[..., 0]
    with np.errstate(invalid="ignore", divide="ignore"):  # curves that never fall are set to +∞ below
        share = (np.log(level) - at_before) / (at_after - at_before)
        place = lag[before] + share * (lag[after] - lag[before])
    found = np.where(below.any(axis=-1), place, np.inf)
    return np.asarray(np.where(np.isneginf(env[..., 0]), np.nan, found))


def half_life(rate: Numbers) -> Array:
    """Return log 2 / −rate, the steps in which a curve of that rate (nats per step) halves.

    It is +∞ where the rate is 0 or positive, and NaN where it is NaN.

    >>> half_life(-np.log(2.0) / 8).item()
    8.0
    """
    slope = np.asarray(rate, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(2.0) / (np.maximum(-slope, 0.0) + 0.0))  # + 0.0 makes −0.0 positive


def horizon_at(prod: xr.Dataset, level: float = LEVEL, *, variable: str = "log_frobenius") -> xr.Dataset:
    """Return the horizon of every curve: variable `horizon` (every dimension but lag), in steps.

    Raises ValueError as `horizon` does, and where the variable or the coordinate `lag` is missing.

    >>> prod = xr.Dataset({"log_frobenius": ("lag", [0.0, -4.0, -8.0])}, {"lag": [0, 1, 2]})
    >>> round(horizon_at(prod).horizon.item(), 4)
    1.7269
    """
    curves = ordered(labelled(prod, variable, "lag", log=True), "lag")
    values = horizon(curves.values, level, lag_values(curves))
    coords = {name: coord for name, coord in curves.coords.items() if "lag" not in coord.dims}
    found = xr.DataArray(values, coords, curves.dims[:-1], attrs={"units": "steps", "level": level})
    attrs = {**prod.attrs, "horizon_variable": variable, "horizon_level": level}
    return Results({"horizon": found}, attrs=attrs)
