"""What a figure is: compute(config) → file → draw(dataset), with claims that its data must bear out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

import pandas as pd
import xarray as xr
from matplotlib.figure import Figure as Picture
from pydantic import BaseModel, ConfigDict

from gradflow.figures.names import names as names
from gradflow.progress import Progress as Progress
from gradflow.progress import silent as silent


class Config(BaseModel):
    """Options of a figure; frozen, and unknown ones are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Claim:
    """A sentence that the figure's data bears out or does not."""

    text: str
    holds: bool


@dataclass(frozen=True)
class FigureSpec:
    """One registered figure.

    Attributes:
        name: as on the command line, `decay-curves`.
        title: one line.
        caption: what is seen and how it was measured.
        config: class of its options; its defaults make the figure.
        quick, full: options that change for `--quick` and `--full`.
        compute: options → dataset. draw: dataset → picture, reading nothing else.
        claims: dataset → claims.
        table: dataset → tidy rows for the CSV. summary: dataset → the few numbers worth printing.
        keeps: whether `compute` takes a third argument, the folder in which it keeps what it may go on from.
        narrowest: width in inches below which its labels crowd; drawn all the same, with a warning.
    """

    name: str
    title: str
    caption: str
    config: type[Config]
    quick: Mapping[str, object]
    full: Mapping[str, object]
    compute: Callable[..., xr.Dataset]
    draw: Callable[[xr.Dataset], Picture]
    claims: Callable[[xr.Dataset], Sequence[Claim]]
    table: Callable[[xr.Dataset], pd.DataFrame]
    summary: Callable[[xr.Dataset], pd.DataFrame]
    keeps: bool = False
    narrowest: float = 3.4  # a single column of the journals that have names


def find(name: str) -> FigureSpec:
    """Return the figure of this name.

    Raises ValueError listing the names that exist.
    """
    if name not in names():
        raise ValueError(f"figure {name!r}: expected one of {', '.join(names())}")
    module = import_module(f"gradflow.figures.{name.replace('-', '_')}")
    spec: FigureSpec = module.FIGURE
    return spec
