"""Measured rates of decay against those that every rung of the theory predicts, as a table.

    python benchmarks/theory.py --quick    one choice at a time around the default network: 48 rows, 6 minutes
    python benchmarks/theory.py            every combination, and before and after training: an hour

One recurrent layer on permuted digits. Measured: the rate of `fit_decay` over samples, with its 95 %
interval. Predicted: the rate of each rung. Rows are kept in --out as they are done, and those that are
there already are not done again; `theory_report.py` makes the Markdown of them. One core: matrices are
small, threads only wait. Trained networks are those of `gradflow train psmnist --preset quick` (digits pooled
to 196 steps, 20 epochs) with one layer, each measured before and after.
"""

import argparse
import csv
import itertools
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from theory_report import FIELDS, PLACE, off, report
from threadpoolctl import threadpool_limits

import gradflow as gf
from gradflow.theory import (
    bound,
    crossing_span,
    mean_square,
    second_moments,
    transfer_operator,
    typical_product,
    variance_propagation,
)

SURROGATES = {"triangle": gf.Triangle, "rectangle": gf.Rectangle, "exponential": gf.Exponential}
WINDOWS = {1: (24, 120), 2: (24, 120), 4: (24, 120), 8: (32, 60), 16: (32, 40), 32: (64, 20)}
"""Steps in a window, and windows, by span: slopes are read over whole spans."""
WIDEST = 8
"""Spans beyond cost λ² and more: there the typical product is computed where the average one is off."""
EPOCHS, POOL = 20, 2
"""Of the networks that are trained, as in the preset `quick`."""


class Cell(NamedTuple):
    """What a row is measured for; so many epochs of training went before, on digits so pooled."""

    epochs: int
    pool: int
    decay: float
    surrogate: str
    reset: str
    detached: bool
    span: int

    def key(self) -> tuple[str, ...]:
        """Return the cell as a CSV file holds it."""
        return tuple(str(value) for value in self)


def cells(quick: bool, spans: list[int], decays: list[float]) -> Iterator[Cell]:
    """Yield every combination, or those that differ from the default in one choice; then the trained."""
    default = (0.5, "triangle", "soft", False)
    choices = list(itertools.product(decays, SURROGATES, ("soft", "hard"), (False, True)))
    near = [
        choice
        for choice in choices
        if sum((choice[0] == default[0], choice[1] == default[1], choice[2:] == default[2:])) >= 2
    ]
    for choice in near if quick else choices:
        yield from (Cell(0, 1, *choice, span) for span in spans)
    if not quick:
        for choice, epochs in itertools.product(near, (0, EPOCHS)):
            yield from (Cell(epochs, POOL, *choice, span) for span in spans)


def configuration(cell: Cell, hidden: int, seed: int) -> gf.train.TrainConfig:
    """Return the preset `quick` with the cell's network."""
    neuron = {"kind": "lif", "decay": cell.decay, "surrogate": cell.surrogate}
    neuron |= {"reset": cell.reset, "detach_reset": cell.detached}
    network = {"hidden": (hidden,), "neuron": neuron, "seed": seed}
    network["recurrence"] = "vanilla" if cell.span == 1 else f"skip:{cell.span}"
    chosen = {
        "task": {"options": {"pool": cell.pool}},
        "network": network,
        "training": {"epochs": EPOCHS, "seed": seed},
        "watch": {"every": 0},
        "logging": {"tensorboard": False},
    }
    return gf.train.resolve(gf.train.preset("quick", "psmnist"), chosen)


def network(cell: Cell, hidden: int, seed: int) -> tuple[gf.RecurrentSNN, gf.Task, float]:
    """Return the cell's network, trained if it is to be, with its task and its accuracy in validation."""
    config = configuration(cell, hidden, seed)
    if not cell.epochs:
        session = gf.train.Session.start(config)
        return session.net, session.task, float("nan")
    with tempfile.TemporaryDirectory() as folder:
        gf.train.train(config, folder)
        session = gf.train.load_run(folder)
    best = session.position.best
    return session.net, session.task, best.accuracy if best else float("nan")


