"""All layers from a top one down to the inputs, walked backwards through time together.

At each step the rows of a layer go through its gate and its link into the layer below. Axes: part sample row
neuron.
"""

import numpy as np
from jaxtyping import Float

from gradflow.jacobian.scaled import Scaled
from gradflow.jacobian.through import Banded, through
from gradflow.jacobian.walk import Walk, element_bytes
from gradflow.transition import LayerTransition, Transition


def column_bytes(found: Transition, top: int, last: int) -> int:
    """Return the working memory of one row in all layers: the walks, and what goes to the layer below."""
    assert found.links is not None
    layers = zip(found.layers[: top + 1], found.links, strict=False)
    return sum(
        len(link.W) * element_bytes(layer, last) + 24 * link.W.shape[1]
        for layer, link in layers
        if isinstance(layer, LayerTransition)
    )


class Column:
    """The walks of some samples' layers 0 … top, of a transition with links."""

    def __init__(self, found: Transition, top: int, last: int, samples: slice, rows: int) -> None:
        assert found.links is not None
        self.top, self.samples, self.rows, self.links = top, samples, rows, found.links
        self.walks = [Walk(layer, last, samples, rows) for layer in found.layers[: top + 1]]
        self.fixed = [Banded.of(link.jacobian(0, samples)) if link.constant else None for link in self.links]
        count = samples.stop - samples.start
        self.out = [Scaled.zeros(1, count, rows, link.W.shape[1]) for link in self.links]

    def advance(
        self, layer: int, t: int, start: Float[np.ndarray, "row neuron"] | None, above: Scaled | None
    ) -> Scaled:
        """Bring one layer's rows down to t and return them."""
        walk = self.walks[layer]
        walk.advance(t, self.rows, start, above=above)
        walk.store(t, self.rows)
        return walk.P

    def below(self, layer: int, t: int) -> Scaled:
        """Return what one layer's rows add to those of what it reads, at the same step: E[t] below it."""
        walk, out = self.walks[layer], self.out[layer]
        bands = self.fixed[layer] or Banded.of(self.links[layer].jacobian(t, self.samples))
        through(walk.P, np.ascontiguousarray(walk.gate[t]), bands, self.rows, out)
        return out

    def spread(self, rows: Scaled) -> Scaled:
        """Return the same rows for all samples, in a layout that walks can add."""
        count = self.samples.stop - self.samples.start
        shape = (1, count, *rows.m.shape)
        return Scaled(*(np.ascontiguousarray(np.broadcast_to(x, shape)) for x in (rows.m, rows.e)))
