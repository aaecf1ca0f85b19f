"""The Jacobian product split by its paths: by number of recurrent hops, and by the span of the first hop.

    by hops     P = Σ_k P_k,          P_k(T,t) = P_k(T,t+1) A_t + Σ_d p_d P_{k−1}(T,t+d) G_{t+d} V Φ_t
    by span     P = P_0 + Σ_d F_d,    F_d(T,t) = F_d(T,t+1) A_t + p_d P(T,t+d) G_{t+d} V Φ_t

F_d holds the paths that leave by a hop of span d: the first hop in the order of time, with any neuron steps
before it and any path after it. Both splits are exact and additive, P_0 being the neuron path. Axes of the
result: layer sample hop span lag.
"""

import numpy as np
import xarray as xr

from gradflow.jacobian.products import MEMORY_BUDGET, end_of, transition_from
from gradflow.jacobian.splits import hop_sums, logs_and_shares, mean_part, require_hops, span_sums
from gradflow.jacobian.sweep import taps_of
from gradflow.recurrence import SpanMode
from gradflow.results import Results
from gradflow.transition import BatchLike, LayerTransition

NAME = "path_products"
MAX_HOPS = 32


def path_products(
    source: object,
    batch: BatchLike | None = None,
    *,
    end: int = -1,
    max_hops: int = MAX_HOPS,
    span_mode: SpanMode | None = None,
    memory_budget: int = MEMORY_BUDGET,
) -> xr.Dataset:
    """Return the log-norms of the parts of ∂u[T]/∂u[t] that take 0, 1, 2 … recurrent hops, for all t ≤ T.

    Args:
        source: a network (then give `batch`) or a `Transition` of spiking layers.
        batch: a batch of a task, or inputs (time, batch, input).
        end: T, the end time (default −1, the last step; negative counts from the end).
        max_hops: the largest number of hops that is told apart (default 32); more are one part, the rest.
        span_mode: soft or hard spans of an adaptive recurrence (default: soft in training mode).
        memory_budget: bytes of working memory (default 512 MiB), the run and the result apart.

    Returns:
        A Dataset over (layer, sample, lag), norms being Frobenius norms in nats, −inf where a part is exactly
        zero: `log_frobenius` of P; `log_hops` (hop) of P_k and `log_rest` of all with more hops; `log_neuron`
        of P_0 and `log_recurrent` of P − P_0; `log_first_span` (span) of F_d. Norms of parts do not add up,
        but the shares ⟨P_k, P⟩ / ‖P‖² do: `share_hops`, `share_rest` sum to 1, and so do `share_hops` at
        hop 0 and `share_first_span`. They are negative for parts that the others outweigh, and NaN where P
        is zero. `mean_hops` is Σ k ‖P_k‖ / Σ ‖P_k‖; where the rest is above 0.1 % of Σ ‖P_k‖ it is NaN (raise
        `max_hops`), below it the rest counts as max_hops + 1.

    Raises:
        ValueError: for an end outside the sequence, max_hops below 0, a dense transition (it has no hops to
            count), a network without a batch, NaN or infinity in the factors, or a memory budget under what
            one row needs.

    Cost: 2 H³ T K operations per sample, K = min(max_hops + 2, T / shortest span + 1), and 2 H³ T + H² T D
    more for D spans; 16 H² (λ + 5) K bytes per sample, λ the longest span.

    >>> import numpy as np, gradflow as gf
    >>> ones = np.ones((9, 1, 1))
    >>> found = path_products(gf.Transition((gf.LayerTransition(ones, ones, np.eye(1), spans=(4,)),)))
    >>> np.exp(found.log_hops.sel(lag=8)).squeeze().values[:4].round(9).tolist()  # as count_routes(8, 4, k)
    [1.0, 5.0, 1.0, 0.0]
    """
    require_hops(NAME, max_hops)
    found = transition_from(source, batch, span_mode, NAME)
    layers = [_layer_dataset(layer, end, max_hops, memory_budget) for layer in found.layers]
    data = xr.concat(layers, dim="layer", join="outer", fill_value=np.nan, combine_attrs="drop_conflicts")
    # a span that a layer does not read carries no path
    data["log_first_span"] = data.log_first_span.fillna(-np.inf)
    known = data.share_hops.sel(hop=0).notnull()
    data["share_first_span"] = data.share_first_span.where(data.share_first_span.notnull() | ~known, 0.0)
    data = data.assign_coords(layer=np.arange(len(layers)))
    data.lag.attrs = {"long_name": "lag T − t", "units": "steps"}
    data.hop.attrs = {"long_name": "recurrent hops", "units": "1"}
    data.span.attrs = {"long_name": "span of the first hop", "units": "steps"}
    for name, variable in data.data_vars.items():
        variable.attrs["units"] = "nats" if str(name).startswith("log") else "1"
    last = int(data.sizes["lag"]) - 1
    data.attrs = {"kind": "path products", "end": last, "max_hops": max_hops, **found.conventions}
    return Results.of(data)


def _layer_dataset(layer: object, end: int, max_hops: int, budget: int) -> xr.Dataset:
    if not isinstance(layer, LayerTransition):
        raise ValueError(
            f"{NAME}: got a {type(layer).__name__}, whose Jacobians are not split into neuron and recurrent "
            "path; expected LayerTransition"
        )
    steps, samples, neurons = layer.a.shape
    last = end_of(end, steps)
    spans = np.array(taps_of(layer, last).spans, dtype=np.int64)
    by_hops, by_span = (
        hop_sums(NAME, layer, last, max_hops, budget),
        span_sums(NAME, layer, last, budget),
    )
    whole, recurrent = by_hops[-2], by_hops[-1]
    log_parts, share_parts = logs_and_shares(by_hops, max_hops + 2)
    log_spans, share_spans = logs_and_shares(by_span, 1 + len(spans))
    lag_last = ("sample", "lag")
    return xr.Dataset(
        {
            "log_frobenius": (lag_last, 0.5 * whole.log().T),
            "log_neuron": (lag_last, log_parts[0].T),
            "log_recurrent": (lag_last, 0.5 * recurrent.log().T),
            "log_hops": (("hop", *lag_last), log_parts[:-1].swapaxes(1, 2)),
            "log_rest": (lag_last, log_parts[-1].T),
            "share_hops": (("hop", *lag_last), share_parts[:-1].swapaxes(1, 2)),
            "share_rest": (lag_last, share_parts[-1].T),
            "mean_hops": (lag_last, mean_part(log_parts).T),
            "log_first_span": (("span", *lag_last), log_spans[1:].swapaxes(1, 2)),
            "share_first_span": (("span", *lag_last), share_spans[1:].swapaxes(1, 2)),
            "neurons": ((), float(neurons)),
        },
        coords={
            "lag": np.arange(last + 1),
            "sample": np.arange(samples),
            "hop": np.arange(max_hops + 1),
            "span": spans,
        },
    )