def measure(cell: Cell, hidden: int, samples: int, seed: int) -> dict[str, object]:
    """Run one network, measure its rate, predict it, and where the prediction is off, find out why."""
    net, task, accuracy = network(cell, hidden, seed)
    found = gf.local_jacobians(net, task.sample(samples, seed=seed))
    layer = found.layers[0]
    prod = gf.jacobian_products(found, norms=("frobenius",))
    fit = gf.fit_decay(prod)
    row: dict[str, object] = dict(cell._asdict()) | {"hidden": hidden, "samples": samples, "seed": seed}
    row |= {name: float(fit[name].item()) for name in ("rate", "rate_low", "rate_high")}
    row["bound"] = float(bound(prod).rate.mean())
    row["mean_square"] = float(mean_square(prod).rate.mean())
    row["variance_propagation"] = float(variance_propagation(found).rate.mean())
    if cell.span > WIDEST:
        row["transfer_operator"] = float(transfer_operator(found).rate.item())
    if cell.span <= WIDEST or off(row):
        steps, count = WINDOWS.get(cell.span, (2 * cell.span, 20))
        theory = typical_product(found, window=steps, windows=count)
        row["transfer_operator"] = float(theory.rate_average.item())
        row |= {
            "typical_product": float(theory.rate.item()),
            "windows_error": float(theory.rate_error.item()),
        }
        row |= {name: float(theory[name].item()) for name in ("memory", "scatter")}
    window = layer.phi > 0.0
    row |= {"in_window": float(window.mean()), "steps_without": float((~window.any(axis=2)).mean())}
    row["silent"] = float((~window.any(axis=0)).mean())
    if cell.epochs:
        row["accuracy"] = accuracy
    if off(row):
        mixed = gf.Transition((shuffled(layer, seed),))
        row["shuffled"] = float(gf.fit_decay(gf.jacobian_products(mixed, norms=("frobenius",))).rate.item())
    if (
        cell.span == 8
        and cell.pool == 1
        and (cell.surrogate, cell.reset, cell.detached) == ("triangle", "soft", False)
    ):
        row["crossing"] = crossing_span(second_moments(layer), layer.V, cell.decay).span
    return row


def shuffled(layer: gf.LayerTransition, seed: int) -> gf.LayerTransition:
    """Return the layer with its steps, of all samples together, in random order."""
    order = np.random.default_rng(seed).permutation(layer.a.shape[0] * layer.a.shape[1])
    a, phi = (part.reshape(len(order), -1)[order].reshape(part.shape) for part in (layer.a, layer.phi))
    return gf.LayerTransition(a, phi, layer.V, layer.spans, layer.weights)


def done(path: Path, settings: tuple[int, int, int]) -> dict[tuple[str, ...], dict[str, str]]:
    """Return the rows of a file that were measured with the same settings, by cell."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    same = [row for row in rows if (row["hidden"], row["samples"], row["seed"]) == tuple(map(str, settings))]
    return {tuple(row[name] for name in PLACE): row for row in same}


def main() -> None:
    """Measure what is missing, row by row, and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one choice at a time around the default")
    parser.add_argument("--spans", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--decays", type=float, nargs="+", default=[0.3, 0.5, 0.9])
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/theory.csv"), help="rows; .md beside it")
    args = parser.parse_args()
    settings = (args.hidden, args.samples, args.seed)
    wanted, kept = list(cells(args.quick, args.spans, args.decays)), done(args.out, settings)
    torch.set_num_threads(1)
    with threadpool_limits(1), args.out.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if not args.out.stat().st_size:
            writer.writeheader()
        for number, cell in enumerate(wanted, 1):
            if cell.key() in kept:
                continue
            begun = time.process_time()
            row = measure(cell, *settings)
            row["seconds"] = time.process_time() - begun
            kept[cell.key()] = {
                name: f"{value:.6g}" if isinstance(value, float) else str(value)
                for name, value in row.items()
            }
            writer.writerow(kept[cell.key()])
            file.flush()
            print(f"{number}/{len(wanted)} {cell}: {row['rate']:.4f}, {row['seconds']:.0f} s", flush=True)
    command = shlex.join(["python", "benchmarks/theory.py", *sys.argv[1:]])
    args.out.with_suffix(".md").write_text(report([kept[cell.key()] for cell in wanted], command))


if __name__ == "__main__":
    main()
