"""Other libraries' networks of the same shape: parameters of gradflow's own, each cell in its library's way.

Settings are those that come nearest to gradflow's LIF (α = 0.5, θ = 1, soft attached reset, triangle
surrogate) and, among equals, the fastest; where a library lets it, the feed-forward product is taken over
the whole sequence at once, which is faster than step by step.

- **snnTorch** and **SpikingJelly**: the layers that can be trained as baselines, `gradflow.baselines.peers`.
- **norse** `LIFRecurrentCell` with autapses: hard detached reset, no bias (the cell has none), and the
  feed-forward product in every step (the cell contains it). dt/τ_mem = 0.5 with doubled weights gives
  α = 0.5, dt/τ_syn = 1 removes the synapse's own memory; surrogate `triangle`. Same spikes as gradflow's LIF
  with that reset.

Axes: time batch neuron.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gradflow.baselines.peers import SnnTorchLayer, SpikingJellyLayer, matrix, quiet
from gradflow.bench.workload import Workload
from gradflow.layer import RecurrentLayer

DECAY = 0.5


class PeerNetwork(nn.Module):
    """Layers that map sequences to spikes, then a linear readout whose outputs are summed over time."""

    def __init__(self, layers: list[nn.Module], output: nn.Linear) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.output = output

    def spikes(self, x: Tensor) -> list[Tensor]:
        """Return the spikes of every layer, (time, batch, neuron)."""
        found: list[Tensor] = []
        with quiet():
            for layer in self.layers:
                found.append(layer(found[-1] if found else x))
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, (batch, classes)."""
        logits: Tensor = self.output(self.spikes(x)[-1]).sum(dim=0)
        return logits


class NorseLayer(nn.Module):
    """LIFRecurrentCell step by step."""

    def __init__(self, own: RecurrentLayer) -> None:
        super().__init__()
        from norse.torch import LIFParameters, LIFRecurrentCell

        parameters = LIFParameters(
            tau_syn_inv=torch.tensor(1.0),
            tau_mem_inv=torch.tensor(1.0 - DECAY),
            method="triangle",
            alpha=1.0,
        )
        scale = 1.0 / (1.0 - DECAY)
        self.cell = LIFRecurrentCell(
            own.linear.in_features,
            own.linear.out_features,
            parameters,
            input_weights=nn.Parameter(scale * own.linear.weight.detach()),
            recurrent_weights=nn.Parameter(scale * matrix(own)),
            autapses=True,
            dt=1.0,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the spikes of all steps."""
        state, spikes = None, []
        for step in x.unbind(0):
            spike, state = self.cell(step, state)
            spikes.append(spike)
        return torch.stack(spikes)


LAYERS: dict[str, Callable[[RecurrentLayer], nn.Module]] = {
    "snnTorch": SnnTorchLayer,
    "SpikingJelly": SpikingJellyLayer,
    "norse": NorseLayer,
}


def build(subject: str, workload: Workload) -> PeerNetwork:
    """Return one library's network with the parameters of gradflow's."""
    net = workload.network()
    with quiet():
        layers = [LAYERS[subject](own) for own in net.recurrent_layers()]
    return PeerNetwork(layers, net.output)
