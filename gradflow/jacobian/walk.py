"""One layer's adjoint rows, walked backwards through time in `scaled` numbers; rows may start at any time.

    P(T,t) = P(T,t+1) diag a[t] + D[t] diag φ[t],     D[t] = Σ_d p_d R[t+d] (+ what comes from above),
    R[t] = P(T,t) diag gate[t] V

R of the last `depth` steps is in a ring, time t at slot t mod depth. Rows that start at later times T come
first, so that those under way are always the first `active` ones. Axes: part sample row neuron.
"""

import numpy as np
from jaxtyping import Float, Int

from gradflow.jacobian import scaled
from gradflow.jacobian.scaled import Scaled
from gradflow.jacobian.sweep import AnyTransition, least_and_largest, size_of, taps_of
from gradflow.jacobian.through import Banded, through
from gradflow.transition import DenseTransition


def element_bytes(layer: AnyTransition, last: int) -> int:
    """Return the working memory of one element of P: itself, D, R, and two plain copies on the way to V."""
    return 16 * (taps_of(layer, last).depth + 3) + 32


def chunks(name: str, samples: int, rows: int, row_bytes: int, budget: int) -> list[tuple[slice, slice]]:
    """Cut samples, and the rows (or groups of rows) of one sample where need be, to fit the budget.

    Raises ValueError, with what it takes, where not even one row fits.
    """
    fit = budget // row_bytes
    if fit < 1:
        raise ValueError(f"{name}(memory_budget={budget}): expected at least {row_bytes} bytes")
    if fit >= rows:
        step = fit // rows
        return [(slice(k, min(k + step, samples)), slice(0, rows)) for k in range(0, samples, step)]
    return [
        (slice(k, k + 1), slice(first, min(first + fit, rows)))
        for k in range(samples)
        for first in range(0, rows, fit)
    ]


class Walk:
    """The rows of some samples of one layer, at the time they have come down to.

    `parts` counts recurrent hops: part k reads part k−1, and the last one, where `closed`, itself too. Where
    `kept`, hops are not counted: each part, whatever tells them apart, reads itself.
    """

    def __init__(
        self,
        layer: AnyTransition,
        last: int,
        samples: slice,
        rows: int,
        *,
        parts: int = 1,
        closed: bool = True,
        kept: bool = False,
    ) -> None:
        steps, _, n = size_of(layer)
        count = samples.stop - samples.start
        self.dense = layer.jacobians[:, samples] if isinstance(layer, DenseTransition) else None
        self.taps, self.closed, self.kept = taps_of(layer, last), closed, kept
        gate = None
        if isinstance(layer, DenseTransition):
            a, phi = np.zeros((1, count, n)), np.ones((1, count, n))
            factors: tuple[np.ndarray, ...] = (layer.jacobians[:last, samples],)
        else:
            a, phi, gate = layer.a[:, samples], layer.phi[:, samples], layer.gate
            self.V = Banded.of(np.ascontiguousarray(layer.V)[None])
            factors = (a, phi, layer.V) if gate is None else (a, phi, layer.V, gate)
        for factor in factors:
            least_and_largest(factor)  # refuses NaN and infinity
        self.a, self.phi = (np.broadcast_to(x, (steps, count, n)) for x in (a, phi))
        self.gate = np.broadcast_to(np.ones((1, n)) if gate is None else gate, (steps, n))
        shape = (parts, count, rows, n)
        self.P, self.D = Scaled.zeros(*shape), Scaled.zeros(*shape)
        self.R = Scaled.zeros(0 if self.dense is not None else self.taps.depth, *shape)

    def advance(
        self,
        t: int,
        active: int,
        start: Float[np.ndarray, "*sample row neuron"] | None = None,
        *,
        above: Scaled | None = None,
        into: int | None = None,
        parts: int | None = None,
    ) -> None:
        """Come down from t+1 to t, and put `start` into the last of the active rows.

        Args:
            t: the time to come to.
            active: rows under way, those that start now included.
            start: rows that start at t, in part 0, the same for all samples or some for each.
            above: what other layers add to D[t], part by part.
            into: the one part to which it is added where `above` has one part.
            parts: how many parts can differ from zero by now (default: all).
        """
        P, D = self.P[:parts], self.D[:parts]
        if self.dense is not None:
            if t < len(self.dense):
                ones = np.ones(self.P.m.shape[-1])
                through(P, ones, Banded.of(np.ascontiguousarray(self.dense[t])), active, D)
        else:
            closed = self.closed and len(P.m) == len(self.P.m)
            scaled.mix(self.R.m, self.R.e, *self.reads(t), D.m, D.e, closed, active, self.kept)
        if above is not None:
            met = D if into is None else D[into : into + 1]
            scaled.add(met.m, met.e, above.m, above.e, active)
        scaled.advance(P.m, P.e, D.m, D.e, *self.local(t), 1.0, active)
        if start is not None:
            rows = np.broadcast_to(start, (self.P.m.shape[1], *start.shape[-2:]))
            self.P[0, :, active - rows.shape[1] : active] = Scaled.of(rows)

    def store(self, t: int, active: int, parts: int | None = None) -> None:
        """Keep R[t] for the steps that read it; to be called once after `advance`."""
        if self.dense is None and self.taps.depth:
            slot = self.R[t % self.taps.depth]
            through(self.P[:parts], np.ascontiguousarray(self.gate[t]), self.V, active, slot[:parts])

    def reads(self, t: int) -> tuple[Int[np.ndarray, " tap"], Float[np.ndarray, " tap"]]:
        """Return the slots that step t reads, and their p."""
        slots = [(t + d) % self.taps.depth for d in self.taps.spans]
        return np.array(slots, dtype=np.int64), np.array(self.taps.weights, dtype=np.float64)

    def local(self, t: int) -> tuple[Float[np.ndarray, "sample neuron"], Float[np.ndarray, "sample neuron"]]:
        """Return a[t] and φ[t]."""
        return np.ascontiguousarray(self.a[t]), np.ascontiguousarray(self.phi[t])
