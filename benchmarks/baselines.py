"""Spiking networks beside LSTM, GRU and tanh RNN of as many parameters, on permuted digits, as a table.

    OMP_NUM_THREADS=1 python benchmarks/baselines.py --csv benchmarks/baselines.csv > benchmarks/baselines.md

Trains what is not there yet, one run at a time, into two sweeps in the folder `--runs`: `models` (the
baselines) and `spiking`. Finished runs are left as they are, so that the command can be stopped and given
again. All have the preset quick: 196 steps, 20 epochs, the same rates and batches. Accuracies are those of
the epoch that is best on the validation split; firing and energy are of the same weights, on that split.
"""

import argparse
import shlex
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from gradflow.evaluation import evaluate_runs
from gradflow.evaluation.intervals import wilson_interval
from gradflow.sweep import Grid, run_sweep
from gradflow.train import Summary

PARAMETERS = 63_114
"""Of the vanilla network of layers 64, 128, 128; ASRC has a logit for each span on top."""
TABLES = {"task": {"name": "psmnist"}, "logging": {"tensorboard": False}}
BASELINES = ("lstm", "gru", "rnn")
SPIKING = ("vanilla", "skip:16", "asrc:16")
WORDS = {
    "lstm": "LSTM",
    "gru": "GRU",
    "rnn": "tanh RNN",
    "vanilla": "vanilla",
    "skip:16": "SRC, λ = 16",
    "asrc:16": "ASRC up to 16",
}
NANO = 1e9
HEADS = (
    "network",
    "parameters",
    "validation (%)",
    "test (%)",
    "rate before, by layer",
    "rate after, by layer",
    "spikes per neuron and step, by layer",
    "energy (nJ)",
    "dense (nJ)",
    "looks",
)


class Run(NamedTuple):
    """One training run: a row of the CSV file. Lists have a number for each layer."""

    network: str
    seed: int
    parameters: int
    best_epoch: int
    validation: float
    test: float
    examples: int
    rate_before: list[float]
    rate_after: list[float]
    firing_rate: list[float]
    energy: float
    energy_dense: float
    note: str


def swept(key: str, values: tuple[str, ...], seeds: tuple[int, ...], runs: Path) -> xr.Dataset:
    """Train what is missing of one sweep, and return what there is of it."""
    network = {"network": {"parameters": PARAMETERS}} if key == "model" else {}
    grid = Grid({key: values, "seed": seeds}, TABLES | network, "quick")
    return run_sweep(grid, runs, jobs=1, threads=1, progress=told)


def told(done: int, total: int, what: str) -> None:
    """Say on standard error how far a sweep is."""
    print(f"{done}/{total} {what}", file=sys.stderr, flush=True)


def read(data: xr.Dataset, key: str, folder: Path) -> list[Run]:
    """Return the finished runs of a sweep, with what their best weights take; checks that they are those.

    Raises ValueError where a run's stored accuracy is not that of its stored weights.
    """
    found = []
    for value in data[key].values:
        for seed in data.seed.values:
            one = data.sel({key: value, "seed": seed})
            place = folder / "runs" / str(one.run.item())
            answers = evaluate_runs([place]).isel(run=0)
            if abs(float(answers.accuracy - one.best_validation_accuracy)) > 1e-9:
                raise ValueError(
                    f"{place}: stored {float(one.best_validation_accuracy):.2%}, its weights give "
                    f"{float(answers.accuracy):.2%} on the validation split"
                )
            found.append(row_of(WORDS[str(value)], one, answers, Summary.read(place)))
    return found


def row_of(word: str, one: xr.Dataset, answers: xr.Dataset, summary: Summary) -> Run:
    """Return the row of one run; NaN for what its network does not have."""
    rates = one.rate.dropna("epoch", how="all")
    spiking = "firing_rate" in answers
    return Run(
        word,
        int(one.seed),
        summary.parameters,
        summary.best_epoch,
        summary.validation_accuracy,
        summary.test_accuracy,
        summary.test_examples,
        rates.isel(epoch=0).values.tolist(),
        rates.isel(epoch=-1).values.tolist(),
        answers.firing_rate.values.tolist() if spiking else [],
        float(answers.energy) * NANO if spiking else float("nan"),
        float(answers.energy_dense) * NANO if spiking else float("nan"),
        summary.watch_note.partition(" instead")[0],
    )


def flat(run: Run) -> dict[str, object]:
    """Return the cells of a run in the CSV file, a column for each layer."""
    cells: dict[str, object] = {}
    for name, value in run._asdict().items():
        several = isinstance(value, list)
        cells |= {f"{name}_{layer}": one for layer, one in enumerate(value)} if several else {name: value}
    return cells


