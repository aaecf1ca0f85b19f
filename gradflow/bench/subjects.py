"""Who is measured: each subject's training step on the same workload.

A training step is zero_grad, forward, cross-entropy (mean over the batch), backward; no optimiser. Every
subject is built with its parameters and data ready, and runs in float32 on as many threads as torch uses.
"""

import math
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gradflow.bench.floor import Floor
from gradflow.bench.workload import Workload
from gradflow.engine import Engine, fused, reference
from gradflow.tasks import Batch

FUSED, REFERENCE = "fused", "reference"
FLOOR, FLOOR_WHOLE = "floor", "floor, whole"
PEERS = {"snnTorch": "snntorch", "SpikingJelly": "spikingjelly", "norse": "norse"}
"""Other libraries, and the packages they come in; they are optional."""
ENGINES: dict[str, Engine] = {FUSED: fused, REFERENCE: reference}
SUBJECTS = (FUSED, REFERENCE, *PEERS, FLOOR, FLOOR_WHOLE)

Step = Callable[[], float]


class MissingError(ImportError):
    """A peer that is not installed."""


def installed(subject: str) -> bool:
    """Say whether a subject can be run here."""
    return subject not in PEERS or find_spec(PEERS[subject]) is not None


def peer_versions() -> dict[str, str]:
    """Return the version of every peer, or `not installed`."""
    found = {}
    for name, package in PEERS.items():
        try:
            found[name] = version(package)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def can_express(subject: str, workload: Workload) -> bool:
    """Say whether a subject knows this recurrence: peers know the vanilla one only."""
    return subject not in PEERS or workload.recurrence == "vanilla"


def network(subject: str, workload: Workload) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """Return a subject's network and its function from inputs (time, batch, input) to logits.

    Raises:
        MissingError: for a peer that is not installed.
        ValueError: for a subject that has no network, or cannot express this one.
    """
    if subject in ENGINES:
        net = workload.network()
        return net, lambda x: net(x, engine=ENGINES[subject]).logits
    if subject not in PEERS:
        raise ValueError(f"{subject!r}: expected {', '.join((*ENGINES, *PEERS))}")
    if not can_express(subject, workload):
        raise ValueError(f"{subject} cannot express {workload.label}: it knows the vanilla recurrence only")
    if not installed(subject):
        raise MissingError(f"{subject} is not installed: pip install {PEERS[subject]}")
    from gradflow.bench import peers

    peer = peers.build(subject, workload)
    return peer, peer


def build(subject: str, workload: Workload) -> Step:
    """Return a subject's training step; calling it returns the loss (NaN for the floors, which have none)."""
    if subject in (FLOOR, FLOOR_WHOLE):
        floor = Floor(workload, whole=subject == FLOOR_WHOLE)

        def products() -> float:
            floor()
            return math.nan

        return products
    net, logits = network(subject, workload)
    return training_step(net, logits, workload.data())


def training_step(net: nn.Module, logits: Callable[[Tensor], Tensor], batch: Batch) -> Step:
    """Return zero_grad, forward, cross-entropy and backward as one call."""

    def step() -> float:
        net.zero_grad(set_to_none=True)
        loss = cross_entropy(logits(batch.inputs), batch.targets)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    return step
