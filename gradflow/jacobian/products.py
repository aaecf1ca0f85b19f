"""Jacobian products P(T,t) = ∂u[T]/∂u[t] for all t by one backward sweep, exact at any length.

    P(T,T) = 1,    P(T,t) = P(T,t+1) diag a[t] + Σ_{d ≤ T−t} p_d P(T,t+d) diag gate[t+d] V diag φ[t]

in float64, every row of P with a binary exponent of its own. Axes of the result: layer sample lag,
with lag n = T − t.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr
from jaxtyping import Float

from gradflow.jacobian import kernels
from gradflow.recurrence import SpanMode
from gradflow.transition import BatchLike, DenseTransition, LayerTransition, Transition, local_jacobians

TOLERANCE = 1e-13
"""Largest relative error of a squared spectral norm; a hundredth of what the dense twin is held to."""


class MatrixNorm(StrEnum):
    """Which norm of P is taken: Frobenius (all singular values) or spectral (the largest)."""

    FROBENIUS = "frobenius"
    SPECTRAL = "spectral"


NormLike: TypeAlias = MatrixNorm | Literal["frobenius", "spectral"]
BOTH = (MatrixNorm.FROBENIUS, MatrixNorm.SPECTRAL)
MEMORY_BUDGET = 512 * 2**20


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
        norms: Frobenius, spectral or both (the spectral norm costs about as much again).
        span_mode: soft or hard spans of an adaptive recurrence (default: soft in training mode).
        memory_budget: bytes of working memory; samples are taken in chunks that fit it.

    Returns:
        A Dataset with natural logs `log_frobenius` and `log_spectral` (layer, sample, lag): −inf only
        where P is exactly zero by structure; `share_structural`, `share_float32`, `share_float64`: shares
        of the H×H elements that are structurally zero, and that are not but would round to zero in
        float32 and float64; `at_risk`: the largest share of elements that fell 10²⁸⁹ under the largest
        of their row, which float64 with one exponent per row may lose (0 in practice); the moments of a
        and φ over the steps t < T that the theory reads; V's norms, p, and all conventions as attributes.

    Raises:
        ValueError: for an end outside the sequence, no norms, or a network without a batch.

    Cost: 2 H³ T operations per sample; (max span + 3) H² × 8 bytes per sample in a chunk.
    """
    found = source if isinstance(source, Transition) else _run(source, batch, span_mode)
    wanted = tuple(MatrixNorm(norm) for norm in norms)
    if not wanted:
        raise ValueError("norms=(): expected MatrixNorm.FROBENIUS, MatrixNorm.SPECTRAL or both")
    layers = [_layer_dataset(layer, end, wanted, memory_budget) for layer in found.layers]
    data = xr.concat(layers, dim="layer", join="outer", fill_value=np.nan, combine_attrs="drop_conflicts")
    if "p" in data:  # a span that only other layers read has no weight here
        data["p"] = data.p.fillna(0.0)
    data = data.assign_coords(layer=np.arange(len(layers)))
    data.lag.attrs = {"long_name": "lag T − t", "units": "steps"}
    last = int(data.sizes["lag"]) - 1
    data.attrs = {"kind": "jacobian products", "end": last, **found.conventions}
    return data


def _run(source: object, batch: BatchLike | None, span_mode: SpanMode | None) -> Transition:
    if batch is None:
        raise ValueError("jacobian_products(net): give the batch to run it on, as task.sample(8)")
    return local_jacobians(source, batch, span_mode=span_mode)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Sweep:
    """What the sweep of one layer yields, axes (lag, sample)."""

    log_frobenius: Float[np.ndarray, "lag sample"]
    log_spectral: Float[np.ndarray, "lag sample"]
    shares: Float[np.ndarray, "lag sample share"]


