"""What labelled functions expect of a dataset of Jacobian products, and the errors when it is not there.

Axes: lag (coordinate n = T − t, in steps) and span (coordinate d, in steps). Every other dimension,
known (layer, sample, seed) or not, is broadcast over.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from jaxtyping import Float, Int, Real
from numpy.typing import NDArray

Numbers: TypeAlias = Real[np.ndarray, "..."] | Sequence[Any] | np.number[Any] | float | int
"""A number, a sequence of numbers or an array of them."""
Array: TypeAlias = Float[np.ndarray, "..."]
Spans: TypeAlias = Int[np.ndarray, " span"]
Lags: TypeAlias = Int[np.ndarray, " lag"]


def without(array: Array | xr.DataArray, name: str) -> None:
    """Refuse NaN and +∞ in an array of log-norms (−∞, an exact zero, is welcome).

    Raises ValueError with the number of such entries.

    >>> without(np.array([0.0, -np.inf]), "log_norm")
    """
    values = np.asarray(array)
    wrong = int(np.count_nonzero(np.isnan(values) | np.isposinf(values)))
    if wrong:
        raise ValueError(
            f"{name}: {wrong} of {values.size} entries are NaN or +inf; expected finite numbers or -inf (an "
            "exact zero). Datasets of different lengths leave NaN when concatenated: use join='inner'"
        )


def labelled(prod: xr.Dataset, name: str, *dims: str, log: bool = False) -> xr.DataArray:
    """Return variable `name` of `prod` in float64, checked to have `dims` and no NaN (`log`: −∞ allowed).

    Raises ValueError where the variable or a dimension is missing, or a value is not a number.

    >>> prod = xr.Dataset({"leak": ("layer", [0.5])})
    >>> labelled(prod, "leak", "layer").item()
    0.5
    """
    if name not in prod:
        raise ValueError(
            f"the dataset has no variable {name!r}, only {sorted(map(str, prod.data_vars))}; "
            "expected a dataset as returned by gradflow.jacobian_products"
        )
    array = prod[name].astype(np.float64)
    missing = [dim for dim in dims if dim not in array.dims]
    if missing:
        raise ValueError(f"{name}: got dimensions {array.dims}, expected {missing} among them")
    if log:
        without(array, name)
    elif not np.isfinite(array.values).all():
        raise ValueError(f"{name}: has entries that are NaN or infinite; expected finite numbers")
    return array


def lag_values(array: xr.Dataset | xr.DataArray) -> Lags:
    """Return the lag coordinate: whole steps ≥ 0, increasing.

    Raises ValueError where the coordinate is missing, empty, not whole, negative or not increasing.

    >>> lag_values(xr.DataArray([0.0, -1.0], dims="lag", coords={"lag": [0, 1]})).tolist()
    [0, 1]
    """
    if "lag" not in array.coords:
        raise ValueError(
            "the dataset has no coordinate 'lag'; expected lag = T - t in steps, 0 at the end step"
        )
    return steps(array["lag"].values, "lag", smallest=0)


def steps(values: Numbers | NDArray[Any], name: str, *, smallest: int) -> Int[np.ndarray, " n"]:
    """Return `values` as integers, checked to be whole, at least `smallest` and increasing.

    Raises ValueError otherwise, or where there are none.

    >>> steps([1.0, 4.0], "spans", smallest=1).tolist()
    [1, 4]
    """
    given = np.asarray(values)
    whole = given.ndim == 1 and given.size > 0 and np.issubdtype(given.dtype, np.number)
    if not whole or not np.array_equal(given, np.round(given)) or given.min() < smallest:
        raise ValueError(f"{name}: got {values!r}, expected one axis of whole numbers of steps >= {smallest}")
    if (np.diff(given) <= 0).any():
        raise ValueError(f"{name}: got {values!r}, expected increasing numbers of steps; sort them first")
    return given.astype(np.int64)


def span_weights(prod: xr.Dataset) -> tuple[xr.DataArray, Spans]:
    """Return the span weights p (…, span) and the spans d they belong to.

    A missing weight (NaN) is 0: that is what xr.concat leaves at a span which only the other dataset has.

    Raises ValueError where `p` or the coordinate `span` is missing, or is nonsense.

    >>> prod = xr.Dataset({"p": (("layer", "span"), [[1.0, np.nan]])}, {"span": [1, 4]})
    >>> span_weights(prod)[0].values.tolist()
    [[1.0, 0.0]]
    """
    if "p" not in prod or "span" not in prod["p"].dims or "span" not in prod.coords:
        raise ValueError("the dataset has no span weights: expected a variable 'p' with a coordinate 'span'")
    weights = prod["p"].astype(np.float64).fillna(0.0)
    if not np.isfinite(weights.values).all():
        raise ValueError("p: has infinite entries; expected finite span weights")
    if not weights.sizes["span"]:
        return weights, np.zeros(0, dtype=np.int64)
    return weights, steps(prod["span"].values, "span", smallest=1)


def ordered(array: xr.DataArray, *last: str) -> xr.DataArray:
    """Put the dimensions named in `last` at the end, in that order, as far as the array has them.

    >>> ordered(xr.DataArray(np.zeros((2, 3)), dims=("layer", "seed")), "layer", "lag").dims
    ('seed', 'layer')
    """
    known = [dim for dim in last if dim in array.dims]
    return array.transpose(..., *known)
