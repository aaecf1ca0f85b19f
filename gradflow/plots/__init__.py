"""Pictures of labelled arrays: (data, ax) → artists. Plots compute nothing and know no network."""

from gradflow.plots.curves import CurveArtists, decay_curves
from gradflow.plots.marks import FLOAT32_FLOOR, float32_floor, name_ends
from gradflow.plots.style import ordered_colours, style

__all__ = [
    "FLOAT32_FLOOR",
    "CurveArtists",
    "decay_curves",
    "float32_floor",
    "name_ends",
    "ordered_colours",
    "style",
]
