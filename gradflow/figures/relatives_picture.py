"""How the figure relatives is drawn, what it asserts and what it tabulates, from its dataset alone.

Axes: network lag.
"""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure as Picture

from gradflow.figures.registry import Claim
from gradflow.plots import decay_curves, name_ends, style
from gradflow.plots.curves import LOG10

CAPTION = (
    "The gradient of a spiking layer vanishes as that of the familiar recurrent networks does. Frobenius "
    "norm of the Jacobian product of each network's state against the lag, relative to lag 0: the potentials "
    "u of LIF layers with a triangle surrogate, the state h of a tanh RNN and a GRU, the state (h, k) of an "
    "LSTM; all on the same sequences, as initialised (torch's default; a random rotation for the orthogonal "
    "RNN, and for V of the spiking layers). Median over networks and samples, band from the 10th to the 90th "
    "percentile. A skip of λ steps makes the product's factors λ times fewer."
)
MARGIN = 1.0
"""Decades above the highest curve."""


def draw(data: xr.Dataset) -> Picture:
    """Draw one curve for each network and name it where it ends."""
    config = json.loads(str(data.attrs["config"]))
    with style():
        picture = Picture(figsize=(6.4, 4.6))
        ax = picture.subplots()
        artists = decay_curves(data, ax=ax, label="{value}")
        ax.set_ylabel(r"$\log_{10}\,\|P(T,t)\|_F\,/\,\|P(T,T)\|_F$")
        high = data.high.where(np.isfinite(data.high)) * LOG10
        ax.set_ylim(top=float(high.max()) + MARGIN)
        ax.set_xlim(0, float(data.lag[-1]) * 1.36)
        name_ends(ax, artists.curves)
        picture.suptitle(f"Vanishing gradients of relatives: {config['task']}, {config['hidden']} units")
    return picture


def claims(data: xr.Dataset) -> Sequence[Claim]:
    """Return what the figure asserts: who decays faster than whom, as initialised."""
    rate = {str(name): float(data.rate.sel(network=name)) for name in data.network.values}
    found = [
        Claim("every network's gradient vanishes: all rates are negative", all(r < 0 for r in rate.values()))
    ]
    config = json.loads(str(data.attrs["config"]))
    spans = sorted(config["spans"])
    spiking = [name for name in rate if name.startswith("LIF")]
    if len(spans) > 1:
        words = [rate[name] for name in spiking]
        found.append(Claim("the wider the span, the slower the decay", words == sorted(words)))
    found.append(Claim("a rotation slows a tanh RNN down", rate["tanh RNN, orthogonal"] > rate["tanh RNN"]))
    return found


def table(data: xr.Dataset) -> pd.DataFrame:
    """Return what is drawn as tidy rows: network, lag and powers of ten relative to lag 0."""
    rows = (data[["centre", "low", "high", "envelope"]] * LOG10).rename(centre="median")
    return rows.rename({name: f"log10_{name}" for name in rows}).to_dataframe().reset_index()


def summary(data: xr.Dataset) -> pd.DataFrame:
    """Return one row per network: rate with its interval, horizon, and the path lengths of its wiring."""
    names = ["rate", "rate_low", "rate_high", "horizon", "skip_coefficient", "mean_recurrent_length"]
    return data[names].to_dataframe().reset_index()
