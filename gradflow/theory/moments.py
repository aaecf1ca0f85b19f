"""Second moments over time of one layer's local factors: all that the transfer operator reads of a run.

Axes: neuron neuron. Means are over the steps t < T and the samples given; the gate's over 1 … T, at which
recurrent currents arrive.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gradflow.theory.factors import LayerFactors, last_step

RANGE = 1e75
"""Largest factor, and inverse of the smallest, whose fourth power still leaves room in float64."""


@dataclass(frozen=True)
class Moments:
    """First and second moments of a[t], φ[t] and the gate γ[t].

    Attributes:
        a_a, a_phi, phi_phi: E[a aᵀ], E[a φᵀ], E[φ φᵀ].
        a, phi: E a, E φ.
        gate: E γ; None where there is no gate.
        gate_gate: E[γ γᵀ]; None where there is no gate.

    Raises ValueError for NaN or infinity.
    """

    a_a: Float[np.ndarray, "neuron neuron"]
    a_phi: Float[np.ndarray, "neuron neuron"]
    phi_phi: Float[np.ndarray, "neuron neuron"]
    a: Float[np.ndarray, " neuron"]
    phi: Float[np.ndarray, " neuron"]
    gate: Float[np.ndarray, " neuron"] | None = None
    gate_gate: Float[np.ndarray, "neuron neuron"] | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not np.isfinite(value).all():
                raise ValueError(f"Moments: {name} holds NaN or infinity; expected finite moments")


def second_moments(layer: LayerFactors, *, end: int = -1, sample: int | None = None) -> Moments:
    """Return the moments of a layer over its steps before the end and its samples (or of one `sample`).

    Raises ValueError for an end outside the sequence, or one that leaves no step.

    Cost: 6 H² operations per step and sample.

    >>> from types import SimpleNamespace
    >>> a, phi = np.full((3, 1, 2), 0.5), np.array([[[0.0, 1.0]], [[1.0, 1.0]], [[7.0, 7.0]]])
    >>> layer = SimpleNamespace(a=a, phi=phi, V=np.eye(2), spans=(1,), weights=(1.0,), gate=None)
    >>> second_moments(layer).phi_phi.tolist()
    [[0.5, 0.5], [0.5, 1.0]]
    """
    last = last_step(layer, end)
    if not last:
        raise ValueError(f"end={end}: there is no step before it to take moments of; expected one or more")
    chosen = slice(None) if sample is None else [sample]
    a, phi = (part[:last, chosen] for part in (layer.a, layer.phi))
    return moments_of(a, phi, None if layer.gate is None else layer.gate[1 : last + 1])


def moments_of(
    a: Float[np.ndarray, "time sample neuron"],
    phi: Float[np.ndarray, "time sample neuron"],
    gate: Float[np.ndarray, "arrival _"] | None,
) -> Moments:
    """Return the moments over all steps and samples given.

    >>> half = np.full((3, 1, 1), 0.5)
    >>> moments_of(half, 2 * half, None).a_phi.item()
    0.5
    """
    neurons = a.shape[2]
    a, phi = (part.reshape(-1, neurons) for part in (a, phi))
    count = len(a)
    if gate is not None:
        gate = np.broadcast_to(gate, (len(gate), neurons))
    return Moments(
        a_a=a.T @ a / count,
        a_phi=a.T @ phi / count,
        phi_phi=phi.T @ phi / count,
        a=a.mean(axis=0),
        phi=phi.mean(axis=0),
        gate=None if gate is None else gate.mean(axis=0),
        gate_gate=None if gate is None else gate.T @ gate / len(gate),
    )
