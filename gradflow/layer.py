"""One recurrent layer: Linear → norm → dropout → spiking neurons: its parameters, and what a run returns.

Axes: time batch neuron.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradflow import seeds
from gradflow.engine import (
    Engine,
    LayerState,
    LayerTrace,
    is_narrow,
    narrow_linear,
    reference,
    run_segment,
    spike_linear,
)
from gradflow.neurons import Dynamics, Neuron
from gradflow.norms import Norm, NormStatistics
from gradflow.recurrence import Recurrence, SpanMode, SpanParameters, Taps
from gradflow.shapes import Inputs, Sequence


@dataclass(frozen=True)
class LayerRun:
    """What one layer computed, still in the graph of autograd.

    Attributes:
        inputs: x, what the layer read: the network's inputs, or the spikes of the layer below.
        linear: W x + b, before norm and dropout.
        drive: what was added to u from outside, so that ∂L/∂drive[t] = ∂L/∂u[t].
        u, s: potentials before the reset, and spikes.
        V, dynamics, taps: recurrent matrix, neuron coefficients and span weights of this run.
        norm_statistics: of the batch, where batch norm is in training.
        engine: the word for the engine that ran.
    """

    inputs: Inputs
    linear: Sequence
    drive: Sequence
    u: Sequence
    s: Sequence
    V: Float[Tensor, "neuron neuron"] | None
    dynamics: Dynamics
    taps: Taps
    norm_statistics: NormStatistics | None
    engine: str


class RecurrentLayer(nn.Module):
    """One layer's parameters: W and b (`linear`), V, the neurons', the spans' and the norm's."""

    def __init__(
        self,
        inputs: int,
        neurons: int,
        neuron: Neuron,
        recurrence: Recurrence,
        spans: SpanParameters,
        norm: Norm | None,
        *,
        bias: bool,
        steps: int | None,
    ) -> None:
        super().__init__()
        self.linear = empty_linear(inputs, neurons, bias=bias)
        self.V = (
            nn.Parameter(torch.empty(neurons, neurons, dtype=torch.float64)) if recurrence.max_span else None
        )
        self.neuron = neuron.build(neurons, steps)
        self.spans = spans
        self.norm = None if norm is None else norm.build(neurons)

    def initialise(self, seed: int, layer: int, gain: float) -> None:
        """Fill W and b uniformly on ±1/√inputs (torch's default) and V with gain × a random rotation."""
        fill_linear(self.linear, seed, f"layer {layer}")
        if self.V is not None:
            turned = seeds.rotation(seed, f"layer {layer}", "V", size=len(self.V))
            self.V.data.copy_(torch.from_numpy(gain * turned))

    def run(
        self,
        x: Inputs,
        mode: SpanMode,
        engine: Engine,
        *,
        mask: Tensor | None,
        track_drive: bool,
        sparse: bool,
    ) -> LayerRun:
        """Run the layer over whole sequences; `RecurrentSNN.forward` says what the arguments mean.

        `sparse` says that x holds spikes of the fused engine, whose product with W need not be dense; `mask`
        is that of dropout (`sequence_mask`).
        """
        V, dynamics, taps = self.coefficients(x, mode, track_drive)
        linear, drive, statistics = self.currents(x, dynamics, engine, mask, track_drive, sparse)
        with full_precision(x):
            trace = engine(drive, V, dynamics, taps)
        name = engine_word(engine, trace)
        return LayerRun(x, linear, drive, trace.u, trace.s, V, dynamics, taps, statistics, name)

    def run_segment(
        self,
        x: Inputs,
        first: int,
        state: LayerState,
        mode: SpanMode,
        engine: Engine,
        *,
        mask: Tensor | None,
        track_drive: bool,
        sparse: bool,
    ) -> tuple[LayerTrace, LayerState]:
        """Run the layer over the steps from `first` on, from the state that the steps before left."""
        V, dynamics, taps = self.coefficients(x, mode, track_drive)
        dynamics = dynamics.since(first, len(x))
        _, drive, _ = self.currents(x, dynamics, engine, mask, track_drive, sparse)
        with full_precision(x):
            return run_segment(engine, drive, V, dynamics, taps, state)

    def coefficients(
        self, like: Tensor, mode: SpanMode, track_drive: bool
    ) -> tuple[Float[Tensor, "neuron neuron"] | None, Dynamics, Taps]:
        """Return V, the neurons' coefficients and the span weights, cut off from the parameters if asked."""
        V: Tensor | None = self.V
        dynamics, taps = self.neuron.dynamics(like), self.spans.taps(mode, like)
        if not track_drive:
            return V, dynamics, taps
        fixed = Taps(taps.spans, taps.weights.detach())
        return None if V is None else V.detach(), dynamics.detached(), fixed

    def currents(
        self,
        x: Inputs,
        dynamics: Dynamics,
        engine: Engine,
        mask: Tensor | None,
        track_drive: bool,
        sparse: bool,
    ) -> tuple[Sequence, Sequence, NormStatistics | None]:
        """Return W x + b, the drive it becomes by norm, dropout and gate, and the norm's statistics."""
        weight: Tensor = self.linear.weight
        bias: Tensor | None = self.linear.bias
        if track_drive:
            weight, bias = weight.detach(), None if bias is None else bias.detach()
        # the reference engine is plain torch throughout
        product = spike_linear if sparse else torch.nn.functional.linear
        if not sparse and engine is not reference and is_narrow(x):
            product = narrow_linear
        linear = feed(product, x, weight, bias)
        if track_drive and not linear.requires_grad:
            linear = linear.detach().requires_grad_()
        current, statistics = (linear, None) if self.norm is None else self.norm(linear)
        return linear, dynamics.drive(current if mask is None else current * mask), statistics


def readout_of(
    output: nn.Linear, s: Sequence, *, track_drive: bool, sparse: bool
) -> Float[Tensor, "time batch classes"]:
    """Return the readout of every step; `track_drive` and `sparse` as for a layer."""
    weight: Tensor = output.weight
    bias: Tensor | None = output.bias
    if track_drive:
        weight, bias = weight.detach(), None if bias is None else bias.detach()
    return feed(spike_linear if sparse else torch.nn.functional.linear, s, weight, bias)


def feed(
    product: Callable[..., Tensor],
    x: Inputs,
    weight: Float[Tensor, "output input"],
    bias: Float[Tensor, " output"] | None,
) -> Float[Tensor, "time batch output"]:
    """Return W x + b in the dtype of the weights.

    Under `torch.autocast` the dense product is taken instead, in the precision of autocast, and its result is
    rounded to that: currents are then known to 8 bits in bfloat16. Spikes, being 0 or 1, lose nothing.
    """
    if torch.is_autocast_enabled(x.device.type) and weight.dtype is torch.float32:
        return torch.nn.functional.linear(x, weight, bias).to(weight.dtype)
    return product(x, weight, bias)


def full_precision(like: Tensor) -> AbstractContextManager[object]:
    """Return a context without autocast: potentials of 8 bits would cross the threshold at other steps."""
    return torch.autocast(like.device.type, enabled=False)


def engine_word(engine: Engine, trace: LayerTrace) -> str:
    """Return the word for the engine that ran: its own, or its module's name."""
    return trace.engine or getattr(engine, "__module__", type(engine).__name__).rpartition(".")[2]


@dataclass(frozen=True)
class MaskRows:
    """Say that the sequences of a pass are some of a larger batch, and get the dropout masks of those.

    Attributes:
        generator: of the masks of the larger batch.
        rows: which sequences of it they are. whole: how many it has.
    """

    generator: torch.Generator
    rows: range
    whole: int


Masks: TypeAlias = torch.Generator | MaskRows
"""What dropout masks are drawn from."""


def sequence_mask(
    like: Tensor, batch: int, neurons: int, dropout: float, masks: Masks | None
) -> Float[Tensor, "batch neuron"]:
    """Return a factor per sample and neuron, the same at every step: 0, or 1 / (1 − dropout)."""
    if isinstance(masks, MaskRows):
        every = sequence_mask(like, masks.whole, neurons, dropout, masks.generator)
        return every[masks.rows.start :: masks.rows.step]
    where = like.device if masks is None else masks.device
    # drawn in float32 whatever the dtype, so that both dtypes drop the same currents
    draw = torch.rand((batch, neurons), dtype=torch.float32, device=where, generator=masks)
    return (draw >= dropout).to(like) / (1.0 - dropout)


def empty_linear(inputs: int, outputs: int, *, bias: bool) -> nn.Linear:
    """Return a linear map with parameters not yet drawn: torch's global stream stays untouched."""
    linear: nn.Linear = nn.Linear(inputs, outputs, bias=bias, dtype=torch.float64, device="meta")
    return linear.to_empty(device="cpu")


def fill_linear(linear: nn.Linear, seed: int, name: str) -> None:
    """Draw weight and bias uniformly on ±1/√inputs from the streams named after them."""
    bound = 1.0 / math.sqrt(linear.in_features)
    for part, parameter in linear.named_parameters():
        draw = seeds.uniform(seed, name, part, shape=tuple(parameter.shape))
        parameter.data.copy_(torch.from_numpy(bound * (2.0 * draw - 1.0)))
