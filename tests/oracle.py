"""An independent network in plain numpy float64, written from the published equations, not from the code.

    LIF, PLIF  u[t] = α v[t−1] + I[t] + V ŝ[t],  v = u − θ s (soft) or u (1 − s) (hard)
    GLIF       u[t] = (1 − α(1 − τ)) u[t−1] (1 − γ s[t−1]) − (1 − α) l
                      + (1 − β(1 − g[t])) (I[t] + V ŝ[t]) − (1 − γ) r s[t−1]
    s[t] = 1(u[t] ≥ θ), or the antiderivative of the surrogate where `smooth`

`frozen` holds the spikes that the resets read, layer by layer: with them fixed, a finite difference sees
what a detached reset lets through. Axes: time batch neuron.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import erf, expit

import gradflow as gf


def normal(x, mean, deviation):
    return np.exp(-((x - mean) ** 2) / (2 * deviation**2)) / (deviation * np.sqrt(2 * np.pi))


def cumulative(x, mean, deviation):
    return 0.5 * (1 + erf((x - mean) / (deviation * np.sqrt(2))))


def multi(of, x, w):
    return 0.5 * (1.15 * of(x, 0, w) - 0.15 * of(x, w, 6 * w) - 0.15 * of(x, -w, 6 * w))


PHI = {
    gf.Triangle: lambda x, w: np.maximum(0, 1 - np.abs(x / w)) / w,
    gf.Rectangle: lambda x, w: np.where(np.abs(x) < w / 2, 1 / w, 0.0),
    gf.Exponential: lambda x, k: k * np.exp(-k * np.abs(x)),
    gf.Sigmoid: lambda x, k: k * expit(k * x) * (1 - expit(k * x)),
    gf.ArcTangent: lambda x, k: (k / 2) / (1 + (np.pi * k * x / 2) ** 2),
    gf.MultiGaussian: lambda x, w: multi(normal, x, w),
}
TWIN = {
    gf.Triangle: lambda x, w: np.select(
        [x <= -w, x <= 0, x < w], [0.0, (1 + x / w) ** 2 / 2, 1 - (1 - x / w) ** 2 / 2], 1.0
    ),
    gf.Rectangle: lambda x, w: np.clip(0.5 + x / w, 0, 1),
    gf.Exponential: lambda x, k: np.where(x < 0, np.exp(-k * np.abs(x)), 2 - np.exp(-k * np.abs(x))),
    gf.Sigmoid: lambda x, k: expit(k * x),
    gf.ArcTangent: lambda x, k: 0.5 + np.arctan(np.pi * k * x / 2) / np.pi,
    gf.MultiGaussian: lambda x, w: multi(cumulative, x, w),
}
GATES = ("alpha", "beta", "gamma", "leak", "linear_decay", "reset_voltage", "conductance")
KINKS = {gf.Triangle: (-1, 0, 1), gf.Rectangle: (-0.5, 0.5), gf.Exponential: (0,)}
"""Where φ jumps or bends, in units of the width: finite differences must keep away."""


@dataclass
class Layer:
    """What one layer did, and the coefficients its adjoint needs."""

    u: np.ndarray
    s: np.ndarray
    x: np.ndarray
    phi: np.ndarray
    a: np.ndarray
    gate: np.ndarray
    spans: dict
    V: np.ndarray
    kink_distance: float


@dataclass
class Forward:
    layers: list
    outputs: np.ndarray
    logits: np.ndarray

    @property
    def spikes(self):
        return [layer.s for layer in self.layers]

    @property
    def kink_distance(self):
        """The smallest distance of any u − θ from a bend or jump of its surrogate, or from 0."""
        return min(layer.kink_distance for layer in self.layers)


def parameters(net):
    """Return every parameter and buffer as float64 numpy arrays by name."""
    return {name: value.detach().double().numpy().copy() for name, value in net.state_dict().items()}


def span_weights(spec, values, name, training):
    """Return {d: p_d}."""
    if isinstance(spec, gf.AdaptiveSkip):
        c = values[f"{name}.spans.span_logits"]
        if not training:
            return {int(np.argmax(c)) + 1: 1.0}
        powers = np.exp((c - c.max()) / values[f"{name}.spans.temperature"])
        return dict(enumerate(powers / powers.sum(), start=1))
    return {gf.NoRecurrence: {}, gf.Vanilla: {1: 1.0}, gf.Skip: {getattr(spec, "span", 0): 1.0}}[type(spec)]


def normalise(spec, values, name, current, training):
    if spec is None:
        return current
    if isinstance(spec, gf.LayerNorm):
        mean, variance = current.mean(-1, keepdims=True), current.var(-1, keepdims=True)
    elif training:
        mean, variance = current.mean((0, 1)), current.var((0, 1))
    else:
        mean, variance = values[f"{name}.norm.running_mean"], values[f"{name}.norm.running_variance"]
    normed = (current - mean) / np.sqrt(variance + spec.epsilon)
    return values[f"{name}.norm.scale"] * normed + values[f"{name}.norm.shift"]


def run_layer(case, values, index, x, smooth, frozen, mask):
    spec, name = case.neurons[index], f"layers.{index}"
    current = x @ values[f"{name}.linear.weight"].T + values.get(f"{name}.linear.bias", 0.0)
    current = normalise(case.norm, values, name, current, case.training) * mask
    steps, batch, H = current.shape
    spans = span_weights(case.recurrences[index], values, name, case.training)
    V = values.get(f"{name}.V", np.zeros((H, H)))
    kind, scale = type(spec.surrogate), spec.surrogate.scale
    u, s, a, phi = (np.zeros((steps, batch, H)) for _ in range(4))
    gate = np.ones((steps, 1, 1))
    before_u, before_s, before_reset = (np.zeros((batch, H)) for _ in range(3))
    theta = spec.threshold
    if isinstance(spec, gf.GLIF):
        free = {key: values[f"{name}.neuron.raw_{key}"] for key in GATES}
        al, be, ga, tau, lin, r, g = (expit(value) for value in free.values())
        theta = values[f"{name}.neuron.threshold"]
        gate = (1 - be * (1 - g[:steps])).reshape(steps, 1, -1)
    alpha = (
        expit(values[f"{name}.neuron.raw_decay"]) if isinstance(spec, gf.PLIF) else getattr(spec, "decay", 0)
    )
    for t in range(steps):
        mixed = sum((p * s[t - d] for d, p in spans.items() if d <= t), np.zeros((batch, H)))
        total = current[t] + mixed @ V.T
        if isinstance(spec, gf.GLIF):
            u[t] = (1 - al * (1 - tau)) * before_u * (1 - ga * before_reset) - (1 - al) * lin * np.ones(H)
            u[t] += gate[t] * total - (1 - ga) * r * before_reset
        else:
            v = before_u - theta * before_reset if spec.reset == "soft" else before_u * (1 - before_reset)
            u[t] = alpha * v + total
        s[t] = TWIN[kind](u[t] - theta, scale) if smooth else (u[t] >= theta).astype(float)
        phi[t] = PHI[kind](u[t] - theta, scale)
        before_u, before_s = u[t], s[t]
        before_reset = frozen[t] if spec.detach_reset and frozen is not None else before_s
        attached = 0.0 if spec.detach_reset else phi[t]
        if isinstance(spec, gf.GLIF):
            keep = 1 - al * (1 - tau)
            a[t] = keep * (1 - ga * s[t]) - (keep * ga * u[t] + (1 - ga) * r) * attached
        elif spec.reset == "soft":
            a[t] = alpha * (1 - theta * attached)
        else:
            a[t] = alpha * (1 - s[t] - u[t] * attached)
    far = [np.abs(u - theta - k * scale).min() for k in (0, *KINKS.get(kind, ()))]
    return Layer(u, s, x, phi, a, gate, spans, V, float(min(far)))


def forward(case, values, x, *, smooth=False, frozen=None, masks=None):
    """Run the case's network on x with the given parameter values."""
    layers, below = [], np.asarray(x)
    for index in range(len(case.hidden)):
        held = None if frozen is None else frozen[index]
        mask = 1.0 if masks is None else masks[index]
        layers.append(run_layer(case, values, index, below, smooth, held, mask))
        below = layers[-1].s
    outputs = below @ values["output.weight"].T + values.get("output.bias", 0.0)
    logits = {"sum": outputs.sum(0), "mean": outputs.mean(0), "last": outputs[-1]}[case.readout.value]
    return Forward(layers, outputs, logits)


