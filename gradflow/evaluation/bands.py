"""Means and intervals of evaluated runs: each run's own, or those of runs that differ by their seeds alone.

Axes: run, group, repetition, and the strengths of one kind of disturbance (`strength` in bands).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from gradflow.analysis import student_interval
from gradflow.evaluation.disturbances import DISTURBANCES
from gradflow.evaluation.intervals import CONFIDENCE, wilson_interval
from gradflow.labels import choice, labels

PERCENT = f"{100 * CONFIDENCE:g} %"
SEEDS = frozenset({"network_seed", "sample_seed"})
OVER_RUNS = f"Student, {PERCENT}, over {{}} runs with other seeds"
OVER_REPETITIONS = f"Student, {PERCENT}, over {{}} repetitions of the disturbance, one run"
OVER_EXAMPLES = f"Wilson score, {PERCENT}, over {{}} examples, one run"


def groups_of(
    choices: Sequence[str], attributes: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> list[str]:
    """Return the group of each run: those of the same choices are one.

    Args:
        choices: of each run all that was chosen, seeds apart, as one word.
        attributes: of each run; groups are labelled by those in which they differ.
        names: of the runs, for groups that no attribute tells apart.

    >>> words = ["vanilla", "vanilla", "skip:8"]
    >>> runs = [{"recurrence": word, "network_seed": seed} for seed, word in enumerate(words)]
    >>> groups_of(["one", "one", "two"], runs, ["a", "b", "c"])
    ['vanilla', 'vanilla', 'λ = 8']
    """
    places = {chosen: place for place, chosen in reversed(list(enumerate(choices)))}
    firsts = sorted(places.values())
    plain = [{key: value for key, value in one.items() if key not in SEEDS} for one in attributes]
    words = labels([plain[place] for place in firsts], [names[place] for place in firsts])
    if len(words) == 1 < len(choices) and "recurrence" in plain[0]:
        # the name of one of its runs would not do for all
        words = [choice(plain[0], "recurrence")]
    named = dict(zip(firsts, words, strict=True))
    return [named[places[chosen]] for chosen in choices]


def accuracies(data: xr.Dataset) -> xr.Dataset:
    """Return the accuracy of every group: `centre`, `low`, `high`, and `interval`, what it is over.

    Groups of several runs have the mean over runs and Student's interval of it; a single run has its own
    accuracy and Wilson's interval over the examples. Intervals are cut at 0 and 1.

    Raises ValueError where the data are no evaluation of runs.
    """
    _require(data, "accuracy")
    return _grouped(data, data.accuracy, None)


def accuracy_band(data: xr.Dataset, word: str, *, each_run: bool = False) -> xr.Dataset:
    """Return accuracy against the strength of one disturbance, with an interval, for `plots.robustness`.

    Args:
        data: an evaluation of runs.
        word: the kind of disturbance, `delete`, `membrane-noise`, …
        each_run: a curve for each run; by default one for each group of runs that differ by seeds alone.

    Returns:
        `centre`, `low`, `high` (group or run, strength); `interval` says for each curve what it is over: for
        several runs, Student's over runs of each one's mean over repetitions; for one run Student's over
        repetitions of the disturbance or, where nothing is random, Wilson's over the examples. They are cut
        at 0 and 1. With one run or repetition only, Student's is NaN.

    Raises:
        ValueError: where the data do not hold this disturbance.
    """
    name = word.replace("-", "_")
    _require(data, f"accuracy_{name}")
    values = data[f"accuracy_{name}"].rename({name: "strength"})
    return _grouped(data, values, "run" if each_run else None).assign_attrs(
        disturbance=word, split=data.attrs.get("split", "unknown")
    )


def disturbed_words(data: xr.Dataset) -> list[str]:
    """Return the kinds of disturbance that an evaluation holds, in the order of the command line."""
    return [word for word, kind in DISTURBANCES.items() if f"accuracy_{kind.dimension()}" in data]


def _require(data: xr.Dataset, name: str) -> None:
    if name not in data or "run" not in data[name].dims:
        held = ", ".join(disturbed_words(data)) or "no disturbance"
        raise ValueError(
            f"the data hold no {name} along run, but {held}; evaluate runs with it, as in "
            "`gradflow evaluate RUN --disturb delete=0,0.1,0.2 --out FILE`"
        )


def _grouped(data: xr.Dataset, values: xr.DataArray, by: str | None) -> xr.Dataset:
    """Return centre, low, high and the kind of interval for each group, or each run."""
    names = [str(name) for name in data["run" if by else "group"].values]
    parts, intervals = [], []
    for name in dict.fromkeys(names):
        here = np.flatnonzero(np.array(names) == name)
        band, interval = _band(values.isel(run=here), data.examples.isel(run=here))
        parts.append(band)
        intervals.append(interval)
    dim = by or "group"
    joined = xr.concat(parts, xr.Variable(dim, list(dict.fromkeys(names))), join="override")
    return joined.assign_coords(interval=(dim, intervals))


def _band(values: xr.DataArray, examples: xr.DataArray) -> tuple[xr.Dataset, str]:
    """Return mean and interval of some runs of one group."""
    runs = values.sizes["run"]
    if runs == 1 and "repetition" not in values.dims:
        count = int(examples[0])
        centre = values.isel(run=0, drop=True)
        ends = wilson_interval(centre.values, count)
        low, high = (centre.copy(data=end) for end in ends)
        return xr.Dataset({"centre": centre, "low": low, "high": high}), OVER_EXAMPLES.format(count)
    over = "repetition" if runs == 1 else "run"
    text = OVER_REPETITIONS if runs == 1 else OVER_RUNS
    kept = values.isel(run=0, drop=True) if runs == 1 else values
    pooled = kept.mean("repetition") if runs > 1 and "repetition" in kept.dims else kept
    ordered = pooled.transpose(..., over)
    found = dict(zip(("centre", "low", "high"), student_interval(ordered.values), strict=True))
    like = ordered.isel({over: 0}, drop=True)
    band = {name: like.copy(data=np.clip(value, 0.0, 1.0)) for name, value in found.items()}
    return xr.Dataset(band), text.format(values.sizes[over])
