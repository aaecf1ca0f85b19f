"""Pictures of labelled arrays: (data, ax) → artists. Plots compute nothing and know no network."""

from gradflow.plots.collapse import CollapseArtists, collapsed_curves, span_rates
from gradflow.plots.curves import CurveArtists, decay_curves
from gradflow.plots.dots import DotArtists, dot_rows
from gradflow.plots.drawn import data
from gradflow.plots.epochs import rates_over_epochs
from gradflow.plots.evaluation import confusion, robustness
from gradflow.plots.marks import FLOAT32_FLOOR, float32_floor, name_ends
from gradflow.plots.pairs import lag_map
from gradflow.plots.products import format_shares, hop_counts, path_norms, zero_shares
from gradflow.plots.rates import RateArtists, decay_rates, rate_errors, rung_looks
from gradflow.plots.records import activity, gradient_map, gradient_norms, gradient_paths
from gradflow.plots.spectra import (
    SpectrumArtists,
    lyapunov_exponents,
    participation,
    singular_values,
)
from gradflow.plots.style import ordered_colours, style
from gradflow.plots.unrolled import RouteArtists, UnrolledArtists, route_counts, unrolled

__all__ = [
    "FLOAT32_FLOOR",
    "CollapseArtists",
    "CurveArtists",
    "DotArtists",
    "RateArtists",
    "RouteArtists",
    "SpectrumArtists",
    "UnrolledArtists",
    "activity",
    "collapsed_curves",
    "confusion",
    "data",
    "decay_curves",
    "decay_rates",
    "dot_rows",
    "float32_floor",
    "format_shares",
    "gradient_map",
    "gradient_norms",
    "gradient_paths",
    "hop_counts",
    "lag_map",
    "lyapunov_exponents",
    "name_ends",
    "ordered_colours",
    "participation",
    "path_norms",
    "rate_errors",
    "rates_over_epochs",
    "robustness",
    "route_counts",
    "rung_looks",
    "singular_values",
    "span_rates",
    "style",
    "unrolled",
    "zero_shares",
]
