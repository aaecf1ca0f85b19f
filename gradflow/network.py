"""RecurrentSNN: Linear → norm → dropout → recurrent spiking layer, several times, then a linear readout.

The modules own parameters only. A forward pass returns everything it computed as a `Run` and leaves
nothing behind, so no pass can influence another. Axes: time batch neuron.
"""

import math
from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradflow import seeds
from gradflow.checkpointing import run_in_segments
from gradflow.engine import Engine, automatic
from gradflow.layer import (
    LayerRun,
    Masks,
    RecurrentLayer,
    empty_linear,
    fill_linear,
    readout_of,
    sequence_mask,
)
from gradflow.neurons import LIF, Neuron
from gradflow.norms import BatchNormParameters, Norm
from gradflow.readout import Readout, ReadoutLike
from gradflow.recurrence import AdaptiveSkip, Recurrence, SpanMode, SpanParameters, Vanilla
from gradflow.shapes import Inputs, Logits


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
class Run:
    """What one forward pass computed: logits, readout of every step, and each layer's run."""

    logits: Logits
    outputs: Float[Tensor, "time batch classes"]
    layers: tuple[LayerRun, ...]
    span_mode: SpanMode
    engine: str


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
        require_instance("task", task, Sized, "a task, or its sizes as in Sizes(inputs=1, classes=10)")
        require_instance("norm", norm, Norm | None, "LayerNorm(), BatchNorm() or None")
        require_number("dropout", dropout, "a probability from 0 to below 1", least=0.0, below=1.0)
        require_number("recurrent_gain", recurrent_gain, "a finite number")
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"RecurrentSNN(dtype={dtype}): expected torch.float32 or torch.float64")
        self.hidden = require_sizes(hidden)
        self.recurrences: tuple[Recurrence, ...] = per_layer(
            "recurrence", recurrence, Vanilla(), Recurrence, len(self.hidden)
        )
        self.neurons: tuple[Neuron, ...] = per_layer("neuron", neuron, LIF(), Neuron, len(self.hidden))
        self.norm, self.dropout, self.seed = norm, float(dropout), seed
        self.recurrent_gain = float(recurrent_gain)
        self.readout = Readout(readout)
        self.layers = nn.ModuleList()
        widths = (task.inputs, *self.hidden)
        for layer, spans in enumerate(build_spans(self.recurrences)):
            built = RecurrentLayer(
                widths[layer],
                widths[layer + 1],
                self.neurons[layer],
                self.recurrences[layer],
                spans,
                norm,
                bias=bias,
                steps=task.steps,
            )
            built.initialise(seed, layer, self.recurrent_gain)
            self.layers.append(built)
        self.output = empty_linear(widths[-1], task.classes, bias=bias)
        fill_linear(self.output, seed, "output")
        self.to(dtype=dtype, device=device)

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
        engine: Engine = automatic,
        generator: Masks | None = None,
        track_drive: bool = False,
        checkpoint: int | None = None,
    ) -> Run:
        """Run the network over whole sequences.

        Args:
            x: inputs, (time, batch, input), in the network's dtype and on its device, finite.
            span_mode: soft or hard spans of adaptive recurrences (default: soft in training, hard in
                evaluation).
            readout: instead of the network's own.
            engine: what runs a layer (default: the fused engine wherever it applies).
            generator: of the dropout masks (default: torch's global one). One on the CPU gives the same masks
                on every device and in both dtypes; `MaskRows` those of some sequences of a larger batch.
            checkpoint: keep only every so many steps what the next segment needs, and compute the rest again
                in the backward pass: same gradients for less memory and one more forward pass. The layers of
                the run are then empty (no time steps).
            track_drive: make the graph reach every layer's drive and currents, and no parameter.

        Under `torch.autocast` a float32 network's feed-forward products and readout are computed in the
        precision of autocast, all else in float32.

        Returns:
            A `Run`: logits, outputs of every step, and for each layer inputs, drive, u and s.

        Raises:
            ValueError: for inputs of another shape, dtype or device, no steps, or with NaN or infinity.
        """
        layers = self.recurrent_layers()
        check_inputs(x, layers[0].linear.in_features, self.output.weight)
        mode = SpanMode(span_mode or (SpanMode.SOFT if self.training else SpanMode.HARD))
        masks = self.dropout_masks(x, generator)
        runs: list[LayerRun] = []
        if checkpoint is None:
            below = x
            for layer, mask in zip(layers, masks, strict=True):
                sparse = bool(runs) and runs[-1].engine == "fused"
                run = layer.run(below, mode, engine, mask=mask, track_drive=track_drive, sparse=sparse)
                runs.append(run)
                below = run.s
            outputs = readout_of(
                self.output, below, track_drive=track_drive, sparse=runs[-1].engine == "fused"
            )
        else:
            outputs, runs = run_in_segments(
                layers, self.output, x, checkpoint, mode, engine, masks, track_drive
            )
        logits = Readout(readout or self.readout).logits(outputs)
        return Run(logits, outputs, tuple(runs), mode, " | ".join(dict.fromkeys(run.engine for run in runs)))

    def dropout_masks(self, x: Inputs, generator: Masks | None) -> list[Tensor | None]:
        """Draw the dropout masks of all layers, or none outside training."""
        if not self.training or self.dropout == 0.0:
            return [None] * len(self.hidden)
        return [sequence_mask(x, x.shape[1], width, self.dropout, generator) for width in self.hidden]

    def recurrent_layers(self) -> list[RecurrentLayer]:
        """Return the recurrent layers, from the inputs to the readout."""
        return [layer for layer in self.layers if isinstance(layer, RecurrentLayer)]

    def mask_generator(self) -> torch.Generator:
        """Return the generator of the dropout masks of every analysis: a named stream of the network's seed.

        So a record and the Jacobian products of one network and batch describe the same run, and neither
        moves torch's global generator.
        """
        return torch.Generator().manual_seed(seeds.derive(self.seed, "dropout masks"))

    def anneal(self) -> None:
        """Lower the temperature of every adaptive recurrence once; call it after each epoch."""
        for spans in {id(layer.spans): layer.spans for layer in self.recurrent_layers()}.values():
            spans.anneal()

    def update_norms(self, run: Run) -> None:
        """Move batch norm's running averages towards a training run's statistics."""
        for layer, layer_run in zip(self.recurrent_layers(), run.layers, strict=True):
            if isinstance(layer.norm, BatchNormParameters) and layer_run.norm_statistics is not None:
                layer.norm.update(layer_run.norm_statistics)


