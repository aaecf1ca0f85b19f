"""Singular values of P(T,t) = ∂u[T]/∂u[t] against the lag T − t, all of them or the leading ones.

The last D products, stacked, are the adjoint's state; it is kept as Q diag(2^e) U (`graded`), and one step
back in time acts on the columns of Q alone:

    P(T,t)ᵀ = diag a[t] P(T,t+1)ᵀ + diag φ[t] Vᵀ Σ_d p_d diag gate[t+d] P(T,t+d)ᵀ

so singular values of any size and ratio keep their own relative precision. Axes: layer sample lag index.
"""

from collections.abc import Sequence
from math import prod

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from gradflow.jacobian.adjoint_stack import Stack
from gradflow.jacobian.leading import sweep_leading
from gradflow.jacobian.products import end_of, transition_from
from gradflow.jacobian.spectra import Spectra, angles, empty_windows, labelled, participation_ratio
from gradflow.jacobian.spectrum_stack import stack_spectra
from gradflow.jacobian.stack import layer_of, linked
from gradflow.jacobian.sweep import AnyTransition, least_and_largest, size_of, taps_of
from gradflow.recurrence import SpanMode
from gradflow.results import Results
from gradflow.seeds import bit_generator
from gradflow.transition import BatchLike, DenseTransition, Transition

NAME = "singular_values"

ALLOWANCE = 400.0
"""Tolerances by which 4,096 times coarser rounding may move a value: a tenth, for moves small by chance."""

LARGEST = 2.0**300
"""Largest product of the factors of one step; its sums over neurons and spans stay within float64."""


