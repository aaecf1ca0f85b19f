"""Numbers of findings as words, the same on the command line and in a report."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

INTERVAL = ("rate_low", "rate_high")
"""Columns that are told with the rate."""
BESIDES = (*INTERVAL, "last_lag")
"""Columns that are no numbers of their own."""


def shown(rows: pd.DataFrame, *, hidden: Collection[str] = ()) -> list[str]:
    """Return the columns that are told one by one."""
    return [str(name) for name in rows if name not in hidden and name not in BESIDES]


def heads(columns: Sequence[str]) -> list[str]:
    """Return the words above the columns: predictions stand beside the rate itself.

    >>> heads(["rate", "rate_mean_square"])
    ['rate', 'mean_square']
    """
    return [name.removeprefix("rate_") for name in columns]


def cell(row: Mapping[Any, Any], name: Any) -> str:
    """Return one number as text, a rate with its interval; a horizon beyond the record says so.

    >>> cell({"rate": -0.5, "rate_low": -0.51, "rate_high": -0.49}, "rate")
    '-0.5 ± 0.01'
    >>> cell({"horizon": math.inf, "last_lag": 783}, "horizon")
    '>783'
    """
    value = row[name]
    if isinstance(value, str):
        return value
    if value is None or math.isnan(value):
        return "-"
    if math.isinf(value):
        beyond = name == "horizon" and not math.isnan(row.get("last_lag", math.nan))
        return f">{row['last_lag']:.0f}" if beyond else f"{value:g}"
    low, high = (row.get(bound, math.nan) for bound in INTERVAL)
    if name == "rate" and not math.isnan(low):
        return f"{value:.4g} ± {(high - low) / 2.0:.2g}"  # Student's interval is symmetric
    return f"{value:.4g}"
