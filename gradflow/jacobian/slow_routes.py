"""The slow twin of the split by routes: every combination of hops per layer and climb lags as a whole matrix.

    R_l(t) = R_l(t+1) A_l[t] + Σ_d p_d R_l(t+d) G_l[t+d] V_l Φ_l[t] + R_l+1(t) G_l+1[t] L_l+1[t] Φ_l[t]

where R maps routes to matrices: a hop adds one to its layer's count, a climb puts its lag T − t and a count
of zero before those of the layers above. Plain float64, no rescaling. Axes: target source.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float

from gradflow.jacobian.products import end_of, transition_from
from gradflow.jacobian.stack import layer_of, linked, spiking
from gradflow.recurrence import SpanMode
from gradflow.transition import BatchLike


class Route(NamedTuple):
    """How paths from layer l at t to layer m at T run.

    Attributes:
        hops: recurrent hops in the layers l … m.
        climbs: lags T − τ of the times τ at which the layers l … m−1 are left; none increases upwards.
    """

    hops: tuple[int, ...]
    climbs: tuple[int, ...]


Routes: TypeAlias = dict[Route, Float[np.ndarray, "target source"]]


def dense_routes(
    source: object,
    batch: BatchLike | None = None,
    *,
    lag: int,
    target: int = -1,
    end: int = -1,
    sample: int = 0,
    span_mode: SpanMode | None = None,
) -> list[Routes]:
    """Return ∂u_m[T]/∂u_l[T − lag] of one sample and every layer l ≤ m by route; they add up to the whole.

    Args:
        source: a network (then give `batch`) or a `Transition` with links.
        batch: a batch of a task, or inputs (time, batch, input).
        lag: T − t, from 0 to T.
        target: m (default −1, the last layer).
        end: T, the end time (default −1, the last step; negative counts from the end).
        sample: which one.
        span_mode: soft or hard spans of an adaptive recurrence (default: soft in training mode).

    Raises:
        ValueError: as `stack_products`, and for a target, lag or sample that is not there.

    Cost: H³ operations for each route and lag; their number grows as (lag/λ)^(layers) · lag^(layers − 1), so
    this is for short lags.

    >>> import numpy as np, gradflow as gf
    >>> one = gf.LayerTransition(np.ones((3, 1, 1)), np.ones((3, 1, 1)), np.full((1, 1), 2.0))
    >>> made = gf.Transition((one, one), links=(gf.Link(np.ones((1, 1))),) * 2)
    >>> routes = dense_routes(made, lag=1)[0]
    >>> {(route.hops, route.climbs): value.item() for route, value in sorted(routes.items())}
    {((0, 0), (0,)): 1.0, ((0, 0), (1,)): 1.0, ((0, 1), (1,)): 2.0, ((1, 0), (0,)): 2.0}
    """
    name = "dense_routes"
    found = linked(name, transition_from(source, batch, span_mode, name))
    layers, links = spiking(found), found.links
    assert links is not None
    top = layer_of(name, target, len(layers))
    steps, samples, _ = layers[top].a.shape
    last = end_of(end, steps)
    if not 0 <= lag <= last or not 0 <= sample < samples:
        raise ValueError(
            f"{name}(lag={lag}, sample={sample}): expected a lag of 0 … {last} and a sample of 0 … "
            f"{samples - 1}"
        )
    gates = [np.ones((steps, 1)) if layer.gate is None else layer.gate for layer in layers]
    at: list[list[Routes]] = [[] for _ in range(top + 1)]
    for n in range(lag + 1):
        t = last - n
        for j in range(top, -1, -1):
            layer, new = layers[j], Sums()
            phi = layer.phi[t, sample]
            if j == top and n == 0:
                new[Route((0,), ())] = np.eye(layer.a.shape[2])
            if n:
                new.add(at[j][n - 1], np.diag(layer.a[t, sample]))
            for d, p in zip(layer.spans, layer.weights, strict=True):
                if d <= n:
                    hop = p * gates[j][t + d, :, None] * layer.V * phi
                    new.add(at[j][n - d], hop, hops=1)
            if j < top:
                link = links[j + 1].jacobian(t, slice(sample, sample + 1))[0]
                climb = gates[j + 1][t, :, None] * link * phi
                new.add(at[j + 1][n], climb, climb=n)
            at[j].append(new)
    return [lags[lag] for lags in at]


class Sums(Routes):
    """Routes to which others are added after one more edge."""

    def add(
        self,
        routes: Routes,
        edge: Float[np.ndarray, "later earlier"],
        *,
        hops: int = 0,
        climb: int | None = None,
    ) -> None:
        """Add routes that begin with a neuron step, with a hop, or with a climb at that lag."""
        for (counts, climbs), matrix in routes.items():
            if climb is None:
                route = Route((counts[0] + hops, *counts[1:]), climbs)
            else:
                route = Route((0, *counts), (climb, *climbs))
            self[route] = self.get(route, 0.0) + matrix @ edge
