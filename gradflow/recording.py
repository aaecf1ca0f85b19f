"""Record a network's gradient along time: what to keep is an argument, what was kept is the return value.

With one loss L_b per sample (cross-entropy by default), every number here is taken of

    ∂L_b/∂u[t] = g[t] = a[t] ∘ g[t+1]  +  φ[t] ∘ Σ_d p_d Vᵀ gate[t+d] g[t+d]  +  φ[t] ∘ e[t]
                        neuron path       recurrent path                         direct path
    ∂L_b/∂s[t]        = ∂c[t]/∂s[t] ∘ g[t+1]  +  Σ_d p_d Vᵀ gate[t+d] g[t+d]  +  e[t]

where e[t] comes from the next layer or the readout, and ∂c/∂s is the reset (0 where it is detached).
Axes: layer time sample (neuron).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Flag, auto

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from gradflow.conventions import conventions_of
from gradflow.engine import Engine, reference
from gradflow.layer import LayerRun
from gradflow.network import RecurrentSNN, Run
from gradflow.readout import Readout, ReadoutLike
from gradflow.recurrence import SpanMode
from gradflow.shapes import Logits, Targets
from gradflow.tasks.base import Batch
from gradflow.transition import as_array, inputs_of, to_float64


class Keep(Flag):
    """What a record holds. DEFAULT is everything but whole tensors."""

    NORMS = auto()
    """‖∂L/∂u[t]‖ and ‖∂L/∂s[t]‖ per layer, time and sample, and the share of exact zeros."""
    PATHS = auto()
    """The norms of the neuron, recurrent and direct parts of both."""
    QUANTILES = auto()
    """Quantiles over the neurons of |∂L/∂u[t]| and |∂L/∂s[t]|."""
    WEIGHTS = auto()
    """Norms of what each time step adds to ∂L/∂V and ∂L/∂W (mean over the batch)."""
    ACTIVITY = auto()
    """Firing rate and share of neurons in the surrogate's window."""
    TENSORS = auto()
    """Whole u, s, ∂L/∂u and ∂L/∂s of every layer."""
    DEFAULT = NORMS | PATHS | QUANTILES | WEIGHTS | ACTIVITY


Criterion = Callable[[Logits, Targets], Float[Tensor, " batch"]]


def cross_entropy(logits: Logits, targets: Targets) -> Float[Tensor, " batch"]:
    """Return one cross-entropy per sample, in nats."""
    return torch.nn.functional.cross_entropy(logits, targets, reduction="none")


@dataclass(frozen=True)
class LayerGradients:
    """One layer's gradients along time, in float64, (time, batch, neuron)."""

    u: Tensor
    s: Tensor
    direct: Tensor
    recurrent: Tensor
    neuron_u: Tensor
    neuron_s: Tensor
    phi: Tensor
    linear: Tensor


