"""Walks that keep the parts of a Jacobian product apart: by number of hops, and by the first hop's span.

Part k of a walk by hops is P_k, its last part what takes more hops than are counted; part 0 of a walk by
spans is the neuron path P_0, the others F_d in the order of the spans (`paths` has the equations). Results
are the sums of `scaled.measure`, (quantity, lag, sample).
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from gradflow.jacobian import scaled
from gradflow.jacobian.scaled import Scaled
from gradflow.jacobian.sweep import taps_of
from gradflow.jacobian.walk import Walk, chunks, element_bytes
from gradflow.transition import LayerTransition

UNCOUNTED = 1e-3
"""Share of the norms in the rest up to which a mean number of hops is given."""


def hop_sums(name: str, layer: LayerTransition, last: int, max_hops: int, budget: int) -> Scaled:
    """Return the sums for 0 … max_hops hops and the rest; parts that no path can have are left out."""
    _, samples, n = layer.a.shape
    possible = 1 + last // shortest(layer, last)
    closed = possible > max_hops + 1
    # two at least: one part alone is the whole product
    parts = max_hops + 2 if closed else max(2, possible)
    total = Scaled.zeros(2 * parts + 2, last + 1, samples)
    for taken, rows in chunks(name, samples, n, n * parts * element_bytes(layer, last), budget):
        walk = Walk(layer, last, taken, rows.stop - rows.start, parts=parts, closed=closed)
        collect(total, taken, walk_hops(walk, last, np.eye(n)[rows], shortest(layer, last)))
    return total


def shortest(layer: LayerTransition, last: int) -> int:
    """Return the shortest span, or one beyond all lags where nothing is read."""
    return min(taps_of(layer, last).spans, default=last + 1)


def walk_hops(
    walk: Walk, last: int, start: Float[np.ndarray, "row neuron"], span: int
) -> Iterator[tuple[int, Scaled]]:
    """Yield each lag and its sums (quantity, sample, row)."""
    for lag in range(last + 1):
        parts = min(len(walk.P.m), 1 + lag // span)
        walk.advance(last - lag, len(start), start if lag == 0 else None, parts=parts)
        yield lag, scaled.sums(walk.P, len(start))
        walk.store(last - lag, len(start), parts)


def span_sums(name: str, layer: LayerTransition, last: int, budget: int) -> Scaled:
    """Return the sums for the neuron path and for each span of the first hop."""
    _, samples, n = layer.a.shape
    parts = max(2, 1 + len(taps_of(layer, last).spans))
    total = Scaled.zeros(2 * parts + 2, last + 1, samples)
    row_bytes = n * (element_bytes(layer, last) + 16 * (parts + 1))
    for taken, rows in chunks(name, samples, n, row_bytes, budget):
        walk = Walk(layer, last, taken, rows.stop - rows.start)
        collect(total, taken, walk_spans(walk, last, np.eye(n)[rows], parts))
    return total


def walk_spans(
    walk: Walk, last: int, start: Float[np.ndarray, "row neuron"], parts: int
) -> Iterator[tuple[int, Scaled]]:
    """Yield each lag and its sums (quantity, sample, row)."""
    active, shape = len(start), walk.P.m.shape[1:]
    split, nothing = Scaled.zeros(parts, *shape), Scaled.zeros(1, *shape)
    for lag in range(last + 1):
        t = last - lag
        walk.advance(t, active, start if lag == 0 else None)
        local = walk.local(t)
        scaled.advance(split.m[:1], split.e[:1], nothing.m, nothing.e, *local, 1.0, active)
        for k, (slot, p) in enumerate(zip(*walk.reads(t), strict=True), start=1):
            R, part = walk.R[slot], split[k : k + 1]
            scaled.advance(part.m, part.e, R.m, R.e, *local, float(p), active)
        if lag == 0:
            split[0] = Scaled.of(np.broadcast_to(start, shape))
        yield lag, scaled.sums(split, active)
        walk.store(t, active)


def collect(total: Scaled, samples: slice, walked: Iterator[tuple[int, Scaled]]) -> None:
    """Add what a walk yields, summed over its rows, to the samples' total."""
    for lag, sums in walked:
        found, before = sums.sum(axis=2), total[:, lag, samples]
        both = Scaled(np.stack([before.m, found.m]), np.stack([before.e, found.e]))
        total[:, lag, samples] = both.sum(axis=0)


def require_hops(name: str, max_hops: int) -> None:
    """Raise ValueError unless it is a number of hops."""
    if isinstance(max_hops, bool) or not isinstance(max_hops, int) or max_hops < 0:
        raise ValueError(f"{name}(max_hops={max_hops!r}): expected a whole number of hops, at least 0")


def logs_and_shares(
    sums: Scaled, wanted: int
) -> tuple[Float[np.ndarray, "part *axes"], Float[np.ndarray, "part *axes"]]:
    """Return log-norms and shares; parts that were not walked are those that no path can have."""
    walked = (len(sums.m) - 2) // 2
    known = min(walked, wanted)
    shape = (wanted, *sums.m.shape[1:])
    logs, shares = np.full(shape, -np.inf), np.zeros(shape)
    logs[:known] = 0.5 * sums[:known].log()
    shares[:known] = sums[walked : walked + known].over(sums[-2:-1])
    shares[:, sums.m[-2] == 0.0] = np.nan
    return logs, shares


def mean_part(log_parts: Float[np.ndarray, "part *axes"]) -> Float[np.ndarray, "*axes"]:
    """Return Σ k ‖P_k‖ / Σ ‖P_k‖, NaN where too much is in the last part, or nothing in any."""
    top = log_parts.max(axis=0)
    sizes = np.exp(log_parts - np.where(np.isneginf(top), 0.0, top))
    total = sizes.sum(axis=0)
    told = (total > 0) & (sizes[-1] <= UNCOUNTED * total)
    mean = np.tensordot(np.arange(len(sizes)), sizes, 1) / np.where(told, total, 1.0)
    return np.where(told, mean, np.nan)
