"""From a configuration to what it describes: the task, the network, the groups of its optimiser."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from torch import nn

from gradflow.baselines import BaselineNetwork, baseline_conventions, hidden_for, nearest_hidden
from gradflow.conventions import Conventions, conventions_of
from gradflow.network import RecurrentSNN, Sized
from gradflow.neurons import NeuronParameters
from gradflow.norms import NormParameters
from gradflow.recurrence import SpanParameters
from gradflow.shapes import Inputs
from gradflow.tasks import Task, by_name
from gradflow.train.config import NetworkPart, OptimiserPart, TaskPart
from gradflow.train.schedule import Rate

Network: TypeAlias = RecurrentSNN | BaselineNetwork
"""What can be trained."""
GROUPS: Mapping[str, tuple[type[nn.Module], ...]] = {
    "neurons": (NeuronParameters,),
    "spans": (SpanParameters,),
    "norms": (NormParameters, nn.LayerNorm, nn.BatchNorm1d, nn.GroupNorm),
}
"""Which modules own the parameters of a group; all others are weights."""


def build_task(part: TaskPart) -> Task:
    """Return the task of a configuration.

    Raises ValueError for a name or an option that does not exist, and what the task's files raise.

    >>> build_task(TaskPart(name="smnist", options={"pool": 2})).steps
    196
    """
    options: dict[str, Any] = dict(part.options)
    return by_name(part.name, part.folder, **options)


def build_network(part: NetworkPart, task: Sized) -> Network:
    """Return the network of a configuration, at its start.

    Raises ValueError for choices that make no network, such as one recurrence too many, ImportError for a
    baseline whose library is not installed.

    >>> import gradflow as gf
    >>> net = build_network(NetworkPart(model="gru", hidden=(1, 2), parameters=10_000), gf.Sizes(1, 10))
    >>> net.hidden, sum(parameter.numel() for parameter in net.parameters())
    ((21, 42), 10132)
    """
    common: dict[str, Any] = {
        "bias": part.bias,
        "dropout": part.dropout,
        "readout": part.readout,
        "recurrent_gain": part.recurrent_gain,
        "seed": part.seed,
        "dtype": getattr(torch, part.dtype),
    }
    cell = part.cell()
    if cell is not None:
        hidden = part.hidden
        if part.parameters is not None:
            hidden = hidden_for(cell, task, part.parameters, hidden, bias=part.bias)
        return BaselineNetwork(task, hidden, cell, **common)

    def spiking(hidden: tuple[int, ...]) -> RecurrentSNN:
        return RecurrentSNN(task, hidden, part.recurrences(), part.neurons(), norm=part.norms(), **common)

    if part.parameters is None:
        return spiking(part.hidden)

    def count(hidden: tuple[int, ...]) -> int:
        return sum(parameter.numel() for parameter in spiking(hidden).parameters())

    return spiking(nearest_hidden(count, part.parameters, part.hidden))


def describe_run(
    net: Network, x: Inputs, provenance: Mapping[str, str | int | float], loss_placement: str
) -> Conventions:
    """Return the conventions of a network in the mode it is in, from a run on a few sequences."""
    run = net(x, generator=net.mask_generator())
    if isinstance(net, BaselineNetwork):
        return baseline_conventions(net, run, provenance=provenance, loss_placement=loss_placement)
    return conventions_of(net, run, provenance=provenance, loss_placement=loss_placement)


def grouped_parameters(net: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Return a network's parameters by group: weights, neurons, spans, norms; each parameter once.

    >>> import gradflow as gf
    >>> net = gf.RecurrentSNN(gf.Sizes(1, 2), hidden=4, recurrence=gf.AdaptiveSkip(3), neuron=gf.PLIF())
    >>> {name: len(parameters) for name, parameters in grouped_parameters(net).items()}
    {'weights': 5, 'neurons': 1, 'spans': 1, 'norms': 0}
    """
    owner = {
        parameter: name
        for name, kinds in GROUPS.items()
        for module in net.modules()
        if isinstance(module, kinds)
        for parameter in module.parameters()
    }
    groups: dict[str, list[nn.Parameter]] = {"weights": [], **{name: [] for name in GROUPS}}
    for parameter in net.parameters():
        groups[owner.get(parameter, "weights")].append(parameter)
    return groups


def build_optimiser(part: OptimiserPart, net: nn.Module) -> torch.optim.Optimizer:
    """Return torch's optimiser over the groups, each with its `peak` rate and decay; empty groups left out.

    Weights and norms have `lr`, neurons `neuron_lr`, spans `span_lr`; only weights decay (`weight_decay`).
    """
    rates = {"weights": part.lr, "neurons": part.neuron_lr, "spans": part.span_lr, "norms": part.lr}
    groups = [
        {
            "params": parameters,
            "name": name,
            "peak": rates[name],
            "lr": rates[name],
            "weight_decay": part.weight_decay if name == "weights" else 0.0,
        }
        for name, parameters in grouped_parameters(net).items()
        if parameters
    ]
    if part.name == "sgd":
        return torch.optim.SGD(groups, lr=part.lr, momentum=part.momentum)
    kind = torch.optim.AdamW if part.name == "adamw" else torch.optim.Adam
    return kind(groups, lr=part.lr, betas=(part.momentum, part.beta2), eps=part.epsilon)


def set_rate(optimiser: torch.optim.Optimizer, rate: Rate) -> None:
    """Set every group to its peak rate times the factor, and the momentum where the schedule has one."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * rate.factor
        if rate.momentum is None:
            continue
        if "betas" in group:
            group["betas"] = (rate.momentum, group["betas"][1])
        else:
            group["momentum"] = rate.momentum
