"""Views of training runs: the gradient's decay rate over epochs."""

from collections.abc import Sequence

from gradflow.findings import Source
from gradflow.plots.epochs import rates_over_epochs
from gradflow.views.drawn import (
    Drawn,
    Layout,
    by_layer,
    conditions,
    curve_label,
    finish,
    grey,
    named,
    panels,
    together,
)

RATES = ("rate", "rate_low", "rate_high", "rate_mean_square")


def rates(sources: Sequence[Source], layout: Layout) -> Drawn:
    """Draw the decay rate of each layer or run against epochs; with theory, the mean-square prediction."""
    wanted = RATES if layout.theory else RATES[:3]
    parts = [source.data[[name for name in wanted if name in source.data]] for source in sources]
    shown = by_layer(together([part.drop_vars("step", errors="ignore") for part in parts], named(sources)))
    picture, axes = panels(len(shown), layout)
    artists = [
        rates_over_epochs(data, ax=ax, label=curve_label(data))
        for (_, data), ax in zip(shown, axes, strict=True)
    ]
    entries = dict(artists[0].curves)
    if any(panel.theory for panel in artists):
        entries["mean-square theory"] = grey(linewidth=0.8)
    finish(picture, axes, [title for title, _ in shown], entries, conditions(sources))
    return Drawn(picture, tuple(artists))
