"""What a report is about: each file with its name, its label, its findings and, of a run, its log."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import pandas as pd
import xarray as xr

from gradflow.analysis.horizons import LEVEL
from gradflow.findings import KINDS, Findings, Source, findings, read_source
from gradflow.labels import short_names
from gradflow.views.drawn import MAX_CURVES, named
from gradflow.views.names import PARTS, RATES

LOG_NAME, SUMMARY_NAME = "log.csv", "summary.json"
NEEDS = {
    "jacobian products": ("log_frobenius",),
    "path products": (*PARTS, "mean_hops"),
    "gradient while training": RATES,
}
"""Variables without which a kind of file cannot be reported on; a record has what it was asked to keep."""


@dataclass(frozen=True)
class Subject:
    """One file, or one training run.

    Attributes:
        source: its path and data.
        name: the shortest end of its path that no other file has.
        label: the conventions in which it differs from the others of its kind; alone, its name.
        found: what the data say, as `gradflow analyze` prints it.
        log: of a training run: a row an epoch.
        summary: of a finished run: its result.
    """

    source: Source
    name: str
    label: str
    found: Findings
    log: pd.DataFrame | None = None
    summary: dict[str, object] | None = None

    @property
    def layers(self) -> list[int]:
        """Numbers of the layers."""
        return [int(layer) for layer in self.source.data.layer.values]


@dataclass(frozen=True)
class Line:
    """One curve of a panel: whose it is, of which layer, and its place among all of the panel."""

    subject: Subject
    layer: int
    label: str
    place: tuple[int, int]


def read_subjects(paths: Sequence[str | PathLike[str]]) -> list[Subject]:
    """Read all files and what they say.

    Raises ValueError for no files, one named twice, too many of a kind, or one that cannot be understood.
    """
    if not paths:
        raise ValueError("report: got no files, expected netCDF files or folders of training runs")
    resolved = [Path(path).resolve() for path in paths]
    twice = next((path for path, real in zip(paths, resolved, strict=True) if resolved.count(real) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice}: named more than once; name each file once")
    sources = [read_source(path) for path in paths]
    for kind, count in Counter(source.kind for source in sources).items():
        if count > MAX_CURVES:
            raise ValueError(
                f"report: got {count} files of the kind {kind!r}, expected at most {MAX_CURVES} in one "
                "picture; write several reports"
            )
    names = short_names([source.path for source in sources])
    subjects = [_subject(source, name) for source, name in zip(sources, names, strict=True)]
    labelled = {
        id(one): label
        for group in by_kind(subjects).values()
        for one, label in zip(group, named([one.source for one in group]), strict=True)
    }
    return [replace(one, label=labelled[id(one)]) for one in subjects]


def by_kind(subjects: Sequence[Subject]) -> dict[str, list[Subject]]:
    """Return the subjects of each kind, kinds in the order in which a reader meets them."""
    order = ("gradient while training", *KINDS)
    kinds = sorted({one.found.kind for one in subjects}, key=order.index)
    return {kind: [one for one in subjects if one.found.kind == kind] for kind in kinds}


def panels(subjects: Sequence[Subject]) -> Iterator[tuple[str, list[Line]]]:
    """Yield the panels of a chart: of one file all layers in one, of several a panel a layer.

    The layout is that of the pictures (`views.drawn.by_layer`).
    """
    if len(subjects) == 1:
        (one,) = subjects
        count = len(one.layers)
        labels = [f"layer {layer}" if count > 1 else one.label for layer in one.layers]
        yield (
            "",
            [
                Line(one, layer, label, (k, count))
                for k, (layer, label) in enumerate(zip(one.layers, labels, strict=True))
            ],
        )
        return
    layers = sorted({layer for one in subjects for layer in one.layers})
    for layer in layers:
        lines = [
            Line(one, layer, one.label, (k, len(subjects)))
            for k, one in enumerate(subjects)
            if layer in one.layers
        ]
        yield (f"layer {layer}" if len(layers) > 1 else ""), lines


def _subject(source: Source, name: str) -> Subject:
    source.require(NEEDS.get(source.kind, ()))
    source = replace(source, data=_layered(source.data))
    try:
        found = findings(source.data, LEVEL)
    except ValueError as error:
        raise ValueError(f"{source.path}: {error}") from error
    return Subject(source, name, name, found, _log(source.path), _summary(source.path))


def _layered(data: xr.Dataset) -> xr.Dataset:
    """Return the dataset with the dimension and coordinate `layer`, which one layer on its own lacks."""
    layered = data if "layer" in data.dims else data.expand_dims("layer")
    return (
        layered if "layer" in layered.coords else layered.assign_coords(layer=range(layered.sizes["layer"]))
    )


def _log(folder: Path) -> pd.DataFrame | None:
    """Return the log of a run's folder; None for a file, or a run without one."""
    path = folder / LOG_NAME
    if not path.is_file():
        return None
    try:
        log = pd.read_csv(path)
        return log[["epoch", "train_accuracy", "validation_accuracy", "train_loss", "validation_loss"]]
    except (ValueError, KeyError, pd.errors.ParserError) as error:
        raise ValueError(f"{path}: not the log of a training run ({error}); go on with --resume") from None


def _summary(folder: Path) -> dict[str, object] | None:
    """Return the result of a finished run; None for a file, or a run that goes on."""
    if not (folder / SUMMARY_NAME).is_file():
        return None
    from dataclasses import asdict

    from gradflow.train import Summary

    return asdict(Summary.read(folder))
