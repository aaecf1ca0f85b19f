"""Rates predicted without data against measured ones, as a Markdown table.

    OMP_NUM_THREADS=1 python benchmarks/dataless.py --quick    three spans at one decay
    OMP_NUM_THREADS=1 python benchmarks/dataless.py            six spans at three decays, about ten minutes

One recurrent layer on permuted digits. Measured: the rate of `fit_decay` over samples. Everything predicted
comes from the weights and the law of the input, mean and covariance of the training digits' pixels:

- with data: the transfer operator with moments of a and φ from a run on digits, to tell its own error apart;
- density: densities of every neuron's u, no samples at all;
- Gaussian: a forward pass on Gaussian inputs with the digits' mean and covariance;
- bounded: likewise, clipped to [0, 1] with the same mean and covariance.
"""

import argparse
import itertools
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import xarray as xr

import gradflow as gf
from gradflow.predicting import layer_weights
from gradflow.theory import (
    InputLaw,
    bounded,
    density_closure,
    input_statistics,
    predict_without_data,
    sampled_closure,
    second_moments,
    transfer_operator,
)

STATISTICS = ("firing_rate", "phi", "phi_square", "a_square")


class Row(NamedTuple):
    """One network: what was measured, and what each way predicts."""

    decay: float
    span: int
    measured: xr.Dataset
    with_data: float
    predicted: dict[str, xr.Dataset]

    def rates(self) -> str:
        """Return the rates in Markdown."""
        found = self.measured
        cells = [f"{found.rate.item():+.4f} [{found.rate_low.item():+.4f}, {found.rate_high.item():+.4f}]"]
        cells.append(self.against(self.with_data))
        for way in self.predicted.values():
            error = way.rate_error.item()
            cells.append(self.against(way.rate.item()) + (f" ± {error:.4f}" if np.isfinite(error) else ""))
        return f"| {self.decay:g} | {self.span} | " + " | ".join(cells) + " |"

    def against(self, rate: float) -> str:
        """Return a rate, and how far it is from the measured one."""
        return f"{rate:+.4f} ({100 * self.error(rate):+.1f} %)"

    def error(self, rate: float) -> float:
        """Return predicted / measured − 1."""
        return rate / self.measured.rate.item() - 1.0

    def statistics(self) -> str:
        """Return the statistics in Markdown: measured, then each way's."""
        cells = [
            " / ".join(
                [
                    f"{self.measured[name].item():.4f}",
                    *(f"{way[name].item():.4f}" for way in self.predicted.values()),
                ]
            )
            for name in STATISTICS
        ]
        return f"| {self.decay:g} | {self.span} | " + " | ".join(cells) + " |"


def row(
    task: gf.Task, laws: dict[str, InputLaw], decay: float, span: int, hidden: int, samples: int, seed: int
) -> Row:
    """Measure one network, and predict it in every way."""
    recurrence = gf.Vanilla() if span == 1 else gf.Skip(span)
    net = gf.RecurrentSNN(task, hidden=hidden, recurrence=recurrence, neuron=gf.LIF(decay=decay), seed=seed)
    found = gf.local_jacobians(net, task.sample(samples, seed=seed))
    measured = gf.fit_decay(gf.jacobian_products(found, norms=("frobenius",)))
    # the statistics' own sampling error must not count as the theory's: sixteen times as many digits
    many = task.sample(16 * samples, seed=seed)
    moments = second_moments(gf.local_jacobians(net, many).layers[0])
    measured["firing_rate"] = float(net(many.inputs).layers[0].s.mean())
    measured["phi"], measured["phi_square"] = moments.phi.mean(), np.diag(moments.phi_phi).mean()
    measured["a_square"] = np.diag(moments.a_a).mean()
    layers = layer_weights(net)
    sampled = partial(sampled_closure, samples=64, seed=seed)
    predicted = {
        "density": predict_without_data(laws["Gaussian"], layers, closure=density_closure),
        "Gaussian": predict_without_data(laws["Gaussian"], layers, closure=sampled),
        "bounded": predict_without_data(laws["bounded"], layers, closure=sampled),
    }
    return Row(decay, span, measured, float(transfer_operator(found).rate.item()), predicted)


def report(rows: Sequence[Row]) -> None:
    """Print the statistics, and how far each way is off."""
    names = list(rows[0].predicted)
    print(f"\nStatistics, means over neurons and steps: measured / {' / '.join(names)}\n")
    print("| α | λ | spikes per step | E φ | E φ² | E a² |\n|---|---|---|---|---|---|")
    for one in rows:
        print(one.statistics())
    print()
    ways = {"with data": [r.error(r.with_data) for r in rows]}
    ways |= {name: [r.error(r.predicted[name].rate.item()) for r in rows] for name in names}
    for name, errors in ways.items():
        size = np.abs(errors)
        print(f"- {name}: rates off by {np.median(size):.1%} (median), {size.max():.1%} at most")


def main() -> None:
    """Print the tables, row by row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="spans 1, 4 and 16 at decay 0.5")
    parser.add_argument("--spans", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--decays", type=float, nargs="+", default=[0.3, 0.5, 0.9])
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    decays, spans = ([0.5], [1, 4, 16]) if args.quick else (args.decays, args.spans)
    task = gf.tasks.psmnist()
    law = input_statistics(task.train.batch(range(len(task.train))).inputs.double().numpy())
    laws: dict[str, InputLaw] = {"Gaussian": law, "bounded": bounded(law, 0.0, 1.0)}
    command = shlex.join(["OMP_NUM_THREADS=1", "python", "benchmarks/dataless.py", *sys.argv[1:]])
    print(f"""# Rates predicted without data

Command: `{command}`. {args.hidden} neurons, permuted digits, network and sample
seed {args.seed}; nats per step. Measured on {args.samples} samples, statistics on {16 * args.samples}.
In brackets after a rate: predicted / measured − 1. ± is a standard error of sampling 64 inputs from
their law; the law itself is that of all {len(task.train)} training digits.
""")
    print("| α | λ | measured [95 %] | with data | density | Gaussian | bounded |")
    print("|---" * 7 + "|", flush=True)
    rows = []
    for decay, span in itertools.product(decays, spans):
        rows.append(row(task, laws, decay, span, args.hidden, args.samples, args.seed))
        print(rows[-1].rates(), flush=True)
    report(rows)


if __name__ == "__main__":
    main()
