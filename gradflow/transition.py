"""The hinge: the local Jacobians of a run as plain float64 arrays, wherever they come from.

A spiking layer with delays gives a `LayerTransition`, whose Jacobian has two cheap parts,

    ∂u[t+1]/∂u[t] ∋ diag a[t],        ∂u[t+d]/∂u[t] ∋ p_d diag gate[t+d] V diag φ[t],

any other recurrent system gives a `DenseTransition`, its one-step Jacobians J[t] = ∂h[t+1]/∂h[t].
Everything in `jacobian`, `analysis` and `theory` starts from here. Axes: time sample neuron.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gradflow.conventions import Conventions, conventions_of
from gradflow.engine import Engine, automatic
from gradflow.layer import LayerRun
from gradflow.links import Link, ReadoutLink, require_fit
from gradflow.network import RecurrentSNN, Run
from gradflow.norms import BatchNormParameters, NormParameters
from gradflow.readout import Readout
from gradflow.recurrence import SpanMode
from gradflow.tasks.base import Batch


@dataclass(frozen=True)
class LayerTransition:
    """One layer's local Jacobians along a run.

    Attributes:
        a: neuron path ∂u[t+1]/∂u[t] without the recurrence, (time, sample, neuron).
        phi: surrogate derivative φ(u[t] − θ), (time, sample, neuron).
        V: recurrent matrix (target, source); zeros where there is no recurrence.
        spans, weights: the d with p_d ≠ 0 and their p_d.
        gate: factor in front of V ŝ[t], (time, 1 or neuron), or None where it is 1 (all but GLIF).
        window: whether u[t] − θ lies in the surrogate's window (default: where φ is not 0).
        leak: largest factor by which a neuron out of its window carries its potential (LIF: α).

    Raises ValueError for shapes that do not fit, spans below 1, NaN or infinity.
    """

    a: Float[np.ndarray, "time sample neuron"]
    phi: Float[np.ndarray, "time sample neuron"]
    V: Float[np.ndarray, "neuron neuron"]
    spans: tuple[int, ...] = (1,)
    weights: tuple[float, ...] = (1.0,)
    gate: Float[np.ndarray, "time _"] | None = None
    window: Bool[np.ndarray, "time sample neuron"] | None = None
    leak: float = float("nan")

    def __post_init__(self) -> None:
        if self.a.ndim != 3 or self.a.shape != self.phi.shape:
            raise ValueError(
                f"LayerTransition: a is {self.a.shape} and phi is {self.phi.shape}; both must be "
                "(time, sample, neuron)"
            )
        neurons = self.a.shape[2]
        if self.V.shape != (neurons, neurons):
            raise ValueError(f"LayerTransition: V is {self.V.shape}, expected {(neurons, neurons)}")
        if len(self.spans) != len(self.weights) or any(d < 1 for d in self.spans):
            raise ValueError(
                f"LayerTransition: spans {self.spans} (each ≥ 1) need one weight each: {self.weights}"
            )
        if len(set(self.spans)) != len(self.spans):
            raise ValueError(f"LayerTransition: spans {self.spans} name one span twice; add their weights up")
        if self.gate is not None and self.gate.shape not in {(len(self.a), 1), (len(self.a), neurons)}:
            raise ValueError(f"LayerTransition: gate is {self.gate.shape}, expected (time, 1 or neuron)")
        for name in ("a", "phi", "V", "gate", "weights"):
            value = getattr(self, name)
            if value is not None and not np.all(np.isfinite(value)):
                raise ValueError(
                    f"LayerTransition: {name} holds NaN or infinity; the run it came from exploded"
                )


@dataclass(frozen=True)
class DenseTransition:
    """One-step Jacobians J[t] = ∂h[t+1]/∂h[t] of any recurrent system, t = 0 … T−2.

    Attributes:
        jacobians: (time − 1, sample, state, state); rows are the later state.
    """

    jacobians: Float[np.ndarray, "steps sample state state"]

    def __post_init__(self) -> None:
        shape = self.jacobians.shape
        if self.jacobians.ndim != 4 or shape[2] != shape[3]:
            raise ValueError(f"DenseTransition: got {shape}, expected (time − 1, sample, state, state)")
        if not np.all(np.isfinite(self.jacobians)):
            raise ValueError("DenseTransition: the Jacobians hold NaN or infinity")


@dataclass(frozen=True)
class Transition:
    """The local Jacobians of all layers of one run, and the conventions they were computed under.

    Attributes:
        layers: from the inputs to the readout.
        conventions: of the run.
        links: the feed-forward way into each layer, or None where it is not known: then layers can be
            looked at one by one, not as a stack.
        readout: the way from the last layer to the logits, or None.
        unlinked: why there are no links.

    Raises ValueError for links or a readout that do not fit the layers.
    """

    layers: tuple[LayerTransition | DenseTransition, ...]
    conventions: Mapping[str, str | int | float] = field(default_factory=dict)
    links: tuple[Link, ...] | None = None
    readout: ReadoutLink | None = None
    unlinked: str = "it was made without any"

    def __post_init__(self) -> None:
        if self.links is not None:
            shapes = [layer.a.shape for layer in self.layers if isinstance(layer, LayerTransition)]
            require_fit(self.links, self.readout, shapes, len(self.layers))


BatchLike: TypeAlias = Batch | Float[Tensor, "time batch input"]


@torch.no_grad()
def local_jacobians(
    net: RecurrentSNN, batch: BatchLike, *, span_mode: SpanMode | None = None, engine: Engine = automatic
) -> Transition:
    """Run the network on a batch and return its local Jacobians.

    The run is in the network's own dtype; a, φ and V are then taken in float64 at the potentials the
    run reached, so the product of the Jacobians is that of the run itself. Dropout, where it is active,
    takes the masks of `RecurrentSNN.mask_generator`.

    Args:
        net: the network.
        batch: a batch of a task, or inputs (time, batch, input), finite.
        span_mode: soft or hard spans (default: soft in training, hard in evaluation).
        engine: what runs a layer (default: the fused engine wherever it applies).
    """
    inputs, provenance = inputs_of(batch, net)
    run = net(inputs, span_mode=span_mode, engine=engine, generator=net.mask_generator())
    found = transition_of(run, conventions_of(net, run, provenance=provenance))
    conventions = {**provenance, **found.conventions}
    if any(layer.norm_statistics is not None for layer in run.layers):
        return replace(found, conventions=conventions, unlinked=COUPLED)
    masks = net.dropout_masks(inputs, net.mask_generator())
    links = tuple(
        link_of(layer.linear.weight, layer.norm, mask, layer_run)
        for layer, mask, layer_run in zip(net.recurrent_layers(), masks, run.layers, strict=True)
    )
    readout = ReadoutLink(as_array(net.output.weight), placement_of(net.readout, len(inputs)))
    return replace(found, conventions=conventions, links=links, readout=readout)


COUPLED = (
    "batch norm in training couples the samples of a batch, so that no sample has a link of its own; "
    "use net.eval(), whose running averages make it a diagonal, or LayerNorm()"
)


def link_of(weight: Tensor, norm: NormParameters | None, mask: Tensor | None, run: LayerRun) -> Link:
    """Return the Jacobian of one layer's current, in float64."""
    factor = None if mask is None else mask.double()
    normed = deviation = None
    if norm is not None:
        scale = norm.scale.double()[None]
        if isinstance(norm, BatchNormParameters):
            scale = scale / torch.sqrt(norm.running_variance.double() + norm.epsilon)
        else:
            centred = run.linear.double() - run.linear.double().mean(dim=2, keepdim=True)
            sigma = torch.sqrt(centred.square().mean(dim=2, keepdim=True) + norm.epsilon)
            normed, deviation = as_array(centred / sigma), as_array(sigma[..., 0])
        factor = scale if factor is None else scale * factor
    return Link(as_array(weight), None if factor is None else as_array(factor), normed, deviation)


