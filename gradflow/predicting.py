"""A network as theory reads it: each layer's weights, spans and update rule, as plain float64 arrays.

The bridge from `RecurrentSNN` to `gradflow.theory.predict_without_data`, which knows no network.
"""

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from gradflow.conventions import conventions_of
from gradflow.layer import RecurrentLayer
from gradflow.network import RecurrentSNN
from gradflow.neurons import Dynamics
from gradflow.norms import BatchNormParameters
from gradflow.recurrence import SpanMode
from gradflow.theory import InputLaw, LayerWeights, UpdateRule, density_closure
from gradflow.theory import predict_without_data as predict_layers
from gradflow.theory.dataless import Closure
from gradflow.transition import as_array, to_float64


@torch.no_grad()
def layer_weights(net: RecurrentSNN, *, span_mode: SpanMode | None = None) -> list[LayerWeights]:
    """Return the weights of every layer; batch norm's running averages become part of W and b.

    Args:
        net: in evaluation, or in training without dropout and batch norm.
        span_mode: soft or hard spans (default: soft in training, hard in evaluation).

    Raises ValueError for what is no fixed linear map of the input: layer norm, and dropout or batch norm in
    training.

    >>> import gradflow as gf
    >>> net = gf.RecurrentSNN(gf.Sizes(inputs=1, classes=10), hidden=8, recurrence=gf.Skip(4))
    >>> layer = layer_weights(net)[0]
    >>> layer.W.shape, dict(layer.taps), layer.rule.leak.item()
    ((8, 1), {4: 1.0}, 0.5)
    """
    mode = SpanMode(span_mode or (SpanMode.SOFT if net.training else SpanMode.HARD))
    if net.training and net.dropout:
        raise ValueError("layer_weights: dropout draws a mask for each sample; use net.eval()")
    return [weights_of(layer, mode) for layer in net.recurrent_layers()]


def weights_of(layer: RecurrentLayer, mode: SpanMode) -> LayerWeights:
    """Return the weights of one layer."""
    V, dynamics, taps = layer.coefficients(layer.linear.weight, mode, track_drive=True)
    W, b = as_array(layer.linear.weight), np.zeros(len(layer.linear.weight))
    if layer.linear.bias is not None:
        b = as_array(layer.linear.bias)
    if layer.norm is not None:
        if not isinstance(layer.norm, BatchNormParameters) or layer.training:
            raise ValueError(
                f"layer_weights: got {type(layer.norm).__name__.removesuffix('Parameters')}, whose "
                "statistics here are those of the samples: no fixed linear map of the input; use BatchNorm() "
                "and net.eval(), or no norm"
            )
        norm = layer.norm
        factor = as_array(norm.scale.double() / torch.sqrt(norm.running_variance.double() + norm.epsilon))
        W, b = factor[:, None] * W, factor * (b - as_array(norm.running_mean)) + as_array(norm.shift)
    read = {} if V is None else dict(zip(taps.spans, taps.weights.double().tolist(), strict=True))
    square = np.zeros((len(W), len(W))) if V is None else as_array(V)
    return LayerWeights(W, b, square, read, rule_of(dynamics))


def rule_of(dynamics: Dynamics) -> UpdateRule:
    """Return the update rule of neurons in float64."""
    exact: Dynamics = to_float64(dynamics)

    def derivative(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        return as_array(exact.surrogate.derivative(torch.from_numpy(np.ascontiguousarray(x))))

    def number(value: Tensor | None) -> Float[np.ndarray, "..."] | float:
        return 0.0 if value is None else as_array(value)

    return UpdateRule(
        leak=number(exact.leak),
        multiplied=number(exact.multiplied),
        subtracted=number(exact.subtracted),
        threshold=number(exact.threshold),
        derivative=derivative,
        detached=exact.detach_reset,
        gate=None if exact.gate is None else as_array(exact.gate).reshape(len(exact.gate), -1),
        offset=number(exact.offset),
    )


@torch.no_grad()
def predict_without_data(
    net: RecurrentSNN, law: InputLaw, *, closure: Closure = density_closure, span_mode: SpanMode | None = None
) -> xr.Dataset:
    """Return `gradflow.theory.predict_without_data` of a network, with its conventions.

    Raises ValueError as `layer_weights` does.
    """
    layers = layer_weights(net, span_mode=span_mode)
    mean = torch.from_numpy(law.mean[:, None]).to(dtype=net.dtype, device=net.output.weight.device)
    run = net(mean, span_mode=span_mode)  # of the mean input, for the conventions alone
    origin = {"task": "law of the input", "task_source": type(law).__name__}
    conventions = conventions_of(net, run, provenance=origin).attrs()
    return predict_layers(law, layers, closure=closure, conventions=conventions)
