"""Short labels for several files: the conventions in which they differ, each in a word or two."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, TypeAlias

Attributes: TypeAlias = Mapping[str, Any]

MISSING = "unknown"
SILENT = frozenset(
    {"kind", "figure", "title", "caption", "config", "command", "versions", "commit", "criterion", "end"}
)
"""Attributes that name no choice, or repeat what others say."""


SPIKING = ("neuron", "decay", "threshold", "reset", "detach_reset", "surrogate", "surrogate_scale")
"""What cells without spikes have none of: `neuron` holds their name, which stands for their recurrence."""
INCOMPARABLE = frozenset({*SPIKING, "hidden", "dtype", "loss_placement"})
"""Said only where networks of one sort differ in it: a GRU of as many parameters has other widths, and its
curves are taken in float64, without a loss."""


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _recurrence(value: Any) -> str:
    """Return `λ = 16` for `skip:16`; layers that differ stay apart."""
    words = []
    for part in str(value).split(" | "):
        word, _, span = part.partition(":")
        words.append(
            {"skip": f"λ = {span}", "asrc": f"ASRC up to {span}", "none": "no recurrence"}.get(word, part)
        )
    return " | ".join(words)


def _worded(template: str) -> Callable[[Any], str]:
    return lambda value: template.format(_number(value))


CHOICES: Mapping[str, Callable[[Any], str]] = {
    "recurrence": _recurrence,
    "neuron": _worded("{}"),
    "decay": _worded("α = {}"),
    "threshold": _worded("θ = {}"),
    "reset": _worded("{} reset"),
    "detach_reset": _worded("reset {}"),
    "surrogate": _worded("{}"),
    "surrogate_scale": _worded("width {}"),
    "hidden": _worded("hidden {}"),
    "norm": _worded("norm {}"),
    "dropout": _worded("dropout {}"),
    "recurrent_gain": _worded("gain {}"),
    "loss_placement": _worded("loss {}"),
    "task": _worded("{}"),
    "task_source": _worded("{}"),
    "pool": _worded("pool {}"),
    "dtype": _worded("{}"),
    "network_seed": _worded("seed {}"),
    "permutation_seed": _worded("permutation {}"),
    "sample_seed": _worded("samples {}"),
}
"""Choices that a label names wherever they differ, in this order."""

FOLLOWS = {"surrogate_scale": "surrogate", "task_source": "task", "permutation_seed": "task"}
"""What usually differs because something else does: named where that other choice is the same in all."""

DETAILS: Mapping[str, Callable[[Any], str]] = {
    "span_mode": _worded("{} spans"),
    "mode": _worded("{}"),
    "engine": _worded("engine {}"),
    "split": _worded("{} split"),
    "split_seed": _worded("split {}"),
    "batch": _worded("{} samples"),
    "steps": _worded("{} steps"),
    "p": _worded("p = {}"),
}
"""Named only where the choices leave two labels alike."""


def labels(attributes: Sequence[Attributes], names: Sequence[str]) -> list[str]:
    """Return one label for each dataset, from the attributes in which they differ.

    Choices that differ are all named; what follows from them (the weights p from the recurrence, steps from
    the pool) only if labels would be alike without. Where attributes cannot tell two datasets apart, their
    names do. A single dataset needs no label: it gets its name. Cells without spikes go by their name in
    place of the recurrence, and are not asked what belongs to spikes.

    Raises ValueError unless there is one name for each.

    >>> labels([{"recurrence": "vanilla", "decay": 0.5}, {"recurrence": "skip:16", "decay": 0.5}], ["a", "b"])
    ['vanilla', 'λ = 16']
    >>> gru = {"recurrence": "vanilla", "neuron": "GRU", "surrogate": "none", "decay": "none"}
    >>> labels([{"recurrence": "vanilla", "neuron": "LIF", "decay": 0.5}, gru], ["a", "b"])
    ['vanilla', 'GRU']
    """
    if len(attributes) != len(names):
        raise ValueError(f"labels: got {len(names)} names for {len(attributes)} datasets, expected one each")
    if len(attributes) < 2:
        return list(names)
    differing = [key for key in CHOICES if _differ(attributes, key)]
    differing = [key for key in differing if FOLLOWS.get(key) not in differing]
    words = [[said for key in differing if (said := choice(found, key))] for found in attributes]
    others = [key for key in DETAILS if _differ(attributes, key)] + _unknown(attributes)
    for key in others:
        if len({tuple(parts) for parts in words}) == len(words):
            break
        word = DETAILS.get(key, _worded(key.replace("_", " ") + " {}"))
        for parts, found in zip(words, attributes, strict=True):
            parts.append(word(_value(found, key)))
    found_labels = [", ".join(parts) for parts in words]
    return [
        label if label and found_labels.count(label) == 1 else f"{label} ({name})" if label else name
        for label, name in zip(found_labels, names, strict=True)
    ]


def choice(attributes: Attributes, key: str) -> str:
    """Return one choice in a word or two, "" for one that a cell without spikes does not have.

    >>> choice({"recurrence": "skip:4"}, "recurrence"), choice({"surrogate": "none"}, "decay")
    ('λ = 4', '')
    """
    if not _spikes(attributes) and key in SPIKING:
        return ""
    return CHOICES[key](_value(attributes, key))


def short_names(paths: Sequence[PurePath]) -> list[str]:
    """Return the shortest ends of paths that tell them apart, without suffix.

    >>> short_names([PurePath("a/run.nc"), PurePath("b/run.nc")])
    ['a/run', 'b/run']
    """
    parts = [path.with_suffix("").parts if path.name else ("",) for path in paths]
    longest = max((len(part) for part in parts), default=1)
    for length in range(1, longest + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(set(parts)):
            return names
    return ["/".join(part) for part in parts]


def _spikes(attributes: Attributes) -> bool:
    return attributes.get("surrogate") != "none"


def _value(attributes: Attributes, key: str) -> Any:
    if key == "recurrence" and not _spikes(attributes):
        key = "neuron"
    return attributes.get(key, MISSING)


def _differ(attributes: Sequence[Attributes], key: str) -> bool:
    """Say whether datasets differ in a choice: where sorts do not compare, within one of them."""
    values: dict[str, set[str]] = {}
    for found in attributes:
        apart = key in INCOMPARABLE and not _spikes(found)
        sort = str(found.get("neuron", MISSING)) if apart else ""
        values.setdefault(sort, set()).add(str(_value(found, key)))
    return any(len(found) > 1 for found in values.values())


def _unknown(attributes: Sequence[Attributes]) -> list[str]:
    """Return further attributes that differ, such as a task's own settings."""
    known = {*CHOICES, *DETAILS, *SILENT}
    keys = dict.fromkeys(key for found in attributes for key in found if key not in known)
    return [key for key in keys if _differ(attributes, key)]