def cross_entropy(logits, targets):
    """Return −log softmax at the target, one per sample."""
    shifted = logits - logits.max(1, keepdims=True)
    return np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(logits)), np.asarray(targets)]


@dataclass
class Adjoint:
    """One layer's g = ∂L/∂u, ∂L/∂s and their three paths, each (time, batch, neuron)."""

    g: np.ndarray
    neuron: np.ndarray
    recurrent: np.ndarray
    direct: np.ndarray


def adjoint(case, values, run, targets):
    """Return every layer's gradients of Σ_b L_b by the recursion of the design, for networks without norm.

    g[t] = φ[t] ∘ (e[t] + Σ_d p_d Vᵀ gate[t+d] g[t+d]) + a[t] ∘ g[t+1]
    """
    assert case.norm is None
    soft = np.exp(run.logits - run.logits.max(1, keepdims=True))
    slope = soft / soft.sum(1, keepdims=True) - np.eye(case.classes)[np.asarray(targets)]
    steps = case.steps
    share = {"sum": np.ones(steps), "mean": np.full(steps, 1 / steps), "last": np.eye(steps)[-1]}
    e = share[case.readout.value][:, None, None] * (slope @ values["output.weight"])
    found = []
    for index in reversed(range(len(run.layers))):
        layer = run.layers[index]
        g, neuron, recurrent = (np.zeros_like(layer.u) for _ in range(3))
        for t in reversed(range(steps)):
            for d, p in layer.spans.items():
                if t + d < steps:
                    recurrent[t] += p * (layer.gate[t + d] * g[t + d]) @ layer.V
            if t + 1 < steps:
                neuron[t] = layer.a[t] * g[t + 1]
            g[t] = layer.phi[t] * (e[t] + recurrent[t]) + neuron[t]
        found.append(Adjoint(g, neuron, recurrent, e))
        e = (layer.gate * g) @ values[f"layers.{index}.linear.weight"]
    return found[::-1]
