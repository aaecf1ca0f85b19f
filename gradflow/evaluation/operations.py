"""How many operations an answer takes: additions that spikes cause, and what a dense network would multiply.

A stage is one of the network's maps with what it feeds: `layer 0`, `layer 1`, …, `readout`. Axes: time batch
neuron in runs, stage in counts. Counts are sums over examples, to be divided by their number.
"""

from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from torch import Tensor

from gradflow.evaluation.disturbances import is_count
from gradflow.network import RecurrentSNN, Run
from gradflow.readout import Readout
from gradflow.recurrence import Taps
from gradflow.shapes import Inputs
from gradflow.tasks.objectives import Objective, StepClassification

MAC_JOULES, AC_JOULES = 4.6e-12, 0.9e-12
SOURCE = (
    "Horowitz 2014, Computing's energy problem (ISSCC), 45 nm at 0.9 V: a 32-bit floating point "
    "multiplication 3.7 pJ, an addition 0.9 pJ"
)
NOT_COUNTED = (
    "memory traffic, leakage, biases, norms, gates of GLIF, resets; the leak of the neurons is counted apart "
    "(neuron_macs) and is in no sum"
)


@dataclass(frozen=True)
class EnergyModel:
    """Energy of an operation, in joules: of a multiplication with addition (MAC), and of an addition (AC).

    The defaults, 4.6 pJ = 3.7 + 0.9 and 0.9 pJ, are those of `SOURCE`, the customary ones for estimates of
    spiking networks. They are of arithmetic alone: fetching a weight from memory costs many times as much.

    Raises ValueError for an energy that is not positive.
    """

    mac: float = MAC_JOULES
    ac: float = AC_JOULES

    def __post_init__(self) -> None:
        for name in ("mac", "ac"):
            if not 0.0 < getattr(self, name) < np.inf:
                raise ValueError(
                    f"EnergyModel({name}={getattr(self, name)!r}): expected joules, above 0, as in 0.9e-12"
                )


@dataclass
class OperationCount:
    """What the examples so far have taken, stage by stage.

    Attributes:
        forward: additions by spikes (or events) along feed-forward weights: spikes × fan-out.
        recurrent: additions by spikes along V: each spike s[t] that some step t + d reads × H.
        macs: multiplications of analogue inputs: T × inputs × H of the first layer.
        events: the same first layer's additions, were every input a count of events.
        dense: multiplications of the same products on real-valued activations, recurrent ones at every step.
        neuron: multiplications of the leak, T × H.
    """

    stages: tuple[str, ...]
    forward: np.ndarray = field(init=False)
    recurrent: np.ndarray = field(init=False)
    macs: np.ndarray = field(init=False)
    events: float = 0.0
    dense: np.ndarray = field(init=False)
    neuron: np.ndarray = field(init=False)
    analogue: bool = False
    examples: int = 0

    def __post_init__(self) -> None:
        for name in ("forward", "recurrent", "macs", "dense", "neuron"):
            setattr(self, name, np.zeros(len(self.stages)))

    @classmethod
    def of(cls, net: RecurrentSNN) -> "OperationCount":
        """Return a count of nothing yet for a network."""
        return cls((*(f"layer {layer}" for layer in range(len(net.hidden))), "readout"))

    def add(self, net: RecurrentSNN, x: Inputs, run: Run, objective: Objective) -> None:
        """Count the operations of one batch."""
        steps, batch, inputs = x.shape
        self.examples += batch
        values = x.detach().cpu().numpy()
        self.analogue = self.analogue or not is_count(values)
        self.events += float(values.sum(dtype=np.float64)) * net.hidden[0]
        self.macs[0] += steps * batch * inputs * net.hidden[0]
        widths = zip(run.layers, net.hidden, (inputs, *net.hidden[:-1]), strict=True)
        for layer, (own, width, fan_in) in enumerate(widths):
            self.dense[layer] += steps * batch * width * fan_in
            self.neuron[layer] += steps * batch * width
            if own.V is not None:
                self.recurrent[layer] += _read(own.s, own.taps) * width
                self.dense[layer] += steps * batch * width * width
            if layer:
                self.forward[layer] += _count(run.layers[layer - 1].s) * width
        read, classes = _steps_read(net, objective, steps), net.output.out_features
        self.forward[-1] += _count(run.layers[-1].s[steps - read :]) * classes
        self.dense[-1] += read * batch * net.hidden[-1] * classes

    def dataset(self, energy: EnergyModel) -> xr.Dataset:
        """Return the counts per inference (one example) by stage, and their energy.

        Analogue inputs are multiplied (`macs`); inputs that are whole counts in all examples are taken for
        events, each of which adds its weights.
        """
        forward, macs = self.forward.copy(), self.macs.copy()
        if not self.analogue:
            forward[0], macs[0] = self.events, 0.0
        each = {
            "synops_forward": (forward, "additions by spikes along feed-forward weights, per inference"),
            "synops_recurrent": (
                self.recurrent,
                "additions by spikes along recurrent weights, per inference",
            ),
            "macs": (macs, "multiply-adds of analogue inputs, per inference"),
            "macs_dense": (self.dense, "multiply-adds of the same products, dense, per inference"),
            "neuron_macs": (self.neuron, "multiply-adds of the neurons' leak, per inference"),
        }
        found = {
            name: xr.DataArray(count / self.examples, dims="stage", attrs={"units": "1", "long_name": text})
            for name, (count, text) in each.items()
        }
        additions = (found["synops_forward"] + found["synops_recurrent"]).sum("stage")
        joules = {
            "energy": (
                energy.ac * additions + energy.mac * found["macs"].sum("stage"),
                "energy of the synaptic operations",
            ),
            "energy_dense": (energy.mac * found["macs_dense"].sum("stage"), "energy of the dense equivalent"),
            "energy_neurons": (energy.mac * found["neuron_macs"].sum("stage"), "energy of the leak"),
        }
        for name, (value, text) in joules.items():
            found[name] = value.assign_attrs(units="J", long_name=f"{text}, per inference")
        attrs = {
            "first_layer": "analogue" if self.analogue else "events",
            "joules_per_mac": energy.mac,
            "joules_per_ac": energy.ac,
            "energy_source": SOURCE,
            "energy_not_counted": NOT_COUNTED,
        }
        return xr.Dataset(found, {"stage": list(self.stages)}, attrs)


def _steps_read(net: RecurrentSNN, objective: Objective, steps: int) -> int:
    """Return how many of the last steps the readout must be computed at."""
    if isinstance(objective, StepClassification):
        return objective.items
    return 1 if (objective.readout or net.readout) is Readout.LAST else steps


def _read(s: Tensor, taps: Taps) -> float:
    """Return how many spikes are read by a later step, each once for every span."""
    return sum(_count(s[: max(0, len(s) - span)]) for span in taps.spans)


def _count(s: Tensor) -> float:
    return float(s.double().sum())
