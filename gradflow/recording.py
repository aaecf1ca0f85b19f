"""Record a network's gradient along time: what to keep is an argument, what was kept is the return value.

With one loss L_b per sample (cross-entropy by default), every number here is taken of ∂L_b/∂u[t] and
∂L_b/∂s[t], and of the parts they are made of (`gradients`). Axes: layer time sample (neuron).
"""

from collections.abc import Callable, Iterable, Sequence
from enum import Flag, auto
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from gradflow.conventions import conventions_of
from gradflow.engine import Engine, Observation, Observing, automatic, fused
from gradflow.engine.kernels.neuron import MEASURES
from gradflow.gradients import LayerGradients, layer_gradients, norms, weight_step_norms
from gradflow.layer import LayerRun
from gradflow.network import RecurrentSNN, Run
from gradflow.readout import Readout, ReadoutLike
from gradflow.recurrence import SpanMode
from gradflow.results import Results
from gradflow.shapes import AnyTargets, Logits
from gradflow.tasks.base import Batch
from gradflow.tasks.objectives import cross_entropy
from gradflow.transition import as_array, inputs_of


class Keep(Flag):
    """What a record holds. DEFAULT is what the adjoint measures on its way, SUMMARIES all but whole tensors.

    NORMS, PATHS and ACTIVITY cost next to nothing; the others need every gradient stored.
    """

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
    DEFAULT = NORMS | PATHS | ACTIVITY
    SUMMARIES = DEFAULT | QUANTILES | WEIGHTS


Criterion: TypeAlias = Callable[[Logits, AnyTargets], Float[Tensor, " batch"]]
Measured: TypeAlias = dict[str, tuple[tuple[str, ...], np.ndarray]]


