"""All layers from a top one down to the inputs, walked backwards through time together.

At each step the rows of a layer go through its gate and its link into the layer below. Where parts of the
product are kept apart, one layer tells them apart, by hops or by when they were climbed to, the layers below
keep them, and those above have one part; or all layers count hops together. Axes: part sample row neuron.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gradflow.jacobian.scaled import Scaled
from gradflow.jacobian.through import Banded, through
from gradflow.jacobian.walk import Walk, element_bytes
from gradflow.transition import LayerTransition, Transition


@dataclass(frozen=True)
class Telling:
    """What one walk tells apart: so many parts, by hops (the last `closed`), or `kept` as they come."""

    parts: int = 1
    closed: bool = True
    kept: bool = False


WHOLE = Telling()
"""One part: the product itself."""


def column_bytes(found: Transition, top: int, last: int, telling: Sequence[Telling] | None = None) -> int:
    """Return the working memory of one row in all layers: the walks, and what goes to the layer below."""
    assert found.links is not None
    told = [WHOLE] * (top + 1) if telling is None else telling
    layers = zip(found.layers[: top + 1], found.links, told, strict=False)
    return sum(
        how.parts * (len(link.W) * element_bytes(layer, last) + 24 * link.W.shape[1])
        for layer, link, how in layers
        if isinstance(layer, LayerTransition)
    )


class Column:
    """The walks of some samples' layers 0 … top, of a transition with links."""

    def __init__(
        self,
        found: Transition,
        top: int,
        last: int,
        samples: slice,
        rows: int,
        telling: Sequence[Telling] | None = None,
    ) -> None:
        assert found.links is not None
        self.top, self.samples, self.rows, self.links = top, samples, rows, found.links
        told = [WHOLE] * (top + 1) if telling is None else telling
        self.walks = [
            Walk(layer, last, samples, rows, parts=how.parts, closed=how.closed, kept=how.kept)
            for layer, how in zip(found.layers[: top + 1], told, strict=True)
        ]
        self.fixed = [Banded.of(link.jacobian(0, samples)) if link.constant else None for link in self.links]
        count = samples.stop - samples.start
        self.out = [
            Scaled.zeros(how.parts, count, rows, link.W.shape[1])
            for link, how in zip(self.links, told, strict=False)
        ]

    def advance(
        self,
        layer: int,
        t: int,
        start: Float[np.ndarray, "*sample row neuron"] | None,
        above: Scaled | None,
        *,
        active: int | None = None,
        into: int | None = None,
        parts: int | None = None,
    ) -> Scaled:
        """Bring one layer's rows down to t and return them, of the `active` ones and all parts."""
        walk, active = self.walks[layer], self.rows if active is None else active
        walk.advance(t, active, start, above=above, into=into, parts=parts)
        walk.store(t, active, parts)
        return walk.P

    def below(self, layer: int, t: int, *, active: int | None = None, parts: int | None = None) -> Scaled:
        """Return what one layer's rows add to those of what it reads, at the same step: E[t] below it."""
        active = self.rows if active is None else active
        return self.send(layer, t, self.walks[layer].P[:parts], self.out[layer][:parts], active)

    def send(self, layer: int, t: int, P: Scaled, out: Scaled, active: int) -> Scaled:
        """Write P G[t] L[t] of a layer's gate and link to `out`, and return it."""
        bands = self.fixed[layer] or Banded.of(self.links[layer].jacobian(t, self.samples))
        through(P, np.ascontiguousarray(self.walks[layer].gate[t]), bands, active, out)
        return out

    def spread(self, rows: Scaled) -> Scaled:
        """Return the same rows for all samples, in a layout that walks can add."""
        count = self.samples.stop - self.samples.start
        shape = (1, count, *rows.m.shape)
        return Scaled(*(np.ascontiguousarray(np.broadcast_to(x, shape)) for x in (rows.m, rows.e)))


def from_layer(
    column: Column, last: int, start: Float[np.ndarray, "row neuron"]
) -> Iterator[tuple[int, int, Scaled]]:
    """Yield time, layer and P of all layers, from the top one, whose rows start at `last`."""
    for t in range(last, -1, -1):
        above = None
        for layer in range(column.top, -1, -1):
            begin = start if layer == column.top and t == last else None
            yield t, layer, column.advance(layer, t, begin, above)
            above = column.below(layer, t) if layer else None