def singular_values(
    source: object,
    batch: BatchLike | None = None,
    *,
    target: int | None = None,
    leading: int | None = None,
    every: int = 1,
    end: int = -1,
    gradient: Float[np.ndarray, "layer time sample neuron"] | Sequence[np.ndarray] | None = None,
    tolerance: float = 1e-4,
    span_mode: SpanMode | None = None,
) -> xr.Dataset:
    """Return the singular values of ∂u[T]/∂u[t] of every layer and sample at every so many lags.

    Args:
        source: a network (then give `batch`) or a `Transition` of any origin.
        batch: a batch of a task, or inputs (time, batch, input).
        target: the layer m of u[T], for ∂u_m[T]/∂u_l[t] of all layers l ≤ m, links included (default: each
            layer with itself).
        leading: how many singular values, the largest ones (default: all, which costs more for long spans).
        every: spacing of the lags that are kept (a multiple of the span sees the teeth of a comb only).
        end: T, the end time (default −1, the last step; negative counts from the end).
        gradient: ∂L/∂u[t] of each layer, (time, sample, neuron), as `record` keeps it with Keep.TENSORS; adds
            `gradient_angle`.
        tolerance: error in nats up to which a value counts as known, at most 1e-3 (default 1e-4, invisible in
            any picture); applies to all of them, not to leading ones.
        span_mode: soft or hard spans of an adaptive recurrence (default: soft in training mode).

    Returns:
        A Dataset. `log_singular` (layer, sample, lag, index), natural logs, descending: −∞ where structure
        makes it zero (all of a neuron's factors are 0, at the step or on the way), NaN where it is not
        known. `rank_bound` (layer, sample, lag): rows of P that structure leaves; what it lacks to H is −∞.
        `no_window` (layer, sample, lag): of how many neurons nothing depends on u[t] any more, because their
        windows are empty (φ[t] = 0) and they keep nothing (a[t] = 0), as after a spike with a hard, detached
        reset; the other −∞ were lost later than t in the same way, or led nowhere. `participation`
        (Σσ²)²/Σσ⁴, from 1 (one direction) to H; NaN where P is zero. `gradient_angle`, radians from 0 to
        π/2, between the gradient and the leading right singular vector, whichever its sign (a random
        vector has about arccos √(2/πH)); NaN where either is zero, and meaningless where the two largest
        singular values are equal.

        All of them: the ratio σ_H/σ_1 has no limit (e^−1300 is tested); with one span of 1 the error is about
        1e-12. With longer spans rates that spread far within one span cost digits of the small values. A
        second sweep with 4,096 times coarser rounding tells how many: those that may be wrong by more than
        the tolerance are NaN. Leading ones, and all those of a target: values under 2⁻³⁰ σ_1 are NaN, the
        others exact to about 1e-16 · H · σ_1/σ.

    Raises:
        ValueError: for an end outside the sequence, a network without a batch, a target that is not there or
            a transition without links for it, `leading` or `every` below 1, more leading values than neurons
            (of the smaller layer), a gradient of another shape, NaN or infinity in the factors, or factors of
            one step that multiply to more than 2^300 or to less than 2^−900 (not for a target), or a
            tolerance outside 0 < tolerance ≤ 1e-3.

    Cost, per sample: all: 12 D H³ T operations for two QR and 16 H³ times 3 to 10 for each lag that is kept
    (rotations), 8 D H² × 8 bytes; D is the longest span. Leading k: 2 H³ T for the products, 8 H² k for each
    lag and round, and a full decomposition where rounds do not suffice, at short lags mostly.

    Source: Geist, Parlitz & Lauterborn, Prog. Theor. Phys. 83 (1990) 875, QR of products; Demmel et al.,
    Linear Algebra Appl. 299 (1999) 21, singular values of graded matrices.
    """
    found = transition_from(source, batch, span_mode, NAME)
    if every < 1 or (leading is not None and leading < 1):
        raise ValueError(f"{NAME}: got leading {leading}, every {every}; expected 1 or more")
    if not 0.0 < tolerance <= 1e-3:
        raise ValueError(f"tolerance={tolerance}: expected nats in 0 < tolerance <= 1e-3")
    top = None if target is None else layer_of(NAME, target, len(linked(NAME, found).layers))
    gradients = None if gradient is None else gradients_of(found, list(gradient))
    layers, stacked = [], None
    for k, layer in enumerate(found.layers if top is None else found.layers[: top + 1]):
        steps, _, neurons = size_of(layer)
        last = end_of(end, steps)
        lags = np.arange(0, last + 1, every)
        most = neurons if top is None else min(neurons, size_of(found.layers[top])[2])
        if leading is not None and leading > most:
            raise ValueError(
                f"leading={leading}: layer {k} has {most} neurons that count; expected at most as many"
            )
        if top is not None:
            stacked = stack_spectra(found, top, last, lags, leading) if stacked is None else stacked
            spectra = stacked[k]
        elif leading is None:
            spectra = every_value(layer, last, lags, tolerance)
        else:
            spectra = Spectra(*sweep_leading(layer, last, lags, leading))
        data = labelled(spectra, lags, empty_windows(layer, last, lags, own=top is None or k == top))
        if gradients is not None:
            at = np.moveaxis(gradients[k][last - lags], 0, 1)
            data["gradient_angle"] = ("sample", "lag"), angles(spectra.direction, at), {"units": "radians"}
        layers.append(data)
    result = xr.concat(layers, dim="layer", join="outer", fill_value=np.nan, combine_attrs="drop_conflicts")
    result = result.assign_coords(layer=np.arange(len(layers)))
    result.lag.attrs = {"long_name": "lag T − t", "units": "steps"}
    result.attrs = {"kind": "singular values", "end": last, **found.conventions}
    return Results.of(result if top is None else result.assign_attrs(target=top))


def gradients_of(found: Transition, gradient: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """Return one gradient for each layer, refusing those of other shapes."""
    wanted = [size_of(layer) for layer in found.layers]
    got = [np.shape(array) for array in gradient]
    if got != wanted:
        raise ValueError(f"gradient: got {got}, expected (time, sample, neuron) of each layer, {wanted}")
    return gradient


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
