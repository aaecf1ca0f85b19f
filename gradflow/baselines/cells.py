"""torch.nn.RNN, GRU and LSTM as cells, with the start that long sequences ask for.

Every recurrent matrix (one for each gate) starts as gain × a random rotation, as the spiking layers' V (Saxe
et al. 2014; Le et al. 2015 argue the same for ReLU); input weights and biases uniformly on ±1/√H, torch's
default. torch adds two biases where one would do: the recurrent one starts at 0. The LSTM's forget gate
starts with bias 1 (Gers et al. 2000; Jozefowicz et al. 2015), so that σ(1) ≈ 0.73 of its cell is kept.
Axes: rows of torch's matrices are gate neuron: r z n (GRU), i f g o (LSTM).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from gradflow import seeds
from gradflow.baselines.cell import Cell
from gradflow.shapes import Inputs, Sequence

NOT_SPIKING = dict.fromkeys(
    ("decay", "threshold", "reset", "detach_reset", "surrogate", "surrogate_scale"), "none"
)
"""What a cell without spikes has to say of them."""


class TorchLayer(nn.Module):
    """One layer of torch's, from a state of zeros, without the state it ends in."""

    def __init__(self, module: nn.RNNBase) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Inputs) -> Sequence:
        """Return h of all steps."""
        outputs: Tensor = self.module(x)[0]
        return outputs


class TorchCell(Cell):
    """A cell of torch.nn.

    Attributes:
        kind: torch's module. gates: how many blocks of rows its matrices have.
        states: numbers a neuron carries from step to step.
    """

    kind: ClassVar[Callable[..., nn.RNNBase]]
    gates: ClassVar[int]
    states: ClassVar[int] = 1
    library = "torch"

    def build(
        self, inputs: int, neurons: int, *, bias: bool, seed: int, layer: int, gain: float
    ) -> TorchLayer:
        """Return the layer; its streams are (seed, baseline, word, layer, part)."""
        made = self.kind(inputs, neurons, bias=bias, dtype=torch.float64, device="meta")
        made = made.to_empty(device="cpu")
        name = ("baseline", self.word, f"layer {layer}")
        with torch.no_grad():
            for part, parameter in made.named_parameters():
                if part == "weight_hh_l0":
                    for gate, block in enumerate(parameter.chunk(self.gates)):
                        turned = seeds.rotation(seed, *name, part, gate, size=neurons)
                        block.copy_(torch.from_numpy(gain * turned))
                elif part == "bias_hh_l0":
                    parameter.zero_()
                else:
                    draw = seeds.uniform(seed, *name, part, shape=tuple(parameter.shape))
                    parameter.copy_(torch.from_numpy((2.0 * draw - 1.0) / math.sqrt(neurons)))
            if bias:
                self.set_bias(made.get_parameter("bias_ih_l0"), neurons)
        return TorchLayer(made)

    def set_bias(self, bias: Tensor, neurons: int) -> None:
        """Change the input bias where the cell wants another start than uniform."""

    def parameters(self, inputs: int, neurons: int, *, bias: bool) -> int:
        """Return gates · H (m + H + 2), without the 2 where there are no biases.

        >>> LSTM().parameters(3, 5, bias=True) == sum(p.numel() for p in nn.LSTM(3, 5).parameters())
        True
        """
        return self.gates * neurons * (inputs + neurons + 2 * bias)

    def conventions(self) -> dict[str, str | float]:
        """Return the kind of cell; what belongs to spikes is none."""
        return {**NOT_SPIKING, "neuron": self.label}


@dataclass(frozen=True)
class TanhRNN(TorchCell):
    """h[t] = tanh(W x[t] + b + U h[t−1] + c) (Elman 1990)."""

    word = "rnn"
    label = "tanh RNN"
    kind = nn.RNN
    gates = 1


@dataclass(frozen=True)
class GRU(TorchCell):
    """The gated recurrent unit (Cho et al. 2014), in torch's variant: r acts after U."""

    word = "gru"
    label = "GRU"
    kind = nn.GRU
    gates = 3


@dataclass(frozen=True)
class LSTM(TorchCell):
    """Long short-term memory with a forget gate (Hochreiter & Schmidhuber 1997; Gers et al. 2000).

    Attributes:
        forget_bias: bias of the forget gate at the start (default 1, Jozefowicz et al. 2015).
    """

    forget_bias: float = 1.0
    word = "lstm"
    label = "LSTM"
    kind = nn.LSTM
    gates = 4
    states = 2

    def set_bias(self, bias: Tensor, neurons: int) -> None:
        """Set the forget gate's bias."""
        bias[neurons : 2 * neurons] = self.forget_bias

    def conventions(self) -> dict[str, str | float]:
        """Return the kind of cell and the forget gate's bias at the start."""
        return {**super().conventions(), "neuron_parameters": f"forget bias {self.forget_bias:g}"}
