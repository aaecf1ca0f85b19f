"""`gradflow evaluate`: what trained runs know, how they stand disturbances, and what their answers cost."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradflow.cli.files import as_csv, printed_path, require_writable
from gradflow.cli.options import AsJson, Verbose, count

if TYPE_CHECKING:
    import xarray as xr

SPLITS = ("train", "validation", "test")
PICO = 1e-12


def _split(text: str) -> str:
    """Read the name of a split, or raise a usage error."""
    if text not in SPLITS:
        raise typer.BadParameter(f"got {text!r}, expected one of {', '.join(SPLITS)}")
    return text


def _picojoules(text: str) -> float:
    """Read an energy in picojoules, or raise a usage error."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0.0 < number < 1e12:
        raise typer.BadParameter(f"got {text!r}, expected picojoules, above 0, as in 0.9")
    return number


Runs = Annotated[list[Path], typer.Argument(metavar="RUN…", help="Folders of finished training runs.")]
SplitName = Annotated[
    Any,
    typer.Option(
        "--split",
        parser=_split,
        metavar="NAME",
        help="validation, train or test: the last for a final number only; who chooses by it, spoils it.",
    ),
]
Disturb = Annotated[
    list[str] | None,
    typer.Option(
        "--disturb",
        metavar="KIND=X,Y…",
        help="delete, membrane-noise, input-noise, jitter, event-jitter or span-shift, with strengths; "
        "repeatable.",
    ),
]
Repetitions = Annotated[
    Any, typer.Option(parser=count, metavar="N", help="Of each random disturbance, for its interval.")
]
Seed = Annotated[int, typer.Option(min=0, help="Of the disturbances.")]
BatchSize = Annotated[
    Any, typer.Option("--batch", parser=count, metavar="N", help="Examples computed together; memory grows.")
]
Mac = Annotated[
    Any, typer.Option("--mac", parser=_picojoules, metavar="PJ", help="Energy of a multiply-add, in pJ.")
]
Ac = Annotated[
    Any, typer.Option("--ac", parser=_picojoules, metavar="PJ", help="Energy of an addition, in pJ.")
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Write everything to this netCDF file too.")]
Csv = Annotated[Path | None, typer.Option(help="Write every number to this CSV file too.")]
Confusion = Annotated[bool, typer.Option("--confusion", help="Print the confusion matrix of each run too.")]


def evaluate(
    runs: Runs,
    split: SplitName = "validation",
    disturb: Disturb = None,
    repetitions: Repetitions = "5",
    seed: Seed = 0,
    batch: BatchSize = "100",
    mac: Mac = "4.6",
    ac: Ac = "0.9",
    confusion: Confusion = False,
    out: Out = None,
    csv: Csv = None,
    as_json: AsJson = False,
    verbose: Verbose = False,  # noqa: ARG001  read in app.main, after the error
) -> None:
    """Evaluate training runs side by side: accuracy with interval, firing, operations, energy, robustness.

    Runs that differ by their seeds alone are one group, with an interval over the runs.

    Disturbances: delete=Q loses each spike with probability Q on its way out; membrane-noise=S adds noise of
    S thresholds to u at each step, input-noise=S noise of S to the input; jitter=K lets each step read a
    frame up to K steps off, event-jitter=K moves each event by up to K steps; span-shift=K reads the spikes
    of λ + K steps ago.

    Example: gradflow evaluate run-1 run-8 --disturb delete=0,0.1,0.2 --disturb span-shift=-1,0,1 -o both.nc
    """
    written = {path: require_writable(path) for path in (out, csv) if path is not None}
    from gradflow.bars import progress_bar
    from gradflow.evaluation import EnergyModel, evaluate_runs, parse_disturbances
    from gradflow.evaluation.tables import plain, tidy
    from gradflow.storage import save
    from gradflow.tasks import Split

    try:
        disturbances = parse_disturbances(disturb or [])
    except ValueError as error:
        raise typer.BadParameter(f"--disturb: {error}") from None
    with progress_bar("evaluate") as progress:
        found = evaluate_runs(
            runs,
            disturbances,
            split=Split(split),
            repetitions=repetitions,
            seed=seed,
            batch=batch,
            energy=EnergyModel(mac * PICO, ac * PICO),
            progress=progress,
        ).assign_attrs(command=shlex.join(["gradflow", *sys.argv[1:]]))
    if out is not None:
        save(found, out)
    if csv is not None:
        as_csv(tidy(found), csv)
    if as_json:
        typer.echo(json.dumps(plain(found), indent=2, ensure_ascii=False))
        return
    _print(found, confusion)
    for path, replaced in written.items():
        typer.echo(printed_path((path, replaced)))


def _print(found: "xr.Dataset", confusion: bool) -> None:
    """Print the tables: runs, groups where there are any, each disturbance, and what the numbers are."""
    from gradflow.cli.tables import print_table
    from gradflow.evaluation import disturbed_words
    from gradflow.evaluation.tables import by_group, by_strength, confusion_rows, overview

    examples = int(found.examples.values[0])
    print_table(f"evaluation on the {found.attrs['split']} split, {examples} examples", *overview(found))
    if len(set(found.group.values)) < found.sizes["run"]:
        print_table("groups of runs that differ by seeds alone", *by_group(found))
    for word in disturbed_words(found):
        title, rows = by_strength(found, word)
        print_table(title, *rows)
    if confusion and "confusion" in found:
        for run in found.run.values:
            print_table(f"confusion of {run}, in answers", *confusion_rows(found, str(run)))
    typer.echo(
        "(the 95 % interval is Wilson's over the examples; firing rate in spikes per neuron and step, and "
        "silent, the share of neurons that never fired, by layer; operations and energy per inference)"
    )
    if "energy" in found:
        typer.echo(
            f"(energy: {found.attrs['joules_per_ac'] / PICO:g} pJ an addition, "
            f"{found.attrs['joules_per_mac'] / PICO:g} pJ a multiply-add, by default those of Horowitz 2014, "
            f"45 nm; not counted: {found.attrs['energy_not_counted']})"
        )
