"""A network's forward pass under a disturbance: its own pass, with an engine that disturbs each layer.

Nothing of the network is changed, and nothing is left behind. Axes: time batch neuron.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradflow.engine import LayerTrace
from gradflow.evaluation.disturbances import Disturbance, LayerPass, require_applicable
from gradflow.evaluation.streams import Streams
from gradflow.network import RecurrentSNN
from gradflow.neurons.dynamics import Dynamics
from gradflow.recurrence import Recurrence, Taps
from gradflow.shapes import Inputs, Sequence


@dataclass
class Disturbing:
    """An engine for one pass: the disturbance of each layer, in the order in which layers run."""

    disturbance: Disturbance
    recurrences: tuple[Recurrence, ...]
    streams: Streams
    done: int = 0

    def __call__(
        self, drive: Sequence, V: Float[Tensor, "neuron neuron"] | None, dynamics: Dynamics, taps: Taps
    ) -> LayerTrace:
        """Run the next layer."""
        layer, self.done = self.done, self.done + 1
        own = LayerPass(layer, self.recurrences[layer], drive, V, dynamics, taps)
        return self.disturbance.run_layer(own, self.streams)


def run_disturbed(model: nn.Module, x: Inputs, disturbance: Disturbance, streams: Streams) -> Any:
    """Run a network under a disturbance and return what it returns; at strength 0 nothing is disturbed.

    Args:
        model: a RecurrentSNN, or for disturbances of the input any network.
        x: inputs, (time, batch, input).
        disturbance: what happens to it.
        streams: the random numbers of these examples.

    Raises:
        ValueError: where the disturbance does not apply to this network or these inputs.

    >>> import gradflow as gf
    >>> from gradflow.evaluation.disturbances import SpikeDeletion
    >>> net = gf.RecurrentSNN(gf.Sizes(1, 3), hidden=4, bias=False).eval()
    >>> streams = Streams(0, "delete", 0, range(2))
    >>> with torch.no_grad():
    ...     run_disturbed(net, torch.ones(5, 2, 1), SpikeDeletion(1.0), streams).logits.abs().sum().item()
    0.0
    """
    recurrences = model.recurrences if isinstance(model, RecurrentSNN) else None
    require_applicable(disturbance, recurrences, type(model).__name__)
    if disturbance.strength == 0:
        return model(x)
    if not disturbance.inner:
        return model(disturbance.inputs(x, streams))
    assert recurrences is not None
    return model(x, engine=Disturbing(disturbance, recurrences, streams))


@contextmanager
def answering(model: nn.Module) -> Iterator[nn.Module]:
    """Put a network in evaluation mode and keep no graph; afterwards each module is in the mode it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield model
    finally:
        for module, training in modes.items():
            module.training = training
