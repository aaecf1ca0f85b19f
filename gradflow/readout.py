"""Where on the time axis the answer is read, and so where the loss is placed.

With logits summed over time the loss feeds every step directly and ‖∂L/∂u[t]‖ does not decay at all; to
see gradients vanish, place the loss on the last step, or look at the Jacobian product.
"""

from enum import StrEnum
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gradflow.shapes import Logits


class Readout(StrEnum):
    """How the readout's T outputs become one row of logits."""

    SUM = "sum"
    MEAN = "mean"
    LAST = "last"

    @classmethod
    def _missing_(cls, value: object) -> "Readout":
        raise ValueError(f"readout {value!r}: expected sum, mean or last")

    def logits(self, outputs: Float[Tensor, "time batch classes"]) -> Logits:
        """Return the sum, the mean or the last of the outputs over time."""
        if self is Readout.LAST:
            return outputs[-1]
        total = _sum_over_time(outputs)
        return total if self is Readout.SUM else total / len(outputs)


class _TimeSum(torch.autograd.Function):
    """The sum over time on CPU, taken in float64 by one thread."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor) -> Tensor:
        ctx.steps = len(outputs)
        return torch.from_numpy(outputs.detach().numpy().sum(axis=0, dtype=np.float64)).to(outputs.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0].expand(ctx.steps, *grads[0].shape)


def _sum_over_time(outputs: Float[Tensor, "time batch classes"]) -> Logits:
    """Return Σ_t outputs[t]; on CPU without torch's threads, which would spin on the engine's cores."""
    if outputs.device.type != "cpu":
        return outputs.sum(dim=0)
    summed: Tensor = _TimeSum.apply(outputs)  # type: ignore[no-untyped-call]
    return summed


ReadoutLike: TypeAlias = Readout | Literal["sum", "mean", "last"]
