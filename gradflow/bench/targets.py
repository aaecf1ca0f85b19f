"""The targets of the engine: what it must reach at the shape of design §7, and whether it does.

Every target is measured on the network as initialised (upper layers nearly silent) and with all layers
firing at 20 %, because an engine that uses the sparseness of spikes gains from silence.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from gradflow.bench.calibration import Activity, activity
from gradflow.bench.grid import RATE
from gradflow.bench.memory import peak_memory
from gradflow.bench.subjects import FLOOR, FLOOR_WHOLE, FUSED, PEERS, REFERENCE, build, installed
from gradflow.bench.timing import Job, Rounds, Spread, interleave
from gradflow.bench.workload import INPUTS, Workload, sequences
from gradflow.figures.registry import Progress, silent
from gradflow.jacobian import jacobian_products
from gradflow.network import RecurrentSNN
from gradflow.recording import record
from gradflow.recurrence import Vanilla
from gradflow.tasks import Sizes
from gradflow.transition import local_jacobians

AT_MOST, AT_LEAST = "≤", "≥"
GIGABYTE = 1e9
AS_INITIALISED = "as initialised"


@dataclass(frozen=True)
class Target:
    """One line of the table: what was measured, what it should be, and on which network."""

    name: str
    sense: str
    limit: float
    network: str
    value: Spread | None
    unit: str = ""
    note: str = ""

    @property
    def verdict(self) -> str:
        """`met`, `missed`, or `not measured` (a peer that is not installed)."""
        if self.value is None:
            return "not measured"
        held = self.value.median <= self.limit if self.sense == AT_MOST else self.value.median >= self.limit
        return "met" if held else "missed"

    def as_dict(self) -> dict[str, Any]:
        """Return the line for JSON."""
        value = None if self.value is None else vars(self.value)
        return {**vars(self), "value": value, "verdict": self.verdict}


@dataclass(frozen=True)
class Shape:
    """The sizes of the targets; a test makes them small."""

    steps: int = 784
    hidden: tuple[int, ...] = (64, 128, 128)
    batch: int = 64
    large_batch: int = 256
    span: int = 12
    max_span: int = 51
    wide: tuple[tuple[int, ...], ...] = ((512,), (512, 512))
    width: int = 128
    samples: int = 8
    budget: float = 8.0
    most: int = 15


def run_targets(sizes: Shape | None = None, *, progress: Progress = silent) -> list[Target]:
    """Measure every line of the table."""
    of = sizes or Shape()
    rates = (None, RATE)
    parts: list[tuple[str, Callable[[], list[Target]]]] = [
        ("training steps, as initialised", lambda: steps_at(of, None)),
        ("training steps, busy", lambda: steps_at(of, RATE)),
        *((f"memory, {network_word(rate)}", lambda rate=rate: [memory_at(of, rate)]) for rate in rates),
        ("Jacobian products", lambda: jacobian(of)),
        *((f"layers {hidden}", lambda hidden=hidden: [sparse(of, hidden)]) for hidden in of.wide),
    ]
    found: list[Target] = []
    for done, (name, part) in enumerate(parts):
        progress(done, len(parts), name)
        found += part()
    return found


def network_word(rate: float | None) -> str:
    """Return how the table names a network's activity."""
    return AS_INITIALISED if rate is None else f"all layers at {rate:.0%}"


def steps_at(of: Shape, rate: float | None) -> list[Target]:
    """Time the training steps of one activity, all subjects in the same rounds."""
    words = {"vanilla": "vanilla", "SRC": f"skip:{of.span}", "ASRC": f"asrc:{of.max_span}"}
    work = {name: _workload(of, recurrence, rate) for name, recurrence in words.items()}
    jobs: dict[str, Job] = {f"{FUSED} {name}": build(FUSED, one) for name, one in work.items()}
    for name in ("vanilla", "SRC"):
        jobs |= {f"{floor} {name}": build(floor, work[name]) for floor in (FLOOR, FLOOR_WHOLE)}
    jobs[f"{REFERENCE} SRC"] = build(REFERENCE, work["SRC"])
    jobs |= {peer: build(peer, work["vanilla"]) for peer in PEERS if installed(peer)}
    recorded, batch = work["SRC"].network(), work["SRC"].data()
    jobs["record"] = lambda: record(recorded, batch)
    rounds = interleave(jobs, budget=of.budget, most=of.most)
    busy = {name: activity(one.network(), one.data()) for name, one in work.items()}
    return _step_targets(of, rate, rounds, busy)


def _workload(of: Shape, recurrence: str, rate: float | None) -> Workload:
    plain = Workload(of.steps, of.hidden, of.batch, recurrence)
    return plain if rate is None else plain.at_rate(rate)


