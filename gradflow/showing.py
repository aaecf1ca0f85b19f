"""The summary of a dataset as HTML: what it is, its main numbers layer by layer, its conventions.

Axes: layer, and whatever a variable has beside it, of which the median is shown (of shares and firing rates
the mean). Nothing is fitted here: what is shown is in the dataset. Norms are shown as powers of ten.
"""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from gradflow.labels import CHOICES

NATS_PER_DECADE = float(np.log(10.0))
ROWS = 16
"""Variables that the table of a dataset of an unknown kind shows."""
LOGARITHMS = frozenset({"log_frobenius", "centre"})
"""Variables of the columns that are logarithms already."""
POINTS = 120
"""Of a curve that is drawn within a line of the table."""
STYLE = (
    "<style>.gf-results table{border-collapse:collapse;margin:.4em 0}"
    ".gf-results th,.gf-results td{padding:.15em .7em;text-align:right;border-bottom:1px solid #8884;"
    "background:none;font-variant-numeric:tabular-nums}"
    ".gf-results th:first-child,.gf-results td:first-child{text-align:left}"
    ".gf-results caption,.gf-results p{text-align:left;margin:.3em 0}"
    ".gf-results summary{cursor:pointer}.gf-results svg{vertical-align:middle}"
    ".gf-results .gf-quiet{opacity:.75;font-size:92%}</style>"
)


class Column(NamedTuple):
    """A column of a summary: its heading with the unit, and the text of each layer."""

    heading: str
    cell: Callable[[xr.Dataset], str]


def html(data: xr.Dataset, *, whole: str = "") -> str:
    """Return the summary: a title, the main numbers of each layer, the conventions, and `whole` folded below.

    >>> page = html(xr.Dataset({"rate": ("layer", [-0.25]), "half_life": ("layer", [2.77])}))
    >>> "Decay rates" in page, "−0.25" in page
    (True, True)
    """
    title, columns = _kind(data)
    sizes = " · ".join(_counted(str(name), size) for name, size in data.sizes.items())
    table = _layers(data, columns) if columns else _variables(data)
    parts = [STYLE, '<div class="gf-results">', f"<p><strong>{escape(title)}</strong> {sizes}</p>", table]
    said = conventions_line(data.attrs)
    if said:
        parts.append(f'<p class="gf-quiet">{escape(said)}</p>')
    if whole:
        parts.append(f"<details><summary>all variables and conventions</summary>{whole}</details>")
    return "".join([*parts, "</div>"])


def _counted(dim: str, size: int) -> str:
    """Return a size in words: 784 steps, 1 layer."""
    word = {"time": "step", "index": "value", "epoch": "look"}.get(dim, dim)
    ending = "" if size == 1 else "es" if word.endswith("s") else "s"
    return escape(f"{size} {word}{ending}")


def conventions_line(attrs: Mapping[str, Any]) -> str:
    """Return the choices behind a dataset in one line, as the labels of pictures name them.

    >>> conventions_line({"recurrence": "skip:16", "decay": 0.5, "task": "none"})
    'λ = 16, α = 0.5'
    """
    known = {key: attrs[key] for key in CHOICES if str(attrs.get(key, "none")) not in ("none", "unknown")}
    return ", ".join(CHOICES[key](value) for key, value in known.items())


def number(value: float) -> str:
    """Return a number in four digits at most, with a true minus; a dash for NaN.

    >>> number(-0.46512), number(784.0), number(float("nan")), number(1e-12)
    ('−0.4651', '784', '–', '1e−12')
    """
    return "–" if np.isnan(value) else f"{value:.4g}".replace("-", "−").replace("inf", "∞")


def power_of_ten(log_norm: float) -> str:
    """Return e to this power as a power of ten; 0 for −∞.

    >>> power_of_ten(-361.5), power_of_ten(float("-inf"))
    ('10<sup>−157</sup>', '0')
    """
    if np.isnan(log_norm):
        return "–"
    if np.isinf(log_norm):
        return "0" if log_norm < 0 else "∞"
    decades = log_norm / NATS_PER_DECADE
    text = f"{decades:.0f}" if abs(decades) >= 10 else f"{decades:.1f}"
    return f"10<sup>{text.replace('-', '−')}</sup>"


