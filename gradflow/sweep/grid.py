"""A grid of training runs: what is the same in all of them, and the values of every key that differs.

Axes of results: one dimension for each key, in the order of the grid.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gradflow.train import TrainConfig, merge, preset, resolve
from gradflow.train.sources import known_keys, nearest_key

SHORT: Mapping[str, tuple[str, ...]] = {
    "span": ("network.recurrence",),
    "recurrence": ("network.recurrence",),
    "neuron": ("network.neuron",),
    "model": ("network.model",),
    "seed": ("network.seed", "training.seed"),
}
"""Words for keys that are often swept: the span λ of `skip:λ`; one seed for parameters, order and dropout."""
OPEN = ("task.options.", "network.recurrence.", "network.neuron.", "network.norm.")
"""Tables of the configuration whose keys depend on what they hold."""
LONGEST = 120
"""Characters of a cell's name, which file systems allow 255 of."""


class Cell(NamedTuple):
    """One run of a grid: its name, what differs in it, and where it lies in the grid."""

    name: str
    values: dict[str, Any]
    place: tuple[int, ...]


@dataclass(frozen=True)
class Grid:
    """Every combination of some keys' values, over what all runs share.

    Attributes:
        axes: values of each key that is swept: `span`, `recurrence`, `neuron`, `model`, `seed`, or a key of
            the configuration as `optimiser.lr`.
        base: tables of the configuration that all runs share.
        preset: laid under everything, for each run's own recurrence and model.

    Raises ValueError for no axes, an empty one, a value that comes twice, a key that does not exist, or two
    axes that say the same.

    >>> grid = Grid({"span": (1, 4), "seed": (0, 1, 2)}, {"task": {"name": "smnist"}})
    >>> [cell.name for cell in grid.cells()][:2], len(grid.cells())
    (['span=1,seed=0', 'span=1,seed=1'], 6)
    >>> grid.config({"span": 4, "seed": 2}).network.recurrences().label
    'skip:4'
    """

    axes: Mapping[str, Sequence[Any]]
    base: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None

    def __post_init__(self) -> None:
        if not self.axes:
            raise ValueError("sweep: got nothing to vary, expected values of a key, as in --spans 1,4")
        said: dict[str, str] = {}
        for key, values in self.axes.items():
            _check_axis(key, values)
            for target in SHORT.get(key, (key,)):
                other = next((known for known in said if _overlap(known, target)), None)
                if other is not None:
                    raise ValueError(f"sweep: {said[other]} and {key} both say {target}; give one of them")
                said[target] = key

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of values of each key."""
        return tuple(len(values) for values in self.axes.values())

    def cells(self) -> list[Cell]:
        """Return every combination, the last key's values going round fastest."""
        places = itertools.product(*(range(size) for size in self.shape))
        return [self._cell(place) for place in places]

    def _cell(self, place: tuple[int, ...]) -> Cell:
        values = {key: every[k] for (key, every), k in zip(self.axes.items(), place, strict=True)}
        return Cell(cell_name(values), values, place)

    def config(self, values: Mapping[str, Any]) -> TrainConfig:
        """Return the configuration of the run with these values.

        Raises ValueError where they make none.
        """
        said = dict(self.base)
        for key, value in values.items():
            for target in SHORT.get(key, (key,)):
                said = merge(said, _table(target, f"skip:{value}" if key == "span" else value))
        if self.preset is None:
            return resolve(said)
        network = dict(said.get("network", {}))
        recurrence, model = network.pop("recurrence", None), network.get("model", "snn")
        below = preset(self.preset, said.get("task", {}).get("name", ""), recurrence, model)
        return resolve(below, {**said, "network": network})

    def as_json(self) -> dict[str, Any]:
        """Return plain tables, as JSON holds them."""
        axes = {key: list(values) for key, values in self.axes.items()}
        return {"axes": axes, "base": dict(self.base), "preset": self.preset}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Grid":
        """Return the grid that `as_json` described."""
        return cls({key: tuple(values) for key, values in data["axes"].items()}, data["base"], data["preset"])

    def extended(self, other: "Grid") -> "Grid":
        """Return this grid with the values that only the other one has after its own, over the other's base.

        Raises ValueError where they do not vary the same keys.
        """
        if set(self.axes) != set(other.axes):
            raise ValueError(
                f"the sweep there varies {', '.join(self.axes)}, this one {', '.join(other.axes)}; choose "
                "another folder"
            )
        axes = {
            key: (*values, *(value for value in other.axes[key] if value not in values))
            for key, values in self.axes.items()
        }
        return Grid(axes, other.base, other.preset)


def cell_name(values: Mapping[str, Any]) -> str:
    """Return the name of a run's folder: what differs, in letters that every file system takes.

    Where letters had to go or the name is long, the start of a hash keeps it apart from others.

    >>> cell_name({"recurrence": "skip:8", "optimiser.lr": 0.003})
    'recurrence=skip8,optimiser.lr=0.003'
    """
    texts = [f"{key}={label(value)}" for key, value in values.items()]
    plain = [re.sub(r"[^\w.+=-]+", "", text) for text in texts]
    name = ",".join(plain)[:LONGEST]
    lost = any(isinstance(value, list | tuple | Mapping) for value in values.values())
    if not lost and len(name) < LONGEST:
        return name
    digest = hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:8]
    return f"{name[: LONGEST - 9]}-{digest}"


def label(value: Any) -> str:
    """Return a value as text: words as they are, all else as JSON.

    >>> label("skip:8"), label(0.003), label((8, 8)), label(None)
    ('skip:8', '0.003', '[8, 8]', 'none')
    """
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _check_axis(key: str, values: Sequence[Any]) -> None:
    if key not in SHORT and key not in known_keys() and not key.startswith(OPEN):
        raise ValueError(f"sweep: {key}: unknown key; {nearest_key(key)}")
    texts = [label(value) for value in values]
    twice = next((text for text in texts if texts.count(text) > 1), None)
    if not texts or twice is not None:
        what = "no values" if twice is None else f"{twice} more than once"
        raise ValueError(f"sweep: {key}: got {what}, expected different values, as in 1,2,4")
    if key == "span" and any(isinstance(v, bool) or not isinstance(v, int) or v < 1 for v in values):
        raise ValueError(f"sweep: span: got {', '.join(texts)}, expected whole numbers of steps, at least 1")


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def _table(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    table: dict[str, Any] = value
    return table
