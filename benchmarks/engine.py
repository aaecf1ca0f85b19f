"""Where a training step of the fused engine spends its time, and what each of its ideas gave.

    python benchmarks/engine.py --out benchmarks/engine.md

First table: wall time inside the engine's passes and feed-forward products as shares of the step. Second:
the step with one idea taken back over the step as it is, both timed in turn in one process; median (least–
greatest) of neighbours. Nothing else should run meanwhile.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

import gradflow.layer
import gradflow.readout
from gradflow.bench.environment import environment
from gradflow.bench.floor import Floor
from gradflow.bench.subjects import FUSED, build
from gradflow.bench.timing import interleave
from gradflow.bench.workload import Workload
from gradflow.engine import currents, memory, passes

fused = sys.modules["gradflow.engine.fused"]

SHAPES = (
    ("vanilla", (64, 128, 128)),
    ("skip:12", (64, 128, 128)),
    ("asrc:51", (64, 128, 128)),
    ("skip:12", (512, 512)),
)
RATES = (None, 0.05, 0.2)


class Clock:
    """Seconds spent inside functions, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, timed."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin

        return timed


@contextmanager
def timed_parts(clock: Clock) -> Iterator[None]:
    """Time the parts of a step while the context lasts."""
    linear, narrow = currents._SpikeLinear, currents._NarrowLinear
    parts = [
        (fused, "forward_pass", "neurons and V ŝ, forward"),
        (fused, "backward_pass", "adjoint, Vᵀ g and ∂L/∂V"),
        (linear, "forward", "W s"),
        (linear, "backward", "Wᵀ g and ∂L/∂W"),
        (narrow, "forward", "W x of the pixels"),
        (narrow, "backward", "∂L/∂W of the pixels"),
    ]
    with ExitStack() as stack:
        for owner, name, word in parts:
            found = getattr(owner, name)
            replaced = clock.around(word, found)
            stack.enter_context(
                patch.object(owner, name, staticmethod(replaced) if owner is not fused else replaced)
            )
        yield


def shares(work: Workload, repeats: int) -> dict[str, float]:
    """Return the share of each part in the time of a step, and of what is left."""
    step, clock = build(FUSED, work), Clock()
    step()
    with timed_parts(clock):
        begin = time.perf_counter()
        for _ in range(repeats):
            step()
        whole = time.perf_counter() - begin
    found = {name: seconds / whole for name, seconds in clock.seconds.items()}
    return {**found, "autograd, loss and the rest": 1.0 - sum(found.values())}


@contextmanager
def fresh_memory() -> Iterator[None]:
    """Give every sequence's memory back to the system at once."""
    memory.trim(0)
    with patch.object(memory.trim, "__defaults__", (0,)):
        yield


@contextmanager
def dense_recurrence() -> Iterator[None]:
    """Take V ŝ as a dense product whatever the firing rate."""
    with patch.object(passes, "DENSE_SHARE", 0.0):
        yield


@contextmanager
def dense_currents() -> Iterator[None]:
    """Take the products with W through torch."""
    with patch.object(gradflow.layer, "spike_linear", torch.nn.functional.linear):
        yield


IDEAS: dict[str, Callable[[], Any]] = {
    "memory used again": fresh_memory,
    "V ŝ adds the rows of neurons that fired": dense_recurrence,
    "products with W likewise": dense_currents,
}


def ideas(work: Workload, budget: float) -> dict[str, str]:
    """Return, for every idea, the step without it over the step with it."""
    step = build(FUSED, work)

    def without(idea: Callable[[], Any]) -> Callable[[], object]:
        def job() -> None:
            with idea():
                step()

        return job

    jobs = {"as it is": step, **{name: without(idea) for name, idea in IDEAS.items()}}
    rounds = interleave(jobs, budget=budget)
    return {name: str(rounds.ratio(name, "as it is")) for name in IDEAS}


def label(work: Workload) -> str:
    """Return the row's name."""
    rate = "as initialised" if work.rate is None else f"all layers at {work.rate:.0%}"
    return f"{work.recurrence}, {'-'.join(map(str, work.hidden))}, {rate}"


def table(rows: dict[str, dict[str, str]]) -> list[str]:
    """Return a Markdown table, a row per workload."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = [f"| network | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    return lines + [
        f"| {key} | {' | '.join(row.get(name, '–') for name in names)} |" for key, row in rows.items()
    ]


def main() -> None:
    """Measure and print, or write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--budget", type=float, default=4.0, help="seconds for the rounds of one job")
    parser.add_argument("--out", type=Path, help="Markdown file whose measured part is written anew")
    options = parser.parse_args()
    parts: dict[str, dict[str, str]] = {}
    gains: dict[str, dict[str, str]] = {}
    for recurrence, hidden in SHAPES:
        for rate in RATES:
            work = Workload(hidden=hidden, recurrence=recurrence)
            work = work if rate is None else work.at_rate(rate)
            parts[label(work)] = {
                name: f"{share:.0%}" for name, share in shares(work, options.repeats).items()
            }
            parts[label(work)]["floor, GFLOP"] = f"{Floor(work).flops / 1e9:.1f}"
            gains[label(work)] = ideas(work, options.budget)
            print(label(work), parts[label(work)], gains[label(work)], flush=True)
    text = "\n".join(
        [
            "`python benchmarks/engine.py --out benchmarks/engine.md`: T = 784, batch 64, float32.",
            "",
            environment_line(),
            "",
            "Shares of a training step:",
            "",
            *table(parts),
            "",
            "The step with one idea taken back, over the step as it is:",
            "",
            *table(gains),
            "",
        ]
    )
    if options.out is None:
        print(text)
        return
    before, mark, _ = options.out.read_text(encoding="utf-8").partition("## Measured\n")
    options.out.write_text(before + mark + "\n" + text, encoding="utf-8")


def environment_line() -> str:
    """Return machine and versions."""
    return ", ".join(f"{key} {value}" for key, value in environment().items() if isinstance(value, str | int))


if __name__ == "__main__":
    main()
