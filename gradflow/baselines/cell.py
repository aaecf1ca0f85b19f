"""What a baseline's layer is made of: a frozen object that builds it, counts its parameters and names it."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn


class Cell(ABC):
    """A kind of recurrent layer.

    Attributes:
        word: in configurations and on the command line. label: in records and pictures.
        library: the package that computes it.
    """

    word: ClassVar[str]
    label: ClassVar[str]
    library: ClassVar[str]

    @abstractmethod
    def build(
        self, inputs: int, neurons: int, *, bias: bool, seed: int, layer: int, gain: float
    ) -> nn.Module:
        """Return a layer at its start, in float64: it maps (time, batch, input) to (time, batch, neuron).

        Args:
            inputs: features per step.
            neurons: width of the layer.
            bias: whether its linear maps have one.
            seed: of the named streams its parameters are drawn from; torch's global stream stays untouched.
            layer: its number, part of the streams' names.
            gain: factor on the orthogonal recurrent matrices.
        """

    @abstractmethod
    def parameters(self, inputs: int, neurons: int, *, bias: bool) -> int:
        """Return how many parameters such a layer learns."""

    @abstractmethod
    def conventions(self) -> dict[str, str | float]:
        """Return the fields of `Conventions` that this kind decides."""