def record(
    net: RecurrentSNN,
    batch: Batch,
    *,
    keep: Keep = Keep.DEFAULT,
    loss_placement: ReadoutLike | None = None,
    span_mode: SpanMode | None = None,
    quantiles: Sequence[float] = (0.1, 0.5, 0.9),
    criterion: Criterion = cross_entropy,
    engine: Engine = reference,
) -> xr.Dataset:
    """Run the network forward and backward once and return what was asked for.

    Args:
        net: the network; nothing in it changes, not even `.grad`.
        batch: inputs (time, batch, input) and targets (batch,).
        keep: what to keep, as `Keep.NORMS | Keep.ACTIVITY`.
        loss_placement: sum, mean or last step of the readout (default: the network's own).
        span_mode: soft or hard spans of adaptive recurrences (default: soft in training mode).
        quantiles: over neurons, for Keep.QUANTILES.
        criterion: logits and targets → one loss per sample.
        engine: what runs a layer.

    Returns:
        A Dataset with dims layer, time, sample (and quantile); every convention is in its attributes.
        Norms are Euclidean over the neurons; `grad_V_step` and `grad_W_step` are Frobenius norms of the
        step's share of the gradient of the batch's mean loss.

    Raises:
        ValueError: for a batch that does not fit the network, or NaN in it.

    >>> import gradflow as gf
    >>> net = gf.RecurrentSNN(gf.Sizes(2, 3), hidden=5, recurrence=gf.Skip(2))
    >>> batch = gf.Batch(torch.ones(7, 4, 2), torch.tensor([0, 1, 2, 0]))
    >>> dict(gf.record(net, batch).grad_u.sizes)
    {'layer': 1, 'time': 7, 'sample': 4}
    """
    inputs, provenance = inputs_of(batch, net)
    placement = Readout(loss_placement or net.readout)
    with torch.enable_grad():
        run: Run = net(inputs, span_mode=span_mode, readout=placement, engine=engine, track_drive=True)
        losses = criterion(run.logits, batch.targets.to(run.logits.device))
        gradients = layer_gradients(run, losses)
    count = losses.shape[0]
    variables: dict[str, xr.DataArray] = {
        "loss": xr.DataArray(as_array(losses), dims="sample", attrs=_about("loss"))
    }
    per_layer = [
        _measure(layer, gradient, keep, tuple(quantiles), count)
        for layer, gradient in zip(run.layers, gradients, strict=True)
    ]
    for name, (dims, _) in per_layer[0].items():
        stacked = np.stack([entry[name][1] for entry in per_layer])
        variables[name] = xr.DataArray(stacked, dims=("layer", *dims), attrs=_about(name))
    if Keep.TENSORS in keep:
        variables |= _tensors(run, gradients)
    conventions = conventions_of(net, run, provenance=provenance, loss_placement=placement.value)
    steps = run.outputs.shape[0]
    coords: dict[str, object] = {
        "layer": np.arange(len(run.layers)),
        "time": ("time", np.arange(steps), {"units": "steps"}),
        "sample": np.arange(count),
    }
    if Keep.QUANTILES in keep:
        coords["quantile"] = np.asarray(quantiles, dtype=np.float64)
    attrs = {"kind": "record", "criterion": criterion.__name__, **conventions.attrs()}
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def layer_gradients(run: Run, losses: Float[Tensor, " batch"]) -> list[LayerGradients]:
    """Return every layer's gradients of the summed losses, split into their paths, in float64.

    The sum over samples keeps each sample's own gradient, because samples do not meet (batch norm in
    training apart).
    """
    wanted = [tensor for layer in run.layers for tensor in (layer.drive, layer.s, layer.linear)]
    grads = torch.autograd.grad(losses.sum(), [t for t in wanted if t.requires_grad], allow_unused=True)
    found = iter(grads)
    filled = []
    for tensor in wanted:
        grad = next(found) if tensor.requires_grad else None
        filled.append((torch.zeros_like(tensor) if grad is None else grad).detach().double())
    return [split_paths(layer, *filled[3 * index : 3 * index + 3]) for index, layer in enumerate(run.layers)]


@torch.no_grad()
def split_paths(layer: LayerRun, g: Tensor, direct: Tensor, linear: Tensor) -> LayerGradients:
    """Split g = ∂L/∂u and ∂L/∂s into neuron, recurrent and direct path by the adjoint recursion."""
    dynamics = to_float64(layer.dynamics)
    u, s = layer.u.double(), layer.s.double()
    phi = dynamics.phi(u)
    later = torch.cat([g[1:], torch.zeros_like(g[:1])])
    recurrent = torch.zeros_like(g)
    if layer.V is not None:
        gated = g if dynamics.gate is None else dynamics.gate_steps(g) * g
        recurrent = layer.taps.spread(gated @ layer.V.double())
    neuron_u = dynamics.local(u, s, phi) * later
    neuron_s = dynamics.through_reset(u) * later
    return LayerGradients(
        g, direct + recurrent + neuron_s, direct, recurrent, neuron_u, neuron_s, phi, linear
    )


Measured = dict[str, tuple[tuple[str, ...], np.ndarray]]


def _measure(
    layer: LayerRun, grads: LayerGradients, keep: Keep, quantiles: tuple[float, ...], count: int
) -> Measured:
    """Return the requested numbers of one layer as name → (dims, array)."""
    step = ("time", "sample")
    out: Measured = {}
    if Keep.NORMS in keep:
        out["grad_u"] = (step, norms(grads.u))
        out["grad_s"] = (step, norms(grads.s))
        out["zero_share"] = (step, as_array((grads.u == 0).double().mean(dim=2)))
    if Keep.PATHS in keep:
        out["grad_u_neuron"] = (step, norms(grads.neuron_u))
        out["grad_u_recurrent"] = (step, norms(grads.phi * grads.recurrent))
        out["grad_u_direct"] = (step, norms(grads.phi * grads.direct))
        out["grad_s_neuron"] = (step, norms(grads.neuron_s))
        out["grad_s_recurrent"] = (step, norms(grads.recurrent))
        out["grad_s_direct"] = (step, norms(grads.direct))
    if Keep.QUANTILES in keep:
        for name, grad in (("grad_u_quantile", grads.u), ("grad_s_quantile", grads.s)):
            values = np.quantile(np.abs(as_array(grad)), quantiles, axis=2)
            out[name] = ((*step, "quantile"), np.moveaxis(values, 0, -1))
    if Keep.WEIGHTS in keep:
        out |= _weight_contributions(layer, grads, count)
    if Keep.ACTIVITY in keep:
        in_window = layer.dynamics.surrogate.in_window(layer.u - layer.dynamics.threshold)
        out["firing_rate"] = (step, as_array(layer.s.double().mean(dim=2)))
        out["window"] = (step, as_array(in_window.double().mean(dim=2)))
    return out


