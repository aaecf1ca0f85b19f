"""Published set-ups and quick ones: tables to lay under a user's own choices.

`paper` holds the set-ups of arXiv 2505.11455 (a row for each task, recurrence and layers), `quick` means
something within minutes on two cores.
"""

from dataclasses import dataclass
from typing import Any

from gradflow.recurrence import AdaptiveSkip, parse_recurrence
from gradflow.train.kinds import Table
from gradflow.train.sources import merge

PRESETS = ("paper", "quick")


@dataclass(frozen=True)
class Row:
    """One published set-up: what the others of its task do not share with it."""

    task: str
    recurrence: str
    hidden: tuple[int, ...]


ROWS = (
    Row("smnist", "skip:16", (64, 128, 128)),
    Row("smnist", "skip:12", (64, 212, 212)),
    Row("smnist", "asrc:41", (64, 128, 128)),
    Row("psmnist", "skip:12", (64, 128, 128)),
    Row("psmnist", "skip:16", (64, 212, 212)),
    Row("psmnist", "asrc:51", (64, 128, 128)),
    Row("psmnist", "asrc:31", (64, 212, 212)),
    Row("ssc", "skip:3", (256, 256, 256)),
    Row("ssc", "asrc:6", (256, 256, 256)),
    Row("gsc", "skip:4", (128, 128, 128)),
    Row("gsc", "asrc:21", (128, 128, 128)),
)
"""The published set-ups; the first of a task is the one meant where no recurrence is named."""

_DIGITS: Table = {
    "optimiser": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01, "neuron_lr": 1e-4, "span_lr": 0.1},
    "training": {"batch": 256, "epochs": 200},
}
_SPEECH: Table = {
    "network": {"dropout": 0.1},
    "optimiser": {"name": "adam", "weight_decay": 0.0, "neuron_lr": 1e-4},
    "training": {"batch": 128, "epochs": 100},
}
COMMON: dict[str, Table] = {
    "smnist": _DIGITS,
    "psmnist": _DIGITS,
    "ssc": merge(_SPEECH, {"optimiser": {"lr": 1e-3, "span_lr": 0.1}}),
    "gsc": merge(_SPEECH, {"optimiser": {"lr": 2.5e-3, "span_lr": 0.25}}),
}
"""What the rows of a task share."""

QUICK_EPOCHS = 20
QUICK: Table = {
    "network": {"hidden": (64, 128, 128)},
    "optimiser": {"name": "adamw", "lr": 3e-3},
    "training": {"batch": 50, "epochs": QUICK_EPOCHS},
}
POOLED = ("smnist", "psmnist")
"""Tasks that `quick` shortens to 196 steps."""
PUBLISHED_EPOCHS = 200


def preset(name: str, task: str, recurrence: Any = None, model: str = "snn") -> Table:
    """Return the tables of a preset for a task and, where one is chosen, a recurrence.

    `paper`: the row of this task and recurrence; with a recurrence that was not published, the first row's
    layers and rates (so that spans can be compared within a published set-up). `quick`: 196 steps of the
    digits, 20 epochs, and for ASRC a temperature that falls in them as far as in the published 200.
    A baseline has the layers and rates, but no recurrence unless one is given (which it then refuses).

    Raises ValueError for a preset that does not exist, or a task that has no published set-up.

    >>> preset("paper", "psmnist", "asrc:51")["network"]
    {'hidden': (64, 128, 128), 'recurrence': 'asrc:51'}
    """
    if name not in PRESETS:
        raise ValueError(f"preset {name!r}: expected {' or '.join(PRESETS)}")
    tables = _paper(task, recurrence) if name == "paper" else _quick(task, recurrence)
    tables = merge({"task": {"name": task}}, tables)
    if model != "snn":
        network = {"model": model, **tables["network"]}
        if recurrence is None:
            network.pop("recurrence", None)
        tables["network"] = network
    return tables


def _paper(task: str, recurrence: Any) -> Table:
    rows = [row for row in ROWS if row.task == task]
    if not rows:
        raise ValueError(f"preset paper: nothing was published for {task!r}, only for {', '.join(COMMON)}")
    row = next((row for row in rows if row.recurrence == recurrence), rows[0])
    network = {"hidden": row.hidden, "recurrence": row.recurrence if recurrence is None else recurrence}
    return merge(COMMON[task], {"network": network})


def _quick(task: str, recurrence: Any) -> Table:
    tables = merge(QUICK, {"task": {"options": {"pool": 2}}}) if task in POOLED else QUICK
    if recurrence is None:
        return tables
    spec = parse_recurrence(recurrence) if isinstance(recurrence, str) else None
    if isinstance(spec, AdaptiveSkip):
        decay = spec.temperature_decay ** (PUBLISHED_EPOCHS / QUICK_EPOCHS)
        recurrence = {"kind": "asrc", "max_span": spec.max_span, "temperature_decay": decay}
    return merge(tables, {"network": {"recurrence": recurrence}})
