"""`gradflow analyze`: what saved records, products and training runs say, in numbers and warnings."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradflow.cli.files import as_csv, printed_path
from gradflow.cli.options import AsJson, Verbose

if TYPE_CHECKING:
    import pandas as pd

    from gradflow.findings import Findings


def _level(text: str) -> float:
    """Read a share above 0 and up to 1, or raise a usage error."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0.0 < number <= 1.0:
        raise typer.BadParameter(f"got {text!r}, expected a share above 0 and up to 1, as in 1e-3")
    return number


def analyze(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="netCDF files, or folders of training runs.")
    ],
    level: Annotated[
        Any, typer.Option(parser=_level, metavar="SHARE", help="Share of the norm at which horizons lie.")
    ] = "1e-3",
    csv: Annotated[Path | None, typer.Option(help="Write all rows to this CSV file too.")] = None,
    as_json: AsJson = False,
    verbose: Verbose = False,  # noqa: ARG001  read in app.main, after the error
) -> None:
    """Print rates with intervals, horizons, zeros, activity, theory and warnings of saved files.

    Several files are told apart by the conventions in which they differ.

    Example: gradflow analyze run.nc --level 1e-2
    """
    import pandas as pd

    from gradflow.findings import findings, read_source
    from gradflow.findings.findings import UNITS
    from gradflow.labels import labels, short_names

    sources = [read_source(file) for file in files]
    names = labels([source.data.attrs for source in sources], short_names(files))
    found = []
    for source in sources:
        try:
            found.append(findings(source.data, level))
        except ValueError as error:
            raise ValueError(f"{source.path}: {error}") from error
    tables = [
        one.rows.assign(file=str(file), label=name, kind=one.kind)
        for one, file, name in zip(found, files, names, strict=True)
    ]
    every = pd.concat(tables, ignore_index=True)
    every = every[["file", "label", "kind", *(c for c in every if c not in ("file", "label", "kind"))]]
    written = None if csv is None else as_csv(every, csv)
    if as_json:
        typer.echo(json.dumps(_as_json(files, names, found), indent=2))
        return
    for kind in dict.fromkeys(one.kind for one in found):
        _print(kind, every[every.kind == kind].dropna(axis="columns", how="all"), len(files) > 1)
    typer.echo(f"({UNITS})")
    for one, name in zip(found, names, strict=True):
        for line in one.warnings:
            typer.echo(f"warning: {f'{name}: ' if len(files) > 1 else ''}{line}")
    for line in dict.fromkeys(line for one in found for line in one.notes):
        of = [name for one, name in zip(found, names, strict=True) if line in one.notes]
        whose = "" if len(of) == len(files) else f" ({', '.join(of)})"
        typer.echo(f"note: {line}{whose}")
    if written is not None:
        typer.echo(printed_path(written))


def _as_json(files: list[Path], names: list[str], found: "list[Findings]") -> dict[str, Any]:
    """Return everything for machines; NaN is null, and so is infinity, a horizon beyond the record."""
    return {
        str(file): {
            "label": name,
            "kind": one.kind,
            "rows": json.loads(one.rows.to_json(orient="records", double_precision=12)),
            "warnings": list(one.warnings),
            "notes": list(one.notes),
        }
        for file, name, one in zip(files, names, found, strict=True)
    }


def _print(kind: str, rows: "pd.DataFrame", several: bool) -> None:
    """Print the rows of one kind of file; of a training run those of the first and the last epoch."""
    from gradflow.cli.tables import print_table
    from gradflow.findings.words import cell, heads, shown

    if "epoch" in rows:
        epochs = rows.groupby("file").epoch
        rows = rows[(rows.epoch == epochs.transform("min")) | (rows.epoch == epochs.transform("max"))]
    columns = shown(rows, hidden={"file", "kind", *(() if several else ("label",))})
    cells = [[cell(row, name) for name in columns] for row in rows.to_dict("records")]
    print_table(kind, heads(columns), cells)
