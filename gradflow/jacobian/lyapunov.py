"""Leading Lyapunov exponents of a layer with delays, per time step, from finite runs.

The state at time t is the last D potentials; a disturbance of it goes one step on as

    δu[t] = a[t−1] ∘ δu[t−1] + gate[t] ∘ V Σ_d p_d φ[t−d] ∘ δu[t−d]

(block companion form: D H numbers, of which a step computes H and shifts the rest). k disturbances are
carried along and made orthonormal again at each step; exponent i is the mean of log R_ii (Benettin et al.
1980). Components that no later step reads are set to 0, so that what is lost is lost exactly.
Axes: layer sample index; within, block × neuron × column.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float
from scipy.linalg import solve_triangular

from gradflow.jacobian.graded import NOISE, staircase
from gradflow.jacobian.products import end_of, transition_from
from gradflow.jacobian.spectrum import check_factors, confirmed
from gradflow.jacobian.sweep import AnyTransition, Taps, size_of, taps_of
from gradflow.recurrence import SpanMode
from gradflow.results import Results
from gradflow.seeds import bit_generator, normal
from gradflow.transition import BatchLike, DenseTransition

TOLERANCE = 1e-6
"""Error in nats of a whole run's growth, over which an exponent is not known."""

Blocks: TypeAlias = Float[np.ndarray, "block neuron column"]


@dataclass(frozen=True)
class Exponents:
    """One sample's exponents, the steps at which columns were lost (NaN: never), and the narrowest step."""

    values: Float[np.ndarray, " index"]
    lost: Float[np.ndarray, " index"]
    rank_bound: int
    no_window: int


