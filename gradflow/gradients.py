"""The loss gradient of one run along time, split into the paths it took.

    ∂L_b/∂u[t] = g[t] = a[t] ∘ g[t+1]  +  φ[t] ∘ Σ_d p_d Vᵀ gate[t+d] g[t+d]  +  φ[t] ∘ e[t]
                        neuron path       recurrent path                         direct path
    ∂L_b/∂s[t]        = ∂c[t]/∂s[t] ∘ g[t+1]  +  Σ_d p_d Vᵀ gate[t+d] g[t+d]  +  e[t]

where e[t] comes from the next layer or the readout, and ∂c/∂s is the reset (0 where it is detached).
Axes: time batch neuron.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gradflow.layer import LayerRun
from gradflow.network import Run
from gradflow.shapes import Inputs, Sequence
from gradflow.transition import as_array, to_float64


@dataclass(frozen=True)
class LayerGradients:
    """One layer's gradients along time, in float64.

    Attributes:
        u, s: ∂L/∂u[t] and ∂L/∂s[t].
        direct, recurrent, neuron_s: the three parts of ∂L/∂s.
        neuron_u: the neuron path of ∂L/∂u; its other two parts are φ times those of ∂L/∂s.
        phi: φ[t].
        linear: the gradient at W x[t] + b.
        gated: gate[t] g[t], the gradient at I[t] + V ŝ[t].
    """

    u: Sequence
    s: Sequence
    direct: Sequence
    recurrent: Sequence
    neuron_u: Sequence
    neuron_s: Sequence
    phi: Sequence
    linear: Sequence
    gated: Sequence


def layer_gradients(run: Run, losses: Float[Tensor, " batch"]) -> list[LayerGradients]:
    """Return every layer's gradients of the summed losses, split into their paths, in float64.

    The sum over samples keeps each sample's own gradient, because samples do not meet (batch norm in
    training apart). The backward pass itself is in the network's dtype.
    """
    wanted = [tensor for layer in run.layers for tensor in (layer.drive, layer.s, layer.linear)]
    found = torch.autograd.grad(losses.sum(), wanted, allow_unused=True)
    filled = [
        (torch.zeros_like(tensor) if grad is None else grad).detach().double()
        for tensor, grad in zip(wanted, found, strict=True)
    ]
    return [split_paths(layer, *filled[3 * index : 3 * index + 3]) for index, layer in enumerate(run.layers)]


@torch.no_grad()
def split_paths(layer: LayerRun, g: Sequence, direct: Sequence, linear: Sequence) -> LayerGradients:
    """Split g = ∂L/∂u and ∂L/∂s into neuron, recurrent and direct path by the adjoint recursion."""
    dynamics = to_float64(layer.dynamics)
    u, s = layer.u.double(), layer.s.double()
    phi = dynamics.phi(u)
    later = torch.cat([g[1:], torch.zeros_like(g[:1])])
    gated = g if dynamics.gate is None else dynamics.gate_steps(g) * g
    recurrent = torch.zeros_like(g)
    if layer.V is not None:
        recurrent = layer.taps.spread(gated @ layer.V.double())
    neuron_u = dynamics.local(u, s, phi) * later
    neuron_s = dynamics.through_reset(u) * later
    s_grad = direct + recurrent + neuron_s
    return LayerGradients(g, s_grad, direct, recurrent, neuron_u, neuron_s, phi, linear, gated)


@torch.no_grad()
def weight_step_norms(
    layer: LayerRun, grads: LayerGradients
) -> tuple[Float[np.ndarray, " time"], Float[np.ndarray, " time"]]:
    """Return the norms of what every step adds to ∂L/∂V and to ∂L/∂W.

    ‖Σ_b gate[t] g[t] ŝ[t]ᵀ‖_F and ‖Σ_b ∂L/∂i[t] x[t]ᵀ‖_F with i = W x + b, for the sum of the losses.
    """
    at_W = outer_norms(grads.linear, layer.inputs.double())
    if layer.V is None:
        return np.zeros(len(at_W)), at_W
    return outer_norms(grads.gated, layer.taps.read(layer.s).double()), at_W


def norms(values: Float[Tensor, "*axes last"]) -> Float[np.ndarray, "*axes"]:
    """Return Euclidean norms over the last axis; scaled first, so that no square under- or overflows."""
    scale = values.abs().amax(dim=-1, keepdim=True)
    usable = (scale > 0) & torch.isfinite(scale)
    found = torch.linalg.vector_norm(values / torch.where(usable, scale, 1.0), dim=-1)
    return as_array(torch.where(usable, scale, 1.0)[..., 0] * found)


def outer_norms(left: Sequence, right: Inputs) -> Float[np.ndarray, " time"]:
    """Return ‖Σ_b left[t,b] right[t,b]ᵀ‖_F for every t; one step at a time, to hold one matrix only."""
    scale = left.abs().amax(dim=(1, 2), keepdim=True)
    usable = torch.where((scale > 0) & torch.isfinite(scale), scale, 1.0)
    found = [norms((a.T @ b).reshape(1, -1)) for a, b in zip(left / usable, right, strict=True)]
    scaled: Float[np.ndarray, " time"] = as_array(usable[:, 0, 0]) * np.concatenate(found)
    return scaled
