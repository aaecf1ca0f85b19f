"""What must be said beside every number: one frozen record, written into every file and figure.

Libraries differ silently in these choices, and the "same" network then has another decay curve.
"""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from gradflow.network import RecurrentSNN, Run
from gradflow.neurons import GLIF, Dynamics, Neuron

PACKAGES = ("gradflow-snn", "torch", "numpy", "numba", "xarray")
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Conventions:
    """Design choices that change a decay curve, each as a short word or number.

    A field that differs between layers holds the layers' values joined by ` | `. Where neurons learn
    their decay and threshold, these are the values at the time of the run (for a layer of neurons that
    each have their own: the mean), and `neuron_parameters` says so.
    """

    neuron: str = UNKNOWN
    decay: str | float = UNKNOWN
    threshold: str | float = UNKNOWN
    reset: str = UNKNOWN
    detach_reset: str = UNKNOWN
    surrogate: str = UNKNOWN
    surrogate_scale: str | float = UNKNOWN
    neuron_parameters: str = "none"
    recurrence: str = UNKNOWN
    p: str = UNKNOWN
    span_mode: str = UNKNOWN
    loss_placement: str = "none"
    hidden: str = UNKNOWN
    mode: str = UNKNOWN
    norm: str = "none"
    dropout: float = 0.0
    recurrent_gain: float = 1.0
    network_seed: int = 0
    dtype: str = UNKNOWN
    engine: str = UNKNOWN
    task: str = UNKNOWN
    task_source: str = UNKNOWN
    permutation_seed: str | int = "none"
    split_seed: str | int = "none"
    split: str = "none"
    sample_seed: str | int = "none"
    pool: str | int = "none"
    steps: int = 0
    batch: int = 0
    versions: str = UNKNOWN
    commit: str = UNKNOWN

    def attrs(self) -> dict[str, str | int | float]:
        """Return the record as attributes that netCDF can hold: strings and numbers only."""
        return asdict(self)

    @classmethod
    def from_attrs(cls, attrs: Mapping[str, Any]) -> "Conventions":
        """Read the record back from a dataset's attributes; fields that are missing stay unknown."""
        known = {f.name for f in fields(cls)}
        plain = {key: value.item() if hasattr(value, "item") else value for key, value in attrs.items()}
        return cls(**{key: value for key, value in plain.items() if key in known})


def conventions_of(
    net: RecurrentSNN,
    run: Run,
    *,
    provenance: Mapping[str, str | int | float] | None = None,
    loss_placement: str = "none",
) -> Conventions:
    """Return the record of one run of a network.

    Args:
        net: the network that ran.
        run: what it returned; spans, lengths and the engine are read from it.
        provenance: of the data, as a batch of a task carries it.
        loss_placement: where on the time axis the loss was placed; `none` where there was no loss.
    """
    neurons = [
        {**spec.conventions(), **_learned(spec, layer.dynamics)}
        for spec, layer in zip(net.neurons, run.layers, strict=True)
    ]
    names = sorted({key for entry in neurons for key in entry})
    merged = {name: _merge([entry.get(name, "none") for entry in neurons]) for name in names}
    taps = [
        {str(d): p for d, p in zip(layer.taps.spans, layer.taps.weights.tolist(), strict=True)}
        for layer in run.layers
    ]
    steps, batch = run.outputs.shape[:2]
    data: dict[str, Any] = {
        "task": "tensors",
        "task_source": "given as tensors",
        **(provenance or {}),
        "steps": steps,
        "batch": batch,
    }
    own: dict[str, Any] = {
        "recurrence": _merge([str(spec) for spec in net.recurrences]),
        "p": json.dumps(taps[0] if all(entry == taps[0] for entry in taps) else taps),
        "span_mode": run.span_mode.value,
        "loss_placement": loss_placement,
        "hidden": ",".join(map(str, net.hidden)),
        "mode": "training" if net.training else "evaluation",
        "norm": "none" if net.norm is None else net.norm.label,
        "dropout": net.dropout,
        "recurrent_gain": net.recurrent_gain,
        "network_seed": net.seed,
        "dtype": str(net.dtype).removeprefix("torch."),
        "engine": run.engine,
        "versions": json.dumps(package_versions()),
        "commit": source_commit(),
    }
    known = {f.name for f in fields(Conventions)}
    return Conventions(**{key: value for key, value in {**data, **merged, **own}.items() if key in known})


def _learned(spec: Neuron, dynamics: Dynamics) -> dict[str, str | float]:
    """Return what a neuron that learns has learned: the specification holds the values at the start only."""
    if "neuron_parameters" not in spec.conventions():
        return {}
    values = (dynamics.leak, dynamics.threshold, dynamics.multiplied)
    # a float32 parameter has seven digits; more would be noise of the conversion
    digits = 7 if dynamics.leak.dtype == torch.float32 else 15
    decay, threshold, multiplied = (float(f"{float(v.detach().double().mean()):.{digits}g}") for v in values)
    learned: dict[str, str | float] = {"decay": decay, "threshold": threshold}
    return {**learned, "reset": f"gated, gamma {multiplied:g}"} if isinstance(spec, GLIF) else learned


def _merge(values: list[Any]) -> Any:
    """Return the one value all layers share, or all of them joined."""
    return values[0] if all(value == values[0] for value in values) else " | ".join(map(str, values))


def package_versions() -> dict[str, str]:
    """Return the versions of gradflow and of the packages its numbers rest on."""
    return {name: _version(name) for name in PACKAGES}


@lru_cache
def _version(name: str) -> str:
    """Return a package's version, looked up once."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


@lru_cache(maxsize=1)
def source_commit() -> str:
    """Return the git commit of gradflow's own checkout, with `+changes` if it is dirty; else `none`."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return "none"
    try:
        head = _git(root, "rev-parse", "HEAD")
        return head + ("+changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return "none"


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