def sparkline(values: Sequence[float] | np.ndarray, *, what: str) -> str:
    """Return a curve as a small picture in the line of the text; gaps where it is not finite.

    >>> sparkline([0.0, -1.0, -np.inf], what="curve").count("<svg")
    1
    """
    curve = np.asarray(values, dtype=np.float64)
    kept = curve[np.unique(np.linspace(0, curve.size - 1, POINTS).round().astype(int))]
    finite = np.isfinite(kept)
    if np.count_nonzero(finite) < 2:
        return ""
    low, high = float(kept[finite].min()), float(kept[finite].max())
    x = np.linspace(1, 119, kept.size)
    y = np.where(finite, 21 - 20 * (kept - low) / ((high - low) or 1.0), 0.0)
    runs = np.split(np.arange(kept.size), np.flatnonzero(np.diff(finite)) + 1)
    lines = [
        '<polyline fill="none" stroke="currentColor" stroke-width="1.2" points="'
        + " ".join(f"{x[i]:.1f},{y[i]:.1f}" for i in run)
        + '"/>'
        for run in runs
        if finite[run[0]]
    ]
    label = escape(what, quote=True)
    return f'<svg role="img" aria-label="{label}" width="120" height="22">{"".join(lines)}</svg>'


def _kind(data: xr.Dataset) -> tuple[str, list[Column]]:
    """Return what a dataset is in words, and the columns of its summary (none: one line a variable)."""
    kind = str(data.attrs.get("kind", "")) or "results"
    theory = data.attrs.get("theory")
    named = f"Prediction: {theory}" if theory else kind[:1].upper() + kind[1:]
    for needs, title, columns in SUMMARIES:
        if all(name in data for name in needs):
            shown = [column for names, column in columns if all(name in data for name in names)]
            return named if theory or not title else title, shown
    return named, []


