"""The cells that figures of decay are made of: one recurrent layer on sequential digits, a network a seed.

Axes: lag; span and seed across cells.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import numpy as np
import torch
import xarray as xr
from pydantic import Field, field_validator
from threadpoolctl import threadpool_limits

from gradflow.figures.registry import Config, Progress
from gradflow.network import RecurrentSNN
from gradflow.neurons import LIF
from gradflow.recurrence import Recurrence, Skip, Vanilla
from gradflow.tasks import TASKS, Task, by_name
from gradflow.theory import transfer_operator
from gradflow.transition import LayerTransition, Transition

LONGEST = 10**9
SMALL = 256
"""Neurons up to which one thread multiplies matrices fastest."""
AFFORDABLE = 256 * 2**20
"""Bytes that one transfer operator may take (spans to 63 at H = 128): its time stays near the products'."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class CellConfig(Config):
    """Options of every figure that measures one layer on digits."""

    spans: tuple[int, ...]
    task: str = "psmnist"
    folder: str | None = None
    pool: int = Field(default=1, ge=1)
    samples: int = Field(default=8, ge=1)
    seeds: int = Field(default=10, ge=1)
    hidden: int = Field(default=128, ge=1)
    permutation_seed: int = Field(default=0, ge=0)

    @field_validator("spans")
    @classmethod
    def _increasing(cls, spans: tuple[int, ...]) -> tuple[int, ...]:
        if not spans or not all(1 <= span <= LONGEST for span in spans):
            raise ValueError(
                f"got {','.join(map(str, spans)) or 'none'}, expected spans of 1 to {LONGEST}, as in 1,4,16"
            )
        return tuple(sorted(set(spans)))

    @field_validator("task")
    @classmethod
    def _known(cls, task: str) -> str:
        if task not in TASKS:
            raise ValueError(f"got {task!r}, expected one of {', '.join(TASKS)}")
        return task


class DecaysConfig(CellConfig):
    """Options of a figure with a panel for each of several decays; one number stands for itself alone."""

    decay: tuple[float, ...]

    @field_validator("decay", mode="before")
    @classmethod
    def _one_is_enough(cls, decay: Any) -> Any:
        return (decay,) if isinstance(decay, int | float) else decay

    @field_validator("decay")
    @classmethod
    def _between(cls, decay: tuple[float, ...]) -> tuple[float, ...]:
        # at 0 no neuron path, at 1 no decay: there is nothing to cross, and no logarithm to draw
        if not decay or not all(0.0 < value < 1.0 for value in decay):
            raise ValueError(f"got {', '.join(map(str, decay)) or 'none'}, expected decays between 0 and 1")
        return tuple(sorted(set(decay)))


def task_of(config: CellConfig) -> Task:
    """Return the task.

    Raises ValueError for more samples than it has training examples, or a pool that leaves one step.
    """
    options = {"permutation_seed": config.permutation_seed} if config.task == "psmnist" else {}
    task = by_name(config.task, config.folder, pool=config.pool, **options)
    if task.steps < 2:
        raise ValueError(f"pool: got {config.pool}, expected one that leaves {task.name} more than 1 step")
    if config.samples > len(task.train):
        raise ValueError(
            f"samples: got {config.samples}, expected at most {len(task.train)}, the training examples of "
            f"{task.name} ({task.source})"
        )
    return task


def network(config: CellConfig, task: Task, *, span: int, decay: float, seed: int) -> RecurrentSNN:
    """Return one network: of the same seed, those of all spans and decays have the same weights."""
    return RecurrentSNN(
        task,
        hidden=config.hidden,
        recurrence=recurrence_of(span),
        neuron=LIF(decay=decay),
        seed=seed,
    )


def recurrence_of(span: int) -> Recurrence:
    """Return the recurrence of a span, as figures have it: that of span 1 is vanilla.

    >>> [recurrence_of(span).label for span in (1, 8)]
    ['vanilla', 'skip:8']
    """
    return Vanilla() if span == 1 else Skip(span)