def table(runs: list[Run]) -> list[str]:
    """Return the rows of the table in Markdown: a network each, means over its seeds."""
    lines = ["| " + " | ".join(HEADS) + " |", "|---" * len(HEADS) + "|"]
    for word in dict.fromkeys(run.network for run in runs):
        own = [run for run in runs if run.network == word]
        energy, dense = (np.mean([getattr(run, name) for run in own]) for name in ("energy", "energy_dense"))
        cells = [
            word,
            " / ".join(dict.fromkeys(f"{run.parameters:,}" for run in own)),
            shares([run.validation for run in own], own[0].examples),
            shares([run.test for run in own], own[0].examples),
            *(by_layer([getattr(run, name) for run in own], ".3f") for name in ("rate_before", "rate_after")),
            by_layer([run.firing_rate for run in own], ".3f"),
            *("-" if np.isnan(value) else f"{value:.0f}" for value in (energy, dense)),
            " / ".join(dict.fromkeys(run.note or "4 sequences every epoch" for run in own)),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def shares(values: list[float], examples: int) -> str:
    """Return every seed's share in per cent with their mean, or one with Wilson's interval over examples.

    >>> shares([0.5, 0.6], 500), shares([0.5], 500)
    ('**55.0** (50.0, 60.0)', '**50.0** [45.6, 54.4]')
    """
    if len(values) > 1:
        return f"**{100 * np.mean(values):.1f}** ({', '.join(f'{100 * value:.1f}' for value in values)})"
    low, high = (float(end) for end in wilson_interval(values[0], examples))
    return f"**{100 * values[0]:.1f}** [{100 * low:.1f}, {100 * high:.1f}]"


def by_layer(values: list[list[float]], form: str) -> str:
    """Return the mean over runs of each layer's number; - where there is none.

    >>> by_layer([[-0.1, 0.2], [-0.3, 0.4]], ".2f"), by_layer([[]], ".2f")
    ('-0.20, 0.30', '-')
    """
    means = np.mean(np.array(values), axis=0)
    return ", ".join(f"{mean:{form}}" for mean in means) or "-"


def main() -> None:
    """Train what is missing, print the table, write the numbers of every run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, default=Path("gradflow-runs/baselines"), help="folder of runs")
    parser.add_argument("--models", nargs="+", choices=BASELINES, default=BASELINES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the baselines")
    parser.add_argument("--spiking-seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--csv", type=Path, help="file for a row of every run")
    args = parser.parse_args()
    runs = []
    for name, key, values, seeds in (
        ("models", "model", tuple(args.models), args.seeds),
        ("spiking", "recurrence", SPIKING, args.spiking_seeds),
    ):
        data = swept(key, values, tuple(seeds), args.runs / name)
        runs += read(data.sel({key: list(values), "seed": seeds}), key, args.runs / name)
    if args.csv is not None:
        pd.DataFrame([flat(run) for run in runs]).to_csv(args.csv, index=False, float_format="%.9g")
    words = ["python", "benchmarks/baselines.py", "--models", *args.models, "--seeds", *args.seeds]
    words += ["--spiking-seeds", *args.spiking_seeds]
    words += [] if args.csv is None else ["--csv", args.csv]
    command = shlex.join(["OMP_NUM_THREADS=1", *map(str, words)])
    print(f"""# Spiking networks and other recurrent networks

Command: `{command} > benchmarks/baselines.md`
(with `--runs FOLDER`, where runs are kept and gone on with).

psmnist pooled to 196 steps, 4,000 digits to learn from, {runs[0].examples} each for validation and test;
20 epochs, AdamW with a one-cycle peak of 3e-3, batch 50, the same for all. Baselines have the layer sizes, as
64 : 128 : 128, that come nearest to {PARAMETERS:,} parameters.

- Accuracies: **mean over seeds** (each seed), or the one seed's [95 %, Wilson, over the examples].
- Rates: decay of ‖∂u[T]/∂u[t]‖, of baselines of ‖∂h[T]/∂h[t]‖ (LSTM: hidden and cell state together), in nats
  per step, before training and at its end; spans soft, as in training. Looks: an epoch has 80 steps.
- Spikes and energy per inference with the best weights, on the validation split: 0.9 pJ an addition, 4.6 pJ a
  multiply-add; dense: every product multiplied. Those of baselines are not counted.
""")
    print("\n".join(table(runs)))


if __name__ == "__main__":
    main()
