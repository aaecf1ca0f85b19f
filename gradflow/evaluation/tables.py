"""An evaluation of runs as rows: the numbers worth printing, all numbers as a table, and as plain objects."""

import json
import math
from typing import Any

import pandas as pd
import xarray as xr

from gradflow.evaluation.bands import accuracies, accuracy_band, disturbed_words

Rows = tuple[list[str], list[list[str]]]
NANO = 1e9


def overview(data: xr.Dataset) -> Rows:
    """Return heads and a row for each run: accuracy with its interval, loss, firing, operations, energy."""
    inside = "firing_rate" in data
    heads = ["run", "accuracy", "95 % interval", "loss"]
    heads += ["firing rate", "silent", "synops", "macs", "energy (nJ)", "dense (nJ)"] if inside else []
    rows = []
    for run in data.run.values:
        one = data.sel(run=run)
        ends = f"{float(one.accuracy_low):.2%} – {float(one.accuracy_high):.2%}"
        cells = [str(run), f"{float(one.accuracy):.2%}", ends, f"{float(one.loss):.4g}"]
        if inside:
            # a network that is no RecurrentSNN has no operations counted, which are not 0
            synops = (one.synops_forward + one.synops_recurrent).sum("stage", min_count=1)
            cells += [_by_layer(one.firing_rate, ".3f"), _by_layer(one.silent, ".0%")]
            cells += [_short(synops), _short(one.macs.sum("stage", min_count=1))]
            cells += [_short(one.energy * NANO), _short(one.energy_dense * NANO)]
        rows.append(cells)
    return heads, rows


def by_group(data: xr.Dataset) -> Rows:
    """Return heads and a row for each group of runs: mean accuracy, its interval, and what that is over."""
    found = accuracies(data)
    rows = [
        [str(group), _with_interval(found.sel(group=group)), str(found.interval.sel(group=group).item())]
        for group in found.group.values
    ]
    return ["group", "accuracy (%)", "interval"], rows


def by_strength(data: xr.Dataset, word: str) -> tuple[str, Rows]:
    """Return a title that says what the intervals are over, and heads and rows: strengths by groups."""
    band = accuracy_band(data, word)
    over = " | ".join(dict.fromkeys(str(text) for text in band.interval.values))
    strength = band.strength
    about, units = strength.attrs["long_name"], strength.attrs["units"]
    title = f"{word}: accuracy (%) against {about}{'' if units == '1' else f' ({units})'}"
    rows = [
        [str(group), *(_with_interval(band.sel(group=group, strength=at)) for at in strength.values)]
        for group in band.group.values
    ]
    return f"{title}; [interval]: {over}", (["group", *(f"{at:g}" for at in strength.values)], rows)


def confusion_rows(data: xr.Dataset, run: str) -> Rows:
    """Return the confusion matrix of one run: a row for each class that was shown."""
    counts = data.confusion.sel(run=run)
    heads = ["shown \\ named", *map(str, counts.predicted.values)]
    rows = [
        [str(name), *(f"{int(count)}" for count in counts.sel(actual=name).values)]
        for name in counts.actual.values
    ]
    return heads, rows


def tidy(data: xr.Dataset) -> pd.DataFrame:
    """Return every number of an evaluation as a row: run, group, quantity, where it is, value.

    Columns that a quantity has no place along are empty: `strength` (of the disturbance in the quantity's
    name), `repetition`, `layer`, `stage`, `actual`, `predicted`.

    >>> one = xr.Dataset({"accuracy": ("run", [0.5])}, {"run": ["a"], "group": ("run", ["g"])})
    >>> tidy(one).values.tolist()
    [['a', 'g', 'accuracy', 0.5]]
    """
    tables = []
    kinds = {word.replace("-", "_"): "strength" for word in disturbed_words(data)}
    bare = data.drop_vars(["folder", "conventions"], errors="ignore")
    for name in bare.data_vars:
        values = bare[name].rename({old: new for old, new in kinds.items() if old in bare[name].dims})
        table = values.rename("value").to_dataframe().reset_index()
        tables.append(table.assign(quantity=str(name)))
    every = pd.concat(tables, ignore_index=True)
    places = ["strength", "repetition", "layer", "stage", "actual", "predicted"]
    order = ["run", "group", "quantity", *(place for place in places if place in every), "value"]
    return every[order]


def plain(data: xr.Dataset) -> dict[str, Any]:
    """Return an evaluation as objects that JSON holds; NaN is None."""
    runs = {}
    for run in data.run.values:
        one = data.sel(run=run)
        runs[str(run)] = {
            "group": str(one.group.item()),
            "folder": str(one.folder.item()),
            "conventions": json.loads(str(one.conventions.item())),
            **{str(name): _listed(value) for name, value in one.data_vars.items()},
        }
    axes = {
        str(name): _listed(values)
        for name, values in data.coords.items()
        if name in data.dims and name != "run"
    }
    found = accuracies(data)
    groups = {
        str(group): {
            "interval": str(found.interval.sel(group=group).item()),
            **{
                name: _listed(found[part].sel(group=group))
                for part, name in (("centre", "accuracy"), ("low", "low"), ("high", "high"))
            },
        }
        for group in found.group.values
    }
    return {"runs": runs, "groups": groups, "axes": axes, "attributes": dict(data.attrs)}


def _listed(values: xr.DataArray) -> Any:
    """Return an array as nested lists, a scalar as a number."""
    return _clean(values.values.tolist())


def _clean(value: Any) -> Any:
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _by_layer(values: xr.DataArray, form: str) -> str:
    return " ".join(f"{value:{form}}" for value in values.values if math.isfinite(value)) or "-"


def _short(value: xr.DataArray) -> str:
    number = float(value)
    return f"{number:.4g}" if math.isfinite(number) else "-"


def _with_interval(one: xr.Dataset) -> str:
    """Return `61.2 [58.7, 63.5]`, in percent; without brackets where there is no interval."""
    centre, low, high = (100.0 * float(one[name]) for name in ("centre", "low", "high"))
    return f"{centre:.1f} [{low:.1f}, {high:.1f}]" if math.isfinite(low) else f"{centre:.1f}"
