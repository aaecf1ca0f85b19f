"""Where on the time axis the answer is read, and so where the loss is placed.

With logits summed over time the loss feeds every step directly and ‖∂L/∂u[t]‖ does not decay at all; to
see gradients vanish, place the loss on the last step, or look at the Jacobian product.
"""

from enum import StrEnum
from typing import Literal, TypeAlias

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
        return outputs.sum(dim=0) if self is Readout.SUM else outputs.mean(dim=0)


ReadoutLike: TypeAlias = Readout | Literal["sum", "mean", "last"]
