"""A layer in blocks of steps on any device: which products feed which scan, forward and for the adjoint.

A single span λ is run in blocks of λ steps, because the currents V s[t−λ] of a block depend on other blocks
only. A mixture of spans is run in blocks of at least `MIXED_STEPS`: what older blocks add to the mixtures
ŝ[t] of a block is one product with a band of the weights p; inside the block, as many steps at a time as the
shortest span allows are multiplied by V, scanned, and added to the mixtures of the next ones. The adjoint
does the same from the end, with h[t] = gate[t] g[t] in the place of s[t]. Axes: time batch neuron.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gradflow.engine.scan_torch import Ahead, Cells, Scans
from gradflow.shapes import Past, Sequence, Step, Weights

MIXED_STEPS = 16
"""Steps of a block of a mixture: sums inside it grow with them, products over the history shrink."""
WITHOUT_FLOAT64 = ("mps",)
"""Kinds of device that cannot add in float64; there the gradients of neurons are added in their own dtype."""


@dataclass(frozen=True)
class Layer:
    """What is fixed for one pass of one layer.

    Attributes:
        V: recurrent matrix, or None where no span acts.
        spans, p: the taps that act, in increasing order of span, and their weights.
        cells: the neurons.
        gates: the gate of every step, or None where it is 1.
        scans: what runs the steps of a block.
    """

    V: Weights | None
    spans: tuple[int, ...]
    p: tuple[float, ...]
    cells: Cells
    gates: Float[Tensor, "time neuron"] | None
    scans: Scans

    def gate(self, t0: int, t1: int) -> Float[Tensor, "time neuron"] | None:
        """Return the gates of steps t0 … t1−1."""
        return None if self.gates is None else self.gates[t0:t1]


def product(rows: Sequence, matrix: Weights, weight: float, out: Sequence) -> None:
    """Set out ← weight · rows matrix, in torch's chosen precision of products; never in that of autocast."""
    # autocast leaves alone what is written into a given tensor
    torch.mm(rows.flatten(0, 1), matrix, out=out.flatten(0, 1))
    if weight != 1.0:
        out.mul_(weight)


@dataclass(frozen=True)
class Bands:
    """The weights p of a mixture as matrices over the steps of a block and of its history.

    Attributes:
        length: steps of a block.
        stride: steps that can be run at a time, none of which reads another.
        beyond: p at distance k + 1 + j: from the k-th step of a block to the j-th step before it.
        within: p at distance k − j: from the k-th to the j-th step of a block.
    """

    length: int
    stride: int
    beyond: Float[Tensor, "block reach"]
    within: Float[Tensor, "block block"]

    @classmethod
    def of(cls, layer: Layer, steps: int, like: Tensor) -> "Bands":
        """Return the bands of a layer whose spans are shorter than the sequence of `steps`."""
        shortest, reach = layer.spans[0], layer.spans[-1]
        length = min(steps, max(MIXED_STEPS, shortest))
        at = torch.zeros(max(reach, length) + length + 1, dtype=torch.float64)
        at[list(layer.spans)] = torch.tensor(layer.p, dtype=torch.float64)
        k, j = torch.arange(length)[:, None], torch.arange(reach)
        before = at[k + 1 + j]
        # index 0 is a distance without a tap
        inside = at[(k - torch.arange(length)).clamp(min=0)]
        # cast before they are moved: not every device takes float64
        beyond, within = (band.to(like.dtype).to(like.device) for band in (before, inside))
        return cls(length, min(shortest, length), beyond, within)

    def read(self, history: Sequence, mixed: Float[Tensor, "block batch neuron"]) -> None:
        """Set `mixed` to what the steps before a block add to Σ_d p_d s[t−d] of its steps."""
        reach = min(len(history), self.beyond.shape[1])
        weights = self.beyond[: len(mixed), :reach].flip(1)
        torch.mm(weights, history[len(history) - reach :].flatten(1), out=mixed.flatten(1))

    def spread(self, future: Sequence, mixed: Float[Tensor, "block batch neuron"]) -> None:
        """Set `mixed` to what the steps after a block add to Σ_d p_d h[t+d] of its steps."""
        reach = min(len(future), self.beyond.shape[1])
        weights = self.beyond[: len(mixed), :reach].flip(0)
        torch.mm(weights, future[:reach].flatten(1), out=mixed.flatten(1))


