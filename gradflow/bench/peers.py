"""Other libraries' networks of the same shape: parameters of gradflow's own, each cell in its library's way.

Settings are those that come nearest to gradflow's LIF (α = 0.5, θ = 1, soft attached reset, triangle
surrogate) and, among equals, the fastest; where a library lets it, the feed-forward product is taken over
the whole sequence at once, which is faster than step by step.

- **snnTorch** `RLeaky`, all-to-all, in a loop over time: reset by subtraction, without the default delay
  of a step, triangle through `custom_surrogate`. Same spikes as gradflow's while no potential exceeds 2 θ
  (after that the next spike needs θ more); fires at u > θ, not ≥.
- **SpikingJelly** `LinearRecurrentContainer` around `LIFNode`, multi-step: its recurrence is a linear map of
  (x[t], y[t−1]), so the currents pass through one more matrix, set to the identity and learned: it computes
  2 H² a step where others need H². Soft attached reset, inputs not decayed, `PiecewiseQuadratic(1)`, which
  is the triangle. Same network, same spikes. It takes x[t] out of the sequence by an index, whose backward
  pass fills a whole sequence with zeros at every step: its cost grows with T².
- **norse** `LIFRecurrentCell` with autapses: hard detached reset, no bias (the cell has none), and the
  feed-forward product in every step (the cell contains it). dt/τ_mem = 0.5 with doubled weights gives
  α = 0.5, dt/τ_syn = 1 removes the synapse's own memory; surrogate `triangle`. Same spikes as gradflow's LIF
  with that reset.

Axes: time batch neuron.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

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


class SnnTorchLayer(nn.Module):
    """Linear over the sequence, then RLeaky step by step."""

    def __init__(self, own: RecurrentLayer) -> None:
        super().__init__()
        import snntorch
        from snntorch import surrogate

        neurons = own.linear.out_features
        self.linear = own.linear
        self.cell = snntorch.RLeaky(
            beta=DECAY,
            linear_features=neurons,
            spike_grad=surrogate.custom_surrogate(_triangle),
            reset_mechanism="subtract",
            reset_delay=False,
        )
        self.cell.recurrent = _without_bias(own)

    def forward(self, x: Tensor) -> Tensor:
        """Return the spikes of all steps."""
        currents = self.linear(x)
        spike, potential = torch.zeros_like(currents[0]), torch.zeros_like(currents[0])
        spikes = []
        for current in currents.unbind(0):
            spike, potential = self.cell(current, spike, potential)
            spikes.append(spike)
        return torch.stack(spikes)


class SpikingJellyLayer(nn.Module):
    """Linear over the sequence, then the recurrent container in multi-step mode."""

    def __init__(self, own: RecurrentLayer) -> None:
        super().__init__()
        from spikingjelly.activation_based import functional, layer, neuron, surrogate

        neurons = own.linear.out_features
        cell = neuron.LIFNode(
            tau=1.0 / (1.0 - DECAY),
            decay_input=False,
            v_reset=None,
            surrogate_function=surrogate.PiecewiseQuadratic(alpha=1.0),
        )
        self.linear = own.linear
        self.container = layer.LinearRecurrentContainer(cell, neurons, neurons, bias=False, step_mode="m")
        with torch.no_grad():
            self.container.rc.weight.copy_(torch.cat((torch.eye(neurons), _matrix(own)), dim=1))
        self._reset: Callable[[nn.Module], None] = functional.reset_net

    def forward(self, x: Tensor) -> Tensor:
        """Return the spikes of all steps, from a state of zeros."""
        self._reset(self.container)
        spikes: Tensor = self.container(self.linear(x))
        return spikes


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
            recurrent_weights=nn.Parameter(scale * _matrix(own)),
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


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings of other libraries (such as torch.jit's deprecation), within their calls only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _triangle(x: Tensor, grad: Tensor, spikes: Tensor) -> Tensor:  # noqa: ARG001  the library passes three
    return grad * torch.relu(1.0 - x.abs())


def _matrix(own: RecurrentLayer) -> Tensor:
    if own.V is None:
        raise ValueError("a layer without recurrence has no V; expected vanilla")
    return own.V.detach().clone()


def _without_bias(own: RecurrentLayer) -> nn.Linear:
    V = _matrix(own)
    linear = nn.Linear(len(V), len(V), bias=False)
    linear.weight = nn.Parameter(V)
    return linear
