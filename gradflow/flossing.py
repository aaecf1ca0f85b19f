"""Gradient flossing: pull a layer's leading Lyapunov exponents to a target, as a term of a loss.

Engelken 2023 (arXiv:2312.17306) for RNNs; here for layers whose state is their last D potentials, D the
longest span. One step of the state's tangent q is that of the potentials,

    q[t] = a[t−1] ∘ q[t−1] + gate[t] V Σ_d p_d φ[t−d] ∘ q[t−d],

and QR every few steps keeps k of them apart: λ_i = (1/n) Σ log R_ii. The derivative runs through the QR,
through V, p and the neurons' coefficients, and through u (by a and φ) to everything below. Axes: time
batch neuron.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from gradflow import seeds
from gradflow.layer import LayerRun
from gradflow.network import RecurrentSNN, Run
from gradflow.shapes import Inputs


def flossing_loss(
    net: RecurrentSNN, x: Inputs, *, target: float = 0.0, leading: int = 1, every: int = 8, seed: int = 0
) -> Float[Tensor, ""]:
    """Return the mean of (λ_i − target)² over the leading exponents, samples and layers: add it to the loss.

    Args:
        net: the network; it runs once, soft spans in training.
        x: inputs, (time, batch, input), longer than the longest span.
        target: what the exponents are pulled to, in nats per step (default 0: neither decay nor growth).
        leading: how many exponents.
        every: steps between orthonormalisations.
        seed: of the directions the tangents start from.

    Raises:
        ValueError: as `leading_exponents` does.

    Cost: a forward pass, and per layer and step k H² operations, with the graph of all steps kept.

    >>> import gradflow as gf
    >>> net = gf.RecurrentSNN(gf.Sizes(1, 2), hidden=6, neuron=gf.LIF(surrogate=gf.Sigmoid()))
    >>> bool(flossing_loss(net, torch.ones(20, 3, 1)).requires_grad)
    True
    """
    run: Run = net(x)
    exponents = [leading_exponents(layer, leading, every=every, seed=seed) for layer in run.layers]
    return torch.stack([(value - target).square().mean() for value in exponents]).mean()


def leading_exponents(
    layer: LayerRun, leading: int = 1, *, every: int = 8, seed: int = 0
) -> Float[Tensor, "batch exponent"]:
    """Return the leading finite-time Lyapunov exponents of one layer's run, differentiable, in nats per step.

    Args:
        layer: one layer of a run, in the graph of autograd.
        leading: k, at most neurons times the longest span.
        every: steps between orthonormalisations (fewer where exponents lie far apart).
        seed: of the starting directions, drawn from a named stream.

    Raises:
        ValueError: for a k or `every` that cannot be, a sequence of no more steps than the longest span, or a
            tangent that became exactly zero (no neuron of it in the surrogate's window): its exponent is −∞.
    """
    steps, batch, neurons = layer.u.shape
    spans = [(d, p) for d, p in zip(layer.taps.spans, layer.taps.weights, strict=True) if layer.V is not None]
    reach = max((d for d, _ in spans), default=1)
    _check(leading, every, steps, reach, neurons)
    phi = layer.dynamics.phi(layer.u)
    a = layer.dynamics.local(layer.u, layer.s, phi)
    gate = None if layer.dynamics.gate is None else layer.dynamics.gate_steps(layer.u)
    start = torch.from_numpy(seeds.normal(seed, "tangents", shape=(reach * neurons, leading))).to(layer.u)
    q = torch.linalg.qr(start)[0].reshape(1, reach, neurons, leading).expand(batch, -1, -1, -1)
    tangents = list(q.unbind(1))  # of u[t−1], …, u[t−D]
    total = layer.u.new_zeros(batch, leading)
    for t in range(reach, steps):
        new = a[t - 1][..., None] * tangents[0]
        if spans:
            mixed = torch.stack([p * phi[t - d][..., None] * tangents[d - 1] for d, p in spans]).sum(0)
            recurrent = torch.einsum("ij,bjk->bik", layer.V, mixed)
            new = new + (recurrent if gate is None else gate[t][..., None] * recurrent)
        tangents = [new, *tangents[:-1]]
        if (t - reach + 1) % every == 0 or t == steps - 1:
            q, r = torch.linalg.qr(torch.stack(tangents, 1).reshape(batch, reach * neurons, leading))
            sizes = r.diagonal(dim1=1, dim2=2).abs()
            if not (sizes > 0).all():
                raise ValueError(
                    f"a tangent became exactly zero by step {t}: no neuron that carries it is in the "
                    "surrogate's window. Ask for fewer leading exponents, or a wider or non-compact surrogate"
                )
            total = total + sizes.log()
            tangents = list(q.reshape(batch, reach, neurons, leading).unbind(1))
    return total / (steps - reach)


def _check(leading: int, every: int, steps: int, reach: int, neurons: int) -> None:
    if not 1 <= leading <= reach * neurons:
        raise ValueError(f"leading={leading}: expected 1 to {reach * neurons}, longest span times neurons")
    if every < 1:
        raise ValueError(f"every={every}: expected 1 or more steps between orthonormalisations")
    if steps <= reach:
        raise ValueError(f"the sequence has {steps} steps, expected more than the longest span, {reach}")