def _middle(values: xr.DataArray) -> float:
    """Return the median of what is there, NaN left out; −∞ counts as a number."""
    flat = values.values.astype(np.float64).ravel()
    flat = flat[~np.isnan(flat)]
    # the middle one itself: between −∞ and a number there is no mean
    return float(np.sort(flat)[flat.size // 2]) if flat.size else float("nan")


def _value(name: str, heading: str) -> tuple[tuple[str, ...], Column]:
    return (name,), Column(heading, lambda layer: number(_middle(layer[name])))


def _mean(name: str, heading: str) -> tuple[tuple[str, ...], Column]:
    return (name,), Column(heading, lambda layer: number(float(layer[name].mean())))


def _norm(name: str, along: str, position: int, heading: str) -> tuple[tuple[str, ...], Column]:
    def cell(layer: xr.Dataset) -> str:
        log = _log(layer, name)
        at = log.isel({along: min(position, log.sizes[along] - 1)}) if along in log.dims else log
        return power_of_ten(_middle(at))

    return (name,), Column(heading, cell)


def _curve(name: str, along: str, heading: str) -> tuple[tuple[str, ...], Column]:
    def cell(layer: xr.Dataset) -> str:
        log = _log(layer, name)
        if along not in log.dims:
            return ""
        middle = [_middle(log.isel({along: i})) for i in range(log.sizes[along])]
        return sparkline(middle, what=f"{heading}, median")

    return (name,), Column(heading, cell)


def _log(layer: xr.Dataset, name: str) -> xr.DataArray:
    """Return a variable's logarithms, −∞ for 0, without a warning; what is kept as logarithms as it is."""
    if name in LOGARITHMS:
        return layer[name]
    with np.errstate(divide="ignore"):
        logs: xr.DataArray = xr.apply_ufunc(np.log, layer[name].astype(np.float64))
    return logs


def _interval(layer: xr.Dataset) -> str:
    low, high = (_middle(layer[name]) for name in ("rate_low", "rate_high"))
    return f"{number(low)} … {number(high)}"


SUMMARIES: Sequence[tuple[tuple[str, ...], str, Sequence[tuple[tuple[str, ...], Column]]]] = (
    (
        ("grad_u", "time"),
        "Record of the loss gradient",
        (
            _norm("grad_u", "time", 0, "‖∂L/∂u‖ at the first step"),
            _norm("grad_u", "time", -1, "at the last step"),
            _curve("grad_u", "time", "log ‖∂L/∂u‖ over time"),
            _mean("zero_share", "share of exact zeros"),
            _mean("firing_rate", "spikes per neuron and step"),
            _mean("window", "share in the window"),
        ),
    ),
    (
        ("rate", "half_life"),
        "Decay rates",
        (
            _value("rate", "rate (nats per step)"),
            (("rate_low", "rate_high"), Column("interval", _interval)),
            _value("half_life", "half-life (steps)"),
            _value("horizon", "horizon (steps)"),
            _value("burn_in", "fitted from lag"),
            _value("comb_depth", "comb depth (nats)"),
            _value("r_squared", "r²"),
        ),
    ),
    (
        ("centre", "envelope", "lag"),
        "Decay curves",
        (
            _norm("centre", "lag", 1, "norm at lag 1"),
            _norm("centre", "lag", -1, "at the last lag"),
            _curve("centre", "lag", "log norm over lags"),
        ),
    ),
    (
        ("log_frobenius", "lag"),
        "",
        (
            _norm("log_frobenius", "lag", 1, "norm at lag 1"),
            _norm("log_frobenius", "lag", -1, "at the last lag"),
            _curve("log_frobenius", "lag", "log norm over lags"),
            _value("rate", "rate (nats per step)"),
            _mean("window", "share in the window"),
        ),
    ),
)
"""What a dataset must hold, its title (else its kind), and columns, each with the variables it reads."""


def _layers(data: xr.Dataset, columns: Sequence[Column]) -> str:
    """Return the table with a row a layer."""
    layers = data.layer.values if "layer" in data.dims and "layer" in data.coords else None
    rows = [("all", data)] if layers is None else [(str(k), data.sel(layer=k)) for k in layers]
    head = "".join(f"<th>{escape(column.heading)}</th>" for column in columns)
    body = "".join(
        f"<tr><td>{escape(name)}</td>{''.join(f'<td>{column.cell(row)}</td>' for column in columns)}</tr>"
        for name, row in rows
    )
    averaged = [dim for dim in ("seed", "sample", "time") if dim in data.dims]
    over = " and ".join(_counted(dim, data.sizes[dim]) for dim in averaged)
    note = f'<p class="gf-quiet">medians over {over}; of shares and firing, means</p>' if over else ""
    return f"<table><thead><tr><th>layer</th>{head}</tr></thead><tbody>{body}</tbody></table>{note}"


def _variables(data: xr.Dataset) -> str:
    """Return the table with a row a variable: unit, median, extremes."""
    rows = []
    for name, values in list(data.data_vars.items())[:ROWS]:
        unit = escape(str(values.attrs.get("units", "")))
        numbers = [""] * 3
        if values.dtype.kind in "biuf" and values.size:
            flat = values.values.astype(np.float64)
            known = flat[~np.isnan(flat)]
            extremes = (known.min(), known.max()) if known.size else (np.nan, np.nan)
            numbers = [number(_middle(values)), *(number(float(value)) for value in extremes)]
        cells = "".join(f"<td>{text}</td>" for text in (unit, *numbers))
        rows.append(f"<tr><td>{escape(str(name))}</td>{cells}</tr>")
    more = len(data.data_vars) - ROWS
    note = f'<p class="gf-quiet">and {more} more</p>' if more > 0 else ""
    head = "".join(f"<th>{text}</th>" for text in ("variable", "unit", "median", "least", "greatest"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>{note}"
