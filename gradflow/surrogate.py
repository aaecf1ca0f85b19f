"""Spike functions: a Heaviside step forward, a surrogate derivative φ backward, its smooth twin beside it.

Every surrogate is a bump φ(x) of x = u − θ whose width can be set; narrowing it by a factor keeps its
area, φ(x) = φ₁(x / width) / width, so that the smooth twin (the antiderivative from −∞) keeps its rise.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

TAIL = 0.01
"""Surrogates without a compact support count as "in the window" where |φ| exceeds this share of the peak."""


@dataclass(frozen=True)
class Surrogate(ABC):
    """A spike function s = 1(x ≥ 0) whose derivative is declared to be φ(x).

    Attributes:
        compact: whether φ is exactly 0 outside a bounded window.
    """

    compact: ClassVar[bool]

    def __post_init__(self) -> None:
        scale = self.scale
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < math.inf:
            raise ValueError(
                f"{self}: the width or steepness must be a positive finite number, got {scale!r}"
            )

    @property
    @abstractmethod
    def scale(self) -> float:
        """The one number that sets the width (or steepness) of φ."""

    @abstractmethod
    def derivative(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return φ(x), elementwise; x = u − θ in units of the threshold's."""

    @abstractmethod
    def twin(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return ∫_{−∞}^{x} φ, the smooth function whose exact derivative φ is."""

    def spike(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return 1(x ≥ 0) in the dtype of x; the backward pass multiplies by φ(x)."""
        spikes: Tensor = _WithDerivative.apply(x, self, False)  # type: ignore[no-untyped-call]
        return spikes

    def in_window(self, x: Float[Tensor, "*axes"]) -> Bool[Tensor, "*axes"]:
        """Say where φ(x) is not 0 (compact) or |φ(x)| exceeds 1 % of φ(0) (otherwise)."""
        phi = self.derivative(x).abs()
        return phi > (0.0 if self.compact else TAIL * self.peak)

    @property
    def peak(self) -> float:
        """The largest value of φ, reached at x = 0."""
        return float(self.derivative(torch.zeros(1, dtype=torch.float64)))

    @property
    def name(self) -> str:
        """The word that stands for this surrogate in files and figures."""
        return type(self).__name__.lower()


@dataclass(frozen=True)
class SmoothTwin(Surrogate):
    """The same network made differentiable: the antiderivative of φ forward, φ backward.

    With it in place of the step, every gradient of the package can be checked by finite differences.

    >>> x = torch.tensor([0.25], dtype=torch.float64, requires_grad=True)
    >>> SmoothTwin(Triangle()).spike(x).item()
    0.71875
    """

    of: Surrogate
    compact: ClassVar[bool] = False

    @property
    def scale(self) -> float:
        """The width or steepness of the surrogate that is smoothed."""
        return self.of.scale

    def derivative(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return the φ of the surrogate that is smoothed."""
        return self.of.derivative(x)

    def twin(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return the antiderivative of φ."""
        return self.of.twin(x)

    def spike(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return the antiderivative of φ; the backward pass multiplies by φ(x)."""
        spikes: Tensor = _WithDerivative.apply(x, self, True)  # type: ignore[no-untyped-call]
        return spikes

    def in_window(self, x: Float[Tensor, "*axes"]) -> Bool[Tensor, "*axes"]:
        """Say where the surrogate that is smoothed has its window."""
        return self.of.in_window(x)

    @property
    def name(self) -> str:
        """The surrogate's word, marked as smooth."""
        return f"smooth {self.of.name}"


@dataclass(frozen=True)
class Triangle(Surrogate):
    """φ(x) = max(0, 1 − |x|/width) / width; the default, as published with ASRC (width 1).

    >>> Triangle().derivative(torch.tensor([-0.5, 0.0, 2.0])).tolist()
    [0.5, 1.0, 0.0]
    """

    width: float = 1.0
    compact: ClassVar[bool] = True

    @property
    def scale(self) -> float:
        """Half the base of the triangle."""
        return self.width

    def derivative(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return max(0, 1 − |x|/width) / width."""
        return (1.0 - x.abs() / self.width).clamp(min=0.0) / self.width

    def twin(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return the piecewise parabola from 0 to 1 around ½."""
        y = (x / self.width).clamp(-1.0, 1.0)
        return 0.5 + y - 0.5 * y * y.abs()


@dataclass(frozen=True)
class Rectangle(Surrogate):
    """φ(x) = 1/width for |x| < width/2, else 0 (Wu et al. 2018; width 1)."""

    width: float = 1.0
    compact: ClassVar[bool] = True

    @property
    def scale(self) -> float:
        """The base of the rectangle."""
        return self.width

    def derivative(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return 1/width inside, 0 on and outside the edges."""
        return (x.abs() < 0.5 * self.width).to(x.dtype) / self.width

    def twin(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return the ramp from 0 to 1."""
        return (x / self.width + 0.5).clamp(0.0, 1.0)


@dataclass(frozen=True)
class Exponential(Surrogate):
    """φ(x) = steepness · e^{−steepness |x|} (Shrestha & Orchard 2018; steepness 1); its area is 2."""

    steepness: float = 1.0
    compact: ClassVar[bool] = False

    @property
    def scale(self) -> float:
        """The rate of the exponential."""
        return self.steepness

    def derivative(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return steepness · e^{−steepness |x|}."""
        return self.steepness * torch.exp(-self.steepness * x.abs())

    def twin(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return e^{kx} below 0 and 2 − e^{−kx} above."""
        decayed = torch.exp(-self.steepness * x.abs())
        return torch.where(x < 0, decayed, 2.0 - decayed)


@dataclass(frozen=True)
class Sigmoid(Surrogate):
    """φ(x) = k σ(kx) (1 − σ(kx)) with steepness k; 4 makes the peak 1, as SpikingJelly's default."""

    steepness: float = 4.0
    compact: ClassVar[bool] = False

    @property
    def scale(self) -> float:
        """The slope k of the sigmoid's argument."""
        return self.steepness

    def derivative(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return k σ(kx) σ(−kx), which keeps its precision in both tails."""
        y = self.steepness * x
        return self.steepness * torch.sigmoid(y) * torch.sigmoid(-y)

    def twin(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return σ(kx)."""
        return torch.sigmoid(self.steepness * x)


@dataclass(frozen=True)
class ArcTangent(Surrogate):
    """φ(x) = (k/2) / (1 + (πkx/2)²) with steepness k (Fang et al. 2021); 2 makes the peak 1."""

    steepness: float = 2.0
    compact: ClassVar[bool] = False

    @property
    def scale(self) -> float:
        """The steepness k."""
        return self.steepness

    def derivative(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return (k/2) / (1 + (πkx/2)²)."""
        return 0.5 * self.steepness / (1.0 + (0.5 * math.pi * self.steepness * x) ** 2)

    def twin(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return arctan(πkx/2)/π + ½."""
        return torch.atan(0.5 * math.pi * self.steepness * x) / math.pi + 0.5


@dataclass(frozen=True)
class MultiGaussian(Surrogate):
    """φ(x) = ½ [1.15 N(x; 0, w) − 0.15 N(x; w, 6w) − 0.15 N(x; −w, 6w)] (Yin et al. 2021; w = ½).

    N(x; mean, standard deviation) is the normal density. φ is slightly negative in its tails.
    """

    width: float = 0.5
    compact: ClassVar[bool] = False

    @property
    def scale(self) -> float:
        """The standard deviation w of the central Gaussian."""
        return self.width

    def _parts(self) -> tuple[tuple[float, float, float], ...]:
        w = self.width
        return ((0.575, 0.0, w), (-0.075, w, 6 * w), (-0.075, -w, 6 * w))

    def derivative(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return the sum of the three Gaussians."""
        total = torch.zeros_like(x)
        for weight, mean, deviation in self._parts():
            density = torch.exp(-0.5 * ((x - mean) / deviation) ** 2) / (deviation * math.sqrt(2 * math.pi))
            total = total + weight * density
        return total

    def twin(self, x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return the sum of the three error functions; it ends at 0.425."""
        total = torch.zeros_like(x)
        for weight, mean, deviation in self._parts():
            total = total + weight * 0.5 * torch.erfc(-(x - mean) / (deviation * math.sqrt(2.0)))
        return total

    @property
    def name(self) -> str:
        """The word used in files and figures."""
        return "multi-gaussian"


class _WithDerivative(torch.autograd.Function):
    """Forward a step or its smooth twin; backward φ. The one place where a spike meets autograd."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, surrogate: Surrogate, smooth: bool) -> Tensor:
        ctx.save_for_backward(x)
        ctx.surrogate = surrogate
        return surrogate.twin(x) if smooth else (x >= 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return grads[0] * ctx.surrogate.derivative(x), None, None
