"""What training and watching cost for each kind of network, and so the plan of its looks.

For torch's cells, with g gates and S = H or 2 H (LSTM) numbers of state,

    an epoch    (6 N + 2 N') T Σ_l g_l H_l (m_l + H_l)
    a look      n Σ_l (K (2 S_l³ + 2 g_l H_l² S_l) + 2 T g_l H_l (m_l + H_l)) S + F

the rest as in `gradflow.train.budget`.
"""

from dataclasses import dataclass

from gradflow.baselines import BaselineNetwork
from gradflow.baselines.cells import TorchCell
from gradflow.network import RecurrentSNN
from gradflow.tasks import Task
from gradflow.train.budget import Sizes, WatchPlan, plan_watch
from gradflow.train.build import Network
from gradflow.train.config import TrainConfig

MEMORY = 2**30
"""Bytes that the Jacobians of one layer and sequence may take."""


@dataclass(frozen=True)
class CellSizes(Sizes):
    """Sizes of a network of torch's cells.

    Attributes:
        gates, states: of each neuron.
    """

    gates: int = 1
    states: int = 1

    def epoch(self) -> float:
        """Return the operations of one epoch, validation included."""
        each = sum(self.gates * H * (m + H) for m, H, _ in self.layers())
        return self.steps * each * (6.0 * self.train + 2.0 * self.validation)

    def look(self, lags: int | None) -> float:
        """Return the operations of looking at one sequence."""
        K = self.lags(lags)
        found = 0.0
        for m, H, _ in self.layers():
            S = self.states * H
            found += K * (2.0 * S**3 + 2.0 * self.gates * H * H * S)
            found += 2.0 * self.steps * self.gates * H * (m + H)
        return found

    def lags(self, lags: int | None) -> int:
        """Return how many Jacobians of a sequence are taken."""
        return self.steps - 1 if lags is None else min(lags, self.steps - 1)

    def memory(self, lags: int | None) -> int:
        """Return the bytes of the Jacobians of the largest layer, of one sequence."""
        return 8 * self.lags(lags) * (self.states * max(self.hidden)) ** 2


def plan_for(net: Network, task: Task, config: TrainConfig, *, batches: int, processes: int = 1) -> WatchPlan:
    """Return when the gradient of a network is watched; no looks, and why, where it cannot be.

    Args:
        net: what is trained.
        task: what it learns.
        config: of the run.
        batches: steps of an epoch.
        processes: that share the training; a look is taken by one.
    """
    count = {
        "train": -(-len(task.train) // processes),
        "validation": -(-len(task.validation) // processes),
        "steps": task.steps,
        "inputs": task.inputs,
    }
    if isinstance(net, RecurrentSNN):
        spans = [spec.max_span if spec.label.startswith("asrc") else 1 for spec in net.recurrences]
        sizes = Sizes(**count, hidden=net.hidden, spans=spans)
    else:
        found = _cell_sizes(net, count, config)
        if isinstance(found, str):
            return WatchPlan(0, 0, config.watch.lags, 0.0, found)
        sizes = found
    return plan_watch(
        config.watch,
        sizes,
        epochs=config.training.epochs,
        batches=batches,
        device=net.output.weight.device.type,
    )


def _cell_sizes(net: BaselineNetwork, count: dict[str, int], config: TrainConfig) -> CellSizes | str:
    """Return the sizes of a baseline, or why its gradient is not looked at."""
    cell, lags = net.cell, config.watch.lags
    if not isinstance(cell, TorchCell):
        return f"no looks: the steps of {cell.label}'s layers are not taken apart into Jacobians"
    ones = [1] * len(net.hidden)
    sizes = CellSizes(**count, hidden=net.hidden, spans=ones, gates=cell.gates, states=cell.states)
    if sizes.memory(lags) > MEMORY:
        return (
            f"no looks: the Jacobians of one sequence would take {sizes.memory(lags) / 2**30:.1f} GiB, more "
            f"than {MEMORY / 2**30:.0f}; lower watch.lags"
        )
    return sizes
