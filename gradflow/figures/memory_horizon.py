"""Figure memory-horizon: the longest delay that a network learns, beside what theory predicts at its start.

Axes: span delay seed lag. Delays, horizons and lags are in steps.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import xarray as xr

from gradflow.analysis import horizon
from gradflow.analysis.curves import envelope
from gradflow.analysis.horizons import LEVEL
from gradflow.figures.cells import over_seeds, predicted, recurrence_of
from gradflow.figures.memory_horizon_claims import claims, fit_level, summary, table
from gradflow.figures.memory_horizon_picture import CAPTION, draw
from gradflow.figures.memory_horizon_runs import (
    MemoryHorizonConfig,
    Trial,
    climb,
    grid,
    one_thread,
    reach,
    run_config,
    run_folder,
    trainers,
)
from gradflow.figures.registry import FigureSpec, Progress, silent
from gradflow.jacobian import jacobian_products
from gradflow.network import RecurrentSNN
from gradflow.train import build_task, write_toml
from gradflow.transition import local_jacobians

STEPS = {"units": "steps"}


def compute(
    config: MemoryHorizonConfig, progress: Progress = silent, folder: Path | None = None
) -> xr.Dataset:
    """Train every span on longer and longer delays, and predict how far each network reaches at its start.

    The level of the prediction is the package's own, `analysis.horizons.LEVEL`, and no number of it is taken
    from training; beside it stands the one level that fits training best, and how well the level fitted to
    the other spans does on each (`fit_level`).

    Args:
        config: options.
        progress: told of every span and delay.
        folder: where finished trainings are kept, so that the figure goes on where it was stopped; none are
            kept without.

    Returns:
        A Dataset over span, delay (those tried), seed and lag: accuracies of trained networks, the longest
        delay learned, and curves and horizons at the start, predicted and measured.

    Raises:
        ImportError: where the packages of the extra `train` are missing.

    Cost: about 10 ms a step of the longest sequences and batch; minutes to an hour.
    """
    if folder is None:
        with TemporaryDirectory() as somewhere:
            return compute(config, progress, Path(somewhere))
    seeds = range(config.seeds)
    starts = []
    with one_thread():
        for place, span in enumerate(config.spans):
            progress(place, 2 * len(config.spans), f"span {span}, at the start")
            starts.append(over_seeds([at_start(config, span, seed) for seed in seeds]))
    data = xr.concat(starts, dim="span", combine_attrs="drop_conflicts")
    data = data.merge(training(config, progress, folder), combine_attrs="override")
    data = data.assign_coords(span=list(config.spans), seed=list(seeds))
    data.span.attrs = {"long_name": "span λ", **STEPS}
    data = data.merge(fit_level(data))
    progress(1, 1, "done")
    return data.assign_attrs({**data.attrs, **told(config)})


def at_start(config: MemoryHorizonConfig, span: int, seed: int) -> xr.Dataset:
    """Return what is seen of one network before it is trained, on sequences of the longest delay.

    `predicted_curve`, `jacobian_curve` (lag): envelope of the log-norm of ∂u[T]/∂u[T−n] relative to lag 0, in
    nats, by the transfer operator, and as measured (median over samples); `predicted`, `jacobian`: the
    horizon of each at `LEVEL`; `firing_rate`, and `window`, the share of neurons and steps with φ > 0.
    """
    run = run_config(config, (span, config.longest, seed))
    task = build_task(run.task)
    own = run.network
    net = RecurrentSNN(
        task,
        hidden=own.hidden,
        recurrence=own.recurrences(),
        neuron=own.neurons(),
        readout=own.readout,
        seed=seed,
    )
    batch = task.sample(config.samples, seed=seed)
    found = local_jacobians(net, batch)
    products = jacobian_products(found, norms=("frobenius",)).isel(layer=0, drop=True)
    measured = products.log_frobenius.median("sample").values
    operator = predicted(found).log_frobenius.values
    parts: dict[str, Any] = {}
    for name, curve in (("predicted", operator), ("jacobian", measured)):
        known = not np.isnan(curve).any()  # the operator of a very wide span is not computed
        above = envelope(curve) if known else curve
        parts[f"{name}_curve"] = ("lag", above - above[0], {"units": "nats"})
        parts[name] = ((), float(horizon(curve, LEVEL)) if known else np.nan, STEPS)
    with torch.no_grad():
        (layer,) = net(batch.inputs).layers
    parts["firing_rate"] = ((), float(layer.s.mean()), {"units": "spikes per neuron and step"})
    parts["window"] = ((), float(products.window.mean()), {"units": "1"})
    return xr.Dataset(parts, {"lag": products.lag.values}, attrs=products.attrs)


def training(config: MemoryHorizonConfig, progress: Progress, folder: Path) -> xr.Dataset:
    """Return the accuracies of all trainings, NaN where none was tried, and how far each network comes.

    `learned` (span, seed): the longest delay learned before two failures in a row; 0 where there is none.
    """
    trials: dict[tuple[int, int], list[Trial]] = {}
    with trainers(min(torch.get_num_threads(), config.seeds)) as train_all:
        for place, span in enumerate(config.spans):

            def attempt(delay: int, span: int = span, place: int = place) -> Sequence[bool]:
                progress(len(config.spans) + place, 2 * len(config.spans), f"span {span}, delay {delay}")
                cells = [(span, delay, seed) for seed in range(config.seeds)]
                runs = [run_config(config, cell) for cell in cells]
                folders = [run_folder(folder, run, cell) for run, cell in zip(runs, cells, strict=True)]
                trials[span, delay] = train_all(runs, folders)
                return [trial.accuracy > config.threshold for trial in trials[span, delay]]

            for _ in climb(span, grid(config.longest), attempt):
                pass
    delays = sorted({delay for _, delay in trials})
    dims, shape = ("span", "delay", "seed"), (len(config.spans), len(delays), config.seeds)
    found = {name: np.full(shape, np.nan) for name in Trial._fields}
    for (span, delay), all_seeds in trials.items():
        for name in Trial._fields:
            values = [getattr(trial, name) for trial in all_seeds]
            found[name][config.spans.index(span), delays.index(delay)] = values
    data = xr.Dataset({name: (dims, values, {"units": "1"}) for name, values in found.items()})
    data = data.assign_coords(delay=("delay", delays, {"long_name": "delay", **STEPS}))
    learned = np.zeros((len(config.spans), config.seeds))
    for (place, seed), _ in np.ndenumerate(learned):
        own = data.accuracy.isel(span=place, seed=seed).dropna("delay", how="all")
        learned[place, seed] = reach(own.delay.values.tolist(), (own > config.threshold).values.tolist())
    data["learned"] = (("span", "seed"), learned, STEPS)
    return data


def told(config: MemoryHorizonConfig) -> dict[str, str | float]:
    """Return the attributes in which the cells differ, and the training that all share."""
    seeds = ",".join(map(str, range(config.seeds)))
    spans = config.spans
    return {
        "kind": "figure memory-horizon",
        "figure": "memory-horizon",
        "loss_placement": "last",
        "config": config.model_dump_json(),
        "training": write_toml(run_config(config, (spans[0], grid(config.longest)[0], 0))),
        "recurrence": ",".join(recurrence_of(span).label for span in spans),
        "p": "[" + ", ".join(f'{{"{span}": 1.0}}' for span in spans) + "]",
        "network_seed": seeds,
        "sample_seed": seeds,
        "level": LEVEL,
        "chance": config.chance,
        "threshold": config.threshold,
    }


FIGURE = FigureSpec(
    name="memory-horizon",
    title="Longest delay learned against the horizon predicted at the start",
    caption=CAPTION,
    config=MemoryHorizonConfig,
    quick={"spans": (1, 4, 16), "seeds": 2, "longest": 512},
    full={"seeds": 10},
    compute=compute,
    draw=draw,
    claims=claims,
    table=table,
    summary=summary,
    keeps=True,
    narrowest=6.0,
)
