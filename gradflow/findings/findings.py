"""The findings of one dataset, whatever its kind: rows of numbers, a row a layer, and warnings."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

import pandas as pd
import xarray as xr

from gradflow.analysis.horizons import LEVEL


@dataclass(frozen=True)
class Findings:
    """What one dataset says.

    Attributes:
        kind: of the dataset, as its attribute `kind` says.
        rows: one for each layer (and epoch, of a training run); units are told by `UNITS`.
        warnings: what a reader must know before believing a number or a network.
        notes: what the numbers are not.
    """

    kind: str
    rows: pd.DataFrame
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


KINDS: Mapping[str, str] = {
    "record": "records",
    "jacobian products": "products",
    "path products": "paths",
    "gradient while training": "training",
}
"""The kinds of dataset that are understood, and the module that does."""

UNITS = "rates in nats per step, lags and spans in steps, comb depth in nats, others shares or counts"
"""Of the columns of all kinds."""


def findings(data: xr.Dataset, level: float = LEVEL) -> Findings:
    """Return what a record, products, path products or the gradient while training say, layer by layer.

    Args:
        data: as `record`, `jacobian_products`, `path_products` or a training run gives it.
        level: share of the norm at lag 0 at which the horizon is taken.

    Raises:
        ValueError: for a dataset of another kind, or a variable that is missing.

    >>> import torch
    >>> import gradflow as gf
    >>> net = gf.RecurrentSNN(gf.Sizes(2, 3), hidden=8, recurrence=gf.Skip(2))
    >>> found = findings(gf.jacobian_products(net, torch.ones(40, 2, 2)))
    >>> len(found.rows), bool(found.rows.rate[0] < found.rows.rate_bound[0])
    (1, True)
    """
    kind = str(data.attrs.get("kind", ""))
    if kind not in KINDS:
        raise ValueError(f"{told(data)}; expected one of: {', '.join(KINDS)}")
    module = import_module(f"gradflow.findings.{KINDS[kind]}")
    found: Findings = module.findings(data, level)
    return found


def told(data: xr.Dataset) -> str:
    """Say what a dataset is, and what to do with it where that is known.

    >>> told(xr.Dataset(attrs={"kind": "figure decay-curves", "figure": "decay-curves"}))
    'holds figure decay-curves, which `gradflow figures decay-curves --redraw FILE` draws'
    """
    figure = data.attrs.get("figure")
    if figure:
        return f"holds figure {figure}, which `gradflow figures {figure} --redraw FILE` draws"
    kind = data.attrs.get("kind")
    if kind:
        return f"holds {kind}"
    variables = ", ".join(map(str, list(data.data_vars)[:4])) or "nothing"
    return f"does not say what it holds (variables: {variables})"
