"""The transfer operator of a stack, labelled: predicted curves of one layer by each one below, and rates.

Axes: layer lag.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import xarray as xr
from jaxtyping import Float

from gradflow.links import Link
from gradflow.theory.factors import Factors, LayerFactors, acting, fitted_rate, joined, last_step, layers_of
from gradflow.theory.moments import moments_of
from gradflow.theory.transfer_rate import transfer_rate, transfer_rate_arnoldi
from gradflow.theory.transfer_stack_curve import MEMORY_BUDGET, StackLayer, transfer_stack_curve


@runtime_checkable
class StackFactors(Factors, Protocol):
    """The factors of all layers of one run, and the links between them."""

    @property
    def links(self) -> Sequence[Link] | None:
        """One for each layer, from what it reads to its current."""


def transfer_stack(
    source: StackFactors,
    *,
    target: int = -1,
    end: int = -1,
    asymptotic: bool = False,
    memory_budget: int = MEMORY_BUDGET,
) -> xr.Dataset:
    """Return what the second-moment transfer operator predicts for ∂u_m[T]/∂u_l[t], every layer l ≤ m.

    `log_frobenius` (layer, lag) = ½ log E ‖∂u_m[T]/∂u_l[t]‖_F² in nats, over the lags of `stack_products`
    with the same `end`, from moments over the steps up to the end and all samples; `rate` (layer) its slope
    in nats per step, fitted with the comb of the layer's spans (NaN where it cannot be). With `asymptotic`,
    `rate_asymptotic` (layer) is the slope far from the end, to 1e-7 nats per step: the operator is triangular
    in the layers, so it is that of the slowest layer from l to m; −∞ where no link leads to m.

    It is the average product, and takes the factors of different layers to be independent at a step. Dropout
    masks are not averaged over: predict in evaluation mode.

    Args:
        source: a transition with links.
        target: m (default −1, the last layer).
        end: T, the end time (default −1, the last step; negative counts from the end).
        asymptotic: whether to find the asymptotic rates too.
        memory_budget: bytes that second moments of the state may take (default 512 MiB).

    Raises:
        ValueError: for a transition without links, dropout, a target or an end that is not there, layers
            without a, φ and V, or what `transfer_stack_curve` refuses.

    Cost: that of `transfer_stack_curve`, and with `asymptotic` of `transfer_rate` for each layer: λ H²
    numbers, a few H³ an iteration. But for the moments, time does not grow with the samples.

    >>> from types import SimpleNamespace
    >>> half = np.full((4, 1, 1), 0.5)
    >>> one = SimpleNamespace(a=half, phi=2 * half, V=np.zeros((1, 1)), spans=(), weights=(), gate=None)
    >>> links = (Link(np.ones((1, 1))), Link(np.full((1, 1), 4.0)))
    >>> stack = SimpleNamespace(layers=(one, one), conventions={}, links=links)
    >>> np.exp(transfer_stack(stack).log_frobenius.values).round(9).tolist()
    [[4.0, 4.0, 3.0, 2.0], [1.0, 0.5, 0.25, 0.125]]
    """
    layers, conventions = layers_of(source)
    if source.links is None:
        why = getattr(source, "unlinked", "it was made without any")
        raise ValueError(f"transfer_stack: the transition has no links between its layers: {why}")
    top = target + len(layers) if target < 0 else target
    if not 0 <= top < len(layers):
        raise ValueError(
            f"transfer_stack(target={target}): expected a layer, −{len(layers)} … {len(layers) - 1}"
        )
    last = last_step(layers[top], end)
    found = [
        stack_layer(layer, link, last, own=index == top)
        for index, (layer, link) in enumerate(zip(layers[: top + 1], source.links, strict=False))
    ]
    curve = transfer_stack_curve(found, last + 1, memory_budget=memory_budget)
    parts = []
    for index, values in enumerate(curve):
        rate = float(fitted_rate(values, found[index].taps)) if last else np.nan
        parts.append(xr.Dataset({"log_frobenius": ("lag", values), "rate": ((), rate)}))
    if asymptotic:
        for part, rate in zip(parts, slowest(found), strict=True):
            part["rate_asymptotic"] = (), rate
    return joined(parts, "transfer operator of the stack", {**conventions, "target": top})


def stack_layer(layer: LayerFactors, link: Link, last: int, *, own: bool) -> StackLayer:
    """Return what the operator reads of one layer; for the target's `own`, the end step is no factor."""
    through = slice(0, last if own and last else last + 1)
    gate = None if layer.gate is None else layer.gate[min(last, 1) : last + 1]
    moments = moments_of(layer.a[through], layer.phi[through], gate)
    mean, spread = link_moments(link, last)
    return StackLayer(moments, layer.V, acting(layer, last), mean, spread)


def link_moments(link: Link, last: int) -> tuple[Float[np.ndarray, "neuron source"], float]:
    """Return E L over the steps up to `last` and the samples, and E σ⁻² / (E σ⁻¹)² of layer norm.

    With L = diag f · (1 − 1 1ᵀ/H − n nᵀ/H) W / σ; the direction n is taken to be its mean projection.

    Raises ValueError for dropout masks.
    """
    if link.factor is not None and len(link.factor) > 1:
        raise ValueError(
            "transfer_stack: the links hold dropout masks, which differ between samples; predict in "
            "evaluation mode, net.eval()"
        )
    mean, spread = link.W, 1.0
    if link.normed is not None and link.deviation is not None:
        n, inverse = link.normed[: last + 1], 1.0 / link.deviation[: last + 1]
        rows = n.reshape(-1, n.shape[2])
        projection = (rows * inverse.reshape(-1, 1)).T @ rows / len(rows)
        centred = link.W - link.W.mean(axis=0)
        mean = inverse.mean() * centred - projection @ link.W / n.shape[2]
        spread = float(np.square(inverse).mean() / inverse.mean() ** 2)
    return (mean if link.factor is None else link.factor[0][:, None] * mean), spread


def slowest(layers: Sequence[StackLayer]) -> list[float]:
    """Return of each layer the largest rate among those on the way from it to the last one."""
    rates: list[float] = []
    for index in range(len(layers) - 1, -1, -1):
        layer = layers[index]
        # one span of 1: Arnoldi needs a single round, and iteration is ten times slower
        rate = transfer_rate_arnoldi if set(layer.taps) == {1} else transfer_rate
        own = rate(layer.moments, layer.V, layer.taps)
        if rates:
            above = layers[index + 1]
            if not np.any(above.gate[:, None] * above.link * layer.moments.phi):
                return [-np.inf] * (index + 1) + rates
            own = max(own, rates[0])
        rates.insert(0, own)
    return rates
