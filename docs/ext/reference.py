"""The reference: every public name of every package, each described once, under the shortest name it has."""

import ast
import inspect
import pkgutil
import re
from collections.abc import Iterator
from enum import Enum
from importlib import import_module
from pathlib import Path
from types import ModuleType

from docstrings import escaped, rewritten

import gradflow

GROUPS = {
    "Network": ("network", "neurons", "recurrence", "surrogate", "norms", "readout", "links"),
    "Measurement": ("conventions", "recording", "storage", "transition", "jacobian"),
    "Analysis and theory": ("analysis", "predicting", "flossing"),
    "Tasks": ("tasks",),
    "In notebooks": ("results", "bars"),
}
"""The names of `gradflow` itself, by the module they come from."""
EXTENDING = {
    "gradflow.surrogate": ("Surrogate",),
    "gradflow.recurrence": ("Recurrence", "SpanParameters", "AdaptiveSpanParameters", "Taps"),
    "gradflow.tasks.memory": ("Generated",),
    "gradflow.figures.registry": ("FigureSpec", "Config", "Claim"),
    "gradflow.figures.cells": ("CellConfig",),
    "gradflow.figures.make": ("make", "Made"),
}
"""What one derives from or calls to add a part, though no package exports it."""
COMMAND = "gradflow.cli"
FREE = ("gradflow.seeds",)
"""Public modules that are used as they are, without a list of names."""


def packages() -> list[str]:
    """Return `gradflow` and all packages in it that say which names are public."""
    inside = [f"gradflow.{m.name}" for m in pkgutil.iter_modules(gradflow.__path__) if m.ispkg]
    public = [name for name in inside if name != COMMAND and hasattr(import_module(name), "__all__")]
    return ["gradflow", *public]


def public_names() -> dict[str, list[str]]:
    """Return the public names of every package."""
    return {package: list(import_module(package).__all__) for package in packages()}


def pages() -> Iterator[tuple[str, str]]:
    """Yield the reference's pages: one a package, one for those who extend the library, and their list."""
    described: dict[int, str] = {}
    titles = []
    for package, names in public_names().items():
        titles.append(package)
        yield f"reference/{package}.rst", _page(package, _sections(package, names), described)
    extending = {module: list(names) for module, names in EXTENDING.items()}
    title = "To be derived from"
    yield "reference/extending.rst", _heading(title, "=") + _body(extending, described)
    for module in FREE:
        titles.append(module)
        text = _heading(module, "=") + f".. automodule:: {module}\n   :members:\n"
        yield f"reference/{module}.rst", text
    rows = [(f":py:mod:`{name}`", _first(import_module(name).__doc__)) for name in titles]
    rows.append((":doc:`extending`", "Base classes and functions with which parts are added."))
    toc = "".join(f"   {name}\n" for name in (*titles, "extending"))
    intro = (
        "Data flows one way: task → network → engine → recording → analysis and theory → plots → figures.\n"
        "Every name is described once, under the shortest name it has. Arrays have the axes\n"
        "``time batch neuron``; rates are in nats per step.\n\n"
    )
    yield (
        "reference/index.rst",
        f"{_heading('Reference', '=')}{intro}{_table(rows)}\n.. toctree::\n   :hidden:\n\n{toc}",
    )


def _sections(package: str, names: list[str]) -> dict[str, list[str]]:
    """Return a package's names under headings: `gradflow` has some, other packages one without a word."""
    if package != "gradflow":
        return {package: names}
    homes = {name: home.rpartition(".")[2] for name, home in gradflow._WHERE.items()}
    found = {title: [n for h in wanted for n in names if homes[n] == h] for title, wanted in GROUPS.items()}
    found["Packages"] = [name for name in names if homes[name] == "gradflow"]
    others = [name for name in names if name not in set().union(*found.values())]
    return found | ({"Others": others} if others else {})


def _page(package: str, sections: dict[str, list[str]], described: dict[int, str]) -> str:
    module = import_module(package)
    text = _heading(package, "=") + f".. py:module:: {package}\n\n"
    text += "\n".join(rewritten(inspect.cleandoc(module.__doc__ or "").split("\n"))) + "\n"
    for title, names in sections.items():
        text += (_heading(title, "-") if len(sections) > 1 else "") + _body({package: names}, described)
    return text


def _body(names: dict[str, list[str]], described: dict[int, str]) -> str:
    """Return a table of the names, and below it what has been described on no page before."""
    rows, entries = [], []
    for package, wanted in names.items():
        for name in wanted:
            value = getattr(import_module(package), name)
            full = f"{package}.{name}"
            if isinstance(value, ModuleType):
                rows.append((f":py:mod:`{name} <{value.__name__}>`", _first(value.__doc__)))
                continue
            known = described.get(id(value)) if callable(value) else None
            doc = value.__doc__ if callable(value) else _constant_doc(package, name)
            # an anchor of its own, so that the name is found under this package too
            anchor = f':raw-html:`<span id="{full}"></span>`' if known else ""
            rows.append((f"{anchor}:py:obj:`{name} <{known or full}>`", _first(doc)))
            if known is None:
                described[id(value)] = full
                entries.append(_entry(package, name, value))
    return _table(rows) + "\n" + "\n".join(entries) + "\n"


def _entry(package: str, name: str, value: object) -> str:
    full = f"{package}.{name}"
    if inspect.isclass(value):
        options = "   :members:\n   :show-inheritance:\n"
        if issubclass(value, Enum):
            options += "   :undoc-members:\n"
        fields = getattr(value, "_fields", ())
        if fields:
            options += f"   :exclude-members: {', '.join(fields)}\n"
        return f".. autoclass:: {full}\n{options}"
    if callable(value):
        return f".. autofunction:: {full}\n"
    said = "\n".join("   " + line for line in rewritten(_constant_doc(package, name).split("\n")))
    return f".. py:data:: {name}\n   :module: {package}\n\n{said}\n"


def _constant_doc(package: str, name: str) -> str:
    """Return the string below the assignment of a constant, in the module in which it is assigned."""
    module = import_module(package)
    tree = ast.parse(Path(inspect.getfile(module)).read_text())
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            return _constant_doc(str(node.module), name)
    for node, after in zip(tree.body, tree.body[1:], strict=False):
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and after.value.value
        if isinstance(target, ast.Name) and target.id == name and isinstance(said, str):
            return inspect.cleandoc(said)
    return f"The value `{getattr(module, name)!r}`."


def _first(doc: str | None) -> str:
    """Return the first sentence of a docstring, as reStructuredText."""
    paragraph = " ".join((doc or "").strip().split("\n\n")[0].split())
    sentence = re.split(r"(?<!et al)(?<=[\w)\]`])\.(?:\s|$)|:$", paragraph)[0].rstrip(":")
    return escaped(f"{sentence}.") if sentence else ""


def _table(rows: list[tuple[str, str]]) -> str:
    head = ".. list-table::\n   :widths: 30 70\n   :class: names\n\n"
    return head + "".join(f"   * - {name}\n     - {said}\n" for name, said in rows)


def _heading(title: str, line: str) -> str:
    """Return a title; the page's own is preceded by the role in which anchors are written."""
    role = ".. role:: raw-html(raw)\n   :format: html\n\n" if line == "=" else ""
    return role + f"{title}\n{line * len(title)}\n\n"