def by_span(
    config: CellConfig,
    measure: Callable[[int, int], Result],
    gather: Callable[[list[Result], int], xr.Dataset],
    progress: Progress,
    last: str,
) -> xr.Dataset:
    """Measure a network for every span and seed, and gather the seeds of each span.

    Args:
        config: spans and seeds.
        measure: (span, seed) → what is kept of one network.
        gather: (what is kept of all seeds, span) → that span's dataset.
        progress: told of every network.
        last: word for what is done after them.

    Returns:
        A Dataset over span, with the attributes in which the spans agree.
    """
    total = len(config.spans) * config.seeds
    cells = []
    with blas_threads(config):
        for place, span in enumerate(config.spans):
            parts = []
            for seed in range(config.seeds):
                progress(place * config.seeds + seed, total, f"span {span}, seed {seed}")
                parts.append(measure(span, seed))
            cells.append(gather(parts, span))
    progress(total, total, last)
    return along_spans(cells, config)


def along_spans(cells: list[xr.Dataset], config: CellConfig) -> xr.Dataset:
    """Return the datasets of the spans as one, with the attributes they agree in."""
    data = xr.concat(cells, dim="span", combine_attrs="drop_conflicts")
    data = data.assign_coords(span=list(config.spans))
    data.span.attrs = {"long_name": "span λ", "units": "steps"}
    return data


def settings(config: CellConfig) -> dict[str, str]:
    """Return the attributes in which the cells differ: the conventions of one cell cannot say them."""
    seeds = ",".join(map(str, range(config.seeds)))
    return {
        "config": config.model_dump_json(),
        "recurrence": ",".join(recurrence_of(span).label for span in config.spans),
        "p": json.dumps([{str(span): 1.0} for span in config.spans]),
        "network_seed": seeds,
        "sample_seed": seeds,
    }


def over_seeds(parts: list[xr.Dataset]) -> xr.Dataset:
    """Return the datasets of several networks as one over seed, with the attributes they agree in."""
    return xr.concat(parts, dim="seed", combine_attrs="drop_conflicts")


def blas_threads(config: CellConfig) -> AbstractContextManager[object]:
    """Return a context with one thread of BLAS for small layers.

    A small product is done before a second thread has woken: waiting took six times the work.
    """
    limits: AbstractContextManager[object] = threadpool_limits(
        limits=1 if config.hidden <= SMALL else None, user_api="blas"
    )
    return limits


def overlapped(items: Iterable[Item], work: Callable[[Item], Result]) -> Iterator[Result]:
    """Yield work(item) in order; it runs on as many threads as torch uses, while the next items are made.

    For work that numpy does without holding the interpreter. At most one item more than there are threads
    is held. After an error, what has not begun is given up.

    >>> list(overlapped(iter([1, 2, 3]), lambda number: number * number))
    [1, 4, 9]
    """
    workers = torch.get_num_threads()
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def only_layer(found: Transition) -> LayerTransition:
    """Return the one layer of a cell's run."""
    (layer,) = found.layers
    assert isinstance(layer, LayerTransition)  # `network` makes no other
    return layer


def predicted(found: Transition) -> xr.Dataset:
    """Return the transfer operator's `log_frobenius` (lag) and `rate` of a single layer.

    Both are NaN where its memory, which grows with λ² H², would be more than `AFFORDABLE`.
    """
    layer = only_layer(found)
    if operator_bytes(layer) > AFFORDABLE:
        unknown = {"log_frobenius": ("lag", np.full(len(layer.a), np.nan)), "rate": np.nan}
        return xr.Dataset(unknown, {"lag": np.arange(len(layer.a))})
    return transfer_operator(found).isel(layer=0, drop=True)


def operator_bytes(layer: LayerTransition) -> int:
    """Return 4 λ (λ + 1) H², what the operator's blocks take; a span beyond the record never acts."""
    depth = max((span for span in layer.spans if span < len(layer.a)), default=1)
    neurons: int = layer.a.shape[2]
    return 4 * depth * (depth + 1) * neurons**2
