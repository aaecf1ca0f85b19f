"""The rows of `theory.py` as Markdown: what each rung misses, span by span; the crossing; every row."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import TypeAlias

import numpy as np

from gradflow.theory import measured_crossing

RUNGS = ("bound", "mean_square", "variance_propagation", "transfer_operator", "typical_product")
PLACE = ("epochs", "pool", "decay", "surrogate", "reset", "detached", "span")
FIELDS = (
    *PLACE, "hidden", "samples", "seed", "rate", "rate_low", "rate_high", *RUNGS, "windows_error", "memory",
    "scatter", "shuffled", "in_window", "steps_without", "silent", "crossing", "accuracy", "seconds",
)  # fmt: skip
NEAR, WIDE = 0.03, 0.05
"""Largest error of the last rung up to span 8, and beyond."""
PLACE_OF_ALL = ("hidden", "samples", "seed")
INTRO = """Command: `{command}`; {minutes:.0f} minutes of one core. {hidden} neurons, {samples} samples
of permuted digits (784 steps; 196 where networks are trained), network and sample seed {seed}; nats per
step. In brackets after a rate: predicted / measured − 1; a negative one decays too slowly. Typical
product: the transfer operator with the scatter of log-norms and the memory of steps, up to span 8; beyond,
where it costs much more, only where the transfer operator is off, which else stands for it. Memory and
scatter: what they add, of the measured rate. Bold: further off than {near:.0%} up to span 8, or
{wide:.0%} beyond; then the last column says what was measured about it. Interval: of the measured rate,
over samples; windows: the standard error of memory. There, memory is also measured, as what shuffling the
steps (all samples together) takes away, and scatter as what then remains beyond the transfer operator."""
CROSSING = """The neuron path decays at log α whatever the span, the recurrent path as a power of it.
The crossing is where the power law through the two smallest spans whose rate exceeds log α by 3 % meets
log α; below 1, the recurrent path wins at every span. The last column holds the moments of one network
fixed while its span varies."""
TRAINING = """One recurrent layer, trained as `gradflow train psmnist --preset quick` does ({epochs} epochs
of 4,000 digits, pooled to 196 steps), one choice at a time around the default. Right answers of 500 in
validation: {low:.0f} to {high:.0f} %, median {mid:.0f} %. Training moved the rates by {moved:.0f} %
(median), at most {most:.0f} %, most of them towards 0, where the same absolute error is a larger part."""
Row: TypeAlias = Mapping[str, object]


def number(row: Row, name: str) -> float:
    """Return a field as a number, NaN where there is none."""
    value = row.get(name)
    return float(str(value)) if value not in (None, "") else float("nan")


def error(row: Row, rung: str) -> float:
    """Return predicted / measured − 1; where the last rung was left out, of the one before it."""
    if rung == RUNGS[-1] and np.isnan(number(row, rung)):
        rung = RUNGS[-2]
    return number(row, rung) / number(row, "rate") - 1.0


def allowed(row: Row) -> float:
    """Return how far off the last rung may be."""
    return NEAR if number(row, "span") <= 8 else WIDE


def off(row: Row) -> bool:
    """Return whether the last rung is further off than it should be."""
    return not abs(error(row, RUNGS[-1])) <= allowed(row)


def percent(value: float, digits: int = 1) -> str:
    """Return a share as a signed percentage."""
    return "" if np.isnan(value) else f"{100 * value:+.{digits}f} %"


def reason(row: Row) -> str:
    """Return what was measured about a row that is off."""
    rate = number(row, "rate")
    half = 0.5 * (number(row, "rate_high") - number(row, "rate_low")) / abs(rate)
    parts = [f"off by {error(row, RUNGS[-1]) * rate:+.4f}", f"interval ±{100 * half:.1f} %"]
    sampled = number(row, "windows_error") / abs(rate)
    if sampled > 0.0:
        parts.append(f"windows ±{100 * sampled:.1f} %")
    mixed = number(row, "shuffled")
    if not np.isnan(mixed):  # what shuffling takes away is memory, what is left is scatter
        truth = {"memory": rate - mixed, "scatter": mixed - number(row, "transfer_operator")}
        for name, value in truth.items():
            parts.append(f"{name} {percent(value / rate)}, predicted {percent(number(row, name) / rate)}")
    if abs(rate / np.log(number(row, "decay")) - 1.0) < 0.02:
        parts.append(f"neuron path: log α = {np.log(number(row, 'decay')):.4f}")
    if number(row, "silent") > 0.0:
        parts.append(f"{100 * number(row, 'silent'):.0f} % of neurons never in the window")
    if number(row, "steps_without") > 0.0:
        parts.append(f"window empty in {100 * number(row, 'steps_without'):.0f} % of steps")
    return "; ".join(parts)


def summary(rows: list[Row]) -> Iterable[str]:
    """Yield median and largest error of each rung at each span, and the share within the bound."""
    heads = [name.replace("_", " ") for name in RUNGS]
    heads = [*(f"{h}: median, largest" for h in heads), "memory: median", "scatter: median", "within"]
    yield "| λ | rows | " + " | ".join(heads) + " |"
    yield "|---" * (len(heads) + 2) + "|"
    for span, group in groupby(
        sorted(rows, key=lambda r: number(r, "span")), key=lambda r: number(r, "span")
    ):
        part = list(group)
        cells = []
        for rung in RUNGS:
            errors = np.abs([error(row, rung) for row in part])
            cells.append(f"{100 * np.median(errors):.1f} %, {100 * errors.max():.1f} %")
        for name in ("memory", "scatter"):
            shares = np.abs([number(row, name) / number(row, "rate") for row in part])
            cells.append(f"{100 * np.nanmedian(shares):.1f} %" if np.isfinite(shares).any() else "")
        inside = [sum(abs(error(r, rung)) <= allowed(r) for r in part) for rung in RUNGS[-2:]]
        cells.append(f"{inside[1]} of {len(part)} (transfer operator {inside[0]})")
        yield f"| {span:g} | {len(part)} | " + " | ".join(cells) + " |"


def absolute(rows: list[Row]) -> str:
    """Return the last rung's errors in nats per step, and how many of those off are within the interval."""
    last = [number(row, "rate") * (1.0 + error(row, RUNGS[-1])) for row in rows]
    size = np.abs([value - number(row, "rate") for value, row in zip(last, rows, strict=True)])
    bad = [(value, row) for value, row in zip(last, rows, strict=True) if off(row)]
    inside = sum(number(row, "rate_low") <= value <= number(row, "rate_high") for value, row in bad)
    return (
        f"Typical product, in nats per step: off by {np.median(size):.4f} in the median, at most "
        f"{size.max():.4f}. Of the {len(bad)} rows of {len(rows)} that are off, {inside} have it within the "
        "measured interval."
    )


