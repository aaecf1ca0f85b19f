"""Jacobian products through layers and time, and from the logits down to every input step.

    P_ml(T,t) = ∂u_m[T]/∂u_l[t] = P_ml(T,t+1) A_l[t] + D_l[t] Φ_l[t],     P_mm(T,T) = 1, P_ml(T,t>T) = 0
    D_l[t] = Σ_d p_d P_ml(T,t+d) G_l[t+d] V_l + E_l[t],     E_l[t] = P_m,l+1(T,t) G_l+1[t] L_l+1[t]
    ∂logits/∂u_l[t]: the same with E[t] = ω[t] W_out above the last layer;     ∂logits/∂x[t] = E_−1[t]

L is the feed-forward link (W, norm, dropout: `links`), G the gate in front of the currents; a link takes no
time. Every element has an exponent of its own, so nothing underflows. Axes of the result: target layer sample
lag, and layer sample class time.
"""

from collections.abc import Iterator, Sequence
from math import frexp

import numpy as np
import xarray as xr
from jaxtyping import Float

from gradflow.jacobian import scaled
from gradflow.jacobian.column import Column, column_bytes
from gradflow.jacobian.products import MEMORY_BUDGET, end_of, transition_from
from gradflow.jacobian.scaled import Scaled
from gradflow.jacobian.walk import chunks
from gradflow.recurrence import SpanMode
from gradflow.transition import BatchLike, LayerTransition, Transition


