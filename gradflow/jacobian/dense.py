"""The slow twin: ∂u[T]/∂u[t] from torch.autograd, one unit seed at a time, and no rescaling.

Obviously right and quick to underflow; `products` must agree with it wherever it has not. It is the only
module of `jacobian` that runs a network.
"""

import numpy as np
import torch
from jaxtyping import Float

from gradflow.engine import reference
from gradflow.network import RecurrentSNN
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
    inputs, _ = inputs_of(batch, net)
    with torch.enable_grad():
        run = net(
            inputs,
            span_mode=span_mode,
            engine=reference,
            generator=net.mask_generator(),
            track_drive=True,
        )
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