def _layer_dataset(
    layer: LayerTransition | DenseTransition, end: int, norms: tuple[MatrixNorm, ...], budget: int
) -> xr.Dataset:
    """Sweep one layer, chunk by chunk, and label the result."""
    dense = isinstance(layer, DenseTransition)
    steps = len(layer.jacobians) + 1 if isinstance(layer, DenseTransition) else len(layer.a)
    last = end + steps if end < 0 else end
    if not 0 <= last < steps:
        raise ValueError(f"end={end}: the sequence has {steps} steps, expected −{steps} … {steps - 1}")
    samples, neurons = (layer.jacobians if isinstance(layer, DenseTransition) else layer.a).shape[1:3]
    reach = 0 if isinstance(layer, DenseTransition) else max((d for d in layer.spans if d <= last), default=0)
    chunk = max(1, min(samples, budget // (8 * neurons**2 * (reach + 3))))
    sweeps = [
        sweep(layer, last, slice(start, min(start + chunk, samples)), MatrixNorm.SPECTRAL in norms)
        for start in range(0, samples, chunk)
    ]
    shares = np.concatenate([s.shares for s in sweeps], axis=1)
    variables = {
        "log_frobenius": np.concatenate([s.log_frobenius for s in sweeps], axis=1),
        "log_spectral": np.concatenate([s.log_spectral for s in sweeps], axis=1),
        "share_structural": shares[..., 0],
        "share_float32": shares[..., 1],
        "share_float64": shares[..., 2],
    }
    if MatrixNorm.FROBENIUS not in norms:
        del variables["log_frobenius"]
    if MatrixNorm.SPECTRAL not in norms:
        del variables["log_spectral"]
    data = xr.Dataset(
        {name: (("sample", "lag"), value.T, {"units": _units(name)}) for name, value in variables.items()},
        coords={"lag": np.arange(last + 1), "sample": np.arange(samples)},
    )
    data["at_risk"] = ("sample", shares[..., 3].max(axis=0))
    data["neurons"] = ((), float(neurons))
    return data if dense else data.merge(moments(layer, last))  # type: ignore[arg-type]


def _units(name: str) -> str:
    return "nats" if name.startswith("log") else "1"


def moments(layer: LayerTransition, last: int) -> xr.Dataset:
    """Return what the theory needs of a layer: moments of a and φ over t < T, norms of V, and p."""
    a, phi = layer.a[:last], layer.phi[:last]
    gate = np.ones((last, 1)) if layer.gate is None else layer.gate[1 : last + 1]
    window = (phi != 0) if layer.window is None else layer.window[:last].astype(bool)
    nothing = np.full(layer.a.shape[1], np.nan)

    def over_time(values: np.ndarray, reduce: Callable[..., np.ndarray]) -> np.ndarray:
        return reduce(values, axis=(0, 2)) if last else nothing

    by_sample = {
        "a_square": over_time(a**2, np.mean),
        "phi_square": over_time(phi**2, np.mean),
        "a_max": over_time(np.abs(a), np.max),
        "phi_max": over_time(np.abs(phi), np.max),
        "window": over_time(window.astype(np.float64), np.mean),
        "gate_square": np.full(len(nothing), np.mean(gate**2) if last else np.nan),
        "gate_max": np.full(len(nothing), np.max(np.abs(gate)) if last else np.nan),
    }
    return xr.Dataset(
        {
            **{name: ("sample", value) for name, value in by_sample.items()},
            "leak": ((), layer.leak),
            "V_frobenius": ((), float(np.linalg.norm(layer.V))),
            "V_spectral": ((), float(np.linalg.norm(layer.V, 2))),
            "p": ("span", np.array(layer.weights, dtype=np.float64)),
        },
        coords={"span": np.array(layer.spans, dtype=np.int64)},
    )


def sweep(layer: LayerTransition | DenseTransition, last: int, chunk: slice, spectral: bool) -> Sweep:
    """Run the recursion from t = T down to 0 for the samples of one chunk."""
    dense = layer if isinstance(layer, DenseTransition) else None
    samples, neurons = (dense.jacobians if dense else layer.a)[0:1, chunk].shape[1:3]  # type: ignore[union-attr]
    rows = samples * neurons
    P = np.tile(np.eye(neurons), (samples, 1))
    exponents = np.zeros(rows, dtype=np.int64)
    logs = np.empty((last + 1, samples))
    tops = np.full((last + 1, samples), np.nan)
    shares = np.empty((last + 1, samples, 4))
    stats = np.empty((rows, 6))
    start = np.tile(np.cos(1.0 + 2.399963 * np.arange(neurons)), (samples, 1))
    workers = max(1, min(os.cpu_count() or 1, samples))
    with ThreadPoolExecutor(workers) as pool:

        def by_rows(kernel: Callable[..., None], *arguments: object) -> None:
            cuts = [k * samples // workers * neurons for k in range(workers + 1)]
            list(pool.map(lambda k: kernel(*arguments, cuts[k], cuts[k + 1]), range(workers)))

        def measure(n: int) -> None:
            logs[n], shares[n] = _summary(
                stats.reshape(samples, neurons, 6), exponents.reshape(samples, neurons)
            )
            if spectral:
                cuts = [k * samples // workers for k in range(workers + 1)]
                job = (P, exponents, start, TOLERANCE, tops[n])
                list(
                    pool.map(lambda k: kernels.log_spectral_norms(*job, cuts[k], cuts[k + 1]), range(workers))
                )

        by_rows(kernels.settle_rows, P, exponents, stats)
        measure(0)
        if dense is not None:
            for n in range(1, last + 1):
                J = dense.jacobians[last - n, chunk]
                P = np.matmul(P.reshape(samples, neurons, neurons), J).reshape(rows, neurons)
                by_rows(kernels.settle_rows, P, exponents, stats)
                measure(n)
            return Sweep(logs, tops, shares)
        _sweep_delays(layer, last, chunk, P, exponents, stats, by_rows, measure)  # type: ignore[arg-type]
    return Sweep(logs, tops, shares)


def _sweep_delays(
    layer: LayerTransition,
    last: int,
    chunk: slice,
    P: Float[np.ndarray, "row neuron"],
    exponents: np.ndarray,
    stats: Float[np.ndarray, "row statistic"],
    by_rows: Callable[..., None],
    measure: Callable[[int], None],
) -> None:
    """Advance P in place; `ring[t mod depth]` keeps P(T,t) G V for as long as a span reaches it."""
    taps = [(d, p) for d, p in zip(layer.spans, layer.weights, strict=True) if d <= last and p != 0.0]
    depth = max((d for d, _ in taps), default=0)
    ring = np.empty((depth, *P.shape))
    ring_exponents = np.full((max(depth, 1), len(P)), kernels.ZERO_ROW)
    for t in range(last - 1, -1, -1):
        if depth:
            slot = (t + 1) % depth
            gated = P if layer.gate is None else P * layer.gate[t + 1]
            np.matmul(gated, layer.V, out=ring[slot])
            ring_exponents[slot] = exponents
        reached = [(d, p) for d, p in taps if t + d <= last]
        slots = np.array([(t + d) % depth for d, _ in reached], dtype=np.int64)
        weights = np.array([p for _, p in reached])
        local = (np.ascontiguousarray(layer.a[t, chunk]), np.ascontiguousarray(layer.phi[t, chunk]))
        by_rows(kernels.advance_rows, P, exponents, *local, ring, ring_exponents, slots, weights, stats)
        measure(last - t)


def _summary(
    stats: Float[np.ndarray, "sample row statistic"], exponents: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the log Frobenius norm and the shares of zeros of each sample from its rows' statistics."""
    top = exponents.max(axis=1)
    scale = np.exp2(np.maximum(exponents - top[:, None], -1100).astype(np.float64))
    total = (stats[..., 0] * scale**2).sum(axis=1)
    with np.errstate(divide="ignore"):
        log_norm = np.where(top == kernels.ZERO_ROW, -np.inf, 0.5 * np.log(total) + top * np.log(2.0))
    elements = stats.shape[1] ** 2
    return log_norm, stats[..., 2:].sum(axis=1) / elements
