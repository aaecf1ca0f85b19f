"""The options that describe a network and its data, and what they describe.

Words are those of configurations (`gradflow.train.kinds`), so that training and recording speak alike.
"""

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from gradflow.cli.options import count, share

if TYPE_CHECKING:
    from gradflow.network import RecurrentSNN
    from gradflow.tasks import Task


def sizes(text: str) -> tuple[int, ...]:
    """Read layer sizes as in 64,128,128, or raise a usage error.

    >>> sizes("64,128")
    (64, 128)
    """
    try:
        return tuple(count(part.strip()) for part in text.split(","))
    except typer.BadParameter:
        raise typer.BadParameter(f"got {text!r}, expected neurons of each layer, as in 64,128,128") from None


def positive(text: str) -> float:
    """Read a number above 0, or raise a usage error.

    >>> positive("0.5")
    0.5
    """
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0.0 < number < float("inf"):
        raise typer.BadParameter(f"got {text!r}, expected a number above 0, as in 1.0")
    return number


Recurrence = Annotated[
    str | None,
    typer.Option(help="vanilla, none, skip:SPAN or asrc:MAX_SPAN, as in skip:16; one, or with commas."),
]
Hidden = Annotated[Any, typer.Option(parser=sizes, metavar="N,N,…", help="Neurons of each layer.")]
Neuron = Annotated[str | None, typer.Option(help="lif, plif or glif.")]
Decay = Annotated[Any, typer.Option(parser=share, metavar="α", help="Decay of the potential, 0 to 1.")]
Threshold = Annotated[
    Any, typer.Option(parser=positive, metavar="θ", help="Potential at which neurons fire.")
]
Reset = Annotated[str | None, typer.Option(help="soft or hard.")]
Detach = Annotated[
    bool | None,
    typer.Option("--detach-reset/--attach-reset", help="Stop the gradient at the spike that resets, or not."),
]
Surrogate = Annotated[
    str | None, typer.Option(help="triangle, rectangle, exponential, sigmoid, arctangent or multi-gaussian.")
]
Gain = Annotated[float | None, typer.Option(help="Factor on the orthogonal V at the start.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Of the network's parameters.")]
Dtype = Annotated[str | None, typer.Option(help="float32 or float64.")]
Data = Annotated[
    Path | None, typer.Option(help="Folder with the task's files (default: the digits shipped).")
]
Pool = Annotated[
    Any, typer.Option(parser=count, metavar="N", help="Average-pool the pixels; 2 gives 196 steps.")
]

Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Any other option of the task, as in delay=40; repeatable."
    ),
]


class NetworkOptions(NamedTuple):
    """What was said about a network; None where nothing was."""

    recurrence: str | None
    hidden: tuple[int, ...] | None
    neuron: str | None
    decay: float | None
    threshold: float | None
    reset: str | None
    detach_reset: bool | None
    surrogate: str | None
    recurrent_gain: float | None
    seed: int | None
    dtype: str | None

    def given(self) -> list[str]:
        """Return the names of the options that were said."""
        return [f"--{name.replace('_', '-')}" for name, value in self._asdict().items() if value is not None]


def build_task(name: str, data: Path | None, pool: int | None, settings: list[str]) -> "Task":
    """Return the task; a name or an option that does not exist is a usage error."""
    import inspect

    from gradflow.tasks import TASKS, by_name

    if name not in TASKS:
        raise typer.BadParameter(f"task: got {name!r}, expected one of {', '.join(TASKS)}")
    options = {**({} if pool is None else {"pool": pool}), **dict(map(_setting, settings))}
    known = [option for option in inspect.signature(TASKS[name]).parameters if option != "folder"]
    unknown = [option for option in options if option not in known]
    if unknown:
        raise typer.BadParameter(f"{name} has no {', '.join(unknown)}, only {', '.join(known)}")
    return by_name(name, data, **options)


def _setting(text: str) -> tuple[str, Any]:
    """Read one KEY=VALUE, the value as TOML or else as a word, or raise a usage error."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise typer.BadParameter(f"--set: got {text!r}, expected KEY=VALUE, as in delay=40")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def build_network(options: NetworkOptions, task: "Task") -> "RecurrentSNN":
    """Return the network; choices that do not exist, or do not go together, are a usage error."""
    import torch

    from gradflow.network import RecurrentSNN
    from gradflow.train.kinds import NEURONS, RECURRENCES, from_table

    neuron = {
        name: getattr(options, name)
        for name in ("decay", "threshold", "reset", "detach_reset", "surrogate")
        if getattr(options, name) is not None
    }
    if options.dtype not in (None, "float32", "float64"):
        raise typer.BadParameter(f"--dtype: got {options.dtype!r}, expected float32 or float64")
    try:
        found = [from_table(RECURRENCES, word) for word in (options.recurrence or "vanilla").split(",")]
        return RecurrentSNN(
            task,
            hidden=options.hidden or (64, 128, 128),
            recurrence=found[0] if len(found) == 1 else found,
            neuron=from_table(NEURONS, {"kind": options.neuron or "lif", **neuron}),
            recurrent_gain=1.0 if options.recurrent_gain is None else options.recurrent_gain,
            seed=options.seed or 0,
            dtype=getattr(torch, options.dtype or "float32"),
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
