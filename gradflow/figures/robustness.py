"""Figure robustness: right answers of vanilla, SRC and ASRC networks while something disturbs them.

Axes: recurrence seed repetition, and the strengths of each disturbance.
"""

from collections.abc import Sequence

import pandas as pd
import xarray as xr
from matplotlib.figure import Figure as Picture
from pydantic import Field

from gradflow.evaluation import DISTURBANCES, Disturbance, robustness
from gradflow.figures.registry import Claim, FigureSpec, Progress, silent
from gradflow.figures.trained import (
    QUICK,
    TrainedConfig,
    digits_of,
    draw_chance,
    run_folders,
    seed_band,
    spoken,
    trained,
)
from gradflow.plots import robustness as draw_robustness
from gradflow.plots import style
from gradflow.train import load_run

CAPTION = (
    "What is left of the right answers when trained networks are disturbed while they answer the "
    "validation split: spikes are lost on their way out, the potentials or the inputs are noisy, or every "
    "span is read k steps off (never below 1, and of ASRC at most the largest span; vanilla has span 1). "
    "Lines: mean over networks and repetitions; bands: from the worst network to the best, each the mean "
    "of its repetitions. All networks meet the same noise. Dotted: chance."
)
STRENGTHS: dict[str, tuple[float, ...]] = {
    "delete": (0.0, 0.02, 0.05, 0.1, 0.2),
    "membrane-noise": (0.0, 0.05, 0.1, 0.2, 0.4),
    "input-noise": (0.0, 0.05, 0.1, 0.2, 0.4),
    "span-shift": (-4, -2, -1, 0, 1, 2, 4),
}
TITLES = {
    "delete": "spikes lost",
    "membrane-noise": "noise on the potentials",
    "input-noise": "noise on the input",
    "span-shift": "spans shifted",
}


class RobustnessConfig(TrainedConfig):
    """Options of the figure: one task, a few recurrences, and how often each disturbance is repeated."""

    task: tuple[str, ...] = ("psmnist",)
    spans: tuple[int, ...] = (1, 8, 16)
    repetitions: int = Field(default=3, ge=1)


def disturbances() -> list[Disturbance]:
    """Return every disturbance of the figure at every strength."""
    return [DISTURBANCES[word](strength) for word, strengths in STRENGTHS.items() for strength in strengths]


def compute(config: RobustnessConfig, progress: Progress = silent) -> xr.Dataset:
    """Train the networks and let them answer the validation split under every disturbance.

    Returns:
        A Dataset over recurrence and seed (and task): for each kind of disturbance the accuracies along its
        strengths and, where it is random, repetitions.

    Raises:
        ValueError: where a network has no result, with the reason.
    """
    learned = trained(config, "robustness", progress)
    folders = run_folders(config)
    found = {}
    for done, ((task, word, seed), folder) in enumerate(folders.items()):
        progress(done, len(folders), f"{task}, {word}, seed {seed}")
        session = load_run(folder)
        one = robustness(session.net, session.task, disturbances(), repetitions=config.repetitions)
        kept = one[[name for name in one if str(name).startswith("accuracy_")]]
        found[task, word, seed] = kept.reset_coords(drop=True)
    progress(len(folders), len(folders), "all networks")
    axes = {name: learned[name] for name in ("task", "recurrence", "seed")}
    tasks, words, seeds = (axis.values.tolist() for axis in axes.values())
    nested = [[[found[task, word, seed] for seed in seeds] for word in words] for task in tasks]
    joined = xr.combine_nested(nested, concat_dim=list(axes), combine_attrs="drop").assign_coords(axes)
    return joined.assign_attrs({**learned.attrs, "split": "validation"})


def curves_of(data: xr.Dataset, word: str) -> xr.Dataset:
    """Return the band of every recurrence against the strength of one disturbance."""
    name = word.replace("-", "_")
    values = data[f"accuracy_{name}"].rename({name: "strength"})
    if "repetition" in values.dims:
        values = values.mean("repetition")
    kind = DISTURBANCES[word]
    band = seed_band(values)
    band["strength"] = band.strength.assign_attrs(long_name=kind.title, units=kind.units)
    return band


def draw(data: xr.Dataset) -> Picture:
    """Draw a panel for each disturbance, a row of them for each task."""
    with style():
        words, tasks = list(STRENGTHS), [str(task) for task in data.task.values]
        picture = Picture(figsize=(7.4, 0.9 + 2.5 * 2 * len(tasks)))
        panels = picture.subplots(2 * len(tasks), 2, squeeze=False, sharey=True)
        for row, task in enumerate(tasks):
            for place, word in enumerate(words):
                ax = panels[2 * row + place // 2, place % 2]
                band = curves_of(data.sel(task=task, drop=True), word)
                artists = draw_robustness(band.assign_coords(recurrence=spoken(band.recurrence)), ax)
                draw_chance(ax)
                ax.set_ylim(0.0, 100.0)
                ax.set_title(f"{task}: {TITLES[word]}" if len(tasks) > 1 else TITLES[word])
                ax.xaxis.label.set_fontsize(8)
                ax.set_ylabel("right answers  (%)")
                if place % 2:
                    ax.set_ylabel("")
        picture.legend(
            list(artists.curves.values()),
            list(artists.curves),
            loc="outside lower center",
            ncols=len(artists.curves),
        )
        picture.suptitle(f"Right answers under disturbances: {', '.join(tasks)}, {digits_of(data)}")
    return picture


def claims(data: xr.Dataset) -> Sequence[Claim]:
    """Return what the figure asserts: nothing disturbed is nothing lost, and much of it is."""
    still, worse = [], []
    for word, strengths in STRENGTHS.items():
        centre = curves_of(data, word).centre
        zero = centre.sel(strength=0)
        still.append(zero)
        last = centre.sel(strength=max(strengths))
        worse.append(bool((last.mean("recurrence") < zero.mean("recurrence")).all()))
    same = all(bool((abs(one - still[0]) < 1e-12).all()) for one in still)
    return [
        Claim("at strength 0 every disturbance leaves the same accuracy", same),
        Claim("the strongest of each kind costs right answers, in the mean over recurrences", all(worse)),
    ]


def table(data: xr.Dataset) -> pd.DataFrame:
    """Return a row for each task, recurrence, kind and strength: mean, worst and best network."""
    rows = []
    for word in STRENGTHS:
        band = curves_of(data, word).rename(centre="accuracy", low="worst", high="best")
        rows.append(band.to_dataframe().reset_index().assign(disturbance=word))
    whole = pd.concat(rows, ignore_index=True)
    return whole[["task", "recurrence", "disturbance", "strength", "accuracy", "worst", "best"]]


def summary(data: xr.Dataset) -> pd.DataFrame:
    """Return a row for each recurrence: accuracy undisturbed, and under the strongest of each kind."""
    rows = table(data)
    names = ["task", "recurrence"]
    found = {}
    for word, strengths in STRENGTHS.items():
        chosen = rows[(rows.disturbance == word) & (rows.strength == max(strengths))]
        found[f"{word} {max(strengths):g}"] = chosen.set_index(names).accuracy
    still = rows[(rows.disturbance == "delete") & (rows.strength == 0)].set_index(names).accuracy
    return pd.DataFrame({"undisturbed": still, **found}).reset_index()


FIGURE = FigureSpec(
    name="robustness",
    title="Right answers of trained networks under disturbances",
    caption=CAPTION,
    config=RobustnessConfig,
    quick={**QUICK, "repetitions": 1},
    full={"seeds": 5, "repetitions": 5},
    compute=compute,
    draw=draw,
    claims=claims,
    table=table,
    summary=summary,
)
