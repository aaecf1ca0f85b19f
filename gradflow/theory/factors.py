"""The local factors of a layer as theory reads them: a, φ, V, p and the gate; whoever they come from.

Axes: time sample neuron, as in a transition. Nothing here knows what produced them.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import xarray as xr
from jaxtyping import Float

from gradflow.analysis.fits import comb_period, fit_curves
from gradflow.analysis.schema import Array, ordered
from gradflow.results import Results


@runtime_checkable
class LayerFactors(Protocol):
    """One layer's ∂u[t+1]/∂u[t] ∋ diag a[t] and ∂u[t+d]/∂u[t] ∋ p_d diag gate[t+d] V diag φ[t]."""

    @property
    def a(self) -> Float[np.ndarray, "time sample neuron"]:
        """Neuron path."""

    @property
    def phi(self) -> Float[np.ndarray, "time sample neuron"]:
        """Surrogate derivative."""

    @property
    def V(self) -> Float[np.ndarray, "neuron neuron"]:  # noqa: N802 - the symbol of the equations
        """Recurrent matrix (target, source)."""

    @property
    def spans(self) -> tuple[int, ...]:
        """The d with p_d ≠ 0."""

    @property
    def weights(self) -> tuple[float, ...]:
        """Their p_d."""

    @property
    def gate(self) -> Float[np.ndarray, "time _"] | None:
        """Factor in front of V, or None where it is 1."""


@runtime_checkable
class Factors(Protocol):
    """The factors of all layers of one run, and the conventions they were computed under."""

    @property
    def layers(self) -> Sequence[object]:
        """One `LayerFactors` for each layer."""

    @property
    def conventions(self) -> Mapping[str, str | int | float]:
        """What is written into every record."""


def layers_of(source: Factors | LayerFactors) -> tuple[list[LayerFactors], dict[str, str | int | float]]:
    """Return the layers of a transition (or the one layer given), and its conventions.

    Raises ValueError for a layer without a, φ and V, such as a dense one-step Jacobian.
    """
    found = list(source.layers) if isinstance(source, Factors) else [source]
    layers = [layer for layer in found if isinstance(layer, LayerFactors)]
    if len(layers) < len(found) or not found:
        names = [type(layer).__name__ for layer in found]
        raise ValueError(
            f"theory: got layers {names}; this rung reads a, phi, V, spans and weights of each "
            "(LayerTransition), which a dense Jacobian does not have"
        )
    return layers, dict(source.conventions) if isinstance(source, Factors) else {}


def last_step(layer: LayerFactors, end: int) -> int:
    """Return T, the end time, as an index from the start.

    Raises ValueError where it lies outside the sequence.
    """
    steps = len(layer.a)
    last = end + steps if end < 0 else end
    if not 0 <= last < steps:
        raise ValueError(f"end={end}: the sequence has {steps} steps, expected −{steps} … {steps - 1}")
    return last


def acting(layer: LayerFactors, last: int) -> dict[int, float]:
    """Return the p_d that are not 0 and reach into `last` lags, by increasing d."""
    pairs = sorted(zip(layer.spans, layer.weights, strict=True))
    return {d: float(p) for d, p in pairs if d <= last and p != 0.0}


def fitted_rate(log_norm: Array, taps: Mapping[int, float]) -> Array:
    """Return the slope of predicted curves (…, lag), fitted as `fit_decay` fits measured ones."""
    weights = np.array(list(taps.values()), dtype=np.float64)
    period, longest = comb_period(weights, np.array(list(taps), dtype=np.int64), log_norm.shape[-1] - 1)
    return fit_curves(log_norm, period=period, longest=longest)["rate"]


def joined(parts: list[xr.Dataset], theory: str, conventions: Mapping[str, str | int | float]) -> xr.Dataset:
    """Return the layers' datasets as one, with lag, layer, units and conventions."""
    data = xr.concat(parts, dim="layer", join="outer", combine_attrs="drop_conflicts")
    data = data.map(lambda part: ordered(part, "layer", "sample", "lag"))
    for name in data.data_vars:
        data[name].attrs = {"units": _unit(str(name))}
    data = data.assign_coords(layer=np.arange(len(parts)), lag=np.arange(data.sizes["lag"]))
    return Results.of(data.assign_attrs({**conventions, "theory": theory}))


def _unit(name: str) -> str:
    """Return the unit of a prediction: logarithms of norms, rates and their parts, factors without a unit."""
    if name.startswith("log"):
        return "nats"
    if name.startswith("firing_rate"):
        return "spikes per neuron and step"
    return "nats per step" if name.startswith(("rate", "memory", "scatter")) else "1"
