"""What a task asks of a network's outputs: where the answer is read, what an error costs, when it is right.

A batch carries its objective, so that the same loop trains and records classification, one class for each of
several steps, and regression. Axes: time batch classes (outputs), item batch (targets of several steps).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from gradflow.readout import Readout
from gradflow.shapes import AnyTargets, Logits, PerSample, Targets


@runtime_checkable
class Answer(Protocol):
    """What an objective needs of a network's run: the outputs of every step, and the logits made of them."""

    @property
    def logits(self) -> Logits:
        """Return the outputs as the network's own readout takes them together."""

    @property
    def outputs(self) -> Float[Tensor, "time batch classes"]:
        """Return the readout's outputs of every step."""


def cross_entropy(logits: Logits, targets: Targets) -> PerSample:
    """Return one cross-entropy per sample, in nats.

    Raises ValueError for targets that are no class (torch would give −100 a loss of 0 without a word).
    """
    classes = logits.shape[1]
    wrong = (targets < 0) | (targets >= classes)
    if wrong.any():
        sample = int(wrong.nonzero()[0])
        raise ValueError(
            f"targets: sample {sample} has class {int(targets[sample])}, the network knows 0 … "
            f"{classes - 1}; build the network for the task, or number the classes from 0"
        )
    return torch.nn.functional.cross_entropy(logits, targets, reduction="none")


class Objective(ABC):
    """Say what a batch's targets are, which outputs answer them, and what the answers are worth.

    `name` and `units` are those of the loss in records and logs.
    """

    name: ClassVar[str]
    units: ClassVar[str]
    readout: Readout | None = None
    """Which outputs make the logits; None leaves that to the network."""

    @abstractmethod
    def check(self, targets: AnyTargets, count: int) -> None:
        """Raise ValueError unless these can be the targets of `count` sequences."""

    @abstractmethod
    def losses(self, run: Answer, targets: AnyTargets) -> PerSample:
        """Return one loss per sample, differentiable; train on its mean."""

    @abstractmethod
    def correct(self, run: Answer, targets: AnyTargets) -> PerSample:
        """Return for each sample the share of its answers that are right, 0 … 1: the mean is the accuracy."""

    @abstractmethod
    def at(self, readout: Readout) -> "Objective":
        """Return the objective with its answer read elsewhere.

        Raises ValueError where the place belongs to the task.
        """

    @abstractmethod
    def placement(self, own: Readout) -> str:
        """Return where on the time axis the loss lies, for a network whose own readout is `own`."""


@dataclass(frozen=True)
class Classification(Objective):
    """Ask for one class per sequence: cross-entropy of the logits, right where the largest is the target's.

    `readout` says which outputs make the logits; None (the default) leaves that to the network. A task that
    could be answered before its demand on memory is met must say it: Readout.LAST.
    """

    readout: Readout | None = None
    name: ClassVar[str] = "cross_entropy"
    units: ClassVar[str] = "nats"

    def check(self, targets: AnyTargets, count: int) -> None:
        """Raise ValueError unless targets are int64, (batch,)."""
        _check(targets, torch.int64, (count,), "a class number for each sequence")

    def losses(self, run: Answer, targets: AnyTargets) -> PerSample:
        """Return −log softmax(logits)[target] of each sample, in nats."""
        logits = _logits(self.readout, run)
        return cross_entropy(logits, targets.to(logits.device))

    def correct(self, run: Answer, targets: AnyTargets) -> PerSample:
        """Return 1 where the largest logit is the target's, else 0."""
        logits = _logits(self.readout, run).detach()
        return (logits.argmax(dim=1) == targets.to(logits.device)).to(logits.dtype)

    def at(self, readout: Readout) -> "Classification":
        """Return the objective with this readout."""
        return replace(self, readout=readout)

    def placement(self, own: Readout) -> str:
        """Return sum, mean or last."""
        return (self.readout or own).value


