"""The feed-forward product when its input is spikes: only the rows of the neurons that fired are added.

    I[t] = W x[t] + b,        ∂L/∂x = Wᵀ g,   ∂L/∂W = Σ_t g[t] x[t]ᵀ,   ∂L/∂b = Σ_t g[t]

Same results as torch's linear map, whose products are dense. Axes: time batch neuron.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gradflow.engine import operands
from gradflow.engine.kernels.currents import spike_currents, spike_currents_back
from gradflow.engine.kernels.vector import tile_columns
from gradflow.shapes import Inputs, Sequence, Weights


def spike_linear(x: Inputs, weight: Weights, bias: Float[Tensor, " target"] | None) -> Sequence:
    """Return W x + b for an x of zeros and ones in float32 or float64 on CPU.

    What is not 1 counts as 0: the caller answers for x being spikes.

    Cost of a row, at a share r of ones: r · inputs · neurons additions forward, 1 + r times that backward.
    """
    out: Tensor = _SpikeLinear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return out


class _SpikeLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        operands.require_finite("W", weight)
        ctx.save_for_backward(x, weight)
        neurons, inputs = weight.shape
        spikes = operands.padded(x)
        WT = np.zeros((spikes.shape[2] + 1, operands.padded_width(neurons)), spikes.dtype)
        WT[:inputs, :neurons] = weight.detach().numpy().T
        if bias is not None:
            WT[-1, :neurons] = bias.detach().numpy()
        rows = spikes.reshape(-1, spikes.shape[2])
        out = np.empty((len(rows), WT.shape[1]), spikes.dtype)
        half, tile = _half(rows), tile_columns(rows.itemsize)

        def job(r0: int, r1: int) -> None:
            spike_currents(rows, WT, half, out, _lists(rows), tile, r0, r1)

        operands.run_slices(job, len(rows), rows.shape[1])
        return operands.narrowed(out.reshape(*x.shape[:2], -1), neurons)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        wants_x, wants_W, wants_b = ctx.needs_input_grad
        neurons, inputs = weight.shape
        g, spikes = operands.padded(grads[0]), operands.padded(x)
        g, rows = g.reshape(-1, g.shape[2]), spikes.reshape(-1, spikes.shape[2])
        W = np.zeros((g.shape[1], rows.shape[1]), g.dtype)
        W[:neurons, :inputs] = weight.detach().numpy()
        x_grad = np.empty_like(rows if wants_x else rows[:0])
        shares = operands.Shares()
        half, tile = _half(rows), tile_columns(rows.itemsize)

        def job(r0: int, r1: int) -> None:
            size = (rows.shape[1] * wants_W, g.shape[1])
            part = np.zeros(size, g.dtype)
            spike_currents_back(
                g, rows, W, half, x_grad, part, shares.add(r0, *size), _lists(rows), tile, r0, r1
            )

        operands.run_slices(job, len(rows), rows.shape[1])
        found_x = operands.narrowed(x_grad.reshape(spikes.shape), inputs) if wants_x else None
        found_W = torch.from_numpy(shares.total()[:inputs, :neurons].T.astype(g.dtype)) if wants_W else None
        return found_x, found_W, grads[0].sum(dim=(0, 1)) if wants_b else None


def _half(rows: Float[np.ndarray, "row input"]) -> np.ndarray:
    return np.full(rows.shape[1], 0.5, rows.dtype)


def _lists(rows: np.ndarray) -> np.ndarray:
    """Return room for the inputs that fired in one row, and the bias."""
    return np.empty((1, rows.shape[1] + 1), np.uint32)
