"""Learning rates from epoch to epoch: functions of the epoch alone, so that there is no state to keep.

One-cycle as torch's `OneCycleLR` with total_steps = epochs, stepped after each epoch, as published with ASRC
(Smith & Topin 2018, arXiv:1708.07120); with E epochs, r the share in which it rises and e = 0 … E−1:

    up   = r E − 1
    rate = peak/start + (peak − peak/start) · ½ (1 − cos π e/up)                      e ≤ up
           end + (peak − end) · ½ (1 + cos π (e − up)/(E − 1 − up))                   e > up

with end = peak / (start · end). The momentum falls from 0.95 to 0.85 while the rate rises, and comes back.
"""

import math
from dataclasses import dataclass

from gradflow.train.config import SchedulePart

HIGH_MOMENTUM, LOW_MOMENTUM = 0.95, 0.85
"""Between which one-cycle moves the momentum (torch's defaults)."""


@dataclass(frozen=True)
class Rate:
    """The factor on every peak rate in one epoch, and the momentum where the schedule sets it."""

    factor: float
    momentum: float | None = None


def rate_of(schedule: SchedulePart, epoch: int, epochs: int) -> Rate:
    """Return the rate of an epoch, 0 … epochs−1.

    Raises ValueError for an epoch outside.

    >>> rate_of(SchedulePart(name="cosine"), 5, 10).factor
    0.5
    """
    if not 0 <= epoch < epochs:
        raise ValueError(f"epoch: got {epoch}, expected 0 to {epochs - 1}")
    if schedule.name == "constant":
        return Rate(1.0)
    if schedule.name == "cosine":
        return Rate(0.5 * (1.0 + math.cos(math.pi * epoch / epochs)))
    start = 1.0 / schedule.start
    factor = one_cycle(epoch, epochs, schedule.rise, start, 1.0, start / schedule.end)
    if not schedule.cycle_momentum:
        return Rate(factor)
    momentum = one_cycle(epoch, epochs, schedule.rise, HIGH_MOMENTUM, LOW_MOMENTUM, HIGH_MOMENTUM)
    return Rate(factor, momentum)


def one_cycle(epoch: int, epochs: int, rise: float, start: float, peak: float, end: float) -> float:
    """Return the value of an epoch on its way from start to peak to end, along two half cosines.

    A single epoch is run at the peak (torch's would be run at the end, where nothing is learned).

    >>> [round(one_cycle(epoch, 10, 0.3, 0.0, 1.0, 0.0), 3) for epoch in (0, 1, 2, 9)]
    [0.0, 0.5, 1.0, 0.0]
    """
    if epochs == 1:
        return peak
    up = rise * epochs - 1.0
    if epoch <= up and up > 0.0:
        return _cosine(start, peak, epoch / up)
    return _cosine(peak, end, (epoch - up) / (epochs - 1.0 - up))


def _cosine(start: float, end: float, share: float) -> float:
    return end + 0.5 * (start - end) * (1.0 + math.cos(math.pi * share))