@dataclass(frozen=True)
class StepClassification(Objective):
    """Ask for a class at each of the last `items` steps: targets (item, batch), item i at step T − items + i.

    The loss of a sample is the mean of its items' cross-entropies, its `correct` the share of right items.
    """

    items: int
    name: ClassVar[str] = "cross_entropy_per_step"
    units: ClassVar[str] = "nats"

    def check(self, targets: AnyTargets, count: int) -> None:
        """Raise ValueError unless targets are int64, (item, batch)."""
        _check(targets, torch.int64, (self.items, count), "a class number for each item of each sequence")

    def losses(self, run: Answer, targets: AnyTargets) -> PerSample:
        """Return the mean over items of −log softmax(outputs)[target], in nats.

        Raises ValueError for fewer steps than items.
        """
        outputs = self._outputs(run)
        each = cross_entropy(outputs.flatten(0, 1), targets.to(outputs.device).flatten())
        return each.reshape(self.items, -1).mean(dim=0)

    def correct(self, run: Answer, targets: AnyTargets) -> PerSample:
        """Return the share of items whose largest output is the target's."""
        outputs = self._outputs(run).detach()
        return (outputs.argmax(dim=2) == targets.to(outputs.device)).to(outputs.dtype).mean(dim=0)

    def at(self, readout: Readout) -> "StepClassification":
        """Raise ValueError: each target has its own step."""
        raise ValueError(
            f"loss placement: got {readout.value}, expected none, as each of the last {self.items} steps has "
            "a target of its own"
        )

    def placement(self, own: Readout) -> str:
        """Return the steps that have a target."""
        return f"each of the last {self.items} steps"

    def _outputs(self, run: Answer) -> Float[Tensor, "item batch classes"]:
        if len(run.outputs) < self.items:
            raise ValueError(
                f"outputs: got {len(run.outputs)} steps, expected at least {self.items}, one for each target"
            )
        return run.outputs[-self.items :]


@dataclass(frozen=True)
class Regression(Objective):
    """Ask for a number per sequence: squared error of the only output, right within `tolerance`."""

    tolerance: float
    readout: Readout | None = None
    name: ClassVar[str] = "squared_error"
    units: ClassVar[str] = "1"

    def check(self, targets: AnyTargets, count: int) -> None:
        """Raise ValueError unless targets are floating point, (batch,)."""
        dtype = targets.dtype if targets.is_floating_point() else torch.float32
        _check(targets, dtype, (count,), "a number for each sequence")

    def losses(self, run: Answer, targets: AnyTargets) -> PerSample:
        """Return (output − target)² of each sample.

        Raises ValueError for a network with more than one output.
        """
        return self._errors(run, targets) ** 2

    def correct(self, run: Answer, targets: AnyTargets) -> PerSample:
        """Return 1 where |output − target| < tolerance, else 0."""
        errors = self._errors(run, targets).detach()
        return (errors.abs() < self.tolerance).to(errors.dtype)

    def at(self, readout: Readout) -> "Regression":
        """Return the objective with this readout."""
        return replace(self, readout=readout)

    def placement(self, own: Readout) -> str:
        """Return sum, mean or last."""
        return (self.readout or own).value

    def _errors(self, run: Answer, targets: AnyTargets) -> PerSample:
        logits = _logits(self.readout, run)
        if logits.shape[1] != 1:
            raise ValueError(
                f"outputs: got {logits.shape[1]} per step, expected 1, as the target is a number; build the "
                "network for the task"
            )
        return logits[:, 0] - targets.to(logits)


def _logits(readout: Readout | None, run: Answer) -> Logits:
    return run.logits if readout is None else readout.logits(run.outputs)


def _check(targets: Tensor, dtype: torch.dtype, shape: tuple[int, ...], what: str) -> None:
    if targets.dtype != dtype or tuple(targets.shape) != shape:
        raise ValueError(
            f"targets: got {targets.dtype} of shape {tuple(targets.shape)}, expected {dtype} of shape "
            f"{shape}: {what}"
        )
