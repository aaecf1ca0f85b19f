"""Variance propagation: the mean of ‖P(T,t)‖_F² if V were drawn afresh at every step.

Axes: sample lag; x is (sample, neuron). With x[T] = 1 and each neuron's own a[t], φ[t] and gate γ[t],

    x[t] = a[t]² ∘ x[t+1] + φ[t]² ∘ Σ_d p_d² (V∘V)ᵀ (γ[t+d]² ∘ x[t+d]),     E ‖P(T,t)‖_F² = Σ_i x_i[t]

x_i[t] is the mean square of column i of P(T,t). The equation is exact where the entries of V have mean 0 and
variances V∘V and are drawn anew, independently, at each step t and for each span d: every cross term then
has a factor of mean 0. A network uses one V throughout, and its spans share it: what that adds is what the
second-moment transfer operator counts.

x is carried as mantissa · 2^exponent, element by element, as in `root`: nothing is lost at any length.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from gradflow.theory.factors import Factors, LayerFactors, acting, fitted_rate, joined, last_step, layers_of
from gradflow.theory.root import FAR, LOST

RANGE = 900
"""Powers of two between the smallest and the largest factor that one dot product in float64 may span."""


class Scaled(NamedTuple):
    """Numbers m · 2^e, m being 0 or ½ … 1; the exponent of 0 is FAR."""

    m: Float[np.ndarray, "..."]
    e: Int[np.ndarray, "..."]


def scaled(m: Float[np.ndarray, "..."], e: Int[np.ndarray, "..."] | int = 0) -> Scaled:
    """Return m · 2^e in normal form."""
    mantissa, extra = np.frexp(m)
    return Scaled(mantissa, np.where(mantissa != 0.0, extra + np.asarray(e, dtype=np.int64), FAR))


def total(terms: Scaled, axis: int) -> Scaled:
    """Return the sum along one axis; terms of less than a rounding error of the largest may be dropped."""
    top = terms.e.max(axis=axis, keepdims=True)
    small = np.maximum(terms.e - top, LOST).astype(np.int32)
    return scaled(np.ldexp(terms.m, small).sum(axis=axis), np.squeeze(top, axis))


def times_square(x: Scaled, factor: Float[np.ndarray, "..."] | float) -> Scaled:
    """Return x · factor², squared as mantissa and exponent: the square itself may be out of range."""
    m, e = np.frexp(factor)
    return scaled(x.m * m * m, x.e + 2 * e.astype(np.int64))


class Squares:
    """(V∘V)ᵀ as a map of non-negative vectors that loses no element of its result."""

    def __init__(self, V: Float[np.ndarray, "neuron neuron"]) -> None:
        self.elements = times_square(Scaled(np.full(V.shape, 0.5), np.ones(V.shape, dtype=np.int64)), V)
        there = self.elements.e[self.elements.m > 0.0]
        self.top = int(there.max()) if there.size else 0
        self.range = self.top - int(there.min()) if there.size else 0
        self.dense = np.ldexp(self.elements.m, np.maximum(self.elements.e - self.top, LOST).astype(np.int32))

    def __call__(self, x: Scaled) -> Scaled:
        """Return (V∘V)ᵀ x for each sample: one product where the range of float64 allows, else by element."""
        top = x.e.max(axis=1, keepdims=True)
        low = np.where(x.m > 0.0, x.e, top).min(axis=1, keepdims=True)
        z = np.ldexp(x.m, np.maximum(x.e - top, LOST).astype(np.int32))
        result = scaled(z @ self.dense, top + self.top)
        for b in np.flatnonzero((top - low)[:, 0] + self.range > RANGE):
            terms = Scaled(self.elements.m * x.m[b][:, None], self.elements.e + x.e[b][:, None])
            result.m[b], result.e[b] = total(terms, axis=0)
        return result


def variance_curve(
    a: Float[np.ndarray, "time sample neuron"],
    phi: Float[np.ndarray, "time sample neuron"],
    V: Float[np.ndarray, "neuron neuron"],
    taps: Mapping[int, float],
    gate: Float[np.ndarray, "time _"] | None = None,
) -> Float[np.ndarray, "sample lag"]:
    """Return ½ log Σ_i x_i[t] in nats, lag T − t = 0 … T with T the last step given; −∞ where it is 0.

    `taps` maps each span d to its weight p_d (not squared); its sign does not matter. Cost: 2 H² + O(H D)
    operations per step and sample for D spans; 16 bytes · D_max · H per sample.

    >>> a, phi = np.full((3, 1, 2), 0.5), np.full((3, 1, 2), 0.4)
    >>> variance_curve(a, phi, np.eye(2), {1: 1.0}).round(4).tolist()
    [[0.3466, -0.0992, -0.545]]
    """
    last, samples, neurons = len(a) - 1, *a.shape[1:]
    depth = max(taps, default=1)
    spans, p = np.array(list(taps), dtype=np.int64), np.array(list(taps.values()), dtype=np.float64)
    squares = Squares(V)
    past = Scaled(np.zeros((depth, samples, neurons)), np.full((depth, samples, neurons), FAR))
    x = scaled(np.ones((samples, neurons)))
    log_sum = np.empty((samples, last + 1))
    for n in range(last + 1):
        t = last - n
        if n:
            parts = [times_square(x, a[t])]
            near = spans <= n
            if near.any():
                slots = (n - spans[near]) % depth
                seen = times_square(Scaled(past.m[slots], past.e[slots]), p[near][:, None, None])
                parts.append(times_square(squares(total(seen, axis=0)), phi[t]))
            x = total(Scaled(np.stack([q.m for q in parts]), np.stack([q.e for q in parts])), axis=0)
        past.m[n % depth], past.e[n % depth] = x if gate is None else times_square(x, gate[t])
        m, e = total(x, axis=1)
        with np.errstate(divide="ignore"):  # log 0 = −∞ where no path leads
            log_sum[:, n] = np.where(m > 0.0, np.log(m) + e * np.log(2.0), -np.inf)
    return 0.5 * log_sum


def variance_propagation(source: Factors | LayerFactors, *, end: int = -1) -> xr.Dataset:
    """Return what variance propagation predicts for each layer and sample of a transition.

    `log_frobenius` (layer, sample, lag) = ½ log Σ_i x_i in nats, over the lags of `jacobian_products` with
    the same `end`; `rate` (layer, sample) its slope in nats per step, fitted as `fit_decay` fits the measured
    curve (NaN where it cannot be).

    Raises ValueError for an end outside the sequence, or layers without a, φ and V.

    >>> from types import SimpleNamespace
    >>> a, phi = np.full((40, 1, 2), 0.5), np.full((40, 1, 2), 0.4)
    >>> vanilla = SimpleNamespace(a=a, phi=phi, V=np.eye(2), spans=(1,), weights=(1.0,), gate=None)
    >>> variance_propagation(vanilla).rate.round(4).values.tolist()
    [[-0.4458]]
    """
    layers, conventions = layers_of(source)
    parts = []
    for layer in layers:
        last = last_step(layer, end)
        taps, upto = acting(layer, last), slice(0, last + 1)
        gate = None if layer.gate is None else layer.gate[upto]
        curve = variance_curve(layer.a[upto], layer.phi[upto], layer.V, taps, gate)
        rate = fitted_rate(curve, taps)
        parts.append(xr.Dataset({"log_frobenius": (("sample", "lag"), curve), "rate": ("sample", rate)}))
    return joined(parts, "variance propagation", conventions).assign_coords(
        sample=np.arange(layers[0].a.shape[1])
    )
