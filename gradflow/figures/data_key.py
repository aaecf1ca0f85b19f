"""The key of a figure's data: it changes with the options, the code that computes, and what that rests on.

In the key: the figure's name and options; the SHA-256 of its module and of every module of gradflow that this
imports, directly or through others; the versions of the packages in `LIBRARIES`; the SHA-256 of the IDX files
in the options' folder. Not in it: what draws, prints and reports (`PASSED_OVER`, and the figures' `_picture`
modules), compiled caches, gradflow's version and commit, and the machine (engine, threads, GPU). Networks
that a figure trains are kept elsewhere, by their own keys.
"""

import ast
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from gradflow.conventions import package_versions
from gradflow.figures.registry import Config, FigureSpec

ROOT = Path(__file__).resolve().parent.parent
PASSED_OVER = (
    "gradflow.plots",
    "gradflow.cli",
    "gradflow.caches",
    "gradflow.progress",
    "gradflow.figures.registry",
    "gradflow.figures.names",
)
"""Packages and modules whose code changes no number."""
LIBRARIES = ("torch", "numpy", "numba", "xarray")
"""Packages whose versions are in the key: those that files tell of."""


def key_parts(spec: FigureSpec, config: Config) -> dict[str, Any] | None:
    """Return what the key of a figure's data is made of, readable.

    None where `compute` is not a function of a module, so that no source says what it does.
    """
    module = sys.modules.get(spec.compute.__module__)
    if module is None or getattr(module, spec.compute.__qualname__, None) is not spec.compute:
        return None
    versions = package_versions()
    return {
        "figure": spec.name,
        "config": config.model_dump(mode="json"),
        "code": sources(module),
        "versions": {name: versions[name] for name in LIBRARIES},
        "files": _files(getattr(config, "folder", None)),
    }


def key_of(parts: Mapping[str, Any]) -> str:
    """Return the key: the SHA-256 of its parts.

    >>> key_of({"figure": "decay-curves"})[:12]
    '5a3207c11aba'
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def data_key(spec: FigureSpec, config: Config) -> str:
    """Return the key of a figure's data, or "" where it has none."""
    parts = key_parts(spec, config)
    return "" if parts is None else key_of(parts)


def sources(module: ModuleType) -> dict[str, str]:
    """Return the SHA-256 of the source of a module and of all of gradflow that it computes with, by name."""
    found: dict[str, str] = {}
    waiting = [(module.__name__, Path(str(module.__file__)))]
    while waiting:
        name, path = waiting.pop()
        if name in found:
            continue
        digest, imported = _read(path)
        found[name] = digest
        waiting += [(other, source) for other in imported if (source := _path(other)) is not None]
    return dict(sorted(found.items()))


@cache
def _read(path: Path) -> tuple[str, tuple[str, ...]]:
    """Return the hash of a source, and the names it may import from gradflow."""
    source = path.read_bytes()
    return hashlib.sha256(source).hexdigest(), tuple(dict.fromkeys(_imported(ast.parse(source))))


def _imported(tree: ast.Module) -> Iterator[str]:
    """Yield every name that may be a module of gradflow, with the packages above it."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "gradflow":
                yield from (".".join(parts[:length]) for length in range(2, len(parts) + 1))


def _path(name: str) -> Path | None:
    """Return the source of a module that computes; None for one that does not, or that does not exist."""
    if any(name == other or name.startswith(f"{other}.") for other in PASSED_OVER):
        return None
    if name.startswith("gradflow.figures.") and name.endswith("_picture"):
        return None
    stem = ROOT.joinpath(*name.split(".")[1:])
    return next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)


def _files(folder: str | None) -> dict[str, str]:
    """Return the SHA-256 of the IDX files of a folder; what is missing or locked the task itself tells."""
    found = {}
    for path in sorted(Path(folder).glob("*ubyte*")) if folder else ():
        try:
            with path.open("rb") as content:
                found[path.name] = hashlib.file_digest(content, "sha256").hexdigest()
        except OSError:
            found[path.name] = "not readable"
    return found
