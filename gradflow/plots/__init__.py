"""Pictures of labelled arrays: (data, ax) → artists. Plots compute nothing and know no network."""

from gradflow.plots.curves import CurveArtists, decay_curves
from gradflow.plots.style import ordered_colours, style

__all__ = ["CurveArtists", "decay_curves", "ordered_colours", "style"]
