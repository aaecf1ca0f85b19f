"""The lag matrix: log-norms of P(T,t) = ∂u[T]/∂u[t] for all pairs of times, not for one end T alone.

Of each layer with itself, or of one layer's u[T] with every layer below: ∂u_m[T]/∂u_l[t]. The curve of one T
is one sample of it. All ends are swept together, T entering when the walk comes to it; exactly, or by random
probes z of independent standard normal elements, E |zᵀP|² = ‖P‖_F². Axes: layer sample end lag, with lag
n = T − t.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from gradflow.jacobian.pairs import Pairs, StackPairs, Start, over_ends
from gradflow.jacobian.products import MEMORY_BUDGET, transition_from
from gradflow.jacobian.stack import layer_of, linked
from gradflow.jacobian.sweep import size_of
from gradflow.jacobian.walk import chunks
from gradflow.recurrence import SpanMode
from gradflow.results import Results
from gradflow.transition import BatchLike

NAME = "lag_matrix"
EXACT = 32
"""Neurons up to which the default is exact: a probe costs as much as a row, and 32 rows are few."""
PROBES = 16
"""Probes of larger layers: a standard error of at most 1/√32 = 0.18 nats an entry."""


def lag_matrix(
    source: object,
    batch: BatchLike | None = None,
    *,
    target: int | None = None,
    ends: Sequence[int] | None = None,
    probes: int | None = None,
    seed: int = 0,
    span_mode: SpanMode | None = None,
    memory_budget: int = MEMORY_BUDGET,
) -> xr.Dataset:
    """Return log ‖∂u[T]/∂u[t]‖_F for all t ≤ T and all ends T, its average over T and its variation.

        exact      ‖P‖² = Σ_i |e_iᵀ P|²
        by probes  ‖P‖² ≈ q̄ = mean_i q_i,  q_i = |z_iᵀ P|²,  with standard error s(q_i) / (2 q̄ √m) of ½ log q̄

    Args:
        source: a network (then give `batch`) or a `Transition` of any origin.
        batch: a batch of a task, or inputs (time, batch, input).
        target: the layer m of u[T], for ∂u_m[T]/∂u_l[t] of all layers l ≤ m, links included, by probes of u_m
            (default: each layer with itself).
        ends: the T wanted, e.g. range(0, 784, 8) (default: all; negative ones count from the end).
        probes: m ≥ 2 probes, or 0 for exact (default: exact up to 32 neurons, 16 probes in larger layers).
        seed: of the probes, which are drawn from a stream for each layer, sample and end.
        span_mode: soft or hard spans of an adaptive recurrence (default: soft in training mode).
        memory_budget: bytes of working memory (default 512 MiB), the run and the result apart.

    Returns:
        A Dataset. Over (layer, sample, end, lag), NaN where lag > end: `log_frobenius` in nats, −inf where P
        is exactly zero; `standard_error` of it, 0 where it is exact. Over (layer, sample, lag), of the ends
        that reach the lag (`end_count` many): `log_average` ½ log of the mean of ‖P‖² and its
        `average_standard_error`; `log_mean` and `log_deviation`, mean and standard deviation of log ‖P‖
        over the ends where P is not zero (NaN where there is none, or one), and `share_zero`, of the ends
        where it is. `probes` (layer), 0 for exact. The normal probe has no direction it cannot see, and
        relative variance of at most 2 (Hutchinson 1989; Avron & Toledo 2011): an error of at most 1/√(2m)
        nats. ½ log q̄ is low by about its squared standard error, and `log_deviation` has the errors in it.

    Raises:
        ValueError: for ends outside the sequence or named twice, one probe or a negative number, a network
            without a batch, NaN or infinity in the factors, or a memory budget under what one end needs.

    Cost: H² m T² operations per sample, m = H where exact; 16 H m (λ + 5) bytes per end, λ the longest span.

    >>> import gradflow as gf
    >>> half = np.full((4, 1, 1), 0.5)
    >>> found = lag_matrix(gf.Transition((gf.LayerTransition(half, half, np.zeros((1, 1))),)))
    >>> np.exp(found.log_frobenius.squeeze()).values.round(9).tolist()[2:]
    [[1.0, 0.5, 0.25, nan], [1.0, 0.5, 0.25, 0.125]]
    """
    if probes is not None and (
        isinstance(probes, bool) or not isinstance(probes, int) or probes in {1} or probes < 0
    ):
        raise ValueError(f"{NAME}(probes={probes!r}): expected 0 for exact norms, or at least 2 probes")
    found = transition_from(source, batch, span_mode, NAME)
    chosen = list(range(len(found.layers)))
    if target is not None:
        chosen = [layer_of(NAME, target, len(linked(NAME, found).layers))]
    layers = []
    for index in chosen:
        layer = found.layers[index]
        steps, _, neurons = size_of(layer)
        count = (0 if neurons <= EXACT else PROBES) if probes is None else probes
        start = Start(neurons, count, seed, index)
        pairs = Pairs(layer, start) if target is None else StackPairs(found, index, start)
        layers += _layer_datasets(pairs, ends_of(ends, steps), memory_budget)
    data = xr.concat(layers, dim="layer", combine_attrs="drop_conflicts")
    data = data.assign_coords(layer=np.arange(len(layers)))
    data.lag.attrs = {"long_name": "lag T − t", "units": "steps"}
    data.end.attrs = {"long_name": "end time T", "units": "steps"}
    data.attrs = {"kind": "lag matrix", "probe_seed": seed, **found.conventions}
    return Results.of(data if target is None else data.assign_attrs(target=chosen[0]))


def ends_of(ends: Sequence[int] | None, steps: int) -> Int[np.ndarray, " end"]:
    """Return the ends as increasing steps from the start.

    Raises ValueError where there are none, one is outside the sequence, or two are the same.

    >>> ends_of((-1, 3), 9).tolist()
    [3, 8]
    """
    given = np.arange(steps) if ends is None else np.array(list(ends), dtype=np.int64)
    found = np.sort(np.where(given < 0, given + steps, given))
    if not len(found) or found[0] < 0 or found[-1] >= steps or np.any(np.diff(found) == 0):
        raise ValueError(f"{NAME}(ends={ends!r}): expected different steps among −{steps} … {steps - 1}")
    return found


def _layer_datasets(
    pairs: Pairs | StackPairs, ends: Int[np.ndarray, " end"], budget: int
) -> list[xr.Dataset]:
    """Measure all pairs in chunks, average over the ends, and label the results, one for each layer."""
    samples, sizes = pairs.sizes
    out = np.full((len(sizes), 2, samples, len(ends), int(ends[-1]) + 1), np.nan)
    for taken, chosen in chunks(NAME, samples, len(ends), pairs.end_bytes(int(ends[-1])), budget):
        last = int(ends[chosen][-1])
        pairs.measure(taken, ends[chosen], out[:, :, taken, chosen, : last + 1])
    return [
        _labelled(0.5 * values, ends, pairs.start.probes, neurons)
        for values, neurons in zip(out, sizes, strict=True)
    ]


def _labelled(
    values: Float[np.ndarray, "quantity sample end lag"],
    ends: Int[np.ndarray, " end"],
    probes: int,
    neurons: int,
) -> xr.Dataset:
    log, error = values
    pair, lag = ("sample", "end", "lag"), ("sample", "lag")
    nats, plain = {"units": "nats"}, {"units": "1"}
    return xr.Dataset(
        {
            "log_frobenius": (pair, log, nats),
            "standard_error": (pair, error, nats),
            **{
                name: (lag, value, nats if name != "share_zero" else plain)
                for name, value in over_ends(log, error).items()
            },
            "end_count": (("lag",), np.count_nonzero(~np.isnan(log[0]), axis=0), plain),
            "probes": ((), probes, plain),
            "neurons": ((), float(neurons), plain),
        },
        coords={"sample": np.arange(len(log)), "end": ends, "lag": np.arange(int(ends[-1]) + 1)},
    )
