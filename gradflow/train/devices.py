"""Where a training step runs: the few places in which one device and several processes differ.

A loop that goes through `Devices` is the same for both: each process takes its share of every batch, losses
are divided by the examples of the whole batch, and numbers to be logged are added up.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gradflow.tasks import Batch


class Devices(ABC):
    """What the loop asks of the devices it runs on."""

    main: bool
    """Whether this process writes files and reports."""

    @abstractmethod
    def place(self, net: nn.Module) -> nn.Module:
        """Return the network as it is trained: on the device, wrapped where need be."""

    @abstractmethod
    def share(self, batch: Batch) -> Batch:
        """Return this process's examples of a batch, on its device."""

    @abstractmethod
    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss to the parameters: those of the sum over all processes' losses."""

    @abstractmethod
    def total(self, values: Sequence[float]) -> list[float]:
        """Return the sums over all processes."""


class OneDevice(Devices):
    """One process on one device."""

    main = True

    def __init__(self, device: str = "auto", dtype: torch.dtype = torch.float32) -> None:
        wanted = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        if wanted == "cuda" and not torch.cuda.is_available():
            raise ValueError("training.device: got cuda, but torch sees no GPU here; use auto or cpu")
        self.device, self.dtype = torch.device(wanted), dtype

    def place(self, net: nn.Module) -> nn.Module:
        """Return the network, moved to the device."""
        return net.to(self.device)

    def share(self, batch: Batch) -> Batch:
        """Return the whole batch, in the network's dtype and on its device."""
        return batch.to(dtype=self.dtype, device=self.device)

    def backward(self, loss: Tensor) -> None:
        """Run the backward pass."""
        loss.backward()  # type: ignore[no-untyped-call]

    def total(self, values: Sequence[float]) -> list[float]:
        """Return the values."""
        return list(values)
