"""What a network answers on a split: right or wrong, loss, the class it names, and how much its neurons fire.

Works for any torch module that maps inputs to an object with `logits`; what is known of the inside of a
RecurrentSNN comes on top. Axes: time batch classes in runs; actual predicted, layer, stage in results.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from torch import Tensor, nn

from gradflow.conventions import conventions_of, package_versions, source_commit
from gradflow.evaluation.disturbed import answering
from gradflow.evaluation.intervals import CONFIDENCE, wilson_interval
from gradflow.evaluation.operations import EnergyModel, OperationCount
from gradflow.network import RecurrentSNN, Run
from gradflow.progress import Progress, silent
from gradflow.readout import Readout
from gradflow.results import Results
from gradflow.shapes import Logits
from gradflow.tasks import Batch, Classification, Objective, Split, StepClassification, Task
from gradflow.tasks.base import require_count

KIND = "evaluation"
BATCH = 100
INTERVAL = f"Wilson score, {100 * CONFIDENCE:g} %, over the examples of the split, of this one network"


@dataclass
class Answers:
    """What was answered so far; arrays along the examples of the split."""

    losses: list[np.ndarray] = field(default_factory=list)
    correct: list[np.ndarray] = field(default_factory=list)
    actual: list[np.ndarray] = field(default_factory=list)
    predicted: list[np.ndarray] = field(default_factory=list)
    spikes: list[np.ndarray] = field(default_factory=list)
    """Of each layer: spikes of every neuron."""
    steps: int = 0
    operations: OperationCount | None = None
    conventions: dict[str, Any] = field(default_factory=dict)

    def add(self, model: nn.Module, batch: Batch, run: Any, objective: Objective) -> None:
        """Take the answers of one batch."""
        named = predicted_classes(objective, run)
        self.losses.append(_numbers(objective.losses(run, batch.targets)))
        self.correct.append(_numbers(objective.correct(run, batch.targets)))
        if named is not None:
            self.actual.append(batch.targets.cpu().numpy().ravel())
            self.predicted.append(named.cpu().numpy().ravel())
        if isinstance(model, RecurrentSNN):
            self._add_inside(model, batch, run, objective)

    def _add_inside(self, net: RecurrentSNN, batch: Batch, run: Run, objective: Objective) -> None:
        fired = [_numbers(layer.s.double().sum(dim=(0, 1))) for layer in run.layers]
        if self.operations is None:
            self.operations, self.spikes = OperationCount.of(net), [np.zeros_like(one) for one in fired]
            placement = objective.placement(net.readout)
            provenance = dict(batch.provenance)
            found = conventions_of(net, run, provenance=provenance, loss_placement=placement)
            self.conventions = {**provenance, **found.attrs()}
        self.operations.add(net, batch.inputs, run, objective)
        self.steps += batch.inputs.shape[0] * batch.inputs.shape[1]
        for total, one in zip(self.spikes, fired, strict=True):
            total += one


def evaluate(
    model: nn.Module,
    task: Task,
    *,
    split: Split = Split.VALIDATION,
    batch: int = BATCH,
    energy: EnergyModel | None = None,
    progress: Progress = silent,
) -> xr.Dataset:
    """Let a network answer every example of a split once, in evaluation mode, and say how well it does.

    The default is the validation split. The test split is for the one number that is reported in the end:
    whoever looks at it, chooses by what is seen, and looks again, has made it a validation split.

    Args:
        model: a RecurrentSNN, or any module that maps inputs (time, batch, input) to an object with `logits`
            (and `outputs` of every step, where the task reads them). It is left as it was.
        task: whose examples, and whose objective, they are.
        split: which part of it.
        batch: examples computed together.
        energy: of the operations (default: Horowitz 2014, 45 nm).
        progress: told of every batch.

    Returns:
        A Dataset with `accuracy` and its interval (Wilson, 95 %, over the examples), `loss` (mean) and
        `examples`; for tasks with classes `confusion` (actual, predicted), in answers. Of a RecurrentSNN also
        `firing_rate` (spikes per neuron and step), `silent` (share of neurons that never fired in the split)
        by layer, and operations and energy per inference by stage (`gradflow.evaluation.operations`). All
        conventions are in its attributes.

    Raises:
        ValueError: for a batch size below 1, or a network that does not answer what the task asks.

    >>> import gradflow as gf
    >>> task = gf.tasks.smnist(pool=14)
    >>> found = evaluate(gf.RecurrentSNN(task, hidden=8), task)
    >>> int(found.examples), int(found.confusion.sum()), dict(found.firing_rate.sizes)
    (500, 500, {'layer': 1})
    """
    answers, objective = Answers(), task.objective
    with answering(model):
        for rows, examples in batches_of(model, task, split, batch):
            run = as_answer(model(examples.inputs), objective, type(model).__name__)
            answers.add(model, examples, run, objective)
            progress(int(rows[-1]) + 1, len(task.part(split)), f"{split.value} split")
    attrs = answers.conventions or {
        **examples.provenance,
        "loss_placement": _placement(model, objective),
        "versions": str(package_versions()),
        "commit": source_commit(),
    }
    own = {"kind": KIND, "model": type(model).__name__, "split": split.value, "interval": INTERVAL}
    found = _scores(answers, task).assign_attrs({**attrs, **own})
    if answers.operations is None:
        return found
    counts = answers.operations.dataset(energy or EnergyModel())
    return Results.of(xr.merge([found, _activity(answers), counts], combine_attrs="no_conflicts"))


def batches_of(
    model: nn.Module, task: Task, split: Split, size: int
) -> Iterator[tuple[Int[np.ndarray, " batch"], Batch]]:
    """Yield the places of examples in a split, in order, and the examples in the model's dtype and device."""
    require_count("batch", size)
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    examples = task.part(split)
    provenance = {**task.provenance(), "split": split.value}
    for first in range(0, len(examples), size):
        rows = np.arange(first, min(first + size, len(examples)))
        made = examples.batch(rows)
        placed = made.to(dtype=like.dtype, device=like.device)
        yield rows, Batch(placed.inputs, placed.targets, provenance, made.objective)


