"""Figure accuracy-vs-span: right answers in the test split against the span, adaptive spans beside them.

Axes: task recurrence seed.
"""

import json
from collections.abc import Sequence

import pandas as pd
import xarray as xr
from matplotlib.figure import Figure as Picture

from gradflow.figures.cells import recurrence_of
from gradflow.figures.registry import Claim, FigureSpec, Progress, silent
from gradflow.figures.trained import (
    FULL,
    QUICK,
    TrainedConfig,
    adaptive_word,
    digits_of,
    draw_chance,
    seed_band,
    spoken,
    trained,
)
from gradflow.plots import style
from gradflow.plots.learning import accuracy_against_span

CAPTION = (
    "How well a network reads digits pixel by pixel, against the span of its recurrence. Points: right "
    "answers in the test split of single networks, in the epoch that did best in validation; line: their "
    "mean. Dashed, with a band from the worst network to the best: adaptive spans (ASRC), learned per "
    "layer up to the largest one. Dotted: chance. With 500 test digits the sampling error of a single "
    "point is about 2 points."
)


def compute(config: TrainedConfig, progress: Progress = silent) -> xr.Dataset:
    """Train the networks and return their accuracies; see `trained`."""
    return trained(config, "accuracy-vs-span", progress)


def fixed(data: xr.Dataset) -> xr.Dataset:
    """Return one task's `accuracy` (span, seed), and `adaptive_accuracy` (seed) if there is one."""
    spans = list(json.loads(str(data.attrs["config"]))["spans"])
    words = [recurrence_of(span).label for span in spans]
    accuracy = data.test_accuracy.sel(recurrence=words).rename(recurrence="span").assign_coords(span=spans)
    found: xr.Dataset = accuracy.to_dataset(name="accuracy")
    adaptive = adaptive_word(data)
    if adaptive:
        found["adaptive_accuracy"] = data.test_accuracy.sel(recurrence=adaptive, drop=True)
    return found


def draw(data: xr.Dataset) -> Picture:
    """Draw a panel for each task."""
    adaptive = adaptive_word(data)
    label = spoken([adaptive])[0] if adaptive else ""
    with style():
        picture = Picture(figsize=(1.4 + 2.9 * data.sizes["task"], 3.6))
        panels = picture.subplots(1, data.sizes["task"], squeeze=False, sharey=True)[0]
        for ax, task in zip(panels, data.task.values, strict=True):
            artists = accuracy_against_span(fixed(data.sel(task=task)), ax=ax, adaptive=label)
            draw_chance(ax)
            ax.set_ylim(0.0, 100.0)
            ax.set_title(str(task))
            if ax is panels[0]:
                single = next(iter(artists.points.values()))
                entries = {"one network": single, "mean": artists.curves["mean"]}
                entries |= {label: artists.curves[label]} if label else {}
                ax.legend(list(entries.values()), list(entries), loc="best")
            else:
                ax.set_ylabel("")
        picture.suptitle(f"Right answers against the span: {digits_of(data)}")
    return picture


def claims(data: xr.Dataset) -> Sequence[Claim]:
    """Return what was found with the networks of the book: skips beat vanilla, by far."""
    config = TrainedConfig.model_validate_json(str(data.attrs["config"]))
    usual = TrainedConfig()
    free = {"task", "seeds", "spans", "max_span"}
    if config.model_dump(exclude=free) != usual.model_dump(exclude=free) or config.seeds < usual.seeds:
        return []
    found = []
    for task in data.task.values:
        means = fixed(data.sel(task=task))
        mean = means.accuracy.mean("seed")
        wide = [span for span in mean.span.values if span > 1]
        if 1 in mean.span.values and wide:
            above = bool((means.accuracy.sel(span=wide).min("seed") > means.accuracy.sel(span=1).max()).all())
            found.append(Claim(f"{task}: the worst network with a skip beats the best vanilla one", above))
        if "adaptive_accuracy" in means and 1 in mean.span.values:
            beats = bool(means.adaptive_accuracy.min() > means.accuracy.sel(span=1).max())
            found.append(Claim(f"{task}: every ASRC network beats every vanilla one", beats))
    return found


def table(data: xr.Dataset) -> pd.DataFrame:
    """Return a row for each network: test accuracy and loss, validation accuracy, best epoch, parameters."""
    best = data.validation_accuracy.sel(epoch=data.best_epoch.astype(float), drop=True)
    names = ["test_accuracy", "test_loss", "best_epoch", "parameters"]
    rows = data[names].assign(validation_accuracy=best).to_dataframe().reset_index()
    return rows[["task", "recurrence", "seed", "validation_accuracy", *names]]


def summary(data: xr.Dataset) -> pd.DataFrame:
    """Return a row for each task and recurrence: test accuracy, mean, worst and best network."""
    rows = seed_band(data.test_accuracy).rename(centre="test_accuracy", low="worst", high="best")
    return rows.to_dataframe().reset_index()[["task", "recurrence", "test_accuracy", "worst", "best"]]


FIGURE = FigureSpec(
    name="accuracy-vs-span",
    title="Right answers against the span, and adaptive spans beside them",
    caption=CAPTION,
    config=TrainedConfig,
    quick=QUICK,
    full=FULL,
    compute=compute,
    draw=draw,
    claims=claims,
    table=table,
    summary=summary,
)
