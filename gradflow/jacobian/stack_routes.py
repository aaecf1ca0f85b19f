"""Products through the stack split by route: hops in all layers, hops in each, and when each layer is left.

    by hops         P = Σ_k P_k            a hop in any layer l … m counts; climbs and neuron steps do not
    by layer's hops P = Σ_k P_k^(j)        a hop in layer j counts; k = 0 is the neuron path in that layer
    by climbs       P = Σ_c P_c^(j)        c the lag T − τ of the time τ at which the path leaves layer j < m,
                                           so that it spends c steps above layer j and T − t − c up to it

with P = ∂u_m[T]/∂u_l[t] and each part under the recursion of `stack`. Each split is exact and additive. Axes
of the result: layer sample lag, hop or climb, and the layer that is counted.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr
from jaxtyping import Float

from gradflow.jacobian.paths import MAX_HOPS
from gradflow.jacobian.products import MEMORY_BUDGET, end_of, transition_from
from gradflow.jacobian.scaled import Scaled
from gradflow.jacobian.splits import logs_and_shares, mean_part, require_hops
from gradflow.jacobian.stack import layer_of, linked, measure, spiking
from gradflow.jacobian.stack_splits import climbs_from, hops_in, hops_together, split_sums
from gradflow.recurrence import SpanMode
from gradflow.results import Results
from gradflow.transition import BatchLike

NAME = "stack_paths"
AXES = ("layer", "sample", "lag")

Variable: TypeAlias = tuple[tuple[str, ...], np.ndarray]
Variables: TypeAlias = dict[str, Variable]


class RouteSplit(StrEnum):
    """How a stack's paths are told apart: by all hops, by the hops in each layer, by when layers are left."""

    HOPS = "hops"
    LAYER_HOPS = "layer_hops"
    CLIMBS = "climbs"


SplitLike: TypeAlias = RouteSplit | Literal["hops", "layer_hops", "climbs"]
ALL = tuple(RouteSplit)


def stack_paths(
    source: object,
    batch: BatchLike | None = None,
    *,
    target: int = -1,
    end: int = -1,
    splits: Sequence[SplitLike] = ALL,
    max_hops: int = MAX_HOPS,
    climb_edges: Sequence[int] | None = None,
    span_mode: SpanMode | None = None,
    memory_budget: int = MEMORY_BUDGET,
) -> xr.Dataset:
    """Return the log-norms and shares of the parts of ∂u_m[T]/∂u_l[t], by route, for every layer l ≤ m.

    Args:
        source: a network (then give `batch`) or a `Transition` with links.
        batch: a batch of a task, or inputs (time, batch, input).
        target: m (default −1, the last layer).
        end: T, the end time (default −1, the last step; negative counts from the end).
        splits: which ones (default: all three).
        max_hops: the largest number of hops that is told apart (default 32); more are one part, the rest.
        climb_edges: lags at which parts of the split by climbs begin, from 0 on (default 0, 1, 2, 4, 8 …;
            range(T + 1) tells every step apart).
        span_mode: soft or hard spans of an adaptive recurrence (default: soft in training mode).
        memory_budget: bytes of working memory (default 512 MiB), the run and the result apart.

    Returns:
        A Dataset over (layer, sample, lag), norms being Frobenius norms in nats, −inf where a part is exactly
        zero: `log_frobenius` of P. By hops: `log_hops` (hop), `log_rest` of all with more, `log_recurrent` of
        P − P_0, and `mean_hops` as in `path_products`. By the hops in layer `counted`: `log_layer_hops`
        (counted, hop), `log_layer_rest`, `log_layer_recurrent` and `mean_layer_hops` (counted); hop 0 is the
        neuron path there. By climbs: `log_climbs` (counted, climb), where `climb` is the lag at which a part
        begins. NaN where a path from the layer does not lead through, or out of, the counted one. Shares
        ⟨part, P⟩ / ‖P‖² of each add up to 1, and are NaN where P is zero: `share_hops` + `share_rest`,
        `share_layer_hops` + `share_layer_rest`, `share_climbs`.

    Raises:
        ValueError: as `stack_products`, and for a target that is not there, no splits, max_hops below 0, or
            edges that do not increase from 0.

    Cost: that of `stack_products` of the target times K for all hops, and for each layer j the share of the
    layers up to it, K + C times; K = min(max_hops + 2, T / shortest span + 1), C parts of climbs. Memory as
    `stack_products`, times K or C.

    >>> import numpy as np, gradflow as gf
    >>> half = gf.LayerTransition(np.full((4, 1, 1), 0.5), np.ones((4, 1, 1)), np.zeros((1, 1)), (), ())
    >>> made = gf.Transition((half, half), links=(gf.Link(np.ones((1, 1))),) * 2)
    >>> shares = stack_paths(made).share_climbs.sel(counted=0, layer=0, lag=3)
    >>> shares.squeeze().values.tolist()  # climbs at lags 0 and 1, and at 2 or 3
    [0.25, 0.25, 0.5]
    """
    require_hops(NAME, max_hops)
    wanted = {RouteSplit(split) for split in splits}
    if not wanted:
        raise ValueError(f"{NAME}(splits=()): expected members of RouteSplit")
    found = linked(NAME, transition_from(source, batch, span_mode, NAME))
    layers = spiking(found)
    top = layer_of(NAME, target, len(layers))
    last = end_of(end, len(layers[top].a))
    edges = edges_of(climb_edges, last)
    whole = measure(NAME, found, top, last, False, memory_budget)[0]
    variables: Variables = {"log_frobenius": (AXES, whole)}
    if RouteSplit.HOPS in wanted:
        split = hops_together(found, top, last, max_hops)
        variables |= hop_parts(split_sums(NAME, found, top, last, split, memory_budget), max_hops, "")
    if RouteSplit.LAYER_HOPS in wanted:
        by_layer = []
        for j in range(top + 1):
            split = hops_in(found, top, last, max_hops, j)
            sums = split_sums(NAME, found, top, last, split, memory_budget)
            by_layer.append(hop_parts(sums, max_hops, "layer_"))
        variables |= counted(by_layer, top + 1)
    if RouteSplit.CLIMBS in wanted and top:
        by_layer = []
        for j in range(top):
            sums = split_sums(NAME, found, top, last, climbs_from(top, j, edges), memory_budget)
            logs, shares = logs_and_shares(sums, len(edges))
            by_layer.append({"log_climbs": parted("climb", logs), "share_climbs": parted("climb", shares)})
        variables |= counted(by_layer, top + 1)
    data = xr.Dataset(
        variables,
        {
            "layer": ("layer", np.arange(top + 1), {"long_name": "layer of u[t]"}),
            "sample": np.arange(whole.shape[1]),
            "lag": ("lag", np.arange(last + 1), {"long_name": "lag T − t", "units": "steps"}),
            "hop": ("hop", np.arange(max_hops + 1), {"long_name": "recurrent hops", "units": "1"}),
            "climb": (
                "climb",
                np.array(edges),
                {"long_name": "lag from which the layer is left", "units": "steps"},
            ),
            "counted": ("counted", np.arange(top + 1), {"long_name": "layer of the hops or of the climb"}),
        },
        {"kind": "stack paths", "target": top, "end": last, "max_hops": max_hops, **found.conventions},
    )
    for name, variable in data.data_vars.items():
        variable.attrs["units"] = "nats" if str(name).startswith("log") else "1"
    return Results.of(data)


