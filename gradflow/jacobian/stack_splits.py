"""Walks down the stack that keep a product's parts apart by their route through the layers.

All layers count hops together; or one layer counts its own; or it sorts its rows by the lag T − τ at which
they came down to it, which is when the path leaves that layer. Layers below the one that tells parts apart
keep them as they come, those above have one. Results are the sums of `scaled.measure`, (quantity, layer, lag,
sample).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gradflow.jacobian import scaled
from gradflow.jacobian.column import WHOLE, Column, Telling, column_bytes
from gradflow.jacobian.scaled import Scaled
from gradflow.jacobian.splits import shortest
from gradflow.jacobian.stack import add_to, spiking
from gradflow.jacobian.walk import chunks
from gradflow.transition import Transition


@dataclass(frozen=True)
class Split:
    """How the layers of a column tell parts apart.

    Attributes:
        telling: of each layer.
        counted: the layer that tells them apart; None where all count hops together.
        span: the shortest one, which says how many hops a lag can hold.
        edges: lags at which the parts of climbs begin; None where hops are counted.
    """

    telling: tuple[Telling, ...]
    counted: int | None
    span: int = 1
    edges: tuple[int, ...] | None = None

    @property
    def layers(self) -> int:
        """Return how many layers, from the lowest, have parts."""
        return len(self.telling) if self.counted is None else self.counted + 1

    @property
    def parts(self) -> int:
        """Return how many parts they have."""
        return self.telling[0].parts

    def alive(self, layer: int, lag: int) -> int:
        """Return how many parts of a layer can differ from zero by that lag."""
        if layer >= self.layers:
            return 1
        reached = 1 + lag // self.span if self.edges is None else 1 + self.part_of(lag)
        return min(self.parts, reached)

    def part_of(self, lag: int) -> int:
        """Return the part of a climb at that lag."""
        return int(np.searchsorted(np.array(self.edges), lag, side="right")) - 1

    def into(self, layer: int, lag: int) -> int | None:
        """Return the part in which paths that come down to a layer begin, None where they keep theirs."""
        if layer != self.counted:
            return None
        return 0 if self.edges is None else self.part_of(lag)


def hops_together(found: Transition, target: int, last: int, max_hops: int) -> Split:
    """Return the split by the number of hops in all layers, 0 … max_hops and the rest."""
    span = min(shortest(layer, last) for layer in spiking(found)[: target + 1])
    return Split((counting(span, last, max_hops),) * (target + 1), None, span)


def hops_in(found: Transition, target: int, last: int, max_hops: int, counted: int) -> Split:
    """Return the split by the number of hops in one layer."""
    span = shortest(spiking(found)[counted], last)
    counts = counting(span, last, max_hops)
    kept = Telling(counts.parts, kept=True)
    return Split((*[kept] * counted, counts, *[WHOLE] * (target - counted)), counted, span)


def climbs_from(target: int, counted: int, edges: tuple[int, ...]) -> Split:
    """Return the split by the lag at which paths leave one layer."""
    # two at least: one part alone is the whole product
    kept = Telling(max(2, len(edges)), kept=True)
    telling = (*[kept] * (counted + 1), *[WHOLE] * (target - counted))
    return Split(telling, counted, edges=edges)


def counting(span: int, last: int, max_hops: int) -> Telling:
    """Return parts for 0 … max_hops hops and the rest; those that no path can have are left out."""
    possible = 1 + last // span
    closed = possible > max_hops + 1
    return Telling(max_hops + 2 if closed else max(2, possible), closed)


def walk_split(
    column: Column, last: int, start: Float[np.ndarray, "row neuron"], split: Split
) -> Iterator[tuple[int, int, Scaled]]:
    """Yield lag, layer and the parts of P of all layers that have them, from the top one down."""
    for lag in range(last + 1):
        above = None
        for layer in range(column.top, -1, -1):
            begin = start if layer == column.top and lag == 0 else None
            into, parts = split.into(layer, lag), split.alive(layer, lag)
            into = None if above is None else into
            P = column.advance(layer, last - lag, begin, above, into=into, parts=parts)
            if layer < split.layers:
                yield lag, layer, P
            above = column.below(layer, last - lag, parts=parts) if layer else None


def split_sums(name: str, found: Transition, target: int, last: int, split: Split, budget: int) -> Scaled:
    """Return the sums of all parts, for every layer that has them."""
    _, samples, neurons = spiking(found)[target].a.shape
    total = Scaled.zeros(2 * split.parts + 2, split.layers, last + 1, samples)
    each = column_bytes(found, target, last, split.telling)
    for taken, rows in chunks(name, samples, neurons, each, budget):
        column = Column(found, target, last, taken, rows.stop - rows.start, split.telling)
        for lag, layer, P in walk_split(column, last, np.eye(neurons)[rows], split):
            add_to(total, (slice(None), layer, lag, taken), scaled.sums(P, P.m.shape[2]).sum(axis=2))
    return total
