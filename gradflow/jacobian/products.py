"""Jacobian products P(T,t) = ∂u[T]/∂u[t] for all t by one backward sweep, exact at any length.

    P(T,T) = 1,    P(T,t) = P(T,t+1) diag a[t] + Σ_{d ≤ T−t} p_d P(T,t+d) diag gate[t+d] V diag φ[t]

in float64, every row of P with a binary exponent of its own, and every element where a row spreads too far
for that. Axes of the result: layer sample lag, with lag n = T − t.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr

from gradflow.jacobian.sweep import AnyTransition, size_of, sweep_layer
from gradflow.recurrence import SpanMode
from gradflow.results import Results
from gradflow.transition import BatchLike, DenseTransition, LayerTransition, Transition, local_jacobians


class MatrixNorm(StrEnum):
    """Which norm of P is taken: Frobenius (all singular values) or spectral (the largest)."""

    FROBENIUS = "frobenius"
    SPECTRAL = "spectral"


NormLike: TypeAlias = MatrixNorm | Literal["frobenius", "spectral"]
BOTH = (MatrixNorm.FROBENIUS, MatrixNorm.SPECTRAL)
ZEROS = ("structural", "float16", "bfloat16", "float32", "float64")
"""Kinds of zero, in the order in which the sweep counts them."""
MEMORY_BUDGET = 512 * 2**20
"""Bytes: 20 samples of H = 128 at a largest span of 51, or one of H = 512."""


def jacobian_products(
    source: object,
    batch: BatchLike | None = None,
    *,
    end: int = -1,
    norms: Sequence[NormLike] = BOTH,
    span_mode: SpanMode | None = None,
    memory_budget: int = MEMORY_BUDGET,
) -> xr.Dataset:
    """Return the log-norms of ∂u[T]/∂u[t] of every layer and sample, for all t ≤ T.

    Args:
        source: a network (then give `batch`) or a `Transition` of any origin.
        batch: a batch of a task, or inputs (time, batch, input).
        end: T, the end time (default −1, the last step; negative counts from the end).
        norms: Frobenius, spectral or both (the spectral norm costs about half as much again).
        span_mode: soft or hard spans of an adaptive recurrence (default: soft in training mode).
        memory_budget: bytes of working memory (default 512 MiB), the run and the result apart; samples, and
            for the Frobenius norm alone the rows of one sample, are taken in chunks that fit it.

    Returns:
        A Dataset with natural logs `log_frobenius` and `log_spectral` (layer, sample, lag): −inf only
        where P is exactly zero by structure; `share_structural` and `share_float16`, `share_bfloat16`,
        `share_float32`, `share_float64`: shares of the H×H elements that are structurally zero, and that are
        not but would round to zero in that format; `at_risk`: the largest share of elements that sit in rows
        too spread out for one exponent, which one would have lost and which therefore carry an exponent
        each; the moments of a and φ over the steps t < T that the theory reads; V's norms, p, and all
        conventions as attributes.

    Raises:
        ValueError: for an end outside the sequence, no norms, a network without a batch, NaN or infinity in
            the factors, or a memory budget under what one row, or for the spectral norm one sample, needs.

    Cost: 2 H³ T operations per sample, on as many threads as torch uses; (3 max span + 12) H² × 8 bytes per
    sample in a chunk, two thirds of which only rows with an exponent per element touch.
    """
    found = transition_from(source, batch, span_mode, "jacobian_products")
    wanted = tuple(MatrixNorm(norm) for norm in norms)
    if not wanted:
        raise ValueError("norms=(): expected MatrixNorm.FROBENIUS, MatrixNorm.SPECTRAL or both")
    layers = [_layer_dataset(layer, end, wanted, memory_budget) for layer in found.layers]
    data = xr.concat(layers, dim="layer", join="outer", fill_value=np.nan, combine_attrs="drop_conflicts")
    if "p" in data:  # a span that only other layers read has no weight here
        data["p"] = data.p.fillna(0.0)
    data = data.assign_coords(layer=np.arange(len(layers)))
    data.lag.attrs = {"long_name": "lag T − t", "units": "steps"}
    for variable in data.data_vars.values():
        variable.attrs.setdefault("units", "1")
    last = int(data.sizes["lag"]) - 1
    data.attrs = {"kind": "jacobian products", "end": last, **found.conventions}
    return Results.of(data)


def transition_from(
    source: object, batch: BatchLike | None, span_mode: SpanMode | None, caller: str
) -> Transition:
    """Return the source if it is a transition, else the local Jacobians of the network run on the batch.

    Raises ValueError, in the name of `caller`, for a network without a batch.
    """
    if isinstance(source, Transition):
        return source
    if batch is None:
        raise ValueError(f"{caller}(net): give the batch to run it on, as task.sample(8)")
    return local_jacobians(source, batch, span_mode=span_mode)  # type: ignore[arg-type]


def end_of(end: int, steps: int) -> int:
    """Return the end time as an index from 0, refusing one outside the sequence."""
    last = end + steps if end < 0 else end
    if not 0 <= last < steps:
        raise ValueError(f"end={end}: the sequence has {steps} steps, expected −{steps} … {steps - 1}")
    return last


def _layer_dataset(layer: AnyTransition, end: int, norms: tuple[MatrixNorm, ...], budget: int) -> xr.Dataset:
    """Sweep one layer, chunk by chunk, and label the result."""
    steps, samples, neurons = size_of(layer)
    last = end_of(end, steps)
    swept = sweep_layer(layer, last, MatrixNorm.SPECTRAL in norms, budget)
    shares = swept.counts / neurons**2
    variables = {
        "log_frobenius": 0.5 * swept.log_squares,
        "log_spectral": swept.log_spectral,
        **{f"share_{kind}": shares[..., k] for k, kind in enumerate(ZEROS)},
    }
    for norm in BOTH:
        if norm not in norms:
            del variables[f"log_{norm}"]
    data = xr.Dataset(
        {name: (("sample", "lag"), value.T, {"units": _units(name)}) for name, value in variables.items()},
        coords={"lag": np.arange(last + 1), "sample": np.arange(samples)},
    )
    data["at_risk"] = ("sample", shares[..., len(ZEROS)].max(axis=0), {"units": "1"})
    data["neurons"] = ((), float(neurons))
    return data if isinstance(layer, DenseTransition) else data.merge(moments(layer, last))


def _units(name: str) -> str:
    return "nats" if name.startswith("log") else "1"


def moments(layer: LayerTransition, last: int) -> xr.Dataset:
    """Return what the theory needs of a layer: moments of a and φ over t < T, norms of V, and p."""
    a, phi = layer.a[:last], layer.phi[:last]
    samples, neurons = layer.a.shape[1:]
    gate = np.ones((last, 1)) if layer.gate is None else layer.gate[1 : last + 1]
    window = phi if layer.window is None else layer.window[:last]
    top = float(np.abs(layer.V).max()) or 1.0  # squares of V alone could overflow
    if last:
        # sums and extrema without a copy of the run
        elements = last * neurons
        by_sample = {
            "a_square": np.einsum("tbn,tbn->b", a, a) / elements,
            "phi_square": np.einsum("tbn,tbn->b", phi, phi) / elements,
            "a_max": np.maximum(a.max(axis=(0, 2)), -a.min(axis=(0, 2))),
            "phi_max": np.maximum(phi.max(axis=(0, 2)), -phi.min(axis=(0, 2))),
            "window": np.count_nonzero(window, axis=(0, 2)) / elements,
            "gate_square": np.full(samples, np.einsum("tj,tj->", gate, gate) / gate.size),
            "gate_max": np.full(samples, np.max(np.abs(gate))),
        }
    else:
        # no step before T: maxima of nothing are 0, and the bound holds at lag 0; means of nothing are NaN
        means = dict.fromkeys(("a_square", "phi_square", "window", "gate_square"), np.full(samples, np.nan))
        by_sample = means | dict.fromkeys(("a_max", "phi_max", "gate_max"), np.zeros(samples))
    return xr.Dataset(
        {
            **{name: ("sample", value) for name, value in by_sample.items()},
            "leak": ((), layer.leak),
            "V_frobenius": ((), top * float(np.linalg.norm(layer.V / top))),
            "V_spectral": ((), top * float(np.linalg.norm(layer.V / top, 2))),
            "p": ("span", np.array(layer.weights, dtype=np.float64)),
        },
        coords={"span": np.array(layer.spans, dtype=np.int64)},
    )
