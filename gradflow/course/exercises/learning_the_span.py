"""Checks of notebook 4: softmax weights of spans, their gradient, and the temperature."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from gradflow.course.checking import NotYet, close, exercise
from gradflow.network import RecurrentSNN
from gradflow.recording import Keep, record
from gradflow.recurrence import AdaptiveSkip, AdaptiveSpanParameters, SpanMode
from gradflow.tasks import delayed_recall
from gradflow.transition import as_array

Vector = Float[np.ndarray, " span"]


def spans_with(c: Vector, temperature: float) -> AdaptiveSpanParameters:
    """Return the library's own adaptive spans with these logits."""
    made = AdaptiveSkip(len(c), temperature=temperature).build()
    with torch.no_grad():
        made.span_logits.copy_(torch.from_numpy(c))
    return made


def weights_of(spans: AdaptiveSpanParameters) -> torch.Tensor:
    """Return p as training reads it."""
    return spans.taps(SpanMode.SOFT, spans.span_logits).weights


def fresh(seed: int) -> tuple[RecurrentSNN, Any]:
    """Return a small adaptive network in float64, its spans uneven, and a batch of delayed recall."""
    task = delayed_recall(7, shown=2, noise=0.1, examples=30, data_seed=seed)
    net = RecurrentSNN(
        task, hidden=9, recurrence=AdaptiveSkip(6), readout="last", seed=seed, dtype=torch.float64
    )
    spans = net.recurrent_layers()[0].spans
    assert isinstance(spans, AdaptiveSpanParameters)
    with torch.no_grad():
        spans.span_logits.copy_(torch.from_numpy(np.random.default_rng(seed).normal(0.0, 0.5, 6)))
    return net, task.sample(12)


@exercise(
    "softmax",
    "exp(c/τ), divided by its sum. For large c/τ subtract the largest first: the quotient stays the same.",
)
def softmax(weights: Callable[[Vector, float], Any]) -> None:
    """Check (c, temperature) → p against the library's taps, large logits included."""
    for seed, temperature, scale in ((1, 1.0, 1.0), (2, 0.1, 1.0), (3, 0.05, 100.0)):
        c = scale * np.random.default_rng(seed).normal(size=11)
        with np.errstate(over="raise"):
            got = weights(c, temperature)
        close(got, as_array(weights_of(spans_with(c, temperature))), what=f"p at τ = {temperature}, span")


@exercise(
    "cooling", "after n epochs the temperature is factorⁿ: solve factor^epochs = published^published_epochs."
)
def cooling(factor: Callable[[float, int, int], float]) -> None:
    """Check (published, published_epochs, epochs) → factor: both schedules end at one temperature."""
    for published, long, short in ((0.96, 200, 20), (0.9, 50, 5), (0.99, 30, 60)):
        ends = []
        for decay, epochs in ((published, long), (float(factor(published, long, short)), short)):
            spans = AdaptiveSkip(2, temperature_decay=decay).build()
            for _ in range(epochs):
                spans.anneal()
            ends.append(float(spans.temperature))
        close(ends[1], ends[0], what=f"the temperature after {short} epochs")


@exercise(
    "weight-gradient",
    "pair g[t] with V s[t−d]: for span d leave out the first d steps of g and the last d of s.",
)
def weight_gradient(gradient: Callable[..., Any]) -> None:
    """Check (g, s, V, d) → ∂L/∂p_d, summed over steps and samples, against autograd through the weights."""
    for seed in (1, 2):
        net, batch = fresh(seed)
        data = record(net, batch, keep=Keep.TENSORS, span_mode=SpanMode.SOFT)
        (layer,) = net.recurrent_layers()
        assert layer.V is not None
        g, s, V = data.grad_u_layer_0.values, data.s_layer_0.values, as_array(layer.V)
        truth = _by_weights(net, batch)
        for d in (1, 3, 6):
            close(float(gradient(g, s, V, d)), truth[d - 1], what=f"∂L/∂p at d = {d}")


def _by_weights(net: RecurrentSNN, batch: Any) -> Vector:
    """Return ∂L/∂p_d by autograd, with p itself as the leaf."""
    (layer,) = net.recurrent_layers()
    spans = layer.spans
    found: list[torch.Tensor] = []
    assert isinstance(spans, AdaptiveSpanParameters)
    taps = spans.taps

    def leaf(mode: SpanMode, like: torch.Tensor) -> Any:
        made = taps(mode, like)
        weights = made.weights.detach().requires_grad_()
        found.append(weights)
        return type(made)(made.spans, weights)

    spans.taps = leaf  # type: ignore[method-assign]
    try:
        run = net(batch.inputs.double(), span_mode=SpanMode.SOFT)
        batch.objective.losses(run, batch.targets).sum().backward()
    finally:
        del spans.taps
    assert found[0].grad is not None
    return as_array(found[0].grad)


@exercise(
    "logit-gradient",
    "raise c_d: p_d grows by p_d (1 − p_d)/τ, every other p_k shrinks by p_k p_d/τ. Collect the terms.",
)
def logit_gradient(gradient: Callable[[Vector, float, Vector], Any]) -> None:
    """Check (p, temperature, ∂L/∂p) → ∂L/∂c against autograd through the library's softmax."""
    for seed, temperature in ((4, 1.0), (5, 0.2)):
        random = np.random.default_rng(seed)
        spans = spans_with(random.normal(size=8), temperature)
        p, by_p = weights_of(spans), random.normal(size=8)
        (truth,) = torch.autograd.grad(p @ torch.from_numpy(by_p), spans.span_logits)
        close(gradient(as_array(p), temperature, by_p), as_array(truth), what="∂L/∂c at span")


@exercise(
    "fastest-temperature",
    "two spans, one ahead by δ: maximise p (1 − p)/τ over τ. With x = δ/τ the best x does not depend on δ.",
)
def fastest_temperature(fastest: Callable[[float], float]) -> None:
    """Check lead → τ: there the weight of the leading span answers most to its own logit, by autograd."""
    for lead in (0.5, 1.0, 3.0):

        def answer(temperature: float, lead: float = lead) -> float:
            spans = spans_with(np.array([lead, 0.0]), temperature)
            (slope,) = torch.autograd.grad(weights_of(spans)[0], spans.span_logits)
            return float(slope[0])

        said = float(fastest(lead))
        if not said > 0.0:
            raise NotYet(f"with a lead of {lead} you said τ = {said:.4g}; a temperature is positive.")
        best = max((factor * lead for factor in np.geomspace(0.05, 20.0, 200)), key=answer)
        # a maximum is flat: 2 % off in τ costs less than 1e-3 of its height
        if answer(said) < (1.0 - 1e-3) * answer(best):
            raise NotYet(
                f"with a lead of {lead} the weight answers {answer(said):.4g} at your τ = {said:.4g}, but "
                f"{answer(best):.4g} at another one."
            )
