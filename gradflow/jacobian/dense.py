"""The slow twins: Jacobians by torch.autograd, one unit seed at a time, and no rescaling.

Obviously right and quick to underflow; `products` and `stack` must agree with them wherever they have not. It
is the only module of `jacobian` that runs a network.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gradflow.engine import reference
from gradflow.network import RecurrentSNN, Run
from gradflow.recurrence import SpanMode
from gradflow.transition import BatchLike, inputs_of


def dense_products(
    net: RecurrentSNN, batch: BatchLike, *, end: int = -1, span_mode: SpanMode | None = None
) -> list[Float[np.ndarray, "sample lag target source"]]:
    """Return P(T,t) of every layer as whole matrices, in the network's dtype.

    Args:
        net: the network; use `.double()` for comparisons.
        batch: a batch of a task, or inputs (time, batch, input).
        end: T (default: the last step; negative counts from the end).
        span_mode: soft or hard spans (default: soft in training mode).

    Cost: one backward pass per neuron and layer, and T H² numbers per sample.
    """
    run, _ = tracked(net, batch, span_mode)
    with torch.enable_grad():
        found = []
        for layer in run.layers:
            last = range(len(layer.u))[end]
            # drive[t] is added to u[t], so a gradient with respect to it is one with respect to u[t]
            rows = [
                torch.autograd.grad(layer.u[last, :, i].sum(), layer.drive, retain_graph=True)[0]
                for i in range(layer.u.shape[2])
            ]
            stacked = torch.stack(rows)[:, : last + 1].flip(1)
            found.append(np.ascontiguousarray(stacked.permute(2, 1, 0, 3).cpu().numpy()))
    return found


def dense_stack(
    net: RecurrentSNN, batch: BatchLike, *, end: int = -1, span_mode: SpanMode | None = None
) -> dict[tuple[int, int], Float[np.ndarray, "sample lag target source"]]:
    """Return ∂u_m[T]/∂u_l[t] of any two layers l ≤ m as whole matrices, by (m, l), in the network's dtype.

    Batch norm in training lets samples meet: the sum over samples that is differentiated is then no longer
    the Jacobian of each.

    Args:
        net: the network; use `.double()` for comparisons.
        batch: a batch of a task, or inputs (time, batch, input).
        end: T (default: the last step; negative counts from the end).
        span_mode: soft or hard spans (default: soft in training mode).

    Cost: one backward pass through all layers below for each neuron of each layer.
    """
    run, _ = tracked(net, batch, span_mode)
    found = {}
    with torch.enable_grad():
        for m, top in enumerate(run.layers):
            last = range(len(top.u))[end]
            drives = [layer.drive for layer in run.layers[: m + 1]]
            rows = [
                torch.autograd.grad(
                    top.u[last, :, i].sum(), drives, retain_graph=True, materialize_grads=True
                )
                for i in range(top.u.shape[2])
            ]
            for below in range(m + 1):
                stacked = torch.stack([row[below] for row in rows])[:, : last + 1].flip(1)
                found[m, below] = np.ascontiguousarray(stacked.permute(2, 1, 0, 3).cpu().numpy())
    return found


def dense_sensitivity(
    net: RecurrentSNN, batch: BatchLike, *, span_mode: SpanMode | None = None
) -> list[Float[np.ndarray, "sample time class source"]]:
    """Return ∂logits/∂u_l[t] of every layer and, at the end, ∂logits/∂x[t], in the network's dtype.

    Args:
        net: the network; use `.double()` for comparisons.
        batch: a batch of a task, or inputs (time, batch, input).
        span_mode: soft or hard spans (default: soft in training mode).

    Cost: one backward pass through all layers for each class.
    """
    run, inputs = tracked(net, batch, span_mode)
    with torch.enable_grad():
        wanted = [*(layer.drive for layer in run.layers), inputs]
        rows = [
            torch.autograd.grad(run.logits[:, c].sum(), wanted, retain_graph=True, materialize_grads=True)
            for c in range(run.logits.shape[1])
        ]
        return [
            np.ascontiguousarray(torch.stack(list(parts)).permute(2, 1, 0, 3).cpu().numpy())
            for parts in zip(*rows, strict=True)
        ]


def tracked(net: RecurrentSNN, batch: BatchLike, span_mode: SpanMode | None) -> tuple[Run, Tensor]:
    """Run the network with a graph to every layer's drive and to the inputs; return both."""
    inputs, _ = inputs_of(batch, net)
    with torch.enable_grad():
        x = inputs.detach().clone().requires_grad_()
        run = net(x, span_mode=span_mode, engine=reference, generator=net.mask_generator(), track_drive=True)
    return run, x
