"""Jacobian products through layers and time: log-norms and zeros of any layer's potentials by any other's.

    P_ml(T,t) = ∂u_m[T]/∂u_l[t] = P_ml(T,t+1) A_l[t] + D_l[t] Φ_l[t],     P_mm(T,T) = 1, P_ml(T,t>T) = 0
    D_l[t] = Σ_d p_d P_ml(T,t+d) G_l[t+d] V_l + E_l[t],     E_l[t] = P_m,l+1(T,t) G_l+1[t] L_l+1[t]

L is the feed-forward link (W, norm, dropout: `links`), G the gate in front of the currents; a link takes no
time. Every element has an exponent of its own, so nothing underflows. Axes of the result: target layer sample
lag.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float

from gradflow.jacobian.column import Column, column_bytes, from_layer
from gradflow.jacobian.measures import Largest, squares, zero_counts
from gradflow.jacobian.products import (
    BOTH,
    MEMORY_BUDGET,
    ZEROS,
    MatrixNorm,
    NormLike,
    end_of,
    transition_from,
)
from gradflow.jacobian.scaled import Scaled
from gradflow.jacobian.walk import chunks
from gradflow.recurrence import SpanMode
from gradflow.results import Results
from gradflow.transition import BatchLike, LayerTransition, Transition


def stack_products(
    source: object,
    batch: BatchLike | None = None,
    *,
    end: int = -1,
    norms: Sequence[NormLike] = BOTH,
    span_mode: SpanMode | None = None,
    memory_budget: int = MEMORY_BUDGET,
) -> xr.Dataset:
    """Return log-norms and zeros of ∂u_m[T]/∂u_l[t] for any two layers l ≤ m and all t ≤ T.

    Args:
        source: a network (then give `batch`) or a `Transition` with links.
        batch: a batch of a task, or inputs (time, batch, input).
        end: T, the end time (default −1, the last step; negative counts from the end).
        norms: Frobenius, spectral or both, as in `jacobian_products`.
        span_mode: soft or hard spans of an adaptive recurrence (default: soft in training mode).
        memory_budget: bytes of working memory (default 512 MiB), the run and the result apart; samples, and
            for the Frobenius norm alone the rows of one sample, are taken in chunks that fit it.

    Returns:
        A Dataset over (target, layer, sample, lag), target m, layer l, lag T − t; NaN for layers above the
        target. `log_frobenius` and `log_spectral`, nats, −inf where the product is exactly zero. The last
        target is the space-time map, and a layer with itself what `jacobian_products` gives.
        `share_structural` and `share_float16`, `share_bfloat16`, `share_float32`, `share_float64`: shares of
        the H_m×H_l elements that are exactly zero (no path through a window, or terms that cancel to the
        last digit), and that are not but would round to zero in that format; `zero_summary` reads off them
        the lags at which each format returns nothing but zeros. `neurons` (layer).

    Raises:
        ValueError: for an end outside the sequence, no norms, a network without a batch, a transition without
            links (batch norm in training couples samples, so it has none), NaN or infinity in the factors, or
            a memory budget under what one row, or for the spectral norm one sample, needs.

    Cost: Σ_m H_m Σ_{l≤m} 2 (H_l² + H_l H_l−1) T operations per sample, and for the spectral norm some 40 n² T
    for each pair, n the larger of its sides; 16 H_m Σ_{l≤m} H_l (λ_l + 6) bytes.

    >>> import numpy as np, gradflow as gf
    >>> layer = gf.LayerTransition(np.full((3, 1, 1), 0.5), np.ones((3, 1, 1)), np.zeros((1, 1)))
    >>> link = gf.Link(np.full((1, 1), 4.0))
    >>> found = stack_products(gf.Transition((layer, layer), links=(link, link)))
    >>> np.exp(found.log_frobenius.sel(target=1).squeeze()).values.round(9).tolist()
    [[4.0, 4.0, 3.0], [1.0, 0.5, 0.25]]
    """
    name = "stack_products"
    found = linked(name, transition_from(source, batch, span_mode, name))
    wanted = tuple(MatrixNorm(norm) for norm in norms)
    if not wanted:
        raise ValueError("norms=(): expected MatrixNorm.FROBENIUS, MatrixNorm.SPECTRAL or both")
    layers = spiking(found)
    steps, samples, _ = layers[0].a.shape
    last = end_of(end, steps)
    shape = (len(layers), len(layers), samples, last + 1)
    log, spectral, zeros = (np.full(size, np.nan) for size in (shape, shape, (len(ZEROS), *shape)))
    for target in range(len(layers)):
        below = slice(0, target + 1)
        measured = measure(name, found, target, last, MatrixNorm.SPECTRAL in wanted, memory_budget)
        log[target, below], spectral[target, below], zeros[:, target, below] = measured
    axes = ("target", "layer", "sample", "lag")
    numbers = np.arange(len(layers))
    logs = {norm: value for norm, value in zip(BOTH, (log, spectral), strict=True) if norm in wanted}
    return Results(
        {
            **{f"log_{norm}": (axes, value, {"units": "nats"}) for norm, value in logs.items()},
            **{f"share_{kind}": (axes, zeros[k], {"units": "1"}) for k, kind in enumerate(ZEROS)},
            "neurons": (("layer",), [float(layer.a.shape[2]) for layer in layers], {"units": "1"}),
        },
        {
            "target": ("target", numbers, {"long_name": "layer of u[T]"}),
            "layer": ("layer", numbers, {"long_name": "layer of u[t]"}),
            "sample": np.arange(samples),
            "lag": ("lag", np.arange(last + 1), {"long_name": "lag T − t", "units": "steps"}),
        },
        {"kind": "stack products", "end": last, **found.conventions},
    )


def measure(
    name: str, found: Transition, target: int, last: int, spectral: bool, budget: int
) -> tuple[
    Float[np.ndarray, "layer sample lag"],
    Float[np.ndarray, "layer sample lag"],
    Float[np.ndarray, "kind layer sample lag"],
]:
    """Return log Frobenius and spectral norms (NaN unless asked for) and shares of zeros, of one target."""
    sizes = [layer.a.shape[2] for layer in spiking(found)[: target + 1]]
    _, samples, neurons = spiking(found)[target].a.shape
    total = Scaled.zeros(target + 1, samples, last + 1)
    leading = np.full((target + 1, samples, last + 1), np.nan)
    counts = np.zeros((len(ZEROS), target + 1, samples, last + 1))
    each = column_bytes(found, target, last)
    if spectral:
        whole_samples(name, each * neurons, budget)
    for taken, rows in chunks(name, samples, neurons, each, budget):
        count = taken.stop - taken.start
        column = Column(found, target, last, taken, rows.stop - rows.start)
        largest = [Largest(count, neurons, size) for size in sizes] if spectral else []
        for t, layer, P in from_layer(column, last, np.eye(neurons)[rows]):
            add_to(total, (layer, taken, last - t), squares(P))
            counts[:, layer, taken, last - t] += zero_counts(P)
            if spectral:
                leading[layer, taken, last - t] = largest[layer].log(P)
    return 0.5 * total.log(), leading, counts / (neurons * np.array(sizes, dtype=np.float64)[:, None, None])


def whole_samples(name: str, each: int, budget: int) -> None:
    """Raise ValueError where all rows of one sample, which its singular values need, do not fit."""
    if budget < each:
        raise ValueError(
            f"{name}(memory_budget={budget}): expected at least {each} bytes, because singular values need "
            "all rows of a sample at once; the Frobenius norm alone goes by rows: norms=('frobenius',)"
        )


def add_to(total: Scaled, place: tuple[int | slice, ...], found: Scaled) -> None:
    """Add to part of a total, in place."""
    before = total[place]
    both = Scaled(np.stack([before.m, found.m]), np.stack([before.e, found.e]))
    total[place] = both.sum(axis=0)


def layer_of(name: str, target: int, layers: int) -> int:
    """Return a layer's number from 0, or raise ValueError where there is no such layer."""
    found = target + layers if target < 0 else target
    if not 0 <= found < layers:
        raise ValueError(f"{name}(target={target}): expected a layer, −{layers} … {layers - 1}")
    return found


def linked(name: str, found: Transition) -> Transition:
    """Return the transition, or raise ValueError saying why it has no links."""
    if found.links is None:
        raise ValueError(f"{name}: the transition has no links between its layers: {found.unlinked}")
    return found


def spiking(found: Transition) -> Sequence[LayerTransition]:
    """Return the layers; those of a transition with links are all spiking ones."""
    return [layer for layer in found.layers if isinstance(layer, LayerTransition)]
