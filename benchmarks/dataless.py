"""Rates predicted without data against measured ones, as a Markdown table.

    OMP_NUM_THREADS=1 python benchmarks/dataless.py --quick    three spans at one decay
    OMP_NUM_THREADS=1 python benchmarks/dataless.py            six spans at three decays, and other neurons

One recurrent layer on permuted digits. Measured: the rate of `fit_decay` over samples. Everything predicted
comes from the weights and the law of the input, mean and covariance of the training digits' pixels:

- with data: the transfer operator with moments of a and φ from a run on digits, to tell its own error apart;
- density: densities of every neuron's u, no samples at all;
- Gaussian: a forward pass on Gaussian inputs with the digits' mean and covariance;
- bounded: likewise, clipped to [0, 1] with the same mean and covariance.

Matrices are small: more threads only wait for each other.
"""

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr

import gradflow as gf
from gradflow.predicting import layer_weights
from gradflow.theory import (
    Closed,
    InputLaw,
    bounded,
    input_statistics,
    predict_without_data,
    sampled_closure,
    second_moments,
)

STATISTICS = ("firing_rate", "phi", "phi_square", "a_square")
MORE = 4
"""Times as many digits for moments and statistics, so that their sampling error counts for little."""
OTHERS = (
    gf.LIF(detach_reset=True),
    gf.LIF(reset=gf.Reset.HARD),
    gf.LIF(reset=gf.Reset.HARD, detach_reset=True),
    gf.LIF(surrogate=gf.Rectangle()),
    gf.LIF(surrogate=gf.Exponential()),
)
OTHER_SPAN = 4


class Choice(NamedTuple):
    """What a row is measured for."""

    neuron: gf.LIF
    span: int

    def text(self) -> str:
        """Return the choice as the first cells of a row."""
        said = self.neuron.conventions()
        return (
            f"{said['decay']:g} | {said['surrogate']} | {said['reset']}, {said['detach_reset']} | {self.span}"
        )


class Row(NamedTuple):
    """One network: what was measured, and what each way predicts."""

    choice: Choice
    measured: xr.Dataset
    ways: dict[str, xr.Dataset]

    def rates(self) -> str:
        """Return the rates in Markdown."""
        rate, low, high = (self.measured[name].item() for name in ("rate", "rate_low", "rate_high"))
        cells = [self.choice.text(), f"{rate:+.4f} [{low:+.4f}, {high:+.4f}]"]
        for name, way in self.ways.items():
            error = way.rate_error.item()
            sampled = f" ± {error:.4f}" if np.isfinite(error) else ""
            cells.append(f"{way.rate.item():+.4f}{sampled} ({100 * self.error(name):+.1f} %)")
        return "| " + " | ".join(cells) + " |"

    def error(self, name: str) -> float:
        """Return predicted / measured − 1."""
        return float(self.ways[name].rate.item() / self.measured.rate.item() - 1.0)

    def closure_error(self, name: str) -> float:
        """Return predicted / predicted with data − 1."""
        return float(self.ways[name].rate.item() / self.ways["with data"].rate.item() - 1.0)

    def statistics(self) -> str:
        """Return each way's statistics in Markdown."""
        cells = [" / ".join(f"{way[name].item():.4f}" for way in self.ways.values()) for name in STATISTICS]
        return f"| {self.choice.text()} | " + " | ".join(cells) + " |"


def choices(decays: Sequence[float], spans: Sequence[int], quick: bool) -> Iterator[Choice]:
    """Yield the grid, and one choice at a time beside the default."""
    for decay in decays:
        for span in spans:
            yield Choice(gf.LIF(decay=decay), span)
    for neuron in () if quick else OTHERS:
        yield Choice(neuron, OTHER_SPAN)


@torch.no_grad()
def row(
    task: gf.Task, laws: dict[str, InputLaw], choice: Choice, hidden: int, samples: int, seed: int
) -> Row:
    """Measure one network, and predict it in every way."""
    recurrence = gf.Vanilla() if choice.span == 1 else gf.Skip(choice.span)
    net = gf.RecurrentSNN(task, hidden=hidden, recurrence=recurrence, neuron=choice.neuron, seed=seed)
    found = gf.local_jacobians(net, task.sample(samples, seed=seed))
    measured = gf.fit_decay(gf.jacobian_products(found, norms=("frobenius",)))
    many = task.sample(MORE * samples, seed=seed)
    moments = second_moments(gf.local_jacobians(net, many).layers[0])
    firing = net(many.inputs).layers[0].s[:-1].mean(dim=(0, 1)).double().numpy()
    layers, law = layer_weights(net), laws["Gaussian"]
    sampled = partial(sampled_closure, samples=64, seed=seed)
    ways = {
        "with data": predict_without_data(law, layers, closure=lambda *_: [Closed(moments, firing)]),
        "density": predict_without_data(law, layers),
        "Gaussian": predict_without_data(law, layers, closure=sampled),
        "bounded": predict_without_data(laws["bounded"], layers, closure=sampled),
    }
    return Row(choice, measured, ways)


def report(rows: Sequence[Row]) -> None:
    """Print the statistics, and how far each way is off."""
    names = list(rows[0].ways)
    print(f"\nStatistics, means over neurons and steps: {' / '.join(names)}\n")
    print("| α | surrogate | reset | λ | spikes per step | E φ | E φ² | E a² |\n" + "|---" * 8 + "|")
    for one in rows:
        print(one.statistics())
    print()
    for name in names:
        size = np.abs([one.error(name) for one in rows])
        alone = np.abs([one.closure_error(name) for one in rows])
        print(
            f"- {name}: off the measured rate by {np.median(size):.1%} (median) to {size.max():.1%}; off the "
            f"prediction with data by {np.median(alone):.1%} to {alone.max():.1%}"
        )


def main() -> None:
    """Print the tables, row by row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="spans 1, 4 and 16 at decay 0.5")
    parser.add_argument("--spans", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--decays", type=float, nargs="+", default=[0.3, 0.5, 0.9])
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    decays, spans = ([0.5], [1, 4, 16]) if args.quick else (args.decays, args.spans)
    task = gf.tasks.psmnist()
    law = input_statistics(task.train.batch(range(len(task.train))).inputs.double().numpy())
    laws: dict[str, InputLaw] = {"Gaussian": law, "bounded": bounded(law, 0.0, 1.0)}
    command = shlex.join(["OMP_NUM_THREADS=1", "python", "benchmarks/dataless.py", *sys.argv[1:]])
    print(f"""# Rates predicted without data

Command: `{command}`. {args.hidden} neurons, permuted digits, network and
sample seed {args.seed}; nats per step. Measured on {args.samples} samples; with data: moments of
{MORE * args.samples}.
In brackets after a rate: predicted / measured − 1. ± is a standard error of sampling 64 inputs from
their law; the law itself is that of all {len(task.train)} training digits.
""")
    print("| α | surrogate | reset | λ | measured [95 %] | with data | density | Gaussian | bounded |")
    print("|---" * 9 + "|", flush=True)
    rows = []
    for choice in choices(decays, spans, args.quick):
        rows.append(row(task, laws, choice, args.hidden, args.samples, args.seed))
        print(rows[-1].rates(), flush=True)
    report(rows)


if __name__ == "__main__":
    main()