def _step_targets(of: Shape, rate: float | None, rounds: Rounds, busy: dict[str, Activity]) -> list[Target]:
    """Read the lines of the table from the rounds."""
    word = network_word(rate)
    notes = {name: rates_note(found) for name, found in busy.items()}

    def line(name: str, sense: str, limit: float, above: str, below: str, note: str) -> Target:
        value = rounds.ratio(above, below) if above in rounds.seconds else None
        beside = (
            f"{seconds_note(rounds, above)} / {seconds_note(rounds, below)}" if value else "not installed"
        )
        return Target(name, sense, limit, word, value, note=f"{beside}; {note}" if note else beside)

    def whole(above: str, below: str) -> str:
        return f"to products in one piece {rounds.ratio(above, below)}"

    src, plain, asrc = f"{FUSED} SRC", f"{FUSED} vanilla", f"{FUSED} ASRC"
    floor, one = f"{FLOOR} vanilla", f"{FLOOR_WHOLE} vanilla"
    λ, D = of.span, of.max_span
    return [
        line(f"SRC λ = {λ}: reference / fused", AT_LEAST, 10.0, f"{REFERENCE} SRC", src, notes["SRC"]),
        line(
            f"SRC λ = {λ}: fused / floor", AT_MOST, 1.5, src, f"{FLOOR} SRC", whole(src, f"{FLOOR_WHOLE} SRC")
        ),
        line(
            "vanilla: fused / floor", AT_MOST, 2.5, plain, floor, f"{whole(plain, one)}; {notes['vanilla']}"
        ),
        line(
            f"ASRC D = {D} soft: fused / floor",
            AT_MOST,
            3.5,
            asrc,
            floor,
            f"{whole(asrc, one)}; {notes['ASRC']}",
        ),
        line(f"SRC λ = {λ}: recording default norms, with / without", AT_MOST, 1.15, "record", src, ""),
        *(line(f"vanilla: {peer} / fused", AT_LEAST, 3.0, peer, plain, "") for peer in PEERS),
        *(line(f"{peer}, vanilla / fused, SRC λ = {λ}", AT_LEAST, 6.0, peer, src, "") for peer in PEERS),
    ]


def memory_at(of: Shape, rate: float | None) -> Target:
    """Measure the peak memory of a large soft ASRC batch."""
    plain = Workload(of.steps, of.hidden, of.large_batch, f"asrc:{of.max_span}")
    work = plain if rate is None else plain.at_rate(rate)
    peak = peak_memory(FUSED, work, threads=torch.get_num_threads())
    name = f"ASRC D = {of.max_span} soft, batch {of.large_batch}: peak memory of the process"
    value = Spread.of([peak.after / GIGABYTE])
    note = f"{peak.before / GIGABYTE:.2f} GB before the first step"
    return Target(name, AT_MOST, 2.5, network_word(rate), value, "GB", note)


def jacobian(of: Shape) -> list[Target]:
    """Time Jacobian products (default norms, and Frobenius alone) against as many products of their size."""
    net = RecurrentSNN(Sizes(INPUTS, 2, of.steps), hidden=of.width, recurrence=Vanilla(), dtype=torch.float64)
    batch = sequences(of.samples, of.steps).to(dtype=torch.float64)
    transition = local_jacobians(net, batch)
    jobs: dict[str, Job] = {
        "both": lambda: jacobian_products(transition),
        "frobenius": lambda: jacobian_products(transition, norms=("frobenius",)),
        "single": square_products(of.steps * of.samples, 1, of.width),
        "stacked": square_products(of.steps, of.samples, of.width),
    }
    with threadpool_limits(
        torch.get_num_threads(), user_api="blas"
    ):  # numpy's threads, which torch does not set
        rounds = interleave(jobs, budget=of.budget, most=of.most)
    name = f"Jacobian products, H = {of.width}, T = {of.steps}, {of.samples} samples, float64"
    words = {"both": "Frobenius and spectral norm", "frobenius": "Frobenius norm"}
    return [
        Target(
            f"{name}, {word}: time / products",
            AT_MOST,
            2.5,
            "vanilla, as initialised",
            rounds.ratio(key, "single"),
            note=f"{seconds_note(rounds, key)} / {seconds_note(rounds, 'single')}; to the same products with "
            f"samples stacked {rounds.ratio(key, 'stacked')}",
        )
        for key, word in words.items()
    ]


def square_products(count: int, stacked: int, width: int) -> Job:
    """Return `count` products of (stacked · H × H) with (H × H) in float64, one after another."""
    rng = np.random.default_rng(0)
    rows, square = rng.normal(size=(stacked * width, width)), rng.normal(size=(width, width))
    out = np.empty_like(rows)

    def products() -> None:
        for _ in range(count):
            np.matmul(rows, square, out=out)

    return products


def sparse(of: Shape, hidden: tuple[int, ...]) -> Target:
    """Time SRC in wide layers that fire at 5 % against the dense products."""
    work = Workload(of.steps, hidden, of.batch, f"skip:{of.span}").at_rate(0.05)
    jobs: dict[str, Job] = {subject: build(subject, work) for subject in (FUSED, FLOOR, FLOOR_WHOLE)}
    rounds = interleave(jobs, budget=of.budget, most=of.most)
    found = activity(work.network(), work.data())
    note = (
        f"{seconds_note(rounds, FUSED)} / {seconds_note(rounds, FLOOR)}; to products in one piece "
        f"{rounds.ratio(FUSED, FLOOR_WHOLE)}; {rates_note(found)}"
    )
    layers = ", ".join(map(str, hidden))
    name = f"layers ({layers}), SRC λ = {of.span}: fused / dense floor"
    return Target(name, AT_MOST, 0.7, "all layers at 5%", rounds.ratio(FUSED, FLOOR), note=note)


def seconds_note(rounds: Rounds, name: str) -> str:
    """Return a median with its unit."""
    return f"{rounds.spread(name).median:.3g} s"


def rates_note(found: Activity) -> str:
    """Return firing rates and window shares, layer by layer."""
    rates, windows = (
        ", ".join(f"{share:.1%}" for share in shares) for shares in (found.rates, found.windows)
    )
    return f"firing {rates}; in the window {windows}"
