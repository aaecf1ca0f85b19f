"""What the adjoint of one layer measures while it runs. Axes: measure time batch."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gradflow.engine.kernels.neuron import MEASURES
from gradflow.engine.memory import empty


@dataclass
class Observation:
    """What the adjoint of one layer measured on its way, filled by the backward pass.

    Attributes:
        measures: (measure, time, batch) in float64, the measures named in `MEASURES`.
    """

    measures: Float[np.ndarray, "measure time batch"] | None = None

    @classmethod
    def joined(cls, parts: list["Observation"]) -> "Observation":
        """Return the observations of consecutive segments as one."""
        found = [part.measures for part in parts if part.measures is not None]
        return cls(found[0] if len(found) == 1 else np.concatenate(found, axis=1))

    @staticmethod
    def stacked(layers: list["Observation"]) -> Float[np.ndarray, "measure layer time batch"]:
        """Return the measures of several layers as one array."""
        found = [layer.measures for layer in layers if layer.measures is not None]
        whole = empty((len(MEASURES), len(found), *found[0].shape[1:]), found[0].dtype)
        for index, measures in enumerate(found):
            whole[:, index] = measures
        return whole

    def of(self, name: str) -> Float[np.ndarray, "time batch"]:
        """Return one measure by its name."""
        if self.measures is None:
            raise ValueError(f"{name}: nothing was observed yet; run the backward pass first")
        found: np.ndarray = self.measures[MEASURES.index(name)]
        return found
