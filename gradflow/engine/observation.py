"""What the adjoint of one layer measures while it runs. Axes: time batch measure."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gradflow.engine.kernels.neuron import MEASURES


@dataclass
class Observation:
    """What the adjoint of one layer measured on its way, filled by the backward pass.

    Attributes:
        measures: (time, batch, measure) in float64, the measures named in `MEASURES`.
    """

    measures: Float[np.ndarray, "time batch measure"] | None = None

    @classmethod
    def joined(cls, parts: list["Observation"]) -> "Observation":
        """Return the observations of consecutive segments as one."""
        return cls(np.concatenate([part.measures for part in parts if part.measures is not None]))

    def of(self, name: str) -> Float[np.ndarray, "time batch"]:
        """Return one measure by its name."""
        if self.measures is None:
            raise ValueError(f"{name}: nothing was observed yet; run the backward pass first")
        found: np.ndarray = self.measures[..., MEASURES.index(name)]
        return found
