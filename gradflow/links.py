"""What lies between the layers of a run, and after the last: the Jacobians of the feed-forward links.

    I[t] = mask ∘ norm(W x[t] + b),        ∂I[t]/∂x[t] = diag factor · N[t] · W
    logits = Σ_t ω[t] (W s[t] + b),        ∂logits/∂s[t] = ω[t] W

Of a GLIF layer, the gate in front of I[t] is that of its `LayerTransition`. Axes: time sample neuron.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Link:
    """The way from what a layer reads (inputs, or spikes of the layer below) to its current.

    Attributes:
        W: feed-forward weights (target, source).
        factor: what multiplies the current neuron by neuron, (1 or sample, neuron): the scale of a norm,
            over its running deviation for batch norm in evaluation, and the mask of dropout; None where 1.
        normed: n[t], the currents before scale and shift, where layer norm makes them,
            (time, sample, neuron): N = (1 − 1 1ᵀ/H − n nᵀ/H) / σ. None without layer norm: N = 1.
        deviation: σ[t] = √(variance + ε) of layer norm, (time, sample).

    Raises ValueError for shapes that do not fit, NaN or infinity.
    """

    W: Float[np.ndarray, "target source"]
    factor: Float[np.ndarray, "samples target"] | None = None
    normed: Float[np.ndarray, "time sample target"] | None = None
    deviation: Float[np.ndarray, "time sample"] | None = None

    def __post_init__(self) -> None:
        target = self.W.shape[0]
        if (self.normed is None) is not (self.deviation is None):
            raise ValueError("Link: layer norm needs both normed and deviation")
        if self.factor is not None and self.factor.shape[-1] != target:
            raise ValueError(f"Link: factor is {self.factor.shape}, expected (1 or sample, {target})")
        if self.normed is not None and self.deviation is not None:
            expected = (*self.deviation.shape, target)
            if self.normed.shape != expected:
                raise ValueError(f"Link: normed is {self.normed.shape}, expected {expected}")
            if not np.all(self.deviation > 0):
                raise ValueError("Link: deviation is not positive everywhere; raise the norm's epsilon")
        for name, value in vars(self).items():
            if value is not None and not np.all(np.isfinite(value)):
                raise ValueError(f"Link: {name} holds NaN or infinity; the run it came from exploded")

    @property
    def constant(self) -> bool:
        """Return whether the Jacobian is the same at all times."""
        return self.normed is None

    def jacobian(self, t: int, samples: slice) -> Float[np.ndarray, "matrix target source"]:
        """Return ∂I[t]/∂x[t], one matrix for all samples or one for each of these.

        Cost: 2 · target · source operations, per sample where there is layer norm.
        """
        found = self.W[None]
        if self.normed is not None and self.deviation is not None:
            n, sigma = self.normed[t, samples], self.deviation[t, samples, None, None]
            along = np.einsum("bi,bj->bij", n, n @ self.W) / self.W.shape[0]
            found = (found - self.W.mean(axis=0) - along) / sigma
        if self.factor is None:
            return found
        factor = self.factor if len(self.factor) == 1 else self.factor[samples]
        return np.asarray(factor[:, :, None] * found)


@dataclass(frozen=True)
class ReadoutLink:
    """The linear readout: ∂logits/∂s[t] = ω[t] W of the last layer's spikes.

    Attributes:
        W: readout weights (class, neuron).
        placement: ω[t] (time,): 1 for the sum, 1/T for the mean, the last step alone for the last.
    """

    W: Float[np.ndarray, "class neuron"]
    placement: Float[np.ndarray, " time"]


def require_fit(
    links: Sequence[Link], readout: ReadoutLink | None, shapes: Sequence[tuple[int, ...]], layers: int
) -> None:
    """Raise ValueError unless there is one link for each layer, and they fit each other.

    Args:
        links: from the inputs to the last layer.
        readout: the readout, or None.
        shapes: of the spiking layers' a, (time, sample, neuron).
        layers: how many there are, spiking or not.
    """
    if not len(links) == len(shapes) == layers or not links:
        raise ValueError(
            f"Transition: {len(links)} links for {layers} layers, of which {len(shapes)} are "
            "LayerTransitions; expected one link for each, and no layers of another kind"
        )
    below = links[0].W.shape[1]
    for index, ((steps, samples, neurons), link) in enumerate(zip(shapes, links, strict=True)):
        if link.W.shape != (neurons, below):
            raise ValueError(f"Transition: W of layer {index} is {link.W.shape}, expected {(neurons, below)}")
        if link.deviation is not None and link.deviation.shape != (steps, samples):
            raise ValueError(
                f"Transition: deviation of layer {index} is {link.deviation.shape}, expected {steps, samples}"
            )
        if link.factor is not None and len(link.factor) not in {1, samples}:
            raise ValueError(
                f"Transition: factor of layer {index} is {link.factor.shape}, expected (1 or {samples}, "
                f"{neurons})"
            )
        below = neurons
    steps = shapes[-1][0]
    if readout is not None and (readout.W.shape[1], len(readout.placement)) != (below, steps):
        raise ValueError(
            f"Transition: the readout is {readout.W.shape} over {len(readout.placement)} steps, expected "
            f"(class, {below}) over {steps}"
        )
