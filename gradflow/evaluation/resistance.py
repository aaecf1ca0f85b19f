"""Accuracy under disturbances of growing strength, in several repetitions, for one network or several.

Axes of results: one for each kind of disturbance (its strengths), repetition; run where there are several.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import xarray as xr
from torch import nn

from gradflow.evaluation.answers import BATCH, as_answer, batches_of
from gradflow.evaluation.disturbances import Disturbance, SpanShift, require_applicable
from gradflow.evaluation.disturbed import answering, run_disturbed
from gradflow.evaluation.streams import Streams
from gradflow.network import RecurrentSNN
from gradflow.progress import Progress, silent
from gradflow.recurrence import SpanMode
from gradflow.results import Results
from gradflow.seeds import bit_generator
from gradflow.tasks import Batch, Split, Task
from gradflow.tasks.base import require_count

Series = dict[str, list[Disturbance]]


def robustness(
    model: nn.Module,
    task: Task,
    disturbances: Sequence[Disturbance],
    *,
    split: Split = Split.VALIDATION,
    repetitions: int = 5,
    seed: int = 0,
    batch: int = BATCH,
    progress: Progress = silent,
) -> xr.Dataset:
    """Let a network answer every example of a split under each disturbance, several times where it is random.

    Every example has its own streams of random numbers, named after seed, kind, repetition and its place in
    the split: results do not depend on the batch size (to the last bit on CPU for up to eight inputs; wider
    products round by the batch), and networks are compared on the same noise. Strengths of one kind use the
    same numbers, so that curves are smooth; strength 0 is the network itself, undisturbed, exactly.

    Args:
        model: a RecurrentSNN, or for disturbances of the input any module that gives logits. It is left as
            it was.
        task: whose examples they are.
        disturbances: as `[SpikeDeletion(q) for q in (0, 0.1, 0.2)]`, kinds mixed as you like.
        split: which part of the task (default: validation; of the test split `evaluate` speaks).
        repetitions: of each random disturbance, with other random numbers.
        seed: of the random numbers.
        batch: examples computed together.
        progress: told of every pass.

    Returns:
        A Dataset with, for each kind, the variable `accuracy_KIND` along its strengths (dimension KIND) and,
        where it is random, `repetition`; for the span's shift also the spans read, `spans` (span_shift,
        layer).

    Raises:
        ValueError: for no disturbance, one that is given twice or does not apply to this network or these
            inputs.

    >>> import gradflow as gf
    >>> from gradflow.evaluation import SpikeDeletion
    >>> task = gf.tasks.smnist(pool=14)
    >>> net = gf.RecurrentSNN(task, hidden=8)
    >>> found = robustness(net, task, [SpikeDeletion(q) for q in (0, 0.5)], repetitions=2)
    >>> dict(found.accuracy_delete.sizes)
    {'delete': 2, 'repetition': 2}
    """
    require_count("repetitions", repetitions)
    require_count("batch", batch)
    bit_generator(seed)  # raises for what is no seed
    series = _series(disturbances)
    require_all_applicable(disturbances, model)
    right = {
        word: np.zeros((len(kind), repetitions if kind[0].random else 1)) for word, kind in series.items()
    }
    examples, passes = len(task.part(split)), sum(count.size for count in right.values())
    done, total = 0, -(-examples // batch) * passes
    with answering(model):
        for rows, part in batches_of(model, task, split, batch):
            undisturbed = model(part.inputs)
            for word, kind in series.items():
                for repetition in range(right[word].shape[1]):
                    # kept for all strengths of a repetition, which meet the same numbers
                    streams = Streams(seed, word, repetition, rows.tolist())
                    for place, disturbance in enumerate(kind):
                        run = _run(model, part, disturbance, streams, undisturbed)
                        answer = as_answer(run, task.objective, type(model).__name__)
                        correct = task.objective.correct(answer, part.targets)
                        right[word][place, repetition] += float(correct.double().sum())
                        done += 1
                        progress(done, total, f"{word} {disturbance.strength:g}")
    found = xr.Dataset(
        {
            f"accuracy_{kind[0].dimension()}": _accuracy(kind, right[word], examples)
            for word, kind in series.items()
        }
    )
    for word, kind in series.items():
        if isinstance(kind[0], SpanShift) and isinstance(model, RecurrentSNN):
            found["spans"] = _spans(model, series[word])
    return Results.of(found.assign_attrs(disturbance_seed=seed, split=split.value))


def require_all_applicable(disturbances: Sequence[Disturbance], model: nn.Module) -> None:
    """Raise ValueError where one of them has nothing to act on in this network."""
    recurrences = model.recurrences if isinstance(model, RecurrentSNN) else None
    for disturbance in disturbances:
        require_applicable(disturbance, recurrences, type(model).__name__)


def _series(disturbances: Sequence[Disturbance]) -> Series:
    """Return the disturbances by kind, each kind by strength.

    Raises ValueError for none, or one that is there twice.
    """
    if not disturbances:
        raise ValueError("disturbances: got none, expected at least one, as in [SpikeDeletion(0.1)]")
    ordered = sorted(disturbances, key=lambda one: (one.word, one.strength))
    series = {word: list(kind) for word, kind in groupby(ordered, key=lambda one: one.word)}
    for word, kind in series.items():
        strengths = [one.strength for one in kind]
        if len(set(strengths)) < len(strengths):
            raise ValueError(f"{word}: got the strengths {strengths}, expected each once")
    return series


def _run(model: nn.Module, part: Batch, disturbance: Disturbance, streams: Streams, undisturbed: Any) -> Any:
    if disturbance.strength == 0:
        return undisturbed
    return run_disturbed(model, part.inputs, disturbance, streams)


def _accuracy(kind: list[Disturbance], right: np.ndarray, examples: int) -> xr.DataArray:
    """Return the share of right answers by strength, and by repetition where repetitions differ."""
    first = kind[0]
    name = first.dimension()
    strengths = xr.DataArray(
        [one.strength for one in kind], dims=name, attrs={"units": first.units, "long_name": first.title}
    )
    attrs = {"units": "1", "long_name": f"share of right answers under {first.word}"}
    if not first.random:
        return xr.DataArray(right[:, 0] / examples, {name: strengths}, (name,), attrs=attrs)
    coords = {name: strengths, "repetition": np.arange(right.shape[1])}
    return xr.DataArray(right / examples, coords, (name, "repetition"), attrs=attrs)


def _spans(net: RecurrentSNN, shifts: list[Disturbance]) -> xr.DataArray:
    """Return the span each layer reads under each shift; 0 for a layer without recurrence."""
    layers = list(zip(net.recurrent_layers(), net.recurrences, strict=True))
    own = [layer.spans.taps(SpanMode.HARD, net.output.weight).spans for layer, _ in layers]
    read = [
        [shift.shifted(spans[0], spec) if spans else 0 for spans, (_, spec) in zip(own, layers, strict=True)]
        for shift in shifts
        if isinstance(shift, SpanShift)
    ]
    return xr.DataArray(read, dims=("span_shift", "layer"), attrs={"units": "steps"})
