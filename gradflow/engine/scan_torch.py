"""The neuron scan over the steps of a block and its adjoint, in plain torch: the slow twin of `scan_triton`.

    u[t] = c[t−1] + drive[t] + gate[t] r[t],     s[t] = 1(u[t] ≥ θ),     c[t] = κ u[t] (1 − m s[t]) − r s[t]

where r[t] = V ŝ[t] is a product that the caller has formed for the whole block. Works on any device.
Axes: time batch neuron.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gradflow.shapes import Sequence, Step
from gradflow.surrogate import Surrogate


@dataclass(frozen=True)
class Cells:
    """The neurons of one layer as the scans take them.

    Attributes:
        coefficients: κ, m, r and θ of every neuron.
        surrogate: φ.
        attached: whether the gradient passes through the spike that resets.
    """

    coefficients: Float[Tensor, "4 neuron"]
    surrogate: Surrogate
    attached: bool


@dataclass(frozen=True)
class Ahead:
    """What the steps of a block that are done add to the mixtures that its next steps read.

    Attributes:
        weights: p at the distance between a step to come and a step that is done.
        source: the steps that are done, those of the running scan included.
        mixed: the mixtures of the steps to come, which are added to.
    """

    weights: Float[Tensor, "next done"]
    source: Float[Tensor, "done batch neuron"]
    mixed: Float[Tensor, "next batch neuron"]

    def add(self) -> None:
        """Set mixed ← mixed + weights · source."""
        self.mixed.flatten(1).addmm_(self.weights, self.source.flatten(1))


@dataclass(frozen=True)
class Scans:
    """One way to run the scans: `advance` and `retreat`, of the signatures below.

    Attributes:
        engine: the word for the engine that uses them.
    """

    engine: str
    advance: Callable[..., None]
    retreat: Callable[..., None]


def advance(
    drive: Sequence,
    u: Sequence,
    s: Sequence,
    carry: Step,
    cells: Cells,
    *,
    gate: Float[Tensor, "time neuron"] | None,
    reads: bool,
    ahead: Ahead | None,
) -> None:
    """Run the steps of a block: fill u and s, take c[t−1] from `carry` and leave the last c there.

    `u` holds the recurrent currents r before, if `reads`; without, there are none.
    """
    leak, multiplied, subtracted, threshold = cells.coefficients
    for t in range(len(u)):
        potential = carry + drive[t]
        if reads:
            potential = potential + (u[t] if gate is None else gate[t] * u[t])
        u[t] = potential
        s[t] = potential - threshold >= 0
        carry.copy_(leak * potential * (1.0 - multiplied * s[t]) - subtracted * s[t])
    if ahead is not None:
        ahead.add()


def retreat(
    u: Sequence,
    recurrent: Sequence,
    direct: Sequence | None,
    arriving: Sequence | None,
    g: Sequence,
    gated: Sequence,
    carry: Step,
    cells: Cells,
    sums: Float[Tensor, "4 batch neuron"] | None,
    *,
    gate: Float[Tensor, "time neuron"] | None,
    reads: bool,
    ahead: Ahead | None,
) -> None:
    """Run the adjoint of `advance` over a block, last step first: fill g and, where gated, gate · g.

    `recurrent` holds Vᵀ Σ_d p_d gate g[t+d], if `reads`; it may be the memory of `g`. `direct` = ∂L/∂s from
    above and `arriving` = ∂L/∂u from elsewhere. `carry` holds g[t+1] of the last step and is left with the
    first g. `sums`, where given, takes ∂L/∂κ, ∂L/∂m, ∂L/∂r and ∂L/∂θ (of the spike) of each sample.
    """
    leak, multiplied, subtracted, threshold = cells.coefficients
    s = (u - threshold >= 0).to(u.dtype)
    phi = cells.surrogate.derivative(u - threshold)
    kept = leak * (1.0 - multiplied * s)
    reset = (leak * multiplied * u + subtracted) * float(cells.attached)
    at_spike = torch.zeros_like(u) if direct is None else direct.clone()
    if reads:
        at_spike += recurrent
    later = torch.empty_like(u)
    for t in reversed(range(len(u))):
        later[t] = carry
        at_spike[t] -= reset[t] * carry
        carry.copy_(phi[t] * at_spike[t] + kept[t] * carry)
        if arriving is not None:
            carry += arriving[t]
        g[t] = carry
    if gate is not None:
        torch.mul(g, gate[:, None], out=gated)
    if sums is not None:
        through = later * u
        terms = (through * (1.0 - multiplied * s), -(through * leak * s), -(later * s), -(phi * at_spike))
        for total, term in zip(sums, terms, strict=True):
            total += term.to(sums.dtype).sum(dim=0)
    if ahead is not None:
        ahead.add()


TORCH = Scans("fused torch", advance, retreat)
