"""The sensitivity of the logits to each input step, split by hops and by what the last layer's memory adds.

    by hops      ∂logits/∂x[t] = Σ_k S_k            a hop in any layer counts
    by readout   ∂logits/∂x[t] = direct + later

Direct are the paths that spend no time in the last layer: its spikes are read out, by ω W_out, at the step at
which the path comes to it; later those that go by way of its leak, reset or recurrence.

Both are exact and additive. Axes of the result: sample class time, and hop.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np
import xarray as xr
from jaxtyping import Float

from gradflow.jacobian import scaled
from gradflow.jacobian.column import WHOLE, Column, Telling, column_bytes
from gradflow.jacobian.paths import MAX_HOPS
from gradflow.jacobian.products import MEMORY_BUDGET, transition_from
from gradflow.jacobian.scaled import Scaled
from gradflow.jacobian.sensitivity import placed, readout_of
from gradflow.jacobian.splits import logs_and_shares, mean_part, require_hops
from gradflow.jacobian.stack import linked, spiking
from gradflow.jacobian.stack_splits import Split, hops_together
from gradflow.jacobian.walk import chunks
from gradflow.links import ReadoutLink
from gradflow.recurrence import SpanMode
from gradflow.results import Results
from gradflow.transition import BatchLike, Transition

NAME = "logit_paths"


def logit_paths(
    source: object,
    batch: BatchLike | None = None,
    *,
    max_hops: int = MAX_HOPS,
    span_mode: SpanMode | None = None,
    memory_budget: int = MEMORY_BUDGET,
) -> xr.Dataset:
    """Return the log-norms and shares of the parts of ∂logits/∂x[t], by hops and by readout.

    Args:
        source: a network (then give `batch`) or a `Transition` with links and a readout.
        batch: a batch of a task, or inputs (time, batch, input).
        max_hops: the largest number of hops that is told apart (default 32); more are one part, the rest.
        span_mode: soft or hard spans of an adaptive recurrence (default: soft in training mode).
        memory_budget: bytes of working memory (default 512 MiB), the run and the result apart.

    Returns:
        A Dataset over (sample, class, time); norms are Euclidean over the inputs, in nats, −inf where a part
        is exactly zero: `log_input` of the whole; `log_hops` (hop), `log_rest`, `log_recurrent` of all with a
        hop, and `mean_hops` as in `path_products`; `log_direct` and `log_later`. Shares ⟨part, whole⟩ /
        ‖whole‖² of each split add up to 1, and are NaN where the whole is zero: `share_hops` + `share_rest`,
        and `share_direct` + `share_later`.

    Raises:
        ValueError: as `logit_sensitivity`, and for max_hops below 0.

    Cost: that of `logit_sensitivity` times K + 2, K = min(max_hops + 2, T / shortest span + 1); memory times
    K, or 2 where K is less.

    >>> import numpy as np, gradflow as gf
    >>> layer = gf.LayerTransition(np.full((3, 1, 1), 0.5), np.ones((3, 1, 1)), np.full((1, 1), 0.25))
    >>> readout = gf.ReadoutLink(np.ones((1, 1)), np.ones(3))
    >>> made = gf.Transition((layer,), links=(gf.Link(np.ones((1, 1))),), readout=readout)
    >>> logit_paths(made).share_direct.squeeze().values.round(4).tolist()  # of 1 + 0.75 + 0.75² at the first
    [0.4324, 0.5714, 1.0]
    """
    require_hops(NAME, max_hops)
    found = linked(NAME, transition_from(source, batch, span_mode, NAME))
    readout, layers = readout_of(NAME, found), spiking(found)
    top, last = len(layers) - 1, len(layers[0].a) - 1
    together = hops_together(found, top, last, max_hops)
    by_hops = collected(
        found, readout, together.telling, together.parts, memory_budget, partial(walk_hops, split=together)
    )
    halves = (*[Telling(2, kept=True)] * top, WHOLE)
    by_readout = collected(found, readout, halves, 2, memory_budget, walk_readout)
    logs, shares = logs_and_shares(by_hops, max_hops + 2)
    log_half, share_half = logs_and_shares(by_readout, 2)
    axes = ("sample", "class", "time")
    plain = {
        "log_input": 0.5 * by_hops[-2].log(),
        "log_recurrent": 0.5 * by_hops[-1].log(),
        "log_rest": logs[-1],
        "share_rest": shares[-1],
        "mean_hops": mean_part(logs),
        "log_direct": log_half[0],
        "log_later": log_half[1],
        "share_direct": share_half[0],
        "share_later": share_half[1],
    }
    data = xr.Dataset(
        {
            **{name: (axes, value) for name, value in plain.items()},
            "log_hops": (("hop", *axes), logs[:-1]),
            "share_hops": (("hop", *axes), shares[:-1]),
        },
        {
            "sample": np.arange(layers[0].a.shape[1]),
            "class": np.arange(len(readout.W)),
            "time": ("time", np.arange(last + 1), {"units": "steps"}),
            "hop": ("hop", np.arange(max_hops + 1), {"long_name": "recurrent hops", "units": "1"}),
        },
        {"kind": "logit paths", "max_hops": max_hops, **found.conventions},
    )
    for name, variable in data.data_vars.items():
        variable.attrs["units"] = "nats" if str(name).startswith("log") else "1"
    return Results.of(data)


Walker: TypeAlias = Callable[
    [Column, Float[np.ndarray, "class neuron"], Float[np.ndarray, " time"]], Iterator[tuple[int, Scaled]]
]


def collected(
    found: Transition,
    readout: ReadoutLink,
    telling: Sequence[Telling],
    parts: int,
    budget: int,
    walk: Walker,
) -> Scaled:
    """Return the sums of `scaled.measure`, (quantity, sample, class, time), of what comes to the inputs."""
    top, last = len(found.layers) - 1, len(readout.placement) - 1
    samples, classes = spiking(found)[0].a.shape[1], len(readout.W)
    total = Scaled.zeros(2 * parts + 2, samples, classes, last + 1)
    each = column_bytes(found, top, last, telling)
    for taken, rows in chunks(NAME, samples, classes, each, budget):
        column = Column(found, top, last, taken, rows.stop - rows.start, telling)
        for t, E in walk(column, readout.W[rows], readout.placement):
            total[:, taken, rows, t] = scaled.sums(E, E.m.shape[2])
    return total


def walk_hops(
    column: Column,
    W: Float[np.ndarray, "class neuron"],
    placement: Float[np.ndarray, " time"],
    *,
    split: Split,
) -> Iterator[tuple[int, Scaled]]:
    """Yield time and the parts of ∂logits/∂x by hops."""
    for lag, share in enumerate(placement[::-1]):
        t = len(placement) - 1 - lag
        above = column.spread(placed(W, share))
        for layer in range(column.top, -1, -1):
            parts = split.alive(layer, lag)
            into = 0 if layer == column.top else None  # paths begin without a hop
            column.advance(layer, t, None, above, into=into, parts=parts)
            above = column.below(layer, t, parts=parts)
        yield t, column.out[0]


def walk_readout(
    column: Column, W: Float[np.ndarray, "class neuron"], placement: Float[np.ndarray, " time"]
) -> Iterator[tuple[int, Scaled]]:
    """Yield time and the two parts of ∂logits/∂x by readout."""
    top, walk = column.top, column.walks[-1]
    shape = walk.P.m.shape[1:]
    halves = Scaled.zeros(2, *shape)
    out = Scaled.zeros(2, *shape[:-1], column.links[top].W.shape[1])
    for t in range(len(placement) - 1, -1, -1):
        above, direct = column.spread(placed(W, placement[t])), Scaled.zeros(1, *shape)
        walk.advance(t, column.rows)
        scaled.advance(direct.m, direct.e, above.m, above.e, *walk.local(t), 1.0, column.rows)
        halves[0], halves[1] = direct[0], walk.P[0]
        scaled.add(walk.P.m, walk.P.e, direct.m, direct.e, column.rows)
        walk.store(t, column.rows)
        E = column.send(top, t, halves, out, column.rows)
        for layer in range(top - 1, -1, -1):
            column.advance(layer, t, None, E)
            E = column.below(layer, t)
        yield t, E