def stack_products(
    source: object,
    batch: BatchLike | None = None,
    *,
    end: int = -1,
    span_mode: SpanMode | None = None,
    memory_budget: int = MEMORY_BUDGET,
) -> xr.Dataset:
    """Return the log-norms of ∂u_m[T]/∂u_l[t] for any two layers l ≤ m and all t ≤ T.

    Args:
        source: a network (then give `batch`) or a `Transition` with links.
        batch: a batch of a task, or inputs (time, batch, input).
        end: T, the end time (default −1, the last step; negative counts from the end).
        span_mode: soft or hard spans of an adaptive recurrence (default: soft in training mode).
        memory_budget: bytes of working memory (default 512 MiB), the run and the result apart.

    Returns:
        A Dataset with `log_frobenius` (target, layer, sample, lag), nats: target m, layer l, lag T − t; −inf
        where the product is exactly zero, NaN for layers above the target. The last target is the space-time
        map, and a layer with itself what `jacobian_products` gives. `neurons` (layer).

    Raises:
        ValueError: for an end outside the sequence, a network without a batch, a transition without links
            (batch norm in training couples samples, so it has none), NaN or infinity in the factors, or a
            memory budget under what one row needs.

    Cost: Σ_m H_m Σ_{l≤m} 2 (H_l² + H_l H_l−1) T operations per sample; 16 H_m Σ_{l≤m} H_l (λ_l + 6) bytes.

    >>> import numpy as np, gradflow as gf
    >>> layer = gf.LayerTransition(np.full((3, 1, 1), 0.5), np.ones((3, 1, 1)), np.zeros((1, 1)))
    >>> link = gf.Link(np.full((1, 1), 4.0))
    >>> found = stack_products(gf.Transition((layer, layer), links=(link, link)))
    >>> np.exp(found.log_frobenius.sel(target=1).squeeze()).values.round(9).tolist()
    [[4.0, 4.0, 3.0], [1.0, 0.5, 0.25]]
    """
    found = linked("stack_products", transition_from(source, batch, span_mode, "stack_products"))
    layers = spiking(found)
    steps, samples, _ = layers[0].a.shape
    last = end_of(end, steps)
    log = np.full((len(layers), len(layers), samples, last + 1), np.nan)
    for target, top in enumerate(layers):
        neurons = top.a.shape[2]
        total = Scaled.zeros(target + 1, samples, last + 1)
        each = column_bytes(found, target, last)
        for taken, rows in chunks("stack_products", samples, neurons, each, memory_budget):
            column = Column(found, target, last, taken, rows.stop - rows.start)
            for t, layer, P in from_layer(column, last, np.eye(neurons)[rows]):
                add_to(total, (layer, taken, last - t), squares(P))
        log[target, : target + 1] = 0.5 * total.log()
    numbers = np.arange(len(layers))
    return xr.Dataset(
        {
            "log_frobenius": (("target", "layer", "sample", "lag"), log, {"units": "nats"}),
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


def logit_sensitivity(
    source: object,
    batch: BatchLike | None = None,
    *,
    span_mode: SpanMode | None = None,
    memory_budget: int = MEMORY_BUDGET,
) -> xr.Dataset:
    """Return the log-norms of ∂logits/∂x[t], the sensitivity of the answer to each input step.

    Args:
        source: a network (then give `batch`) or a `Transition` with links and a readout.
        batch: a batch of a task, or inputs (time, batch, input).
        span_mode: soft or hard spans of an adaptive recurrence (default: soft in training mode).
        memory_budget: bytes of working memory (default 512 MiB), the run and the result apart.

    Returns:
        A Dataset in nats, −inf where the derivative is exactly zero: `log_input` (sample, class, time), the
        Euclidean norm over inputs of ∂logit_c/∂x[t]; `log_layer` (layer, sample, class, time), that over
        neurons of ∂logit_c/∂u_l[t]. Where logits are summed over time, every step feeds them directly and
        neither decays; `readout` in the attributes says where they are placed.

    Raises:
        ValueError: as `stack_products`, and for a transition without a readout, or one of NaN or infinity.

    Cost: C Σ_l 2 (H_l² + H_l H_l−1) T operations per sample, C classes; 16 C Σ_l H_l (λ_l + 6) bytes.

    >>> import numpy as np, gradflow as gf
    >>> layer = gf.LayerTransition(np.full((3, 1, 1), 0.5), np.ones((3, 1, 1)), np.zeros((1, 1)))
    >>> readout = gf.ReadoutLink(np.ones((1, 1)), np.array([0.0, 0.0, 1.0]))
    >>> made = gf.Transition((layer,), links=(gf.Link(np.full((1, 1), 4.0)),), readout=readout)
    >>> np.exp(logit_sensitivity(made).log_input.squeeze()).values.round(9).tolist()
    [1.0, 2.0, 4.0]
    """
    name = "logit_sensitivity"
    found = linked(name, transition_from(source, batch, span_mode, name))
    readout, layers = found.readout, spiking(found)
    if readout is None:
        raise ValueError(
            f"{name}: the transition has no readout; give Transition(readout=ReadoutLink(W, placement))"
        )
    if not (np.all(np.isfinite(readout.W)) and np.all(np.isfinite(readout.placement))):
        raise ValueError(f"{name}: the readout holds NaN or infinity")
    steps, samples, _ = layers[0].a.shape
    classes = len(readout.W)
    log = np.full((len(layers) + 1, samples, classes, steps), np.nan)
    each = column_bytes(found, len(layers) - 1, steps - 1)
    for taken, rows in chunks(name, samples, classes, each, memory_budget):
        column = Column(found, len(layers) - 1, steps - 1, taken, rows.stop - rows.start)
        for t, layer, E in from_logits(column, steps - 1, readout.W[rows], readout.placement):
            log[layer, taken, rows, t] = 0.5 * scaled.sums(E, E.m.shape[2]).log()[0]
    axes = ("sample", "class", "time")
    return xr.Dataset(
        {
            "log_input": (axes, log[-1], {"units": "nats"}),
            "log_layer": (("layer", *axes), log[:-1], {"units": "nats"}),
        },
        {
            "layer": np.arange(len(layers)),
            "sample": np.arange(samples),
            "class": np.arange(classes),
            "time": ("time", np.arange(steps), {"units": "steps"}),
        },
        {"kind": "logit sensitivity", **found.conventions},
    )


def from_layer(
    column: Column, last: int, start: Float[np.ndarray, "row neuron"]
) -> Iterator[tuple[int, int, Scaled]]:
    """Yield time, layer and P of all layers, from the top one, whose rows start at `last`."""
    for t in range(last, -1, -1):
        above = None
        for layer in range(column.top, -1, -1):
            begin = start if layer == column.top and t == last else None
            yield t, layer, column.advance(layer, t, begin, above)
            above = column.below(layer, t) if layer else None


def from_logits(
    column: Column, last: int, W: Float[np.ndarray, "class neuron"], placement: Float[np.ndarray, " time"]
) -> Iterator[tuple[int, int, Scaled]]:
    """Yield time, layer and ∂logits/∂u of all layers; layer −1 is ∂logits/∂x."""
    weights = Scaled.of(W)
    for t in range(last, -1, -1):
        share, exponent = frexp(placement[t])
        above = column.spread(Scaled.of(weights.m * share, weights.e + exponent))
        for layer in range(column.top, -1, -1):
            yield t, layer, column.advance(layer, t, None, above)
            above = column.below(layer, t)
        yield t, -1, above


def squares(P: Scaled) -> Scaled:
    """Return Σ P² of each sample."""
    return scaled.sums(P, P.m.shape[2])[0].sum(axis=1)


def add_to(total: Scaled, place: tuple[int, slice, int], found: Scaled) -> None:
    """Add to part of a total, in place."""
    before = total[place]
    both = Scaled(np.stack([before.m, found.m]), np.stack([before.e, found.e]))
    total[place] = both.sum(axis=0)


def linked(name: str, found: Transition) -> Transition:
    """Return the transition, or raise ValueError saying why it has no links."""
    if found.links is None:
        raise ValueError(f"{name}: the transition has no links between its layers: {found.unlinked}")
    return found


def spiking(found: Transition) -> Sequence[LayerTransition]:
    """Return the layers; those of a transition with links are all spiking ones."""
    return [layer for layer in found.layers if isinstance(layer, LayerTransition)]