@dataclass(frozen=True)
class LogitsAlone:
    """The answer of a network that gives logits and nothing else, as one step."""

    logits: Logits

    @property
    def outputs(self) -> Float[Tensor, "time batch classes"]:
        """Return the logits as the outputs of a single step."""
        return self.logits[None]


def as_answer(run: Any, objective: Objective, owner: str) -> Any:
    """Return what a network returned, checked to be an answer to this objective.

    Raises ValueError where it has no logits, or not the outputs of every step that the task reads.
    """
    by_step = objective.readout is not None or isinstance(objective, StepClassification)
    axes = {"logits": "(batch, classes)"}
    if by_step:
        axes["outputs"] = "(time, batch, classes), as this task reads single steps"
    for needed, of in axes.items():
        if not isinstance(getattr(run, needed, None), Tensor):
            raise ValueError(
                f"{owner}: returned {type(run).__name__} without `{needed}`; expected an object with a "
                f"tensor `{needed}` {of}"
            )
    return run if hasattr(run, "outputs") else LogitsAlone(run.logits)


def predicted_classes(objective: Objective, run: Any) -> Int[Tensor, "*items batch"] | None:
    """Return the class of the largest logit of each sample (and item); None where no class is asked for."""
    if isinstance(objective, Classification):
        logits = run.logits if objective.readout is None else objective.readout.logits(run.outputs)
        named: Tensor = logits.argmax(dim=1)
        return named
    if isinstance(objective, StepClassification):
        each: Tensor = run.outputs[-objective.items :].argmax(dim=2)
        return each
    return None


def _placement(model: nn.Module, objective: Objective) -> str:
    """Return where the logits of a network that is no RecurrentSNN are read, where it says so."""
    own = getattr(model, "readout", None)
    if isinstance(own, Readout):
        return objective.placement(own)
    return "the model's own" if objective.readout is None else objective.readout.value


def _scores(answers: Answers, task: Task) -> xr.Dataset:
    """Return accuracy, loss and confusion."""
    correct, losses = np.concatenate(answers.correct), np.concatenate(answers.losses)
    accuracy = correct.mean()
    # of several items an example the share is one number: they are not independent
    low, high = wilson_interval(accuracy, len(correct))
    found: dict[str, Any] = {
        "accuracy": ((), accuracy, {"units": "1", "long_name": "share of right answers"}),
        "accuracy_low": ((), low, {"units": "1"}),
        "accuracy_high": ((), high, {"units": "1"}),
        "loss": ((), losses.mean(), {"units": task.objective.units, "long_name": task.objective.name}),
        "examples": ((), len(correct), {"units": "1"}),
    }
    if not answers.predicted:
        return xr.Dataset(found)
    names = [str(name) for name in task.class_names or range(task.classes)]
    pairs = np.concatenate(answers.actual) * task.classes + np.concatenate(answers.predicted)
    counts = np.bincount(pairs, minlength=task.classes**2).reshape(task.classes, task.classes)
    found["confusion"] = (("actual", "predicted"), counts, {"units": "answers"})
    return xr.Dataset(found, {"actual": names, "predicted": names})


def _activity(answers: Answers) -> xr.Dataset:
    """Return firing rates and silent neurons by layer."""
    rates = [float(one.sum()) / (len(one) * answers.steps) for one in answers.spikes]
    silent_shares = [float((one == 0).mean()) for one in answers.spikes]
    about = {"units": "spikes per neuron and step", "long_name": "firing rate"}
    quiet = {"units": "1", "long_name": "share of neurons that never fired in the split"}
    found = {"firing_rate": ("layer", rates, about), "silent": ("layer", silent_shares, quiet)}
    return xr.Dataset(found, {"layer": np.arange(len(rates))})


def _numbers(values: Tensor) -> np.ndarray:
    return values.detach().cpu().double().numpy()
