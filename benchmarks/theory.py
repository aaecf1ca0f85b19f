"""Measured rates of decay against those that every rung of the theory predicts, as a Markdown table.

    OMP_NUM_THREADS=1 python benchmarks/theory.py --quick    one choice at a time around the default network
    OMP_NUM_THREADS=1 python benchmarks/theory.py            every combination: hours

One recurrent layer on permuted digits; the loss plays no part. Measured: the rate of `fit_decay` over
samples, with its 95 % interval. Predicted: each rung's rate, and how far it is from the measured one (−5 %:
the theory decays too slowly). Bold: the last rung is further off than 3 % up to span 8, or 5 % beyond.
Shuffled: measured with the same factors, their steps in random order. From there to the last rung is the gap
between average and typical product; from there to measured, the memory of a and φ in time. Matrices are
small: more threads only wait for each other.
"""

import argparse
import itertools
import shlex
import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import xarray as xr

import gradflow as gf
from gradflow.theory import bound, mean_square, transfer_operator, variance_propagation

SURROGATES = {"triangle": gf.Triangle, "rectangle": gf.Rectangle, "exponential": gf.Exponential}
RUNGS = ("bound", "mean square", "variance propagation", "transfer operator")
NEAR, WIDE = 0.03, 0.05
"""Largest error of the last rung up to span 8, and beyond."""


class Choice(NamedTuple):
    """What a row is measured for."""

    decay: float
    surrogate: str
    reset: gf.Reset
    detached: bool

    def text(self) -> str:
        """Return the choice as the first cells of a row."""
        return (
            f"{self.decay:g} | {self.surrogate} | {self.reset.value}, {'de' if self.detached else 'at'}tached"
        )


class Row(NamedTuple):
    """One row: the measured rate with its interval, and the rungs' rates, in nats per step."""

    choice: Choice
    span: int
    rate: float
    low: float
    high: float
    shuffled: float
    predicted: tuple[float, ...]

    def error(self, rung: int) -> float:
        """Return predicted / measured − 1."""
        return self.predicted[rung] / self.rate - 1.0

    @property
    def off(self) -> bool:
        """Return whether the last rung is further off than it should be."""
        return not abs(self.error(-1)) <= (NEAR if self.span <= 8 else WIDE)

    def text(self) -> str:
        """Return the row in Markdown."""
        cells = [f"{rate:+.4f} ({100 * self.error(k):+.1f} %)" for k, rate in enumerate(self.predicted)]
        cells[-1] = f"**{cells[-1]}**" if self.off else cells[-1]
        measured = f"{self.rate:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"
        shuffled = f"{self.shuffled:+.4f} ({100 * (self.shuffled / self.rate - 1.0):+.1f} %)"
        return f"| {self.choice.text()} | {self.span} | {measured} | {shuffled} | " + " | ".join(cells) + " |"


def choices(quick: bool, decays: list[float]) -> Iterator[Choice]:
    """Yield every combination, or those that differ from the default in one choice at most."""
    default = Choice(0.5, "triangle", gf.Reset.SOFT, False)
    for made in itertools.starmap(Choice, itertools.product(decays, SURROGATES, gf.Reset, (False, True))):
        same_reset = (made.reset, made.detached) == (default.reset, default.detached)
        equal = (made.decay == default.decay, made.surrogate == default.surrogate, same_reset)
        if not quick or sum(equal) >= 2:
            yield made


def row(task: gf.Task, choice: Choice, span: int, hidden: int, samples: int, seed: int) -> Row:
    """Run one network, measure its rate and predict it."""
    neuron = gf.LIF(
        decay=choice.decay,
        surrogate=SURROGATES[choice.surrogate](),
        reset=choice.reset,
        detach_reset=choice.detached,
    )
    recurrence = gf.Vanilla() if span == 1 else gf.Skip(span)
    net = gf.RecurrentSNN(task, hidden=hidden, recurrence=recurrence, neuron=neuron, seed=seed)
    found = gf.local_jacobians(net, task.sample(samples, seed=seed))
    prod = gf.jacobian_products(found, norms=("frobenius",))
    fit = gf.fit_decay(prod)
    theories: list[xr.Dataset] = [bound(prod), mean_square(prod), variance_propagation(found)]
    theories.append(transfer_operator(found))
    predicted = tuple(float(theory.rate.mean()) for theory in theories)
    measured = (float(fit[name].item()) for name in ("rate", "rate_low", "rate_high"))
    mixed = gf.Transition((shuffled(found.layers[0], seed),))
    alone = gf.fit_decay(gf.jacobian_products(mixed, norms=("frobenius",))).rate.item()
    return Row(choice, span, *measured, float(alone), predicted)


def shuffled(layer: gf.LayerTransition, seed: int) -> gf.LayerTransition:
    """Return the layer with its steps, of all samples together, in random order."""
    order = np.random.default_rng(seed).permutation(layer.a.shape[0] * layer.a.shape[1])
    a, phi = (part.reshape(len(order), -1)[order].reshape(part.shape) for part in (layer.a, layer.phi))
    return gf.LayerTransition(a, phi, layer.V, layer.spans, layer.weights)


def main() -> None:
    """Print the table, row by row, and a summary of the last rung."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="one choice at a time around the default network"
    )
    parser.add_argument("--spans", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--decays", type=float, nargs="+", default=[0.3, 0.5, 0.9])
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    task = gf.tasks.psmnist()
    command = shlex.join(["OMP_NUM_THREADS=1", "python", "benchmarks/theory.py", *sys.argv[1:]])
    print(f"""# Measured and predicted rates

Command: `{command}`. {args.hidden} neurons, {args.samples} samples of permuted digits, network and
sample seed {args.seed}; nats per step. In brackets after a rate: predicted / measured − 1. Bold: the last
rung is further off than {NEAR:.0%} up to span 8, or {WIDE:.0%} beyond. Shuffled: measured with the same
factors, steps in random order; it has no memory in time, as the last rung assumes.
""")
    print("| α | surrogate | reset | λ | measured [95 %] | shuffled | " + " | ".join(RUNGS) + " |")
    print("|---" * (6 + len(RUNGS)) + "|", flush=True)
    rows = []
    for choice, span in itertools.product(choices(args.quick, args.decays), args.spans):
        rows.append(row(task, choice, span, args.hidden, args.samples, args.seed))
        print(rows[-1].text(), flush=True)
    print(f"\n{RUNGS[-1].capitalize()}: {sum(r.off for r in rows)} of {len(rows)} rows off.")
    for name, part in (
        ("8", [r for r in rows if r.span <= 8]),
        ("32", [r for r in rows if 8 < r.span <= 32]),
    ):
        if part:
            errors = sorted(abs(r.error(-1)) for r in part)
            middle = errors[len(errors) // 2]
            print(f"spans to {name}: largest error {errors[-1]:.1%}, median {middle:.1%}.")


if __name__ == "__main__":
    main()
