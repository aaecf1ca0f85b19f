"""Still pictures of training runs, drawn by `plots`, for readers whose scripts are off."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from gradflow.analysis import curve_band
from gradflow.plots import decay_curves, float32_floor, style
from gradflow.plots.learning import kernel_over_epochs, learning_curves
from gradflow.plots.records import gradient_map
from gradflow.report.sections import WIDTH, png
from gradflow.report.subjects import Line
from gradflow.views.drawn import Layout, finish, panels

CHOSEN = 5
"""Epochs in a still picture of all of them."""
MOST = 6
"""Panels of such a picture: more would be longer than a page."""


def decay(lines: Sequence[Line]) -> bytes:
    """Return decay curves at the first, the last and some epochs between: a panel for each run and layer."""
    shown = lines[:MOST]
    with style():
        picture, axes = panels(len(shown), Layout(WIDTH), share=False)
        artists = []
        for line, ax in zip(shown, axes, strict=True):
            data = line.subject.source.data[["log_frobenius"]].sel(layer=line.layer)
            places = np.unique(np.linspace(0, data.sizes["epoch"] - 1, CHOSEN).round().astype(int))
            band = curve_band(data.isel(epoch=places))
            artists.append(decay_curves(band, ax=ax, label="epoch {value:g}"))
            float32_floor(ax)
        finish(picture, axes, [line.label for line in shown], dict(artists[0].curves), "")
    return png(picture)


def gradient(norms: xr.DataArray) -> bytes:
    """Return the map of the loss gradient after the last epoch."""
    with np.errstate(divide="ignore"):  # an exact zero is −∞, and drawn as such
        logs: xr.DataArray = xr.apply_ufunc(np.log, norms.isel(epoch=-1, drop=True).astype(np.float64))
    with style():
        picture, (ax,) = panels(1, Layout(WIDTH))
        gradient_map(logs, ax=ax)
        ax.set_title(f"after epoch {float(norms.epoch[-1]):g}", fontsize=8)
    return png(picture)


def over_epochs(shares: Mapping[str, Mapping[str, tuple[Any, Any]]]) -> bytes:
    """Return shares against epochs: a panel for each of their names, in it a line a label.

    Runs of different lengths end where they end.
    """
    with style():
        picture, axes = panels(len(shares), Layout(WIDTH))
        artists = [
            learning_curves(_together(curves), ax=ax)
            for curves, ax in zip(shares.values(), axes, strict=True)
        ]
        for words, ax in zip(shares, axes, strict=True):
            ax.set_ylabel(words)
        finish(picture, axes, [""] * len(axes), dict(artists[0].curves), "")
    return png(picture)


def _together(curves: Mapping[str, tuple[Any, Any]]) -> xr.Dataset:
    lines = [
        xr.DataArray(np.asarray(y, dtype=float), {"epoch": np.asarray(x, dtype=float)}, ["epoch"])
        for x, y in curves.values()
    ]
    centre = xr.concat(lines, "curve", join="outer").assign_coords(curve=list(curves))
    return xr.Dataset({"centre": centre, "low": centre, "high": centre})


def kernel(data: xr.Dataset) -> bytes:
    """Return the weights p of one layer's spans over epochs, and the span that is read."""
    shown = xr.Dataset(
        {"p": data.p.rename(span="tap"), "spans": data.span_hard.expand_dims("seed", -1)}
    ).drop_vars("step", errors="ignore")
    picture: Figure
    with style():
        picture, (ax,) = panels(1, Layout(WIDTH))
        artists = kernel_over_epochs(shown, ax=ax)
        finish(picture, [ax], [""], {"span that is read": artists.curves["0"]}, "")
    return png(picture)
