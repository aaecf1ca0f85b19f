"""RecurrentSNN: Linear → norm → dropout → recurrent spiking layer, several times, then a linear readout.

The modules own parameters only. A forward pass returns everything it computed as a `Run` and leaves
nothing behind, so no pass can influence another. Axes: time batch neuron.
"""

import math
from collections.abc import Sequence as Many
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradflow import seeds
from gradflow.engine import Engine, reference
from gradflow.neurons import LIF, Dynamics, Neuron
from gradflow.norms import BatchNormParameters, Norm, NormStatistics
from gradflow.readout import Readout, ReadoutLike
from gradflow.recurrence import AdaptiveSkip, Recurrence, SpanMode, SpanParameters, Taps, Vanilla
from gradflow.shapes import Inputs, Logits, Sequence


@runtime_checkable
class Sized(Protocol):
    """What a network must know of a task: features per step, classes and (for GLIF) steps."""

    @property
    def inputs(self) -> int:
        """Features per time step."""

    @property
    def classes(self) -> int:
        """Number of classes, the width of the readout."""

    @property
    def steps(self) -> int | None:
        """Number of time steps, or None where they are not known beforehand."""


@dataclass(frozen=True)
class LayerRun:
    """What one layer computed, still in the graph of autograd."""

    inputs: Inputs
    linear: Sequence
    drive: Sequence
    u: Sequence
    s: Sequence
    V: Float[Tensor, "neuron neuron"] | None
    dynamics: Dynamics
    taps: Taps
    norm_statistics: NormStatistics | None


@dataclass(frozen=True)
class Run:
    """What one forward pass computed: logits, readout of every step, and each layer's run."""

    logits: Logits
    outputs: Float[Tensor, "time batch classes"]
    layers: tuple[LayerRun, ...]
    span_mode: SpanMode
    engine: str = field(default="reference")


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
            square = seeds.normal(seed, f"layer {layer}", "V", shape=tuple(self.V.shape))
            q, r = np.linalg.qr(square)
            # the signs make the rotation uniform (Haar): QR alone prefers some
            self.V.data.copy_(torch.from_numpy(gain * q * np.sign(np.diag(r))))


