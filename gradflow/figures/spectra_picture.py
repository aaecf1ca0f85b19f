"""How the figure spectra is drawn, from its dataset alone.

Axes: span rank lag; place.
"""

import json

import numpy as np
import xarray as xr
from matplotlib.figure import Figure as Picture

from gradflow.plots import lyapunov_exponents, name_ends, participation, singular_values, style
from gradflow.plots.curves import LOG10


def draw(data: xr.Dataset) -> Picture:
    """Draw a panel of singular values for each span, and participation and exponents below."""
    config = json.loads(str(data.attrs["config"]))
    spans = [int(span) for span in data.span.values]
    last = float(data.lag[-1])
    with style():
        picture = Picture(figsize=(7.2, 6.4))
        grid = picture.add_gridspec(2, 1, height_ratios=(1.3, 1.0))
        above, below = grid[0].subgridspec(1, len(spans)), grid[1].subgridspec(1, 2)
        first = None
        for place, span in enumerate(spans):
            ax = first = picture.add_subplot(above[0, place], sharey=first)
            artists = singular_values(
                data[["centre", "low", "high"]].sel(span=span), ax=ax, decay=config["decay"]
            )
            ax.set_title("vanilla, λ = 1" if span == 1 else f"skip, λ = {span}")
            ax.set_xlim(0.0, 1.3 * last)
            ax.set_ylim(_lowest(data), 1.0)
            name_ends(ax, artists.curves, clear=True)
            if place:
                ax.set_ylabel("")
                ax.tick_params(labelleft=False)
            if span == spans[-1]:  # where a vanilla curve and a skip's leave room
                handles = list(artists.neuron.values())
                ax.legend(handles=handles, loc="upper right" if span == 1 else "lower left")
        left, right = picture.add_subplot(below[0, 0]), picture.add_subplot(below[0, 1])
        directions = participation(_part(data, "participation"), ax=left, label="λ = {value}")
        left.set_xlim(0.0, 1.18 * last)
        name_ends(left, directions.curves)
        grown = _part(data, "exponent").rename(place="rank")
        grown = grown.where(grown["rank"] <= config["exponents"], drop=True)
        exponents = lyapunov_exponents(
            grown, rate=data.fitted, decay=config["decay"], ax=right, label="λ = {value}"
        )
        right.set_xlim(0.85, 1.9 * float(grown["rank"][-1]))
        name_ends(right, exponents.curves, clear=True)
        where = f"{config['task']}, one layer of {config['hidden']}, α = {config['decay']:g}"
        picture.suptitle(f"Spectra of the product: {where}")
    return picture


def _lowest(data: xr.Dataset) -> float:
    """Return where the panels end below: at the last but one rank, for the least leaves any axes."""
    centre = data.centre.isel(rank=slice(0, max(1, data.sizes["rank"] - 1)))
    finite = centre.where(np.isfinite(centre))
    return float(finite.min()) * LOG10 * 1.06 - 0.5


def _part(data: xr.Dataset, name: str) -> xr.Dataset:
    names = {f"{name}_{part}": part for part in ("centre", "low", "high")}
    return data[list(names)].rename(names)