def edges_of(given: Sequence[int] | None, last: int) -> tuple[int, ...]:
    """Return the lags at which parts of climbs begin.

    >>> edges_of(None, 9)
    (0, 1, 2, 4, 8)
    """
    if given is None:
        return (0, *(2**k for k in range(last.bit_length())))
    found = np.array(list(given))
    whole = found.ndim == 1 and len(found) and np.issubdtype(found.dtype, np.integer)
    if not whole or found[0] != 0 or np.any(np.diff(found) <= 0):
        raise ValueError(f"{NAME}(climb_edges={given!r}): expected lags that increase from 0")
    return tuple(found.tolist())


def parted(part: str, values: Float[np.ndarray, "part layer lag sample"]) -> Variable:
    """Return an array with its axes' names, samples before lags."""
    return (part, *AXES), values.swapaxes(-1, -2)


def hop_parts(sums: Scaled, max_hops: int, kind: str) -> Variables:
    """Return log-norms, shares and mean of a split by hops."""
    logs, shares = logs_and_shares(sums, max_hops + 2)
    lagged = {
        f"log_{kind}rest": logs[-1],
        f"share_{kind}rest": shares[-1],
        f"log_{kind}recurrent": 0.5 * sums[-1].log(),
        f"mean_{kind}hops": mean_part(logs),
    }
    found = {name: (AXES, value.swapaxes(-1, -2)) for name, value in lagged.items()}
    by_hop = {f"log_{kind}hops": logs[:-1], f"share_{kind}hops": shares[:-1]}
    return {**found, **{name: parted("hop", value) for name, value in by_hop.items()}}


def counted(by_layer: Sequence[Variables], layers: int) -> Variables:
    """Return the splits of all counted layers as one array each, NaN where a layer has no such part."""
    found: Variables = {}
    for name, (axes, first) in by_layer[-1].items():
        shape = [layers if axis == "layer" else size for axis, size in zip(axes, first.shape, strict=True)]
        values = np.full((layers, *shape), np.nan)
        for j, variables in enumerate(by_layer):
            part = variables[name][1]
            values[j][tuple(slice(0, size) for size in part.shape)] = part
        found[name] = ("counted", *axes), values
    return found