def crossings(rows: list[Row]) -> Iterable[str]:
    """Yield where the neuron path and the recurrent path cross, measured and predicted."""
    heads = ["α", "surrogate", "reset", "measured", *(rung.replace("_", " ") for rung in RUNGS[-2:])]
    yield "| " + " | ".join([*heads, "from the moments at λ = 8"]) + " |"
    yield "|---" * 7 + "|"
    for place, group in groupby(rows, key=lambda r: [str(r[name]) for name in PLACE[2:6]]):
        part = list(group)
        if len(part) < 2:
            continue
        spans = [int(number(row, "span")) for row in part]
        found = [np.array([number(row, "rate") for row in part])]
        found += [found[0] * [1.0 + error(row, rung) for row in part] for rung in RUNGS[-2:]]
        cells = [shown(measured_crossing(spans, rates, float(place[0])).span) for rates in found]
        alone = [number(row, "crossing") for row in part if not np.isnan(number(row, "crossing"))]
        cells.append(shown(alone[0]) if alone else "")
        yield f"| {place[0]} | {place[1]} | {reset(part[0])} | " + " | ".join(cells) + " |"


def shown(span: float) -> str:
    """Return a crossing, in steps."""
    return f"{span:.2f}" if np.isfinite(span) else "beyond"


def reset(row: Row) -> str:
    """Return the reset in words."""
    return f"{row['reset']}, {'de' if str(row['detached']) == 'True' else 'at'}tached"


