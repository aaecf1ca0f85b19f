"""Datasets of single runs to one of all: what one has and another has not is NaN, or "" for text.

Axes: those of the grid, then the runs' own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

Place = tuple[int, ...]


def coordinate(texts: Sequence[str], values: Sequence[Any]) -> np.ndarray:
    """Return an axis's values: numbers where all are, else their texts.

    >>> coordinate(["1", "0.5"], [1, 0.5]).tolist(), coordinate(["none", "1"], [None, 1]).tolist()
    ([1.0, 0.5], ['none', '1'])
    """
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return np.array(list(values) if numbers else list(texts))


def stack(runs: Mapping[Place, xr.Dataset], axes: Mapping[str, np.ndarray]) -> xr.Dataset:
    """Put the runs' datasets at their places of a grid into one.

    Args:
        runs: by place, one index an axis; places may be missing.
        axes: coordinate of each axis.

    >>> one = xr.Dataset({"loss": ("epoch", [2.0])}, {"epoch": [1]})
    >>> two = xr.Dataset({"loss": ("epoch", [1.0, 0.5])}, {"epoch": [1, 2]})
    >>> stack({(0,): one, (1,): two}, {"seed": np.array([7, 8])}).loss.values.tolist()
    [[2.0, nan], [1.0, 0.5]]
    """
    inner = {
        dim: _union([run.indexes[dim].to_numpy() for run in runs.values() if dim in run.indexes])
        for dim in dict.fromkeys(str(dim) for run in runs.values() for dim in run.dims)
    }
    # in the order of the first run that has it
    shapes = {name: run[name].dims for run in reversed(list(runs.values())) for name in run.data_vars}
    outer = tuple(len(values) for values in axes.values())
    found = {}
    for name, dims in shapes.items():
        blocks = {place: run[name] for place, run in runs.items() if name in run}
        shape = tuple(len(inner[str(dim)]) for dim in dims)
        text = next(iter(blocks.values())).dtype.kind in "UO"
        whole = np.full((*outer, *shape), "" if text else np.nan, dtype=object if text else np.float64)
        for place, block in blocks.items():
            at = [np.searchsorted(inner[str(dim)], block.indexes[str(dim)].to_numpy()) for dim in dims]
            value = block.transpose(*dims).values
            if at:
                whole[place][np.ix_(*at)] = value
            else:
                whole[place] = value.item()
        attrs = next(iter(blocks.values())).attrs
        found[name] = ((*axes, *dims), whole.astype(str) if text else whole, attrs)
    return xr.Dataset(found, {**axes, **inner})


def _union(several: Sequence[np.ndarray]) -> np.ndarray:
    """Return all values that occur, in increasing order."""
    return np.unique(np.concatenate(several))
