"""What a closure hands to the theory: moments of a and φ over time, firing rates, and their sampling error.

Axes: neuron neuron. Means are over the steps before the last, as in `second_moments`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gradflow.theory.moments import Moments
from gradflow.theory.update_rule import UpdateRule


@dataclass(frozen=True)
class Closed:
    """One layer's predicted statistics.

    Attributes:
        moments: of a and φ.
        firing_rate: E s of every neuron, spikes per step.
        parts: estimates from independent samples, of which these are the means; none without samples.
    """

    moments: Moments
    firing_rate: Float[np.ndarray, " neuron"]
    parts: tuple["Closed", ...] = ()


class MomentSum:
    """Adds up the moments of one step after another."""

    def __init__(self, neurons: int) -> None:
        self.steps = 0
        self.pairs = {name: np.zeros((neurons, neurons)) for name in ("a_a", "a_phi", "phi_phi")}
        self.means = {name: np.zeros(neurons) for name in ("a", "phi", "s")}

    def add_samples(
        self,
        a: Float[np.ndarray, "sample neuron"],
        phi: Float[np.ndarray, "sample neuron"],
        s: Float[np.ndarray, "sample neuron"],
    ) -> None:
        """Add one step of samples: 6 H² operations each."""
        count = len(a)
        self.steps += 1
        for name, (left, right) in {"a_a": (a, a), "a_phi": (a, phi), "phi_phi": (phi, phi)}.items():
            self.pairs[name] += left.T @ right / count
        for name, part in {"a": a, "phi": phi, "s": s}.items():
            self.means[name] += part.mean(axis=0)

    def closed(self, rule: UpdateRule) -> Closed:
        """Return the means over the steps added; those of the gate over the steps after each."""
        gate = gate_gate = None
        if rule.gate is not None:
            neurons = len(self.means["a"])
            gates = np.broadcast_to(rule.gate[1 : self.steps + 1], (self.steps, neurons))
            gate, gate_gate = gates.mean(axis=0), gates.T @ gates / self.steps
        pairs = {name: total / self.steps for name, total in self.pairs.items()}
        means = {name: total / self.steps for name, total in self.means.items()}
        moments = Moments(**pairs, a=means["a"], phi=means["phi"], gate=gate, gate_gate=gate_gate)
        return Closed(moments, means["s"])


def require_fit(steps: int, width: int, layers: list[tuple[int, int]]) -> None:
    """Raise ValueError unless each layer (neurons, inputs) reads what is below it, for two steps or more."""
    if steps < 2:
        raise ValueError(
            f"law: got {steps} step(s), expected two or more: moments are of the steps before the last"
        )
    if not layers:
        raise ValueError("layers: got none, expected one LayerWeights or more")
    for index, (neurons, inputs) in enumerate(layers):
        if inputs != width:
            raise ValueError(
                f"layers: W of layer {index} reads {inputs} inputs, expected {width}, what is below it"
            )
        width = neurons
