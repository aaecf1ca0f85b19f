"""Tables of a report as HTML: conventions, results, theory beside measurement, all numbers, provenance."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from gradflow.findings.words import cell, heads, shown
from gradflow.report.html import Markup, escaped, joined, table, tag
from gradflow.report.subjects import Subject, by_kind

TOLD_ELSEWHERE = frozenset(
    {
        "kind",
        "versions",
        "commit",
        "command",
        "criterion",
        "end",
        "title",
        "caption",
        "config",
        "fit_variable",
        "fit_confidence",
        "horizon_level",
    }
)
"""Attributes that are no choice, or stand under provenance."""
RUNGS = {"rate_mean_square": "mean square", "rate_transfer": "transfer operator"}
"""What predicts the rate."""
LIMITS = {"rate_neuron_path": "neuron path alone", "rate_bound": "bound"}
"""What the rate cannot be below (but by the other path), and cannot be above."""
ABSENT = "–"
LONG = 48
"""Letters of a value above which it is folded away."""


def conventions(subjects: Sequence[Subject]) -> Markup:
    """Return the choices in which files differ, a column a file, and those that all share, side by side."""
    keys = dict.fromkeys(key for one in subjects for key in one.source.data.attrs)
    differing, shared = [], []
    for key in keys:
        if key in TOLD_ELSEWHERE:
            continue
        values = [_plain(one.source.data.attrs.get(key, ABSENT)) for one in subjects]
        words = str(key).replace("_", " ")
        if len(set(values)) > 1:
            differing.append([words, *map(_folded, values)])
        else:
            shared.append(tag("div", joined([tag("dt", words), tag("dd", _folded(values[0]))])))
    parts: list[str] = []
    if differing:
        names = ["convention", *(one.name for one in subjects)]
        parts.append(table("Conventions in which the files differ", names, differing, words=True))
    if shared:
        words = "Conventions that all files share" if len(subjects) > 1 else "Conventions"
        parts += [tag("h3", words), tag("dl", joined(shared))]
    return joined(parts)


def files(subjects: Sequence[Subject]) -> Markup:
    """Return what each file is, and how it is called in the charts."""
    cells = [[one.name, one.found.kind, one.label, _layers(one)] for one in subjects]
    return table("Files of this report", ["file", "holds", "called in charts", "layers"], cells, words=True)


def results(subjects: Sequence[Subject]) -> Markup:
    """Return what training came to, of the runs that are finished; "" where there is none."""
    ended = [(one, one.summary) for one in subjects if one.summary is not None]
    if not ended:
        return Markup("")
    names = ["run", "parameters", "epochs", "best epoch", "validation", "test", "test examples", "seconds"]
    cells = [
        [
            one.label,
            f"{told['parameters']}",
            f"{told['epochs']}",
            f"{told['best_epoch']}",
            f"{told['validation_accuracy']:.2%}",
            f"{told['test_accuracy']:.2%}",
            f"{told['test_examples']}",
            f"{told['seconds']:.1f}",
        ]
        for one, told in ended
    ]
    return table("Results of training", names, cells)


def theory(subjects: Sequence[Subject]) -> Markup:
    """Return measured rates beside what is predicted, with the ratio; "" where nothing is."""
    measured = [one for one in subjects if set(RUNGS) & set(one.found.rows)]
    if not measured:
        return Markup("")
    rungs = [name for name in RUNGS if any(name in one.found.rows for one in measured)]
    limits = [name for name in LIMITS if any(name in one.found.rows for one in measured)]
    epochs = any("epoch" in one.found.rows for one in measured)
    names = ["file", "layer", *(["epoch"] if epochs else []), "measured rate"]
    for name in rungs:
        names += [RUNGS[name], "÷ measured"]
    names += [LIMITS[name] for name in limits]
    cells = []
    for one in measured:
        for row in ends(one.found.rows).to_dict("records"):
            line = [one.label, f"{row['layer']:.0f}"]
            line += [f"{row['epoch']:g}" if "epoch" in row else "–"] if epochs else []
            line.append(cell(row, "rate"))
            for name in rungs:
                line += [_cell(row, name), _ratio(row, name)]
            cells.append(line + [_cell(row, name) for name in limits])
    return table("Theory beside measurement, nats per step", names, cells)


def numbers(subjects: Sequence[Subject]) -> list[Markup]:
    """Return all numbers of each kind of file, as `gradflow analyze` prints them; all epochs folded."""
    found = []
    for kind, group in by_kind(subjects).items():
        ended = any("epoch" in one.found.rows for one in group)
        caption = f"{kind}: first and last epoch" if ended else kind
        found.append(_rows(caption, group, all_epochs=False))
        if ended:
            inner = _rows(f"{kind}: all epochs", group, all_epochs=True)
            found.append(tag("details", Markup(tag("summary", "All epochs that were looked at") + inner)))
    return found


def ends(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the first and the last epoch; all where there are no epochs."""
    if "epoch" not in rows:
        return rows
    return rows.loc[rows.epoch.isin([rows.epoch.min(), rows.epoch.max()])]


def provenance(subjects: Sequence[Subject]) -> Markup:
    """Return where each file comes from: its hash, size, command, commit and versions."""
    cells = []
    for one in subjects:
        attrs = one.source.data.attrs
        size = one.source.path.stat().st_size if one.source.path.is_file() else None
        cells.append(
            [
                one.name,
                str(one.source.path),
                "–" if size is None else f"{size} bytes",
                one.source.sha256(),
                str(attrs.get("command", "–")),
                str(attrs.get("commit", "–")),
                _versions(attrs),
            ]
        )
    names = ["file", "path", "size", "SHA-256", "made by", "commit", "versions"]
    # read downwards: a column a file, as hashes and commands are long
    turned = [[name, *(row[k] for row in cells)] for k, name in enumerate(names)][1:]
    return table("Provenance, a column a file", ["", *(row[0] for row in cells)], turned, words=True)


def _rows(caption: str, group: Sequence[Subject], *, all_epochs: bool) -> Markup:
    parts = [(one.found.rows if all_epochs else ends(one.found.rows)).assign(file=one.label) for one in group]
    rows = pd.concat(parts, ignore_index=True).dropna(axis="columns", how="all")
    columns = shown(rows, hidden={"file"})
    cells = [[row["file"], *(cell(row, name) for name in columns)] for row in rows.to_dict("records")]
    return table(caption, ["file", *(head.replace("_", " ") for head in heads(columns))], cells)


def _cell(row: Mapping[Any, Any], name: str) -> str:
    return cell(row, name) if name in row else "–"


def _ratio(row: Mapping[Any, Any], name: str) -> str:
    predicted, rate = row.get(name, math.nan), row["rate"]
    return f"{predicted / rate:.3f}" if rate and math.isfinite(predicted / rate) else "–"


def _layers(one: Subject) -> str:
    return str(len(one.layers))


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _folded(value: str) -> Markup:
    """Return a value, folded away where it is long: weights of all spans are."""
    if len(value) <= LONG:
        return Markup(escaped(value))
    return tag("details", Markup(tag("summary", f"{value[: LONG - 12]}…") + escaped(value)))


def _versions(attrs: Mapping[Any, Any]) -> str:
    """Return the versions as words; as they stand where they are no JSON."""
    told = str(attrs.get("versions", "–"))
    try:
        found = json.loads(told)
    except ValueError:
        return told
    return (
        ", ".join(f"{name} {version}" for name, version in found.items()) if isinstance(found, dict) else told
    )
