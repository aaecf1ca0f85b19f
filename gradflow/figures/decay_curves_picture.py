"""How the figure decay-curves is drawn, from its dataset alone.

Axes: span lag.
"""

import json
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D

from gradflow.figures.decay_curves_claims import remarks
from gradflow.plots import CurveArtists, decay_curves, float32_floor, name_ends, style
from gradflow.plots.curves import BROAD, FINE, HALO, LOG10, MEDIUM, PALE, THIN
from gradflow.plots.style import DOTS

CAPTION = (
    "How the gradient vanishes along time in a recurrent spiking layer, for several spans λ. Pale: "
    "Frobenius norm of the Jacobian product ∂u[T]/∂u[t] against the lag T − t, T the last step: median over "
    "samples and networks, band from the 10th to the 90th percentile, computed in float64 with running "
    "rescaling, so that it is exact far below the range of float32. Dashed, in the colour of its span: the "
    "envelope of what the transfer operator predicts from the forward pass alone; fine dots: that of the "
    "mean-square prediction. Black dots: the neuron path alone, √H αⁿ. "
    "Open markers: the lag from which float32 backpropagation of a loss on the last step returns exactly 0 "
    "(median); shaded: what float32 cannot hold. Below: the uppermost decades. Between multiples of λ the "
    "curve of a wide span is a comb (thin); its envelope (thick) is what the rate is fitted to."
)
ZOOM = -25.0
"""Decades of the lower panel; it is drawn where the curves go well below them."""
NEURON_PATH = "neuron path"
MEDIAN = "measured: median, band 10–90 %"


def draw(data: xr.Dataset) -> Picture:
    """Draw the curves, and their uppermost decades apart; everything shown is read from `data`."""
    limits = _limits(data)
    zoomed = limits[0] < 1.6 * ZOOM
    with style():
        picture = Picture(figsize=(6.4, 6.7 if zoomed else 4.4))
        panels = picture.subplots(2 if zoomed else 1, 1, sharex=True, squeeze=False)[:, 0]
        whole = _panel(panels[0], data, limits, envelopes=not zoomed)
        float32_floor(panels[0])
        _legend(whole)
        picture.suptitle(_title(data))
        panels[0].set_title("\n".join(remarks(data)), fontsize=8)
        if zoomed:
            panels[0].set_xlabel("")
            panels[1].set_title(f"the same, uppermost {-ZOOM:.0f} decades", fontsize=8)
            _panel(panels[1], data, _limits(data, ZOOM), envelopes=True)
            lines = _comb_lines()
            panels[1].legend(list(lines.values()), list(lines), loc="lower right")
    return picture


def _limits(data: xr.Dataset, floor: float = -np.inf) -> tuple[float, float]:
    """Return powers of ten that hold all bands above `floor`, five decades at least, for the legend."""
    low, high = (data[name].where(np.isfinite(data[name])) * LOG10 for name in ("low", "high"))
    lowest, highest = max(float(low.min()), floor), float(high.max())
    room = 0.08 * max(highest - lowest, 5.0)
    return max(min(lowest - room, highest - 5.0), floor), highest + room


def _panel(ax: Axes, data: xr.Dataset, limits: tuple[float, float], *, envelopes: bool) -> CurveArtists:
    """Draw all curves between these powers of ten, and name each where it ends."""
    operator = data.transfer_operator_envelope.to_dataset(name="log_frobenius")
    rough = data.mean_square_envelope.to_dataset(name="log_frobenius")
    artists = decay_curves(
        data,
        theory=operator,
        rough=rough,
        zero_lag=data.float32_zero_lag,
        ax=ax,
        label="λ = {value}",
        envelopes=envelopes,
    )
    alone = data.neuron_path.where(np.isfinite(data.neuron_path)) * LOG10
    if int(alone.count()) > 1:  # at α = 0 it has only lag 0
        (path,) = ax.plot(data.lag, alone, label=NEURON_PATH, zorder=2.6, path_effects=HALO)
        path.set(color="black", linestyle=":", linewidth=1.4)
    ax.set_ylim(limits)
    ax.set_xlim(0, max(float(data.lag[-1]), 1.0) * 1.13)
    name_ends(ax, artists.curves)
    return artists


def _legend(artists: CurveArtists) -> None:
    """Explain the kinds of line, in a grey that belongs to no span."""
    entries: dict[str, Line2D | tuple[Line2D, ...]] = {
        **(_comb_lines() if artists.envelopes else {MEDIAN: _grey(linewidth=BROAD, alpha=PALE)}),
        "transfer operator": _grey(linewidth=MEDIUM, linestyle="--"),
        "mean-square theory": _grey(linewidth=FINE, linestyle=DOTS),
    }
    if any(line.get_label() == NEURON_PATH for line in artists.ax.lines):
        path = _grey(linewidth=1.4, linestyle=":", color="black")
        entries["neuron path alone, $\\sqrt{H}\\,\\alpha^n$"] = path
    if artists.zeros:
        entries["float32 gradient exactly 0 from here"] = tuple(artists.zeros.values())
    together = {tuple: HandlerTuple(ndivide=None, pad=0.3)}
    artists.ax.legend(list(entries.values()), list(entries), loc="lower left", handler_map=together)


def _comb_lines() -> dict[str, Line2D]:
    return {
        MEDIAN: _grey(linewidth=THIN, alpha=PALE),
        "its envelope": _grey(linewidth=BROAD, alpha=PALE),
    }


def _grey(**look: Any) -> Line2D:
    return Line2D([], [], **{"color": "0.3", **look})


def _title(data: xr.Dataset) -> str:
    config = json.loads(str(data.attrs["config"]))
    where = f"{config['task']}, one layer of {config['hidden']}, α = {config['decay']:g}"
    return f"Vanishing gradients along time: {where}"
