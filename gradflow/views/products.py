"""Views of Jacobian products: decay curves, zeros, and the norms of their paths."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from gradflow.analysis import curve_band, zero_summary
from gradflow.analysis.curves import log_quantile
from gradflow.findings import Source
from gradflow.plots import decay_curves as draw_curves
from gradflow.plots import float32_floor, name_ends
from gradflow.plots.products import path_norms, zero_shares
from gradflow.theory import mean_square
from gradflow.views.drawn import (
    Drawn,
    Layout,
    by_layer,
    conditions,
    curve_label,
    finish,
    grey,
    named,
    panel_title,
    panels,
    together,
)

SHORT, ROOM = 10, 1.13
"""Letters of a label that is written where its curve ends, and the share of the axis left for it."""


def decay_curves(sources: Sequence[Source], layout: Layout) -> Drawn:
    """Draw log₁₀ ‖P(T,t)‖ against the lag; with theory, the mean-square prediction dashed."""
    names = named(sources)
    shown = by_layer(together([curve_band(source.data) for source in sources], names))
    theory: list[xr.Dataset | None] = [None] * len(shown)
    if layout.theory:
        theory = [panel for _, panel in by_layer(together([_predicted(source) for source in sources], names))]
    picture, axes = panels(len(shown), layout)
    artists = [
        draw_curves(data, theory=predicted, ax=ax, label=curve_label(data))
        for (_, data), predicted, ax in zip(shown, theory, axes, strict=True)
    ]
    entries = dict(artists[0].curves)
    short = max(map(len, entries)) <= SHORT
    for panel in artists:
        float32_floor(panel.ax)
        if short:
            panel.ax.set_xlim(0.0, ROOM * max(float(panel.ax.dataLim.x1), 1.0))
            name_ends(panel.ax, panel.curves)
    if layout.theory:
        measured = {"measured: median, band 10–90 %": grey()}
        entries = {**(measured if short else entries), "mean-square theory": grey(linestyle="--")}
    elif short:
        entries = {}
    finish(picture, axes, [title for title, _ in shown], entries, conditions(sources))
    return Drawn(picture, tuple(artists))


def zeros(sources: Sequence[Source], layout: Layout) -> Drawn:
    """Draw which share of the products' elements is zero, by structure and in float32."""
    parts = [zero_summary(source.data)[["share_structural", "share_float32"]] for source in sources]
    shown = by_layer(together(parts, named(sources)))
    picture, axes = panels(len(shown), layout)
    artists = [
        zero_shares(data, ax=ax, label=curve_label(data)) for (_, data), ax in zip(shown, axes, strict=True)
    ]
    entries = dict(artists[0].underflow)
    entries["0 in float32"] = grey(linewidth=1.6)
    entries["0 by structure"] = grey(linewidth=0.7)
    finish(picture, axes, [title for title, _ in shown], entries, conditions(sources))
    return Drawn(picture, tuple(artists))


def paths(sources: Sequence[Source], layout: Layout) -> Drawn:
    """Draw the parts of the products by path: a panel for each file and layer."""
    shown = [
        (panel_title(name, layer, source, len(sources)), _parts(source.data.sel(layer=layer)))
        for name, source in zip(named(sources), sources, strict=True)
        for layer in source.data.layer.values.tolist()
    ]
    picture, axes = panels(len(shown), layout, share=False)
    artists = [path_norms(data, ax=ax) for (_, data), ax in zip(shown, axes, strict=True)]
    entries = {str(line.get_label()): line for line in artists[0].parts.values()}
    for hop, line in artists[0].hops.items():
        entries[f"{hop} hop{'s' if hop > 1 else ''}"] = line
    finish(picture, axes, [title for title, _ in shown], entries, conditions(sources))
    return Drawn(picture, tuple(artists))


def _parts(data: xr.Dataset) -> xr.Dataset:
    """Return the median over samples of the whole and of its parts."""
    names = {
        "log_frobenius": "whole",
        "log_neuron": "neuron",
        "log_recurrent": "recurrent",
        "log_hops": "hops",
    }
    found = {}
    for name, short in names.items():
        part = data[name].transpose(..., "sample")
        found[short] = (part.dims[:-1], log_quantile(part.values.astype(np.float64), 0.5))
    return xr.Dataset(found, {"lag": data.lag, "hop": data.hop})


def _predicted(source: Source) -> xr.Dataset:
    acting = source.data.assign(p=source.data.p.where(source.data.span <= int(source.data.lag[-1]), 0.0))
    return mean_square(acting)[["log_frobenius"]]