def forward(drive: Sequence, layer: Layer) -> tuple[Sequence, Sequence, Step]:
    """Return the potentials u and spikes s of a layer, and the c of its last step; `drive` is contiguous."""
    u, s = torch.empty_like(drive), torch.empty_like(drive)
    carry = torch.zeros_like(drive[0])
    if layer.V is not None and len(layer.spans) > 1:
        _forward_mixture(drive, u, s, carry, layer, layer.V.T)
        return u, s, carry
    span = layer.spans[0] if layer.spans else len(drive)
    for t0 in range(0, len(drive), span):
        t1 = min(len(drive), t0 + span)
        if t0 > 0 and layer.V is not None:
            product(s[t0 - span : t1 - span], layer.V.T, layer.p[0], out=u[t0:t1])
        layer.scans.advance(
            drive[t0:t1],
            u[t0:t1],
            s[t0:t1],
            carry,
            layer.cells,
            gate=layer.gate(t0, t1),
            reads=t0 > 0,
            ahead=None,
        )
    return u, s, carry


def _forward_mixture(
    drive: Sequence, u: Sequence, s: Sequence, carry: Tensor, layer: Layer, VT: Weights
) -> None:
    """Fill u and s of a layer that reads a mixture of spans."""
    bands = Bands.of(layer, len(drive), drive)
    mixtures = torch.empty_like(drive[: bands.length])
    for t0 in range(0, len(drive), bands.length):
        size = min(bands.length, len(drive) - t0)
        mixed = mixtures[:size]
        bands.read(s[:t0], mixed)
        for a in range(0, size, bands.stride):
            b = min(size, a + bands.stride)
            first, last, after = t0 + a, t0 + b, min(size, b + bands.stride)
            reads = last > layer.spans[0]
            if reads:
                product(mixed[a:b], VT, 1.0, out=u[first:last])
            layer.scans.advance(
                drive[first:last],
                u[first:last],
                s[first:last],
                carry,
                layer.cells,
                gate=layer.gate(first, last),
                reads=reads,
                ahead=Ahead(bands.within[b:after, :b], s[t0:last], mixed[b:after]) if b < size else None,
            )


@dataclass(frozen=True)
class Adjoint:
    """What the adjoint yields along time.

    Attributes:
        g: ∂L/∂u[t].
        gated: gate[t] g[t], the same memory where there is no gate.
        recurrent: Vᵀ Σ_d p_d gate g[t+d], and what comes back from the segment that goes on from here; the
            memory of g, overwritten, unless it was to be kept.
        held: Σ_d p_d gate g[t+d] of a mixture, else None.
        sums: ∂L/∂κ, ∂L/∂m, ∂L/∂r and ∂L/∂θ of each sample and neuron, or None where not asked for.
    """

    g: Sequence
    gated: Sequence
    recurrent: Sequence
    held: Sequence | None
    sums: Float[Tensor, "4 batch neuron"] | None