def record(
    net: RecurrentSNN,
    batch: Batch,
    *,
    keep: Keep = Keep.DEFAULT,
    loss_placement: ReadoutLike | None = None,
    span_mode: SpanMode | None = None,
    quantiles: Sequence[float] = (0.1, 0.5, 0.9),
    criterion: Criterion | None = None,
    engine: Engine = automatic,
    checkpoint: int | None = None,
) -> xr.Dataset:
    """Run the network forward and backward once and return what was asked for.

    The passes are in the network's dtype, the norms in float64: a gradient that underflows in a float32
    network is recorded as the 0 that training would see. What DEFAULT holds is measured by the fused engine
    as its adjoint runs; other requests and engines store the gradients and split them in float64. Dropout,
    where it is active, takes the masks of `RecurrentSNN.mask_generator`.

    Args:
        net: the network; nothing in it changes, not even `.grad`.
        batch: inputs (time, batch, input) and targets, (batch,) or what the batch's objective takes.
        keep: what to keep, as `Keep.NORMS | Keep.WEIGHTS`.
        loss_placement: sum, mean or last step of the readout (default: the objective's, else the network's).
        span_mode: soft or hard spans of adaptive recurrences (default: soft in training mode).
        quantiles: over neurons, for Keep.QUANTILES.
        criterion: logits and targets → one loss per sample (default: the losses of the batch's objective,
            cross-entropy unless the task says otherwise).
        engine: what runs a layer (default: the fused engine wherever it applies).
        checkpoint: steps of the segments of time checkpointing, for long sequences (default: none); for what
            DEFAULT holds, measured by the fused engine.

    Returns:
        A Dataset with dims layer, time, sample (and quantile); every convention is in its attributes.
        Norms are Euclidean over the neurons, and of each sample's own loss (but batch norm in training lets
        samples meet: there they are of the sum of the losses). `grad_V_step` and `grad_W_step` are Frobenius
        norms of the step's share of the gradient of the batch's mean loss.

    Raises:
        ValueError: for a batch, targets or quantiles that do not fit, NaN in the inputs, or a network whose
            potentials or loss are no longer finite.

    >>> import gradflow as gf
    >>> net = gf.RecurrentSNN(gf.Sizes(2, 3), hidden=5, recurrence=gf.Skip(2))
    >>> batch = gf.Batch(torch.ones(7, 4, 2), torch.tensor([0, 1, 2, 0]))
    >>> dict(gf.record(net, batch).grad_u.sizes)
    {'layer': 1, 'time': 7, 'sample': 4}
    """
    _check_request(batch, keep, quantiles)
    inputs, provenance = inputs_of(batch, net)
    readout = Readout(loss_placement or batch.objective.readout or net.readout)
    objective = batch.objective
    if loss_placement is not None and criterion is None:
        objective = objective.at(readout)
    observing = Observing() if engine in (automatic, fused) and keep in Keep.DEFAULT else None
    # a caller may be evaluating under no_grad or inference_mode; a record needs the graph all the same
    with torch.inference_mode(False), torch.enable_grad():
        x = (inputs.clone() if inputs.is_inference() else inputs.detach()).requires_grad_(
            checkpoint is not None
        )
        run = net(
            x,
            span_mode=span_mode,
            readout=readout,
            engine=observing or engine,
            generator=net.mask_generator(),
            track_drive=True,
            checkpoint=checkpoint,
        )
        targets = batch.targets.to(run.logits.device)
        losses = objective.losses(run, targets) if criterion is None else criterion(run.logits, targets)
        _check_finite(run, losses)
        observed = _observe(run, losses, observing, run.layers[0].linear if checkpoint is None else x)
        if checkpoint is not None and not observed:
            raise ValueError(
                f"checkpoint={checkpoint}: a run in segments keeps no gradients to split; ask for members of "
                "Keep.DEFAULT and the fused engine, or leave checkpoint out"
            )
        gradients = [] if observed else layer_gradients(run, losses)
    variables = {"loss": xr.DataArray(as_array(losses), dims="sample", attrs=_about("loss"))}
    found = _from_observations(observed, keep) if observed else _measured(run, gradients, keep, quantiles)
    for name, (dims, values) in found.items():
        variables[name] = xr.DataArray(values, dims=("layer", *dims), attrs=_about(name))
    if Keep.TENSORS in keep:
        variables |= _tensors(run, gradients)
    if criterion is None:
        name, placement = objective.name, objective.placement(net.readout)
        variables["loss"].attrs["units"] = objective.units
    else:
        name, placement = getattr(criterion, "__name__", type(criterion).__name__), readout.value
        variables["loss"].attrs["units"] = "nats" if criterion is cross_entropy else "1"
    steps, count = run.outputs.shape[:2]
    coords: dict[str, object] = {
        "layer": np.arange(len(run.layers)),
        "time": ("time", np.arange(steps), {"units": "steps"}),
        "sample": np.arange(count),
    }
    if Keep.QUANTILES in keep:
        coords["quantile"] = np.asarray(quantiles, dtype=np.float64)
    conventions = conventions_of(net, run, provenance=provenance, loss_placement=placement)
    attrs = {**provenance, "kind": "record", "criterion": name, **conventions.attrs()}
    return Results(variables, coords, attrs)


MEASURED = {
    Keep.NORMS: ("grad_u", "grad_s", "zero_share"),
    Keep.PATHS: tuple(f"grad_{at}_{path}" for at in "us" for path in ("neuron", "recurrent", "direct")),
    Keep.ACTIVITY: ("firing_rate", "window"),
}
"""What the members of DEFAULT hold."""


def _observe(
    run: Run, losses: Float[Tensor, " batch"], observing: Observing | None, start: Tensor
) -> list[Observation]:
    """Run the adjoint of every layer and return what it measured; nothing where one could not be observed."""
    found = [] if observing is None else observing.observations
    observations = [observation for observation in found if observation is not None]
    if not found or len(observations) < len(found):
        return []
    assert observing is not None
    observing.complete = True
    # the gradient at `start` is wanted for nothing but the adjoints on its way
    torch.autograd.grad(losses.sum(), start)
    layers = len(run.layers)
    return [Observation.joined(observations[index::layers]) for index in range(layers)]


def _from_observations(observations: list[Observation], keep: Keep) -> Measured:
    """Return the requested numbers of all layers as name → (dims, array)."""
    whole = Observation.stacked(observations)
    names = [name for member, held in MEASURED.items() if member in keep for name in held]
    return {name: (("time", "sample"), whole[MEASURES.index(name)]) for name in names}


