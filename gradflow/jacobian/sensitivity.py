"""From the logits down to every input step, and to every layer on the way.

    ∂logits/∂u_l[t] = ∂logits/∂u_l[t+1] A_l[t] + D_l[t] Φ_l[t],     as `stack` goes from one layer down, with
    E[t] = ω[t] W_out above the last layer;     ∂logits/∂x[t] = E_−1[t], what arrives below the first

Every element has an exponent of its own, so nothing underflows. Axes of the result: layer sample class time.
"""

from collections.abc import Iterator
from math import frexp

import numpy as np
import xarray as xr
from jaxtyping import Float

from gradflow.jacobian import scaled
from gradflow.jacobian.column import Column, column_bytes
from gradflow.jacobian.products import MEMORY_BUDGET, transition_from
from gradflow.jacobian.scaled import Scaled
from gradflow.jacobian.stack import linked, spiking
from gradflow.jacobian.walk import chunks
from gradflow.links import ReadoutLink
from gradflow.recurrence import SpanMode
from gradflow.results import Results
from gradflow.transition import BatchLike, Transition


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
    readout, layers = readout_of(name, found), spiking(found)
    steps, samples, _ = layers[0].a.shape
    classes = len(readout.W)
    log = np.full((len(layers) + 1, samples, classes, steps), np.nan)
    each = column_bytes(found, len(layers) - 1, steps - 1)
    for taken, rows in chunks(name, samples, classes, each, memory_budget):
        column = Column(found, len(layers) - 1, steps - 1, taken, rows.stop - rows.start)
        for t, layer, E in from_logits(column, steps - 1, readout.W[rows], readout.placement):
            log[layer, taken, rows, t] = 0.5 * scaled.sums(E, E.m.shape[2]).log()[0]
    axes = ("sample", "class", "time")
    return Results(
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


def from_logits(
    column: Column, last: int, W: Float[np.ndarray, "class neuron"], placement: Float[np.ndarray, " time"]
) -> Iterator[tuple[int, int, Scaled]]:
    """Yield time, layer and ∂logits/∂u of all layers; layer −1 is ∂logits/∂x."""
    for t in range(last, -1, -1):
        above = column.spread(placed(W, placement[t]))
        for layer in range(column.top, -1, -1):
            yield t, layer, column.advance(layer, t, None, above)
            above = column.below(layer, t)
        yield t, -1, above


def placed(W: Float[np.ndarray, "class neuron"], share: float) -> Scaled:
    """Return ω[t] W, which may be under what float64 holds."""
    weights, (m, e) = Scaled.of(W), frexp(share)
    return Scaled.of(weights.m * m, weights.e + e)


def readout_of(name: str, found: Transition) -> ReadoutLink:
    """Return the readout, or raise ValueError where there is none or it is not finite."""
    readout = found.readout
    if readout is None:
        raise ValueError(
            f"{name}: the transition has no readout; give Transition(readout=ReadoutLink(W, placement))"
        )
    if not (np.all(np.isfinite(readout.W)) and np.all(np.isfinite(readout.placement))):
        raise ValueError(f"{name}: the readout holds NaN or infinity")
    return readout