def backward(
    u: Sequence,
    direct: Sequence | None,
    arriving: Sequence | None,
    last: Step | None,
    tail: Past | None,
    layer: Layer,
    *,
    learns: bool,
    keeps_recurrent: bool,
) -> Adjoint:
    """Run the adjoint of `forward`; all sequences are contiguous.

    `direct` = ∂L/∂s from above and `arriving` = ∂L/∂u from elsewhere; from a segment that goes on from this
    one `last` = ∂L/∂c[T−1] and `tail` = ∂L/∂s of the last steps, which counts as recurrent.
    """
    g = torch.empty_like(u)
    mixture = layer.V is not None and len(layer.spans) > 1
    wide = u.dtype if u.device.type in WITHOUT_FLOAT64 else torch.float64
    adjoint = Adjoint(
        g,
        g if layer.gates is None else torch.empty_like(u),
        torch.zeros_like(u) if keeps_recurrent else g,
        torch.empty_like(u) if mixture else None,
        torch.zeros((4, *u.shape[1:]), dtype=wide, device=u.device) if learns else None,
    )
    carry = torch.zeros_like(u[0]) if last is None else last.clone(memory_format=torch.contiguous_format)
    border = len(u) if tail is None else len(u) - len(tail)

    def retreat(t0: int, t1: int, *, reads: bool, ahead: Ahead | None) -> None:
        if tail is not None and t1 > border:
            if not reads:
                adjoint.recurrent[t0:t1].zero_()
            reads, begun = True, max(t0, border)
            adjoint.recurrent[begun:t1] += tail[begun - border : t1 - border]
        layer.scans.retreat(
            u[t0:t1],
            adjoint.recurrent[t0:t1],
            None if direct is None else direct[t0:t1],
            None if arriving is None else arriving[t0:t1],
            g[t0:t1],
            adjoint.gated[t0:t1],
            carry,
            layer.cells,
            adjoint.sums,
            gate=layer.gate(t0, t1),
            reads=reads,
            ahead=ahead,
        )

    if adjoint.held is not None and layer.V is not None:
        bands = Bands.of(layer, len(u), u)
        for t1 in range(len(u), 0, -bands.length):
            t0 = max(0, t1 - bands.length)
            bands.spread(adjoint.gated[t1:], adjoint.held[t0:t1])
            for end in range(t1, t0, -bands.stride):
                first = max(t0, end - bands.stride)
                before = max(t0, first - bands.stride)
                reads = first + layer.spans[0] < len(u)
                if reads:
                    product(adjoint.held[first:end], layer.V, 1.0, out=adjoint.recurrent[first:end])
                ahead = None
                if first > t0:
                    weights = bands.within.T[before - t0 : first - t0, first - t0 : t1 - t0]
                    ahead = Ahead(weights, adjoint.gated[first:t1], adjoint.held[before:first])
                retreat(first, end, reads=reads, ahead=ahead)
        return adjoint
    span = layer.spans[0] if layer.spans else len(u)
    for t1 in range(len(u), 0, -span):
        t0 = max(0, t1 - span)
        reads = t1 < len(u)
        if reads and layer.V is not None:
            later = adjoint.gated[t0 + span : t1 + span]
            product(later, layer.V, layer.p[0], out=adjoint.recurrent[t0:t1])
        retreat(t0, t1, reads=reads, ahead=None)
    return adjoint


def matrix_gradient(s: Sequence, adjoint: Adjoint, layer: Layer) -> Weights:
    """Return ∂L/∂V = Σ_t gate[t] g[t] ŝ[t]ᵀ; of a single span without its weight p."""
    if adjoint.held is not None:
        left, right = adjoint.held, s
    else:
        left, right = adjoint.gated[layer.spans[0] :], s[: -layer.spans[0]]
    found = torch.empty(s.shape[2], s.shape[2], dtype=s.dtype, device=s.device)
    return torch.mm(left.flatten(0, 1).T, right.flatten(0, 1), out=found)


def weight_gradients(s: Sequence, adjoint: Adjoint, layer: Layer) -> Float[Tensor, " spans"]:
    """Return ∂L/∂p_d = Σ_t gate[t] g[t] · V s[t−d] of a mixture.

    For as many steps at a time as the longest span has, every product of V s[t] with a later gate · g is one
    of a matrix; those at distance d are added up.
    """
    assert layer.V is not None
    spans = torch.tensor(layer.spans, device=s.device)
    reach = layer.spans[-1]
    length = max(MIXED_STEPS, reach)
    wide = s.dtype if s.device.type in WITHOUT_FLOAT64 else torch.float64
    total = torch.zeros(len(spans), dtype=wide, device=s.device)
    for t0 in range(0, len(s) - layer.spans[0], length):
        t1 = min(len(s), t0 + length)
        currents = torch.empty_like(s[t0:t1])
        product(s[t0:t1], layer.V.T, 1.0, out=currents)
        later = adjoint.gated[t0 + 1 : t1 + reach].flatten(1)
        met = s.new_zeros(t1 - t0, t1 - t0 + reach)
        found = s.new_empty(t1 - t0, len(later))
        met[:, : len(later)] = torch.mm(currents.flatten(1), later.T, out=found)
        distances = torch.arange(t1 - t0, device=s.device)[:, None] + spans - 1
        total += met.gather(1, distances).to(wide).sum(dim=0)
    return total