def line(row: Row, trained: bool) -> str:
    """Return one row of the long table, with its place in training if wanted."""
    cells = [f"{number(row, rung):+.4f} ({percent(error(row, rung))})" for rung in RUNGS[:-1]]
    last = number(row, RUNGS[-1])
    cells.append("" if np.isnan(last) else f"{last:+.4f} ({percent(error(row, RUNGS[-1]))})")
    if off(row):
        cells[-1] = f"**{cells[-1] or 'none'}**"
    shares = [percent(number(row, name) / number(row, "rate")) for name in ("memory", "scatter")]
    measured = f"{number(row, 'rate'):+.4f} [{number(row, 'rate_low'):+.4f}, {number(row, 'rate_high'):+.4f}]"
    place = f"{row['decay']} | {row['surrogate']} | {reset(row)} | {row['span']}"
    if trained:
        place += f" | {percent(number(row, 'accuracy'), 0).lstrip('+') or 'before'}"
    why = reason(row) if off(row) else ""
    return f"| {place} | {measured} | " + " | ".join(cells + shares) + f" | {why} |"


def table(rows: list[Row], trained: bool = False) -> Iterable[str]:
    """Yield the long table; `trained`: with each network's right answers in validation."""
    heads = ["α", "surrogate", "reset", "λ", *(["right answers"] if trained else []), "measured [95 %]"]
    heads += [*(name.replace("_", " ") for name in RUNGS), "memory", "scatter", "off: measured"]
    yield "| " + " | ".join(heads) + " |"
    yield "|---" * len(heads) + "|"
    yield from (line(row, trained) for row in rows)


def report(rows: list[Row], command: str) -> str:
    """Return the whole page."""
    first = rows[0]
    whole = [row for row in rows if number(row, "pool") == 1]
    pooled = [row for row in rows if number(row, "pool") > 1]
    seconds = sum(number(row, "seconds") for row in rows)
    intro = INTRO.format(
        command=command, minutes=seconds / 60, near=NEAR, wide=WIDE, **{k: first[k] for k in PLACE_OF_ALL}
    )
    lines = [
        "# Measured and predicted rates",
        "",
        intro,
        "",
        "## Errors by span, before training",
        "",
        *summary(whole),
        "",
        absolute(whole),
        "",
        "## Where the regimes cross",
        "",
        CROSSING,
        "",
        *crossings(whole),
        "",
        *after_training(pooled),
        "## Every row",
        "",
        *table(whole),
    ]
    return "\n".join(lines) + "\n"


def after_training(rows: list[Row]) -> list[str]:
    """Return what is said of networks that are trained, and the rows of each before and after."""
    after = [row for row in rows if number(row, "epochs") > 0]
    if not after:
        return []
    score = [100 * number(row, "accuracy") for row in after]
    moved = [
        abs(number(late, "rate") / number(row, "rate") - 1.0)
        for late in after
        for row in rows
        if number(row, "epochs") == 0 and [row[n] for n in PLACE[2:]] == [late[n] for n in PLACE[2:]]
    ]
    text = TRAINING.format(
        epochs=after[0]["epochs"],
        low=min(score),
        mid=np.median(score),
        high=max(score),
        moved=100 * np.median(moved),
        most=100 * max(moved),
    )
    pairs = sorted(rows, key=lambda row: [str(row[n]) for n in PLACE[2:-1]] + [number(row, "span")])
    lines = ["## After training", "", text, "", "Before:", ""]
    start = [row for row in rows if number(row, "epochs") == 0]
    lines += [*summary(start), "", absolute(start), "", "After:", "", *summary(after), "", absolute(after)]
    return [*lines, "", "## Before and after training", "", *table(pairs, trained=True), ""]
