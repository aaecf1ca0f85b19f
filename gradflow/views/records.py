"""Views of records: loss gradients and activity along time."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from gradflow.analysis.steps import norm_band
from gradflow.findings import Source
from gradflow.plots import records as plots
from gradflow.plots.lines import LOG10
from gradflow.plots.records import PATHS
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

PLACES = {"sum": "the sum over all steps", "mean": "the mean over all steps", "last": "the last step"}


def gradient_norms(sources: Sequence[Source], layout: Layout) -> Drawn:
    """Draw log₁₀ ‖∂L/∂u[t]‖ against time: median and band over samples."""
    shown = by_layer(together([norm_band(source.data) for source in sources], named(sources)))
    picture, axes = panels(len(shown), layout)
    artists = [
        plots.gradient_norms(data, ax=ax, label=curve_label(data))
        for (_, data), ax in zip(shown, axes, strict=True)
    ]
    titles = [title for title, _ in shown]
    finish(picture, axes, titles, dict(artists[0].curves), _title(sources))
    return Drawn(picture, tuple(artists))


def gradient_map(sources: Sequence[Source], layout: Layout) -> Drawn:
    """Draw log₁₀ ‖∂L/∂u[t]‖ as a map of layer against time, a panel a file, all in the same colours."""
    centres = [norm_band(source.data).centre for source in sources]
    finite = np.concatenate([centre.values[np.isfinite(centre.values)] for centre in centres])
    limits = (float(finite.min()) * LOG10, float(finite.max()) * LOG10) if finite.size else None
    picture, axes = panels(len(sources), layout, share=False)
    artists = [
        plots.gradient_map(centre, ax=ax, limits=limits) for centre, ax in zip(centres, axes, strict=True)
    ]
    titles = named(sources) if len(sources) > 1 else [""]
    finish(picture, axes, titles, {}, _title(sources))
    return Drawn(picture, tuple(artists))


def gradient_paths(sources: Sequence[Source], layout: Layout) -> Drawn:
    """Draw the neuron, recurrent and direct part of ∂L/∂u[t]: a panel for each file and layer."""
    shown = [
        (panel_title(name, layer, source, len(sources)), _parts(source.data.sel(layer=layer)))
        for name, source in zip(named(sources), sources, strict=True)
        for layer in source.data.layer.values.tolist()
    ]
    picture, axes = panels(len(shown), layout)
    artists = [plots.gradient_paths(data, ax=ax) for (_, data), ax in zip(shown, axes, strict=True)]
    finish(picture, axes, [title for title, _ in shown], dict(artists[0].curves), _title(sources))
    return Drawn(picture, tuple(artists))


def activity(sources: Sequence[Source], layout: Layout) -> Drawn:
    """Draw firing rate and window against time: means over samples."""
    parts = [source.data[["firing_rate", "window"]].mean("sample") for source in sources]
    shown = by_layer(together(parts, named(sources)))
    picture, axes = panels(len(shown), layout)
    artists = [
        plots.activity(data, ax=ax, label=curve_label(data))
        for (_, data), ax in zip(shown, axes, strict=True)
    ]
    entries = {text: line for text, line in artists[0].curves.items() if not text.endswith("window")}
    entries["neurons that fire"] = grey(linewidth=1.6)
    entries["neurons in the window"] = grey(linewidth=0.7)
    finish(picture, axes, [title for title, _ in shown], entries, conditions(sources))
    return Drawn(picture, tuple(artists))


def _parts(data: xr.Dataset) -> xr.Dataset:
    bands = [norm_band(data, f"grad_u_{path}") for path in PATHS]
    return xr.concat(bands, dim="path", combine_attrs="drop_conflicts").assign_coords(path=list(PATHS))


def _title(sources: Sequence[Source]) -> str:
    """Return what is common, and where the loss is: without that, norms along time cannot be read."""
    places = {str(source.data.attrs.get("loss_placement", "")) for source in sources}
    place = places.pop()
    loss = f"loss on {PLACES.get(place, place)}" if place and not places else ""
    return ", ".join(words for words in (conditions(sources), loss) if words)
