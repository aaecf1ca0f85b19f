"""What must be said beside a baseline's numbers: the kind of cell, the library and its version."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from gradflow.baselines.network import BaselineNetwork, BaselineRun
from gradflow.conventions import Conventions, package_versions, source_commit

NO_SPANS = {"span_mode": "none", "p": "none"}


def baseline_conventions(
    net: BaselineNetwork,
    run: BaselineRun,
    *,
    provenance: Mapping[str, str | int | float] | None = None,
    loss_placement: str = "none",
) -> Conventions:
    """Return the record of one run of a baseline, with the fields of a `RecurrentSNN`'s.

    The recurrence is `vanilla` (every state reads the one before, nothing further back), `engine` the library
    with its version; what belongs to spikes is `none` for cells without.

    Args:
        net: the network that ran.
        run: what it returned.
        provenance: of the data, as a batch of a task carries it.
        loss_placement: where on the time axis the loss was placed; `none` where there was no loss.

    >>> import gradflow as gf
    >>> import torch
    >>> net = BaselineNetwork(gf.Sizes(2, 3), hidden=4)
    >>> said = baseline_conventions(net, net(torch.zeros(5, 1, 2)))
    >>> said.neuron, said.recurrence, said.neuron_parameters
    ('LSTM', 'vanilla', 'forget bias 1')
    """
    steps, batch = run.outputs.shape[:2]
    library = net.cell.library
    data: dict[str, Any] = {"task": "tensors", "task_source": "given as tensors", **(provenance or {})}
    own: dict[str, Any] = {
        **NO_SPANS,
        "recurrence": "vanilla",
        **net.cell.conventions(),
        "loss_placement": loss_placement,
        "hidden": ",".join(map(str, net.hidden)),
        "mode": "training" if net.training else "evaluation",
        "dropout": net.dropout,
        "recurrent_gain": net.recurrent_gain,
        "network_seed": net.seed,
        "dtype": str(net.dtype).removeprefix("torch."),
        "engine": f"{library} {version(library)}",
        "steps": steps,
        "batch": batch,
        "versions": json.dumps({**package_versions(), library: version(library)}),
        "commit": source_commit(),
    }
    return Conventions.from_attrs({**data, **own})