def lyapunov_exponents(
    source: object,
    batch: BatchLike | None = None,
    *,
    leading: int = 8,
    burn_in: int | None = None,
    end: int = -1,
    seed: int = 0,
    span_mode: SpanMode | None = None,
) -> xr.Dataset:
    """Return the leading Lyapunov exponents of every layer along every sample, in nats per time step.

    Args:
        source: a network (then give `batch`) or a `Transition` of any origin.
        batch: a batch of a task, or inputs (time, batch, input).
        leading: how many exponents k (at most D H, the size of the state).
        burn_in: steps in which directions align before growth is counted (default: two spans, at least a
            tenth and at most half of the steps).
        end: T, the last step (default −1; negative counts from the end).
        seed: of the random directions at the start.
        span_mode: soft or hard spans of an adaptive recurrence (default: soft in training mode).

    Returns:
        A Dataset. `exponent` (layer, sample, index): finite-time exponents of the steps after the burn-in, in
        the order of the columns, which is descending in long runs. −∞: the rank of the state's Jacobian is
        smaller than the index, R's diagonal is exactly 0; NaN: lost in rounding, not in structure. `lost_at`:
        the time step of the loss, NaN if there was none. Their distribution over samples: `mean`, `sd`,
        `standard_error` and `diffusion` = variance × steps, σ² in nats² per step (all layer, index; NaN
        unless all samples are finite, and but for the mean with one sample), `share_lost`, of the samples
        where it is −∞. `rank_bound` (layer, sample): the fewest components of the state that anything reads
        at a step, so at most as many exponents are finite and `state` − `rank_bound` are −∞; `no_window`: how
        many of those components have an empty window (φ = 0), the others belong to neurons that V does not
        read. `steps`: how many were counted.

    Raises:
        ValueError: for an end outside the sequence, a network without a batch, `leading` outside 1 … D H, a
            burn-in that leaves no step, NaN, infinity or factors that multiply to more than 2^300.

    Finite-time exponents differ from their limits by (log of a condition) / steps: compare layers over equal
    lengths. Those of a stack are its layers' together, whatever the links: its state's Jacobian is triangular
    in the layers. Two equal exponents (a pair of complex roots) share their sum, and split it arbitrarily.

    Cost, per sample and step: 4 H² k + 12 D H k² operations, twice; the matrix of D² H² elements is never
    formed. Memory: 10 D H k × 8 bytes.

    Source: Benettin, Galgani, Giorgilli & Strelcyn, Meccanica 15 (1980) 9; Geist, Parlitz & Lauterborn, Prog.
    Theor. Phys. 83 (1990) 875; of recurrent networks: Engelken, Wolf & Abbott, Phys. Rev. Research 5 (2023)
    043044.
    """
    found = transition_from(source, batch, span_mode, "lyapunov_exponents")
    layers = []
    for index, layer in enumerate(found.layers):
        steps, samples, neurons = size_of(layer)
        last = end_of(end, steps)
        taps = taps_of(layer, last)
        depth = max(1, taps.depth)
        if not 1 <= leading <= depth * neurons:
            raise ValueError(
                f"leading={leading}: expected 1 … {depth * neurons}, the size of the state of layer {index}"
            )
        check_factors(layer)
        available = last + 1 - depth
        skipped = min(max(2 * depth, available // 10), available // 2) if burn_in is None else burn_in
        if not 0 <= skipped < available:
            raise ValueError(
                f"burn_in={skipped}: expected 0 … {available - 1}; {available} steps follow the first {depth}"
            )
        start = np.linalg.qr(normal(seed, "lyapunov", index, shape=(depth * neurons, leading)))[0]
        start = start.reshape(depth, neurons, leading)
        runs = []
        for b in range(samples):
            fine, coarse = (
                follow(layer, b, last, taps, start, skipped, noise)
                for noise in (None, np.random.Generator(bit_generator(0, "rounding", b)))
            )
            counted = available - skipped
            values = confirmed(fine.values * counted, coarse.values * counted, TOLERANCE)
            runs.append(Exponents(values / counted, fine.lost, fine.rank_bound, fine.no_window))
        layers.append(_labelled(runs, depth * neurons, available - skipped))
    data = xr.concat(layers, dim="layer", join="outer", fill_value=np.nan, combine_attrs="drop_conflicts")
    data = data.assign_coords(layer=np.arange(len(layers)))
    data.attrs = {"kind": "lyapunov exponents", "end": last, "seed": seed, **found.conventions}
    return Results.of(data)


def _labelled(runs: list[Exponents], state: int, steps: int) -> xr.Dataset:
    values = np.stack([run.values for run in runs])
    whole = np.isfinite(values).all(axis=0)
    safe = np.where(whole, values, 0.0)
    sd = np.full(values.shape[1], np.nan)
    if len(runs) > 1:
        sd = np.where(whole, safe.std(axis=0, ddof=1), np.nan)
    rate = {"units": "nats per step"}
    by_sample = {
        "rank_bound": [float(run.rank_bound) for run in runs],
        "no_window": [float(run.no_window) for run in runs],
    }
    return xr.Dataset(
        {
            "exponent": (("sample", "index"), values, rate),
            "lost_at": (("sample", "index"), np.stack([run.lost for run in runs]), {"units": "steps"}),
            "mean": ("index", np.where(whole, safe.mean(axis=0), np.nan), rate),
            "sd": ("index", sd, rate),
            "standard_error": ("index", sd / np.sqrt(len(runs)), rate),
            "share_lost": ("index", np.isneginf(values).mean(axis=0), {"units": "1"}),
            "diffusion": ("index", sd**2 * steps, {"units": "nats² per step"}),
            **{name: ("sample", value, {"units": "1"}) for name, value in by_sample.items()},
            "state": ((), float(state), {"units": "1"}),
            "steps": ((), float(steps), {"units": "steps"}),
        },
        coords={"sample": np.arange(len(runs)), "index": np.arange(values.shape[1])},
    )


def follow(
    layer: AnyTransition,
    sample: int,
    last: int,
    taps: Taps,
    start: Blocks,
    burn_in: int,
    noise: np.random.Generator | None = None,
) -> Exponents:
    """Carry the columns of `start` from the first D steps to the last; with noise, rounding coarsely."""
    depth, neurons, k = start.shape
    X, columns = start, np.arange(k)
    growth, lost = np.zeros(k), np.full(k, np.nan)
    bound, no_window = depth * neurons, 0
    for t in range(depth, last + 1):
        X = step_on(layer, sample, t, X, taps, noise)
        read, window = readable(layer, sample, t, depth, last)
        if read.sum() < bound:
            bound, no_window = int(read.sum()), int(np.count_nonzero(~read & ~window))
        X = X * read[:, :, None]
        Y = X.reshape(depth * neurons, columns.size)
        R, kept = staircase(Y)
        dead = np.setdiff1d(np.arange(columns.size), kept)
        growth[columns[dead]], lost[columns[dead]] = -np.inf, t
        columns = columns[kept]
        if not columns.size:
            break
        T = R[:, kept]
        if t >= depth + burn_in:
            growth[columns] += np.log(np.abs(np.diagonal(T)))
        # Y over the triangle: rows that are 0 stay 0, and small rows keep their digits
        X = solve_triangular(T, Y[:, kept].T, trans="T").T.reshape(depth, neurons, columns.size)
    order = np.argsort(np.isneginf(growth), kind="stable")  # the living first, each in its place
    growth, lost = growth[order], lost[order]
    growth[columns.size : bound] = np.nan  # structure does not say why these are lost
    return Exponents(growth / (last + 1 - depth - burn_in), lost, bound, no_window)


def step_on(
    layer: AnyTransition,
    sample: int,
    t: int,
    X: Blocks,
    taps: Taps,
    noise: np.random.Generator | None = None,
) -> Blocks:
    """Take the state u[t−1], …, u[t−D] of each column to u[t], …, u[t−D+1]."""
    if isinstance(layer, DenseTransition):
        new = layer.jacobians[t - 1, sample] @ X[0]
    else:
        new = layer.a[t - 1, sample][:, None] * X[0]
        if taps.spans:
            mixed = np.zeros_like(X[0])
            for d, p in taps.pairs():
                mixed += p * layer.phi[t - d, sample][:, None] * X[d - 1]
            through = layer.V @ mixed
            new += through if layer.gate is None else layer.gate[t][:, None] * through
    if noise is not None:
        new = new * (1.0 + NOISE * noise.uniform(-1.0, 1.0, new.shape))
    return np.concatenate([new[None], X[:-1]])


def readable(
    layer: AnyTransition, sample: int, t: int, depth: int, last: int
) -> tuple[Bool[np.ndarray, "block neuron"], Bool[np.ndarray, "block neuron"]]:
    """Return which components of the state u[t], …, u[t−D+1] later steps read, and which have a window.

    The last state of a run is read as a whole.
    """
    if isinstance(layer, DenseTransition):
        read = np.ones((1, layer.jacobians.shape[2]), dtype=bool)
        if t < last:
            read[0] = layer.jacobians[t, sample].any(axis=0)
        return read, np.ones_like(read)
    window = layer.phi[t - np.arange(depth), sample] != 0.0
    read = window & layer.V.any(axis=0)
    read[0] |= layer.a[t, sample] != 0.0
    if t == last:
        read[:] = True
    return read, window