def build_spans(recurrences: Many[Recurrence]) -> list[SpanParameters]:
    """Return the span parameters of each layer, one module for all layers that share theirs."""
    shared: dict[Recurrence, SpanParameters] = {}
    return [
        shared.setdefault(spec, spec.build())
        if isinstance(spec, AdaptiveSkip) and spec.shared
        else spec.build()
        for spec in recurrences
    ]


def check_inputs(x: Any, width: int, weight: Tensor) -> None:
    """Raise ValueError unless `x` is (time, batch, width), finite, and of the weight's dtype and device."""
    if not isinstance(x, Tensor) or x.ndim != 3 or x.shape[2] != width or min(x.shape[:2]) < 1:
        got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(
            f"inputs: got {got}, expected a tensor (time, batch, {width}) with at "
            "least one step and one sample"
        )
    if x.dtype != weight.dtype:
        raise ValueError(
            f"inputs are {x.dtype}, the network is {weight.dtype}: use inputs.to({weight.dtype})"
        )
    if x.device != weight.device:
        raise ValueError(
            f"inputs are on {x.device}, the network is on {weight.device}: use inputs.to('{weight.device}')"
        )
    # numpy's loop, which wakes no threads of torch
    whole = np.isfinite(x.detach().numpy()).all() if x.device.type == "cpu" else torch.isfinite(x).all()
    if not whole:
        bad = ~torch.isfinite(x)
        t, b, i = bad.nonzero()[0].tolist()
        raise ValueError(
            f"inputs: {int(bad.sum())} of {x.numel()} values are NaN or infinite, the first at "
            f"time {t}, sample {b}, input {i}; clean the data before the network sees it"
        )


def require_instance(name: str, value: Any, kind: Any, expected: str, *, owner: str = "RecurrentSNN") -> None:
    """Raise ValueError, in the name of the class that was called, unless `value` is of this kind."""
    if not isinstance(value, kind):
        raise ValueError(f"{owner}({name}={value!r}): expected {expected}")


def require_number(
    name: str,
    value: Any,
    expected: str,
    *,
    least: float = -math.inf,
    below: float = math.inf,
    owner: str = "RecurrentSNN",
) -> None:
    """Raise ValueError unless `value` is a finite number, at least `least` and below `below`."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not least <= value < below:
        raise ValueError(f"{owner}({name}={value!r}): expected {expected}")


def require_sizes(hidden: Any, *, owner: str = "RecurrentSNN") -> tuple[int, ...]:
    """Return the layer sizes as a tuple, or raise ValueError."""
    sizes = tuple(hidden) if isinstance(hidden, Many) else (hidden,)
    if not sizes or any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in sizes):
        raise ValueError(f"{owner}(hidden={hidden!r}): expected neurons per layer, as in (64, 128, 128)")
    return sizes


def per_layer(name: str, given: Any, default: Any, kind: Any, layers: int) -> tuple[Any, ...]:
    """Return one choice per layer from one for all, one for each, or None for the default."""
    one = default if given is None else given
    choices = tuple(one) if isinstance(one, Many) else (one,) * layers
    if len(choices) != layers or not all(isinstance(choice, kind) for choice in choices):
        raise ValueError(
            f"RecurrentSNN({name}={given!r}): expected one {kind.__name__}, as {type(default).__name__}(), "
            f"or one for each of the {layers} layers"
        )
    return choices
