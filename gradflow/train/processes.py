"""Several processes that train one network together, on Hugging Face accelerate: as one process would.

    accelerate launch --multi_gpu --num_processes 2 -m gradflow train …
    torchrun --nproc-per-node 2 -m gradflow train …

Each process computes its share of every batch: of n, number r takes the examples r, r + n, … Sums over all
of them are those of one process in another order, so that results agree up to rounding. Axes: time batch
neuron.
"""

import os
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gradflow.norms import BatchNormParameters, Moments
from gradflow.shapes import Sequence as Currents
from gradflow.train.devices import Devices, OneDevice, device_type

T = TypeVar("T")
PRECISION = "ACCELERATE_MIXED_PRECISION"
"""Where `accelerate launch` says the precision that it was asked for."""


def choose_devices(
    device: str = "auto", dtype: torch.dtype = torch.float32, precision: str = "full"
) -> Devices:
    """Return the devices of this process: several together where torchrun or accelerate started several.

    Raises ValueError for a GPU that is not there, or where `accelerate launch` was asked for another
    precision than the configuration; ImportError where accelerate is missing.

    >>> choose_devices("cpu").processes
    1
    """
    launched = os.environ.get(PRECISION, "no")
    if launched not in ("", "no", precision):
        raise ValueError(
            f"accelerate was launched with --mixed_precision {launched}, and training.precision is "
            f"{precision}; what a run computes is in its configuration: launch with --mixed_precision no, "
            "and set training.precision=bf16 for mixed precision"
        )
    if process_count() == 1:
        return OneDevice(device, dtype)
    if find_spec("accelerate") is None:
        raise ImportError(
            f"training in {process_count()} processes needs accelerate: install gradflow with its extra, pip "
            "install 'gradflow-snn[train]'"
        )
    return Processes(device, dtype)


def process_count() -> int:
    """Return how many processes torchrun or accelerate started together with this one, itself included."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def is_main() -> bool:
    """Return whether this process is the one that writes and reports."""
    return int(os.environ.get("RANK") or 0) == 0


def end_together() -> None:
    """Where several processes trained together, wait for all of them and end this one, at once and well.

    What Python does at its end is passed over: it now and then takes down the backend's threads while they
    run, and aborts a process that has done everything (`terminate called without an active exception`).
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


class Processes(Devices):
    """One of several processes: its share of every batch, gradients and numbers added up over all.

    The network is wrapped in torch's DistributedDataParallel. Every process moves temperatures and running
    averages alike, from the same numbers; that the wrapper hands the main one's to all changes nothing.
    """

    def __init__(self, device: str = "auto", dtype: torch.dtype = torch.float32) -> None:
        from accelerate import Accelerator

        kind = device_type(device)
        if kind == "cuda" and int(os.environ.get("LOCAL_RANK") or 0) >= torch.cuda.device_count():
            there = torch.cuda.device_count()
            raise ValueError(
                f"training.device: got {process_count()} processes and {there} GPUs here, expected a GPU for "
                "each; start fewer, or set training.device=cpu"
            )
        self.accelerator = Accelerator(cpu=kind == "cpu", mixed_precision="no")
        self.device, self.dtype = self.accelerator.device, dtype
        self.processes, self.rank = self.accelerator.num_processes, self.accelerator.process_index

    def place(self, net: nn.Module) -> nn.Module:
        """Return the network on this process's device, wrapped; batch norm goes over the whole batch."""
        net.to(self.device)
        for module in list(net.modules()):
            for name, child in module.named_children():
                if isinstance(child, BatchNormParameters):
                    setattr(module, name, WholeBatchNorm(child))
        for parameter in net.parameters():
            if 1 in parameter.shape:
                # the engine's gradients of one column have strides of which the wrapper would warn
                parameter.register_hook(_in_rows)  # type: ignore[no-untyped-call]
        wrapped: nn.Module = self.accelerator.prepare_model(net)
        return wrapped

    def backward(self, loss: Tensor) -> None:
        """Run the backward pass; the wrapper averages over processes, the factor makes it their sum."""
        (loss * self.processes).backward()  # type: ignore[no-untyped-call]

    def total(self, values: Sequence[float]) -> list[float]:
        """Return the sums over all processes."""
        summed: list[float] = add_up(torch.tensor(values, dtype=torch.float64, device=self.device)).tolist()
        return summed

    def from_main(self, read: Callable[[], T]) -> T:
        """Return what the main process's call returns, or raise what it raises, in all of them."""
        from accelerate.utils import broadcast_object_list

        said: list[Any] = [None, None]
        if self.main:
            try:
                said[0] = read()
            except Exception as error:
                said[1] = error
        value, failure = broadcast_object_list(said)
        if failure is not None:
            raise failure
        found: T = value
        return found

    def require_divisible(self, net: nn.Module, smallest: int) -> None:
        """Raise ValueError where batch norm would count examples twice that several processes compute."""
        if smallest < self.processes and any(isinstance(m, WholeBatchNorm) for m in net.modules()):
            raise ValueError(
                f"training.batch: leaves a last batch of {smallest} examples for {self.processes} processes, "
                "and batch norm needs at least one each; choose another batch or fewer processes"
            )


class WholeBatchNorm(BatchNormParameters):
    """Batch norm whose statistics are those of the whole batch, whatever part of it this process computes."""

    def __init__(self, own: BatchNormParameters) -> None:
        nn.Module.__init__(self)
        self.epsilon, self.momentum = own.epsilon, own.momentum
        self.scale, self.shift = own.scale, own.shift
        self.register_buffer("running_mean", own.running_mean)
        self.register_buffer("running_variance", own.running_variance)

    def moments(self, current: Currents) -> Moments:
        """Return mean, centred currents and variance over the steps and samples of all processes."""
        count = int(add_up(torch.tensor(current.shape[0] * current.shape[1], device=current.device)))
        mean = _Total.apply(current.sum(dim=(0, 1))) / count  # type: ignore[no-untyped-call]
        centred = current - mean
        variance = _Total.apply(centred.square().sum(dim=(0, 1))) / count  # type: ignore[no-untyped-call]
        return Moments(mean, centred, variance, count)


class _Total(torch.autograd.Function):
    """The sum over processes, and as its adjoint the sum of what all their losses ask of it."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # noqa: ARG004  torch hands it over
        return add_up(values)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:  # noqa: ARG004
        return add_up(grads[0].contiguous())


def _in_rows(gradient: Tensor) -> Tensor:
    return gradient.clone(memory_format=torch.contiguous_format)


def add_up(values: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes."""
    from accelerate.utils import reduce

    summed: Tensor = reduce(values, reduction="sum")
    return summed
