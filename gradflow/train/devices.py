"""Where a training step runs: the few places in which one device and several processes differ.

A loop that goes through `Devices` is the same for both: each process takes its share of every batch, losses
are divided by the examples of the whole batch, and numbers to be logged are added up. Axes: time batch input.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from gradflow.tasks import Batch, Split, Task

T = TypeVar("T")


class Share(NamedTuple):
    """What one process computes of a batch.

    Attributes:
        batch: its examples, on its device. rows: which of the whole batch's they are.
        whole: how many examples the whole batch has.
        weight: of each example in sums over all processes: 1, or less where several compute the same ones.
    """

    batch: Batch
    rows: range
    whole: int
    weight: float = 1.0


class Devices(ABC):
    """What the loop asks of the devices it runs on.

    Attributes:
        device: of this process. dtype: of the network.
        processes: how many there are. rank: which of them this is; 0 writes files and reports.
    """

    device: torch.device
    dtype: torch.dtype
    processes: int = 1
    rank: int = 0

    @property
    def main(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    @abstractmethod
    def place(self, net: nn.Module) -> nn.Module:
        """Return the network as it is trained: on the device, wrapped where need be."""

    @abstractmethod
    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss to the parameters: those of the sum over all processes' losses."""

    @abstractmethod
    def total(self, values: Sequence[float]) -> list[float]:
        """Return the sums over all processes."""

    @abstractmethod
    def from_main(self, read: Callable[[], T]) -> T:
        """Return in every process what the main one's call returns, or raise what it raises."""

    @abstractmethod
    def require_divisible(self, net: nn.Module, smallest: int) -> None:
        """Raise ValueError where a batch of `smallest` examples cannot be trained on together."""

    def rows(self, whole: int) -> range:
        """Return which examples of a batch this process computes: of n, number r takes r, r + n and so on.

        Of a batch with fewer examples than there are processes, each computes all.
        """
        return range(whole) if whole < self.processes else range(self.rank, whole, self.processes)

    def put(self, batch: Batch) -> Batch:
        """Return a batch in the network's dtype and on this process's device."""
        return batch.to(dtype=self.dtype, device=self.device)

    def share(self, batch: Batch) -> Share:
        """Return this process's part of a batch."""
        whole = batch.inputs.shape[1]
        rows = self.rows(whole)
        if len(rows) < whole:
            inputs = batch.inputs[:, rows.start :: rows.step].contiguous()
            batch = replace(batch, inputs=inputs, targets=batch.targets[..., rows.start :: rows.step])
        return self._share(batch, rows, whole)

    def shares(
        self,
        task: Task,
        size: int,
        *,
        split: Split = Split.TRAIN,
        seed: int = 0,
        epoch: int = 0,
        start: int = 0,
    ) -> Iterator[Share]:
        """Go through a split as `Task.batches` does; of each batch this process's examples alone are read."""
        order = task.order(split=split, seed=seed, epoch=epoch)
        for first in range(start * size, len(order), size):
            whole = order[first : first + size]
            rows = self.rows(len(whole))
            yield self._share(task.part(split).batch(whole[rows.start :: rows.step]), rows, len(whole))

    def _share(self, batch: Batch, rows: range, whole: int) -> Share:
        weight = 1.0 / self.processes if whole < self.processes else 1.0
        return Share(self.put(batch), rows, whole, weight)


class OneDevice(Devices):
    """One process on one device."""

    def __init__(self, device: str = "auto", dtype: torch.dtype = torch.float32) -> None:
        self.device, self.dtype = torch.device(device_type(device)), dtype

    def place(self, net: nn.Module) -> nn.Module:
        """Return the network, moved to the device."""
        return net.to(self.device)

    def backward(self, loss: Tensor) -> None:
        """Run the backward pass."""
        loss.backward()  # type: ignore[no-untyped-call]

    def total(self, values: Sequence[float]) -> list[float]:
        """Return the values."""
        return list(values)

    def from_main(self, read: Callable[[], T]) -> T:
        """Return what the call returns."""
        return read()

    def require_divisible(self, net: nn.Module, smallest: int) -> None:
        """Take any batch."""


def device_type(wanted: str) -> str:
    """Return cpu or cuda for what a configuration wishes.

    Raises ValueError for cuda where there is none.
    """
    found = ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
    if found == "cuda" and not torch.cuda.is_available():
        raise ValueError("training.device: got cuda, but torch sees no GPU here; use auto or cpu")
    return found