class RecurrentSNN(nn.Module):
    """A recurrent spiking network (vanilla, SRC or ASRC) with a linear readout.

    Args:
        task: a task, or `gf.Sizes(inputs, classes)`: anything with inputs, classes and steps.
        hidden: neurons of each recurrent layer.
        recurrence: one for all layers, or one per layer (a sequence).
        neuron: one model for all layers, or one per layer.
        bias: whether the linear maps have a bias (default true, as in the published parameter counts).
        dropout: probability that a current is dropped, one mask per sequence (0 … <1).
        norm: normalisation of the currents (`LayerNorm()`, `BatchNorm()`) or None.
        readout: sum, mean or last step of the readout's outputs.
        recurrent_gain: factor on the orthogonal V at initialisation.
        seed: of the named streams the parameters are drawn from; the same in float32 and float64.
        dtype: torch.float32 or torch.float64.

    Raises:
        ValueError: for sizes, lengths or probabilities that make no network.

    >>> from gradflow import RecurrentSNN, Sizes, Skip
    >>> net = RecurrentSNN(Sizes(inputs=1, classes=10), hidden=(8, 8), recurrence=Skip(4))
    >>> net(torch.zeros(20, 3, 1)).logits.shape
    torch.Size([3, 10])
    """

    def __init__(
        self,
        task: Sized,
        hidden: int | Many[int] = (64, 128, 128),
        recurrence: Recurrence | Many[Recurrence] | None = None,
        neuron: Neuron | Many[Neuron] | None = None,
        *,
        bias: bool = True,
        dropout: float = 0.0,
        norm: Norm | None = None,
        readout: ReadoutLike = Readout.SUM,
        recurrent_gain: float = 1.0,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.hidden = require_sizes(hidden)
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"RecurrentSNN(dropout={dropout!r}): expected a probability from 0 to below 1")
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"RecurrentSNN(dtype={dtype}): expected torch.float32 or torch.float64")
        layers = len(self.hidden)
        self.recurrences: tuple[Recurrence, ...] = per_layer(
            "recurrence", Vanilla() if recurrence is None else recurrence, Recurrence, layers
        )
        self.neurons: tuple[Neuron, ...] = per_layer(
            "neuron", LIF() if neuron is None else neuron, Neuron, layers
        )
        self.norm, self.dropout, self.seed = norm, float(dropout), seed
        self.recurrent_gain = float(recurrent_gain)
        self.readout = Readout(readout)
        shared: dict[Recurrence, SpanParameters] = {}
        self.layers = nn.ModuleList()
        widths = (task.inputs, *self.hidden)
        for layer, neurons in enumerate(self.hidden):
            spec = self.recurrences[layer]
            spans = spec.build()
            if isinstance(spec, AdaptiveSkip) and spec.shared:
                spans = shared.setdefault(spec, spans)
            self.layers.append(
                RecurrentLayer(
                    widths[layer],
                    neurons,
                    self.neurons[layer],
                    spec,
                    spans,
                    norm,
                    bias=bias,
                    steps=task.steps,
                )
            )
            self._layer(layer).initialise(seed, layer, self.recurrent_gain)
        self.output = empty_linear(widths[-1], task.classes, bias=bias)
        fill_linear(self.output, seed, "output")
        self.to(dtype=dtype, device=device)

    def _layer(self, index: int) -> RecurrentLayer:
        layer = self.layers[index]
        assert isinstance(layer, RecurrentLayer)
        return layer

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters."""
        found: torch.dtype = self.output.weight.dtype
        return found

    def forward(
        self,
        x: Inputs,
        *,
        span_mode: SpanMode | None = None,
        readout: ReadoutLike | None = None,
        engine: Engine = reference,
        generator: torch.Generator | None = None,
        track_drive: bool = False,
    ) -> Run:
        """Run the network over whole sequences.

        Args:
            x: inputs, (time, batch, input), in the network's dtype, finite.
            span_mode: soft or hard spans of adaptive recurrences (default: soft in training, hard in
                evaluation).
            readout: instead of the network's own.
            engine: what runs a layer.
            generator: of the dropout masks (default: torch's global one).
            track_drive: make the graph reach every layer's drive and currents even where nothing is learned.

        Returns:
            A `Run`: logits, outputs of every step, and for each layer inputs, drive, u and s.

        Raises:
            ValueError: for inputs of another shape, another dtype, no steps, or with NaN or infinity.
        """
        self._check(x)
        mode = span_mode or (SpanMode.SOFT if self.training else SpanMode.HARD)
        runs: list[LayerRun] = []
        below = x
        for index in range(len(self.layers)):
            run = self._run_layer(self._layer(index), below, SpanMode(mode), engine, generator, track_drive)
            runs.append(run)
            below = run.s
        outputs = self.output(below)
        logits = Readout(readout or self.readout).logits(outputs)
        name = getattr(engine, "__module__", str(engine)).rpartition(".")[2]
        return Run(logits, outputs, tuple(runs), SpanMode(mode), name)

    def _run_layer(
        self,
        layer: RecurrentLayer,
        x: Inputs,
        mode: SpanMode,
        engine: Engine,
        generator: torch.Generator | None,
        track_drive: bool,
    ) -> LayerRun:
        linear = layer.linear(x)
        if track_drive and not linear.requires_grad:
            linear = linear.detach().requires_grad_()
        current, statistics = (linear, None) if layer.norm is None else layer.norm(linear)
        if self.training and self.dropout > 0.0:
            keep = torch.rand(current.shape[1:], dtype=self.dtype, device=x.device, generator=generator)
            current = current * ((keep >= self.dropout) / (1.0 - self.dropout)).to(self.dtype)
        dynamics = layer.neuron.dynamics(current)
        taps = layer.spans.taps(mode, current)
        drive = dynamics.drive(current)
        trace = engine(drive, layer.V, dynamics, taps)
        return LayerRun(x, linear, drive, trace.u, trace.s, layer.V, dynamics, taps, statistics)

    def anneal(self) -> None:
        """Lower the temperature of every adaptive recurrence once; call it after each epoch."""
        for spans in {
            id(layer.spans): layer.spans for layer in map(self._layer, range(len(self.hidden)))
        }.values():
            spans.anneal()

    def update_norms(self, run: Run) -> None:
        """Move batch norm's running averages towards a training run's statistics."""
        for index, layer_run in enumerate(run.layers):
            norm = self._layer(index).norm
            if isinstance(norm, BatchNormParameters) and layer_run.norm_statistics is not None:
                norm.update(layer_run.norm_statistics)

    def _check(self, x: Any) -> None:
        width = self._layer(0).linear.in_features
        if not isinstance(x, Tensor) or x.ndim != 3 or x.shape[2] != width or min(x.shape[:2]) < 1:
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(
                f"inputs: got {got}, expected a tensor (time, batch, {width}) with at "
                "least one step and one sample"
            )
        if x.dtype != self.dtype:
            raise ValueError(
                f"inputs are {x.dtype}, the network is {self.dtype}: use inputs.to({self.dtype})"
            )
        bad = ~torch.isfinite(x)
        if bad.any():
            t, b, i = bad.nonzero()[0].tolist()
            raise ValueError(
                f"inputs: {int(bad.sum())} of {x.numel()} values are NaN or infinite, the first at "
                f"time {t}, sample {b}, input {i}; clean the data before the network sees it"
            )


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


def require_sizes(hidden: Any) -> tuple[int, ...]:
    """Return the layer sizes as a tuple, or raise ValueError."""
    sizes = (hidden,) if isinstance(hidden, int) else tuple(hidden)
    if not sizes or any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in sizes):
        raise ValueError(f"RecurrentSNN(hidden={hidden!r}): expected neurons per layer, as in (64, 128, 128)")
    return sizes


def per_layer(name: str, given: Any, kind: Any, layers: int) -> tuple[Any, ...]:
    """Return one choice per layer from one for all or one for each, or raise ValueError."""
    choices = (given,) * layers if isinstance(given, kind) else tuple(given)
    if len(choices) != layers or not all(isinstance(choice, kind) for choice in choices):
        raise ValueError(
            f"RecurrentSNN({name}=…): expected one {kind.__name__} or one for each of the {layers} layers, "
            f"got {given!r}"
        )
    return choices
