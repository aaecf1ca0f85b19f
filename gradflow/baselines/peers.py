"""Recurrent spiking layers of other libraries, where installed, beside gradflow's vanilla recurrence.

Settings are those that come nearest to gradflow's LIF (soft attached reset, triangle surrogate) and, among
equals, the fastest. W, b and V start with the numbers of a vanilla `RecurrentSNN` of the same seed.

- **snnTorch** `RLeaky`, all-to-all, in a loop over time: reset by subtraction, without the default delay
  of a step, triangle through `custom_surrogate`. Same spikes as gradflow's while no potential exceeds 2 θ
  (after that the next spike needs θ more); fires at u > θ, not ≥.
- **SpikingJelly** `LinearRecurrentContainer` around `LIFNode`, multi-step: its recurrence is a linear map of
  (x[t], y[t−1]), so the currents pass through one more matrix, set to the identity and learned: it computes
  2 H² a step where others need H². Soft attached reset, inputs not decayed, `PiecewiseQuadratic(1)`, which
  is the triangle. Same network, same spikes. It takes x[t] out of the sequence by an index, whose backward
  pass fills a whole sequence with zeros at every step: its cost grows with T².

Axes: time batch neuron.
"""

import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from gradflow.baselines.cell import Cell
from gradflow.layer import RecurrentLayer
from gradflow.neurons import LIF
from gradflow.recurrence import Vanilla
from gradflow.shapes import Inputs, Sequence

PLAIN = LIF()


class SnnTorchLayer(nn.Module):
    """Linear over the sequence, then RLeaky step by step; W, b and V are those of a layer of gradflow's."""

    def __init__(self, own: RecurrentLayer, neuron: LIF = PLAIN) -> None:
        super().__init__()
        import snntorch
        from snntorch import surrogate

        neurons, like = own.linear.out_features, own.linear.weight
        self.linear = own.linear
        with torch.random.fork_rng(devices=[]):  # it draws matrices of its own, which are not kept
            self.cell = snntorch.RLeaky(
                # as tensors: numbers would be rounded to float32
                beta=torch.tensor(neuron.decay, dtype=like.dtype),
                threshold=torch.tensor(neuron.threshold, dtype=like.dtype),
                linear_features=neurons,
                spike_grad=surrogate.custom_surrogate(_triangle),
                reset_mechanism="subtract",
                reset_delay=False,
            )
            self.cell.recurrent = nn.Linear(neurons, neurons, bias=False)
        self.cell.recurrent.weight = nn.Parameter(matrix(own))
        self._forget(like)

    def forward(self, x: Inputs) -> Sequence:
        """Return the spikes of all steps, from a state of zeros."""
        with quiet():
            currents = self.linear(x)
            spike, potential = torch.zeros_like(currents[0]), torch.zeros_like(currents[0])
            spikes = []
            for current in currents.unbind(0):
                spike, potential = self.cell(current, spike, potential)
                spike = spike.to(current)  # the library's are float32, whatever it computes in
                spikes.append(spike)
        self._forget(x)
        return torch.stack(spikes)

    def _forget(self, like: Tensor) -> None:
        """Take away the state that the cell keeps as buffers, for checkpoints to hold, with their graph."""
        self.cell.spk, self.cell.mem = like.new_zeros(0), like.new_zeros(0)


class SpikingJellyLayer(nn.Module):
    """Linear over the sequence, then the recurrent container in multi-step mode."""

    def __init__(self, own: RecurrentLayer, neuron: LIF = PLAIN) -> None:
        super().__init__()
        from spikingjelly.activation_based import functional, layer, surrogate
        from spikingjelly.activation_based import neuron as neurons_of

        neurons = own.linear.out_features
        self.linear = own.linear
        V = matrix(own)
        with quiet(), torch.random.fork_rng(devices=[]):
            cell = neurons_of.LIFNode(
                tau=1.0 / (1.0 - neuron.decay),
                decay_input=False,
                v_threshold=neuron.threshold,
                v_reset=None,
                surrogate_function=surrogate.PiecewiseQuadratic(alpha=1.0),
            )
            self.container = layer.LinearRecurrentContainer(cell, neurons, neurons, bias=False, step_mode="m")
        self.container.rc.weight = nn.Parameter(torch.cat((torch.eye(neurons, dtype=V.dtype), V), dim=1))
        self._reset: Callable[[nn.Module], None] = functional.reset_net

    def forward(self, x: Inputs) -> Sequence:
        """Return the spikes of all steps, from a state of zeros."""
        with quiet():
            self._reset(self.container)
            spikes: Tensor = self.container(self.linear(x))
            self._reset(self.container)  # or it would keep the graph
        return spikes


