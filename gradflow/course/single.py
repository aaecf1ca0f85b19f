"""One neuron without a recurrence, as the library runs it: potential, spikes, and the two local factors.

Axes: time.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from gradflow.engine import reference
from gradflow.neurons import LIF
from gradflow.recurrence import Taps
from gradflow.transition import as_array


class Single(NamedTuple):
    """What one neuron did: potential u, spikes s, surrogate derivative φ and neuron path a, each (time,)."""

    u: Float[np.ndarray, " time"]
    s: Float[np.ndarray, " time"]
    phi: Float[np.ndarray, " time"]
    a: Float[np.ndarray, " time"]


def run_neuron(current: Float[np.ndarray, " time"], neuron: LIF) -> Single:
    """Run one neuron on a current, in float64, by the reference engine.

    >>> run_neuron(np.full(4, 0.75), LIF(decay=0.5)).u.tolist()
    [0.75, 1.125, 0.8125, 1.15625]
    """
    drive = torch.as_tensor(current, dtype=torch.float64).reshape(-1, 1, 1)
    dynamics = neuron.build(1, None).dynamics(drive)
    trace = reference(drive, None, dynamics, Taps((), torch.ones(0, dtype=torch.float64)))
    phi = dynamics.phi(trace.u)
    parts = (trace.u, trace.s, phi, dynamics.local(trace.u, trace.s, phi))
    return Single(*(as_array(part)[:, 0, 0] for part in parts))
