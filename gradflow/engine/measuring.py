"""What an observation asks of an adjoint, measured by reductions over the neurons, on any device.

The same measures as those the compiled kernels take on their way (`kernels.neuron`). Axes: time batch neuron.
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from gradflow.engine.blocks import WITHOUT_FLOAT64
from gradflow.engine.kernels.neuron import MEASURES, parts
from gradflow.engine.scan_torch import Cells
from gradflow.shapes import Sequence, Step
from gradflow.surrogate import TAIL

CHUNK = 2**22
"""Numbers of a sequence that are measured at a time; a dozen arrays of this size are alive."""


@torch.no_grad()
def measure(
    u: Sequence, direct: Sequence | None, recurrent: Sequence, g: Sequence, last: Step | None, cells: Cells
) -> Float[Tensor, "measure time batch"]:
    """Return the measures named in `MEASURES`, in float64 on CPU.

    Eight norms of ∂L/∂u[t], ∂L/∂s[t] and their parts, then the shares of neurons whose g is 0, that fire, and
    that are in the surrogate's window. `direct` = ∂L/∂s from above, `recurrent` = Vᵀ Σ_d p_d gate g[t+d],
    `last` = ∂L/∂c[T−1] from a segment that goes on from this one.
    """
    found = torch.empty(len(MEASURES), *u.shape[:2], dtype=torch.float64)
    steps = max(1, CHUNK // u[0].numel())
    for t0 in range(0, len(u), steps):
        t1 = min(len(u), t0 + steps)
        later = torch.zeros_like(u[t0:t1])
        later[: len(g) - t0 - 1] = g[t0 + 1 : t1 + 1]
        if last is not None and t1 == len(g):
            later[-1] = last
        above = None if direct is None else direct[t0:t1]
        found[:, t0:t1] = _measure(u[t0:t1], above, recurrent[t0:t1], later, g[t0:t1], cells)
    return found


def _measure(
    u: Sequence, direct: Sequence | None, recurrent: Sequence, later: Sequence, g: Sequence, cells: Cells
) -> Float[Tensor, "measure time batch"]:
    leak, multiplied, subtracted, threshold = cells.coefficients
    surrogate = cells.surrogate
    s = (u - threshold >= 0).to(u.dtype)
    phi = surrogate.derivative(u - threshold)
    reset = -(leak * multiplied * u + subtracted) * float(cells.attached)
    from_above = torch.zeros_like(u) if direct is None else direct
    at_spike = from_above + recurrent + reset * later
    kept = leak * (1.0 - multiplied * s)
    split = parts(from_above, recurrent, later, phi, at_spike, g, reset, kept)
    limit = 0.0 if surrogate.compact else TAIL * surrogate.peak
    shares = (g == 0, s, phi.abs() > limit)
    return torch.stack([*map(_norm, split), *(_wide(share).mean(dim=2) for share in shares)]).cpu()


def _norm(part: Sequence) -> Float[Tensor, "time batch"]:
    """Return Euclidean norms over the neurons; scaled first, so that no square under- or overflows."""
    part = _wide(part)
    largest = part.abs().amax(dim=2, keepdim=True)
    scale = torch.where((largest > 0) & torch.isfinite(largest), largest, 1.0)
    found: Tensor = scale[..., 0] * torch.linalg.vector_norm(part / scale, dim=2)
    return found


def _wide(values: Shaped[Tensor, "time batch neuron"]) -> Sequence:
    """Return the values in float64, on CPU where their device has none."""
    return values.cpu().double() if values.device.type in WITHOUT_FLOAT64 else values.double()