@dataclass(frozen=True)
class PeerCell(Cell):
    """A layer of another library, which is the package to be installed.

    Attributes:
        neuron: its decay and threshold are taken over.
    """

    neuron: LIF = field(default_factory=LIF)

    def __post_init__(self) -> None:
        require_expressible(self.label, self.neuron)

    def build(
        self, inputs: int, neurons: int, *, bias: bool, seed: int, layer: int, gain: float
    ) -> nn.Module:
        """Return the layer.

        Raises ImportError where the library is not installed.
        """
        if find_spec(self.library) is None:
            raise ImportError(
                f"{self.label} is not installed: install gradflow with its extra, pip install "
                f"'gradflow-snn[interop]', or the library alone, pip install --no-deps {self.library}"
            )
        recurrence = Vanilla()
        own = RecurrentLayer(
            inputs, neurons, self.neuron, recurrence, recurrence.build(), None, bias=bias, steps=None
        )
        own.initialise(seed, layer, gain)
        return self.adopt(own)

    @abstractmethod
    def adopt(self, own: RecurrentLayer) -> nn.Module:
        """Return the library's layer with the parameters of one of gradflow's."""

    def conventions(self) -> dict[str, str | float]:
        """Return the neuron's, and what the library calls it."""
        return {**self.neuron.conventions(), "recurrence": "vanilla", **self.told()}

    @abstractmethod
    def told(self) -> dict[str, str | float]:
        """Return where the library differs."""


@dataclass(frozen=True)
class SnnTorch(PeerCell):
    """snnTorch's RLeaky behind a linear map."""

    word = "snntorch"
    label = "snnTorch"
    library = "snntorch"

    def adopt(self, own: RecurrentLayer) -> SnnTorchLayer:
        """Return the layer with the parameters of `own`."""
        return SnnTorchLayer(own, self.neuron)

    def parameters(self, inputs: int, neurons: int, *, bias: bool) -> int:
        """Return H (m + H + 1), without the 1 where there is no bias."""
        return neurons * (inputs + neurons + bias)

    def told(self) -> dict[str, str | float]:
        """Return the name of the neuron, and its reset."""
        return {"neuron": "snnTorch RLeaky", "reset": "soft, without delay, once per crossing"}


@dataclass(frozen=True)
class SpikingJelly(PeerCell):
    """SpikingJelly's LinearRecurrentContainer around a LIFNode, behind a linear map."""

    word = "spikingjelly"
    label = "SpikingJelly"
    library = "spikingjelly"

    def adopt(self, own: RecurrentLayer) -> SpikingJellyLayer:
        """Return the layer with the parameters of `own`."""
        return SpikingJellyLayer(own, self.neuron)

    def parameters(self, inputs: int, neurons: int, *, bias: bool) -> int:
        """Return H (m + 2 H + 1), without the 1 where there is no bias: its currents pass one more matrix."""
        return neurons * (inputs + 2 * neurons + bias)

    def told(self) -> dict[str, str | float]:
        """Return the name of the neuron, and its reset."""
        return {"neuron": "SpikingJelly LIFNode in LinearRecurrentContainer"}


def require_expressible(label: str, neuron: LIF) -> None:
    """Raise ValueError unless a neuron differs from `LIF()` in decay and threshold alone, 0 < decay < 1."""
    plain = type(neuron) is LIF and neuron == LIF(decay=neuron.decay, threshold=neuron.threshold)
    if not plain or not 0.0 < neuron.decay < 1.0:
        raise ValueError(
            f"{label}(neuron={neuron!r}): expected LIF with soft attached reset, the triangle of width 1 "
            "and a decay strictly between 0 and 1"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings of other libraries (such as torch.jit's deprecation), within their calls only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def matrix(own: RecurrentLayer) -> Tensor:
    """Return a copy of a layer's V.

    Raises ValueError where there is none.
    """
    if own.V is None:
        raise ValueError("a layer without recurrence has no V; expected vanilla")
    return own.V.detach().clone()


def _triangle(x: Tensor, grad: Tensor, spikes: Tensor) -> Tensor:  # noqa: ARG001  the library passes three
    return grad * torch.relu(1.0 - x.abs())