def _measured(run: Run, gradients: list[LayerGradients], keep: Keep, quantiles: Sequence[float]) -> Measured:
    """Return the requested numbers of all layers as name → (dims, array)."""
    per_layer = [
        _measure(layer, gradient, keep, tuple(quantiles))
        for layer, gradient in zip(run.layers, gradients, strict=True)
    ]
    return {
        name: (dims, np.stack([entry[name][1] for entry in per_layer]))
        for name, (dims, _) in per_layer[0].items()
    }


def _measure(layer: LayerRun, grads: LayerGradients, keep: Keep, quantiles: tuple[float, ...]) -> Measured:
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
        at_V, at_W = weight_step_norms(layer, grads)
        count = layer.u.shape[1]
        out["grad_V_step"] = (("time",), at_V / count)
        out["grad_W_step"] = (("time",), at_W / count)
    if Keep.ACTIVITY in keep:
        above = layer.u.double() - layer.dynamics.threshold.double()
        in_window = layer.dynamics.surrogate.in_window(above)
        out["firing_rate"] = (step, as_array(layer.s.double().mean(dim=2)))
        out["window"] = (step, as_array(in_window.double().mean(dim=2)))
    return out


def _tensors(run: Run, gradients: list[LayerGradients]) -> dict[str, xr.DataArray]:
    """Return u, s and both gradients of each layer whole; the neuron axis bears the layer's number."""
    found = {}
    for index, (layer, grads) in enumerate(zip(run.layers, gradients, strict=True)):
        dims = ("time", "sample", f"neuron_{index}")
        for name, value in (("u", layer.u), ("s", layer.s), ("grad_u", grads.u), ("grad_s", grads.s)):
            attrs = {"long_name": f"{WHOLE[name]} of layer {index}", "units": "1"}
            found[f"{name}_layer_{index}"] = xr.DataArray(as_array(value), dims=dims, attrs=attrs)
    return found


WHOLE = {
    "u": "potential u before the reset",
    "s": "spikes s",
    "grad_u": "loss gradient at the potential u",
    "grad_s": "loss gradient at the spike s",
}
LONG_NAMES = {
    "loss": ("loss of each sample", "nats"),
    "grad_u": ("norm of the loss gradient at the potential u", "1"),
    "grad_s": ("norm of the loss gradient at the spike s", "1"),
    "zero_share": ("share of neurons whose gradient at u is exactly 0, structural or by underflow", "1"),
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


def _check_request(batch: Any, keep: Any, quantiles: Any) -> None:
    """Raise ValueError for what cannot be recorded, before anything is computed."""
    if not isinstance(batch, Batch):
        raise ValueError(
            f"batch: got {type(batch).__name__}, expected inputs with targets, because a loss needs both: "
            "task.sample(n), or Batch(inputs, targets)"
        )
    if not isinstance(keep, Keep):
        raise ValueError(f"keep: got {keep!r}, expected members of Keep, as in Keep.NORMS | Keep.ACTIVITY")
    listed = list(quantiles) if isinstance(quantiles, Iterable) else []
    if not listed or not all(isinstance(q, Real) and 0 <= float(q) <= 1 for q in listed):
        raise ValueError(f"quantiles: got {quantiles!r}, expected numbers from 0 to 1, as in (0.1, 0.5, 0.9)")


def _check_finite(run: Run, losses: Any) -> None:
    """Raise ValueError unless there is one finite loss per sample and every potential is a number."""
    count = len(run.logits)
    if not isinstance(losses, Tensor) or tuple(losses.shape) != (count,):
        got = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
        raise ValueError(f"criterion: returned {got}, expected one loss per sample, a tensor ({count},)")
    if not losses.requires_grad:
        raise ValueError("criterion: the losses do not depend on the logits; there is nothing to measure")
    for index, layer in enumerate(run.layers):
        # NaN and infinity are carried on to the last step, whatever the leak
        if len(layer.u) and not torch.isfinite(layer.u[-1]).all():
            raise ValueError(
                f"the potentials of layer {index} hold NaN or infinity: look for NaN among the network's "
                "parameters, or lower the learning rate or the recurrent gain that let them grow so far"
            )
    if not torch.isfinite(losses).all():
        sample = int((~torch.isfinite(losses)).nonzero()[0])
        raise ValueError(
            f"the loss of sample {sample} is {float(losses[sample].detach())}: look for NaN among the "
            "readout's parameters, or for a criterion that cannot take these logits"
        )