def placement_of(readout: Readout, steps: int) -> Float[np.ndarray, " time"]:
    """Return ω[t], how much the outputs of each step count in the logits.

    >>> placement_of(Readout.LAST, 3).tolist()
    [0.0, 0.0, 1.0]
    """
    return as_array(readout.logits(torch.eye(steps, dtype=torch.float64)[:, None])[0])


@torch.no_grad()
def transition_of(run: Run, conventions: Conventions | None = None) -> Transition:
    """Return the local Jacobians of a run that has been made."""
    attrs = {} if conventions is None else conventions.attrs()
    return Transition(tuple(layer_transition(layer) for layer in run.layers), attrs)


def layer_transition(run: LayerRun) -> LayerTransition:
    """Return one layer's a, φ, V, gate and p in float64."""
    dynamics = to_float64(run.dynamics)
    u, s = run.u.double(), run.s.double()
    phi = dynamics.phi(u)
    neurons = u.shape[2]
    gate = None if dynamics.gate is None else dynamics.gate_steps(u)[:, 0, :]
    V = torch.zeros(neurons, neurons) if run.V is None else run.V
    return LayerTransition(
        a=as_array(dynamics.local(u, s, phi)),
        phi=as_array(phi),
        V=as_array(V),
        spans=run.taps.spans if run.V is not None else (),
        weights=tuple(run.taps.weights.double().tolist()) if run.V is not None else (),
        gate=None if gate is None else as_array(gate),
        window=as_array(dynamics.surrogate.in_window(u - dynamics.threshold)),
        leak=float(dynamics.leak.abs().max()),
    )


def to_float64(dynamics: Any) -> Any:
    """Return the same coefficients in float64 (those of a float32 network keep their float32 values)."""
    values = {
        name: value.double() if isinstance(value, Tensor) else value for name, value in vars(dynamics).items()
    }
    return type(dynamics)(**values)


def as_array(tensor: Tensor) -> np.ndarray:
    """Return a contiguous numpy copy, floating tensors in float64."""
    detached = tensor.detach().cpu()
    return np.ascontiguousarray((detached.double() if detached.is_floating_point() else detached).numpy())


def inputs_of(batch: Any, net: RecurrentSNN) -> tuple[Tensor, Mapping[str, str | int | float]]:
    """Return inputs in the network's dtype and device, and where the data came from."""
    weight = net.output.weight
    if isinstance(batch, Batch):
        return batch.inputs.to(dtype=weight.dtype, device=weight.device), batch.provenance
    if isinstance(batch, Tensor) and batch.is_floating_point():
        return batch.to(dtype=weight.dtype, device=weight.device), {}
    raise ValueError(
        f"batch: got {type(batch).__name__}, expected task.sample(n) or a floating tensor "
        "(time, batch, input)"
    )
