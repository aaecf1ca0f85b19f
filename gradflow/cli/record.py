"""`gradflow record`: measure a network's gradient along time, and keep it in netCDF files."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gradflow.cli import network as options
from gradflow.cli import record_options as own
from gradflow.cli.files import printed_path, require_writable
from gradflow.cli.options import AsJson, Verbose

if TYPE_CHECKING:
    import xarray as xr

    from gradflow.network import RecurrentSNN
    from gradflow.recording import Keep
    from gradflow.tasks import Batch, Task


def record(
    out: own.Out,
    task: own.TaskName = None,
    kind: own.Kind = "record",
    recurrence: options.Recurrence = None,
    hidden: options.Hidden = None,
    neuron: options.Neuron = None,
    decay: options.Decay = None,
    threshold: options.Threshold = None,
    reset: options.Reset = None,
    detach_reset: options.Detach = None,
    surrogate: options.Surrogate = None,
    recurrent_gain: options.Gain = None,
    seed: options.Seed = None,
    dtype: options.Dtype = None,
    run: own.Run = None,
    step: own.Step = None,
    data: options.Data = None,
    pool: options.Pool = None,
    settings: options.Settings = None,
    samples: own.Samples = "8",
    sample_seed: own.SampleSeed = 0,
    loss: own.Loss = None,
    span_mode: own.SpanMode = None,
    keep: own.KeepWords = None,
    theory: own.Theory = False,
    max_hops: own.MaxHops = "32",
    as_json: AsJson = False,
    verbose: Verbose = False,  # noqa: ARG001  read in app.main, after the error
) -> None:
    """Measure a network on a task, and write gradients or Jacobian products with all conventions.

    With the loss summed over time, norms of its gradient do not decay: use --loss last, or --kind products.

    Example: gradflow record psmnist --recurrence skip:16 --kind record,products -o run.nc
    """
    said = options.NetworkOptions(
        recurrence,
        hidden,
        neuron,
        decay,
        threshold,
        reset,
        detach_reset,
        surrogate,
        recurrent_gain,
        seed,
        dtype,
    )
    _refuse(task, run, step, said.given(), bool(data or pool or settings), kind, theory, keep)
    paths = {name: _path(out, name, len(kind)) for name in kind}
    there = {name: require_writable(path) for name, path in paths.items()}
    if run is None:
        assert task is not None
        on = options.build_task(task, data, pool, settings or [])
        net = options.build_network(said, on)
    else:
        net, on = _trained(run, step)
    if samples > len(on.train):
        raise ValueError(
            f"--samples: got {samples}, expected at most {len(on.train)}, the training examples of {on.name}"
        )
    from gradflow.bars import progress_bar
    from gradflow.storage import save

    batch = on.sample(samples, seed=sample_seed)
    measures = {
        "record": lambda: _record(net, batch, keep, loss, span_mode),
        "products": lambda: _products(net, batch, span_mode, theory),
        "paths": lambda: _paths(net, batch, span_mode, max_hops),
    }
    written = []
    with progress_bar("record") as progress:
        for done, name in enumerate(kind):
            progress(done, len(kind), name)
            data_of_kind = measures[name]().assign_attrs(command=shlex.join(["gradflow", *sys.argv[1:]]))
            written.append((save(data_of_kind, paths[name]), there[name]))
    if as_json:
        typer.echo(json.dumps({"files": {name: str(paths[name]) for name in kind}}, indent=2))
        return
    for file in written:
        typer.echo(printed_path(file))


def _refuse(
    task: str | None,
    run: Path | None,
    step: int | None,
    network: list[str],
    of_task: bool,
    kind: tuple[str, ...],
    theory: bool,
    keep: tuple[str, ...] | None,
) -> None:
    """Raise a usage error for options that do not go together."""
    if run is None and task is None:
        raise typer.BadParameter("name a task, as in `gradflow record psmnist`, or a training run with --run")
    if run is not None and (task is not None or network or of_task):
        others = ", ".join(network) or ("TASK" if task else "--data, --pool and --set")
        raise typer.BadParameter(f"--run brings its own network and task; leave out {others}")
    if step is not None and run is None:
        raise typer.BadParameter("--step is a checkpoint of --run")
    if theory and "products" not in kind:
        raise typer.BadParameter("--theory predicts products; add --kind products")
    if keep is not None and "record" not in kind:
        raise typer.BadParameter("--keep says what a record holds; add --kind record")


def _path(out: Path, kind: str, count: int) -> Path:
    """Return the file of one kind: the one named, or, of several, with the kind before the suffix."""
    return out if count == 1 else out.with_name(f"{out.stem}.{kind}{out.suffix}")


def _trained(folder: Path, step: int | None) -> "tuple[RecurrentSNN, Task]":
    """Return the network of a training run, as it answers, and its task; ValueError for a baseline."""
    from gradflow.train import load_run

    session = load_run(folder, step=step)
    session.net.eval()
    return session.spiking, session.task


def _record(
    net: "RecurrentSNN", batch: "Batch", keep: tuple[str, ...] | None, loss: Any, span_mode: Any
) -> "xr.Dataset":
    import gradflow as gf

    return gf.record(net, batch, keep=_flags(keep), loss_placement=loss, span_mode=_mode(span_mode))


def _products(net: "RecurrentSNN", batch: "Batch", span_mode: Any, theory: bool) -> "xr.Dataset":
    """Return the products; with theory, the transfer operator's curve and rate beside them."""
    import gradflow as gf

    transition = gf.local_jacobians(net, batch, span_mode=_mode(span_mode))
    found = gf.jacobian_products(transition)
    if not theory:
        return found
    predicted = gf.theory.transfer_operator(transition)
    return found.assign(rate_transfer=predicted.rate, log_frobenius_transfer=predicted.log_frobenius)


def _paths(net: "RecurrentSNN", batch: "Batch", span_mode: Any, max_hops: int) -> "xr.Dataset":
    import gradflow as gf

    return gf.path_products(net, batch, max_hops=max_hops, span_mode=_mode(span_mode))


def _mode(word: str | None) -> Any:
    from gradflow.recurrence import SpanMode

    return None if word is None else SpanMode(word)


def _flags(words: tuple[str, ...] | None) -> "Keep":
    from gradflow.recording import Keep

    found = Keep.DEFAULT if words is None else Keep(0)
    for word in words or ():
        found |= Keep[word.upper()]
    return found
