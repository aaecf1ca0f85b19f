"""A run in memory: the objects that a configuration describes, its position, and both as a checkpoint."""

import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch

from gradflow.network import RecurrentSNN
from gradflow.tasks import Task
from gradflow.train import state
from gradflow.train.budget import WatchPlan
from gradflow.train.build import Network, build_network, build_optimiser, build_task, describe_run
from gradflow.train.checkpoint import Checkpoint, ForeignCheckpointError, Tensors
from gradflow.train.config import TrainConfig
from gradflow.train.costs import plan_for
from gradflow.train.devices import Devices, OneDevice
from gradflow.train.position import Position
from gradflow.train.sources import write_toml

log = logging.getLogger("gradflow")
GROUP_KEYS = ("name", "peak", "lr", "betas", "weight_decay")
FREE_PARTS = ("checkpoint", "logging")
"""Parts of a configuration that may change when a run goes on: no number depends on them."""


@dataclass
class Session:
    """What a run works on.

    Attributes:
        config: its configuration. task, net, optimiser: built from it.
        devices: where steps run. model: the network as they see it (wrapped, for several processes).
        plan: when the gradient is watched.
        conventions: of network and task, as every file carries them.
        position: where the run is; replaced, never changed.
        best: parameters and buffers of the best epoch so far.
    """

    config: TrainConfig
    task: Task
    net: Network
    optimiser: torch.optim.Optimizer
    devices: Devices
    model: torch.nn.Module
    plan: WatchPlan
    conventions: dict[str, Any]
    position: Position = field(default=Position())
    best: Tensors = field(default_factory=dict)

    @classmethod
    def start(cls, config: TrainConfig, devices: Devices | None = None) -> "Session":
        """Return a run at its beginning.

        Raises ValueError for a configuration that makes no task or no network.
        """
        task = build_task(config.task)
        net = build_network(config.network, task)
        where = devices or OneDevice(config.training.device, net.dtype)
        model = where.place(net)
        where.require_divisible(net, smallest_batch(len(task.train), config.training.batch))
        optimiser = build_optimiser(config.optimiser, net)
        session = cls(config, task, net, optimiser, where, model, WatchPlan(0, 0, None, 0.0), {})
        session.plan = session.plan_watch()
        session.conventions = session.describe()
        return session

    @property
    def spiking(self) -> RecurrentSNN:
        """The network, where it is one of gradflow's own.

        Raises ValueError for a baseline.
        """
        if not isinstance(self.net, RecurrentSNN):
            raise ValueError(
                f"the run's network is a baseline, {self.config.network.model}, expected a RecurrentSNN: "
                "Jacobian curves of torch's RNN, GRU and LSTM are in the run's gradients.nc"
            )
        return self.net

    @property
    def precision(self) -> AbstractContextManager[object]:
        """A context in which products of a training step have the precision of the configuration."""
        wanted = self.config.training.precision != "full"
        return torch.autocast(self.devices.device.type, torch.bfloat16, enabled=wanted)

    @property
    def batches(self) -> int:
        """Steps of one epoch."""
        return -(-len(self.task.train) // self.config.training.batch)

    def plan_watch(self) -> WatchPlan:
        """Return when the gradient is watched, within the budget."""
        processes = self.devices.processes
        return plan_for(self.net, self.task, self.config, batches=self.batches, processes=processes)

    @torch.no_grad()
    def describe(self) -> dict[str, Any]:
        """Return the conventions of this network on this task in training, from a run of one sequence."""
        batch = self.devices.put(self.task.sample(1))
        self.net.train()
        placement = self.task.objective.placement(self.net.readout)
        provenance = self.task.provenance()
        found = describe_run(self.net, batch.inputs, provenance, placement)
        return {**provenance, **found.attrs(), "batch": self.config.training.batch}

    def remember_best(self) -> None:
        """Keep a copy of the parameters and buffers as they are now."""
        self.best = {name: tensor.detach().clone() for name, tensor in state.model_tensors(self.net).items()}

    def checkpoint(self) -> Checkpoint:
        """Return everything the run needs to go on."""
        generators, numbers = state.generator_tensors()
        groups = [
            {key: value for key, value in group.items() if key in GROUP_KEYS}
            for group in self.optimiser.param_groups
        ]
        return Checkpoint(
            model=state.model_tensors(self.net),
            best=self.best,
            optimiser=state.optimiser_tensors(self.optimiser, self.net),
            generators=generators,
            data=state.data_tensors(self.task),
            state={
                "position": self.position.as_json(),
                "generators": numbers,
                "optimiser": groups,
                "conventions": self.conventions,
                "threads": torch.get_num_threads(),
                "processes": self.devices.processes,
            },
            config=write_toml(self.config),
        )

    def restore(self, saved: Checkpoint) -> None:
        """Go on from a checkpoint of this run.

        Raises ForeignCheckpointError where it is of another network or other data.
        """
        state.require_same("this task", state.data_tensors(self.task), saved.data, values=True)
        groups = [group["name"] for group in saved.state["optimiser"]]
        if groups != [group["name"] for group in self.optimiser.param_groups]:
            raise ForeignCheckpointError(f"the checkpoint's optimiser has the groups {', '.join(groups)}")
        state.load_model(self.net, saved.model)
        state.load_optimiser(self.optimiser, self.net, saved.optimiser)
        state.load_generators(saved.generators, saved.state["generators"])
        self.position, self.best = Position.from_json(saved.state["position"]), saved.best
        here = {"threads": torch.get_num_threads(), "processes": self.devices.processes}
        for what, count in here.items():
            before = saved.state.get(what, 1)
            if before != count and self.devices.main:
                log.warning(
                    "the checkpoint was written with %d %s, now there are %d: last digits may differ",
                    before,
                    what,
                    count,
                )


def smallest_batch(examples: int, batch: int) -> int:
    """Return the size of the smallest batch of an epoch: the last.

    >>> smallest_batch(1000, 300), smallest_batch(10, 300)
    (100, 10)
    """
    return examples % batch or min(examples, batch)


def require_same_run(config: TrainConfig, stored: TrainConfig, where: str) -> None:
    """Raise ForeignCheckpointError unless both configurations make the same run, naming what differs.

    >>> require_same_run(TrainConfig(), TrainConfig(), "run")
    """
    here, there = config.model_dump(), stored.model_dump()
    differing = [
        f"{part}.{key} = {there[part][key]!r} there, {value!r} here"
        for part, keys in here.items()
        if part not in FREE_PARTS
        for key, value in keys.items()
        if value != there[part][key]
    ]
    if differing:
        raise ForeignCheckpointError(
            f"{where} is another run: {'; '.join(differing)}. Go on with its own configuration, or start in "
            "another folder"
        )
