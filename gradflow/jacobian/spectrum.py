"""Singular values of P(T,t) = ∂u[T]/∂u[t] against the lag T − t, all of them or the leading ones.

The last D products, stacked, are the adjoint's state; it is kept as Q diag(2^e) U (`graded`), and one step
back in time acts on the columns of Q alone:

    P(T,t)ᵀ = diag a[t] P(T,t+1)ᵀ + diag φ[t] Vᵀ Σ_d p_d diag gate[t+d] P(T,t+d)ᵀ

so singular values of any size and ratio keep their own relative precision. Axes: layer sample lag index.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from gradflow.jacobian.adjoint_stack import Stack
from gradflow.jacobian.leading import sweep_leading
from gradflow.jacobian.products import end_of, transition_from
from gradflow.jacobian.sweep import AnyTransition, least_and_largest, size_of, taps_of
from gradflow.recurrence import SpanMode
from gradflow.seeds import bit_generator
from gradflow.transition import BatchLike, DenseTransition

ALLOWANCE = 400.0
"""Tolerances by which 4,096 times coarser rounding may move a value: a tenth, for moves small by chance."""

LARGEST = 2.0**300
"""Largest product of the factors of one step; its sums over neurons and spans stay within float64."""


@dataclass(frozen=True)
class Spectra:
    """What one layer yields; `direction` is the leading right singular vector, NaN where P is zero."""

    logs: Float[np.ndarray, "sample lag index"]
    direction: Float[np.ndarray, "sample lag neuron"]
    bound: Int[np.ndarray, "sample lag"]
    participation: Float[np.ndarray, "sample lag"]


def singular_values(
    source: object,
    batch: BatchLike | None = None,
    *,
    leading: int | None = None,
    every: int = 1,
    end: int = -1,
    gradient: Float[np.ndarray, "layer time sample neuron"] | None = None,
    tolerance: float = 1e-4,
    span_mode: SpanMode | None = None,
) -> xr.Dataset:
    """Return the singular values of ∂u[T]/∂u[t] of every layer and sample at every so many lags.

    Args:
        source: a network (then give `batch`) or a `Transition` of any origin.
        batch: a batch of a task, or inputs (time, batch, input).
        leading: how many singular values, the largest ones (default: all, which costs more for long spans).
        every: spacing of the lags that are kept (a multiple of the span sees the teeth of a comb only).
        end: T, the end time (default −1, the last step; negative counts from the end).
        gradient: ∂L/∂u[t], (layer, time, sample, neuron), of layers of one size; adds `gradient_angle`.
        tolerance: error in nats up to which a value counts as known, at most 1e-3 (default 1e-4, invisible in
            any picture); applies to all of them, not to leading ones.
        span_mode: soft or hard spans of an adaptive recurrence (default: soft in training mode).

    Returns:
        A Dataset. `log_singular` (layer, sample, lag, index), natural logs, descending: −∞ where structure
        makes it zero (all of a neuron's factors are 0, at the step or on the way), NaN where it is not
        known. `rank_bound` (layer, sample, lag): rows of P that structure leaves. `participation`
        (Σσ²)²/Σσ⁴, from 1 (one direction) to H; NaN where P is zero. `gradient_angle`, radians from 0 to
        π/2, between the gradient and the leading right singular vector, whichever its sign (a random
        vector has about arccos √(2/πH)); NaN where either is zero, and meaningless where the two largest
        singular values are equal.

        All of them: the ratio σ_H/σ_1 has no limit (e^−1300 is tested); with one span of 1 the error is about
        1e-12. With longer spans rates that spread far within one span cost digits of the small values. A
        second sweep with 4,096 times coarser rounding tells how many: those that may be wrong by more than
        the tolerance are NaN. Leading ones: values under 2⁻³⁰ σ_1 are NaN, the others exact to about
        1e-16 · H · σ_1/σ.

    Raises:
        ValueError: for an end outside the sequence, a network without a batch, `leading` or `every` below 1,
            more leading values than neurons, a gradient of another shape, NaN or infinity in the factors, or
            factors of one step that multiply to more than 2^300 or to less than 2^−900, or a tolerance
            outside 0 < tolerance ≤ 1e-3.

    Cost, per sample: all: 12 D H³ T operations for two QR and 16 H³ times 3 to 10 for each lag that is kept
    (rotations), 8 D H² × 8 bytes; D is the longest span. Leading k: 2 H³ T for the products, 8 H² k for each
    lag and round, and a full decomposition where rounds do not suffice, at short lags mostly.

    Source: Geist, Parlitz & Lauterborn, Prog. Theor. Phys. 83 (1990) 875, QR of products; Demmel et al.,
    Linear Algebra Appl. 299 (1999) 21, singular values of graded matrices.
    """
    found = transition_from(source, batch, span_mode, "singular_values")
    if every < 1 or (leading is not None and leading < 1):
        raise ValueError(f"singular_values: got leading {leading}, every {every}; expected 1 or more")
    if not 0.0 < tolerance <= 1e-3:
        raise ValueError(f"tolerance={tolerance}: expected nats in 0 < tolerance <= 1e-3")
    layers = []
    for k, layer in enumerate(found.layers):
        steps, samples, neurons = size_of(layer)
        last = end_of(end, steps)
        if leading is not None and leading > neurons:
            raise ValueError(f"leading={leading}: layer {k} has {neurons} neurons; expected at most as many")
        lags = np.arange(0, last + 1, every)
        if leading is None:
            spectra = every_value(layer, last, lags, tolerance)
        else:
            spectra = Spectra(*sweep_leading(layer, last, lags, leading))
        data = _labelled(spectra, lags)
        if gradient is not None:
            wanted = (len(found.layers), steps, samples, neurons)
            if gradient.shape != wanted:
                raise ValueError(
                    f"gradient: got {gradient.shape}, expected (layer, time, sample, neuron) = {wanted}"
                )
            at = np.moveaxis(gradient[k, last - lags], 0, 1)
            data["gradient_angle"] = ("sample", "lag"), angles(spectra.direction, at), {"units": "radians"}
        layers.append(data)
    result = xr.concat(layers, dim="layer", join="outer", fill_value=np.nan, combine_attrs="drop_conflicts")
    result = result.assign_coords(layer=np.arange(len(layers)))
    result.lag.attrs = {"long_name": "lag T − t", "units": "steps"}
    return result.assign_attrs({"kind": "singular values", "end": last, **found.conventions})


def _labelled(spectra: Spectra, lags: Int[np.ndarray, " lag"]) -> xr.Dataset:
    neurons = spectra.direction.shape[-1]
    return xr.Dataset(
        {
            "log_singular": (("sample", "lag", "index"), spectra.logs, {"units": "nats"}),
            "rank_bound": (("sample", "lag"), spectra.bound.astype(np.float64), {"units": "1"}),
            "participation": (("sample", "lag"), spectra.participation, {"units": "1"}),
            "neurons": ((), float(neurons)),
        },
        coords={
            "sample": np.arange(len(spectra.logs)),
            "lag": lags,
            "index": np.arange(spectra.logs.shape[-1]),
        },
    )


def angles(
    direction: Float[np.ndarray, "*rest neuron"], gradient: Float[np.ndarray, "*rest neuron"]
) -> Float[np.ndarray, "*rest"]:
    """Return the angle in radians between each unit direction (of any sign) and each gradient.

    >>> angles(np.array([1.0, 0.0]), np.array([-3e-200, 3e-200])).round(6).item()
    0.785398
    """
    top = np.abs(gradient).max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):  # 0/0 is the NaN of a gradient that is zero
        unit = gradient / top
    along = np.sum(unit * direction, axis=-1)
    across = np.linalg.norm(unit - along[..., None] * direction, axis=-1)
    return np.asarray(np.arctan2(across, np.abs(along)))  # arccos would lose small angles


def participation_ratio(logs: Float[np.ndarray, "*rest index"]) -> Float[np.ndarray, "*rest"]:
    """Return (Σσ²)²/Σσ⁴ of descending log singular values; NaN where all are −∞.

    Values that are NaN add nothing if the one before them is under 2⁻¹² of the first; else the ratio is NaN.

    >>> participation_ratio(np.array([-900.0, -900.0, -np.inf])).item()
    2.0
    """
    missing = np.isnan(logs)
    known = np.where(missing, -np.inf, logs)
    top = known[..., :1]
    before = np.concatenate([top, known[..., :-1]], axis=-1)
    with np.errstate(invalid="ignore"):  # −∞ − (−∞) is the documented NaN
        doubtful = np.any(missing & (before - top > np.log(2.0**-12)), axis=-1)
        squares = np.exp(2.0 * (known - top))
        ratio = squares.sum(axis=-1) ** 2 / (squares**2).sum(axis=-1)
    return np.asarray(np.where(doubtful, np.nan, ratio))


def every_value(layer: AnyTransition, last: int, lags: Int[np.ndarray, " lag"], tolerance: float) -> Spectra:
    """Return all singular values of one layer, sample by sample, those that a coarser sweep confirms."""
    _, samples, n = size_of(layer)
    taps = taps_of(layer, last)
    check_factors(layer)
    logs = np.full((samples, lags.size, n), -np.inf)
    direction = np.full((samples, lags.size, n), np.nan)
    bound = np.zeros((samples, lags.size), dtype=np.int64)
    place = {int(lag): k for k, lag in enumerate(lags)}
    for b in range(samples):
        stack = coarse = Stack.start(n, max(1, taps.depth))
        noise = np.random.Generator(bit_generator(0, "rounding", b))
        for lag in range(int(lags[-1]) + 1):
            if lag:
                stack = stack.step(layer, b, last - lag, taps)
                coarse = coarse.step(layer, b, last - lag, taps, noise)
            if lag in place:
                k = place[lag]
                found, direction[b, k], bound[b, k] = stack.read()
                logs[b, k] = confirmed(found, coarse.read(noise)[0], tolerance)
    return Spectra(logs, direction, bound, participation_ratio(logs))


def confirmed(
    fine: Float[np.ndarray, " index"], coarse: Float[np.ndarray, " index"], tolerance: float
) -> np.ndarray:
    """Return the fine values, NaN for those which coarser rounding moves by ALLOWANCE tolerances or more."""
    with np.errstate(invalid="ignore"):  # −∞ − (−∞)
        return np.where((fine == coarse) | (np.abs(fine - coarse) < ALLOWANCE * tolerance), fine, np.nan)


def check_factors(layer: AnyTransition) -> None:
    """Refuse NaN, infinity, and factors so large that one step could leave float64."""
    arrays = [layer.jacobians] if isinstance(layer, DenseTransition) else [layer.a, layer.phi, layer.V]
    if not isinstance(layer, DenseTransition):
        arrays += [np.array(layer.weights), np.ones((1, 1)) if layer.gate is None else layer.gate]
    size = prod(least_and_largest(array)[1] for array in arrays)
    if size > LARGEST:
        raise ValueError(
            f"the transition's factors multiply to {size:.3g}, expected at most 2^300 for a step; the run "
            "they came from exploded"
        )