@torch.no_grad()
def _weight_contributions(layer: LayerRun, grads: LayerGradients, count: int) -> Measured:
    """Return ‖Σ_b gate g[t] ŝ[t]ᵀ‖_F / B and ‖Σ_b (∂L/∂Wx[t]) x[t]ᵀ‖_F / B for every step."""
    steps = len(layer.u)
    out: Measured = {"grad_V_step": (("time",), np.zeros(steps))}
    if layer.V is not None:
        gated = (
            grads.u if layer.dynamics.gate is None else layer.dynamics.gate_steps(grads.u).double() * grads.u
        )
        out["grad_V_step"] = (("time",), outer_norms(gated, layer.taps.read(layer.s).double()) / count)
    out["grad_W_step"] = (("time",), outer_norms(grads.linear, layer.inputs.double()) / count)
    return out


def norms(values: Float[Tensor, "time batch neuron"]) -> Float[np.ndarray, "time batch"]:
    """Return Euclidean norms over the neurons; scaled first, so that squares do not underflow."""
    scale = values.abs().amax(dim=2, keepdim=True)
    scaled = values / torch.where(scale > 0, scale, 1.0)
    return as_array(scale[..., 0] * torch.linalg.vector_norm(scaled, dim=2))


def outer_norms(
    left: Float[Tensor, "time batch m"], right: Float[Tensor, "time batch n"]
) -> Float[np.ndarray, " time"]:
    """Return ‖Σ_b left[t,b] right[t,b]ᵀ‖_F for every t, scaled against underflow."""
    scale = left.abs().amax(dim=(1, 2), keepdim=True)
    scaled = left / torch.where(scale > 0, scale, 1.0)
    found = torch.stack([torch.linalg.matrix_norm(a.T @ b) for a, b in zip(scaled, right, strict=True)])
    return as_array(scale[:, 0, 0] * found)


def _tensors(run: Run, gradients: list[LayerGradients]) -> dict[str, xr.DataArray]:
    """Return u, s and both gradients of each layer whole; the neuron axis bears the layer's number."""
    found = {}
    for index, (layer, grads) in enumerate(zip(run.layers, gradients, strict=True)):
        dims = ("time", "sample", f"neuron_{index}")
        for name, value in (("u", layer.u), ("s", layer.s), ("grad_u", grads.u), ("grad_s", grads.s)):
            found[f"{name}_layer_{index}"] = xr.DataArray(as_array(value), dims=dims)
    return found


LONG_NAMES = {
    "loss": ("loss of each sample", "nats"),
    "grad_u": ("norm of the loss gradient at the potential u", "1"),
    "grad_s": ("norm of the loss gradient at the spike s", "1"),
    "zero_share": ("share of neurons whose gradient is exactly zero", "1"),
    "grad_V_step": ("norm of the step's share of the mean loss gradient at V", "1"),
    "grad_W_step": ("norm of the step's share of the mean loss gradient at W", "1"),
    "firing_rate": ("share of neurons that spike", "spikes per neuron and step"),
    "window": ("share of neurons in the surrogate's window", "1"),
}


def _about(name: str) -> dict[str, str]:
    """Return a variable's long name and units."""
    if name in LONG_NAMES:
        long_name, units = LONG_NAMES[name]
        return {"long_name": long_name, "units": units}
    at, _, part = name.removeprefix("grad_").partition("_")
    what = (
        "quantiles over neurons of the absolute" if part == "quantile" else f"norm of the {part} path of the"
    )
    return {"long_name": f"{what} loss gradient at {at}", "units": "1"}
