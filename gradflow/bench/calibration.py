"""Bring every layer of a network to a firing rate, by a gain on its feed-forward weights."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from gradflow.engine import automatic
from gradflow.layer import RecurrentLayer
from gradflow.network import RecurrentSNN
from gradflow.recurrence import SpanMode
from gradflow.shapes import Inputs, Sequence
from gradflow.tasks import Batch

TOLERANCE = 0.05
"""Relative: 5 % within 0.25 %, half of what the targets allow, as other digits fire a little otherwise."""
GAINS = (2.0**-8, 2.0**8)
HALVINGS = 40


@dataclass(frozen=True)
class Activity:
    """Share of neurons of each layer that fire, and that are within the surrogate's window."""

    rates: tuple[float, ...]
    windows: tuple[float, ...]


@torch.no_grad()
def activity(net: RecurrentSNN, batch: Batch) -> Activity:
    """Return what the layers do on these sequences."""
    layers = net(batch.inputs).layers
    rates = tuple(float(layer.s.mean(dtype=torch.float64)) for layer in layers)
    windows = tuple(
        float(layer.dynamics.surrogate.in_window(layer.u - layer.dynamics.threshold).double().mean())
        for layer in layers
    )
    return Activity(rates, windows)


@torch.no_grad()
def calibrate(net: RecurrentSNN, batch: Batch, rate: float) -> tuple[float, ...]:
    """Return the gain on W and b of every layer, from the first on, with which it fires at `rate`.

    The network is left as it is, V too. Bisection on the logarithm of the gain: a stronger drive fires
    more, as long as rates are below one half.

    Raises ValueError where no gain from 2⁻⁸ to 2⁸ comes within 5 % of the rate.
    """
    x, gains = batch.inputs, []
    for number, layer in enumerate(net.recurrent_layers()):
        low, high = GAINS
        for _ in range(HALVINGS):
            gain = (low * high) ** 0.5
            spikes = _spikes(layer, x, gain)
            found = float(spikes.mean(dtype=torch.float64))
            if abs(found - rate) <= TOLERANCE * rate:
                break
            low, high = (gain, high) if found < rate else (low, gain)
        else:
            raise ValueError(f"layer {number}: fires at {found:.3g}, expected {rate:.3g}; no gain gives it")
        gains.append(gain)
        x = spikes
    return tuple(gains)


@torch.no_grad()
def scale(net: RecurrentSNN, gains: Iterable[float]) -> None:
    """Multiply W and b of every layer by its gain."""
    for layer, gain in zip(net.recurrent_layers(), gains, strict=True):
        for parameter in layer.linear.parameters():
            parameter.mul_(gain)


def _spikes(layer: RecurrentLayer, x: Inputs, gain: float) -> Sequence:
    """Return the spikes of a layer whose feed-forward currents are multiplied by `gain`."""
    current = gain * layer.linear(x)
    taps = layer.spans.taps(SpanMode.SOFT, current)
    return automatic(current, layer.V, layer.neuron.dynamics(current), taps).s
