"""The feed-forward product: of spikes, adding only the rows of the neurons that fired, or of few inputs.

    I[t] = W x[t] + b,        ∂L/∂x = Wᵀ g,   ∂L/∂W = Σ_t g[t] x[t]ᵀ,   ∂L/∂b = Σ_t g[t]

Same results as torch's linear map, whose products are dense. Nothing here uses torch's own threads: they
spin for milliseconds after each operation, on the cores that the engine's threads want. Axes: time batch
neuron.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gradflow.engine import operands
from gradflow.engine.kernels.currents import (
    narrow_currents,
    narrow_currents_back,
    spike_currents,
    spike_currents_back,
)
from gradflow.engine.kernels.vector import ROWS, tile_columns
from gradflow.engine.memory import empty
from gradflow.shapes import Inputs, Sequence, Weights


def spike_linear(x: Inputs, weight: Weights, bias: Float[Tensor, " target"] | None) -> Sequence:
    """Return W x + b for an x of zeros and ones in float32 or float64 on CPU.

    What is not 1 counts as 0: the caller answers for x being spikes.

    Cost of a row, at a share r of ones: r · inputs · neurons additions forward, 1 + r times that backward.
    """
    out: Tensor = _SpikeLinear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return out


NARROW = 8
"""Inputs up to which a product is narrow: it is bound by memory, not by multiplications."""


def narrow_linear(x: Inputs, weight: Weights, bias: Float[Tensor, " target"] | None) -> Sequence:
    """Return W x + b for up to eight inputs that need no gradient, in float32 or float64 on CPU."""
    out: Tensor = _NarrowLinear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return out


def is_narrow(x: Inputs) -> bool:
    """Say whether `narrow_linear` applies."""
    floating = x.dtype in (torch.float32, torch.float64)
    return x.device.type == "cpu" and floating and x.shape[2] <= NARROW and not x.requires_grad


class _NarrowLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        neurons, inputs = weight.shape
        rows = np.ones((x.shape[0] * x.shape[1], inputs + 1), x.detach().numpy().dtype)
        rows[:, :inputs] = x.detach().numpy().reshape(len(rows), inputs)
        WT = np.zeros((inputs + 1, operands.padded_width(neurons)), rows.dtype)
        WT[:inputs, :neurons] = weight.detach().numpy().T
        if bias is not None:
            WT[-1, :neurons] = bias.detach().numpy()
        out, tile = empty((len(rows), WT.shape[1]), rows.dtype), tile_columns(rows.itemsize)

        def job(r0: int, r1: int) -> None:
            narrow_currents(rows, WT, out, tile, r0, r1)

        operands.run_slices(job, len(rows), WT.shape[1])
        ctx.rows, ctx.inputs = rows, inputs
        return operands.narrowed(out.reshape(*x.shape[:2], -1), neurons)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        neurons, inputs = grads[0].shape[2], ctx.inputs
        g = operands.padded(grads[0])
        g = g.reshape(-1, g.shape[2])
        wide = -(-(inputs + 1) // ROWS) * ROWS
        xT = np.zeros((wide, len(g)), g.dtype)
        xT[: inputs + 1] = ctx.rows.T
        shares, tile = operands.Shares(), tile_columns(g.itemsize)

        def job(r0: int, r1: int) -> None:
            part, whole = np.zeros((wide, g.shape[1]), g.dtype), shares.add(r0, wide, g.shape[1])
            narrow_currents_back(g, xT, part, whole, tile, r0, r1)

        operands.run_slices(job, len(g), g.shape[1])
        total = shares.total()[:, :neurons].astype(g.dtype)
        W_grad = torch.from_numpy(np.ascontiguousarray(total[:inputs].T))
        _, wants_W, wants_b = ctx.needs_input_grad
        return None, W_grad if wants_W else None, torch.from_numpy(total[inputs].copy()) if wants_b else None


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
        out = empty((len(rows), WT.shape[1]), spikes.dtype)
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
        x_grad = empty(rows.shape if wants_x else (0, rows.shape[1]), rows.dtype)
        shares = operands.Shares()
        half, tile = _half(rows), tile_columns(rows.itemsize)

        def job(r0: int, r1: int) -> None:
            size = ((rows.shape[1] + 1) * (wants_W or wants_b), g.shape[1])
            part, whole = np.zeros(size, g.dtype), shares.add(r0, *size)
            spike_currents_back(g, rows, W, half, x_grad, part, whole, _lists(rows), tile, neurons, r0, r1)

        operands.run_slices(job, len(rows), rows.shape[1])
        found_x = operands.narrowed(x_grad.reshape(spikes.shape), inputs) if wants_x else None
        total = shares.total().astype(g.dtype)
        found_W = torch.from_numpy(np.ascontiguousarray(total[:inputs, :neurons].T)) if wants_W else None
        return found_x, found_W, torch.from_numpy(total[-1, :neurons].copy()) if wants_b else None


def _half(rows: Float[np.ndarray, "row input"]) -> np.ndarray:
    return np.full(rows.shape[1], 0.5, rows.dtype)


def _lists(rows: np.ndarray) -> np.ndarray:
    """Return room for the inputs that fired in one row, and the bias."""
    return np.empty((1, rows.shape[1] + 1), np.uint32)
