"""The public names: each resolves, to the thing of that name, and none costs time before it is used."""

import importlib
import pickle
import pkgutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

import gradflow as gf


@pytest.mark.parametrize("name", gf.__all__)
def test_every_public_name_resolves(name):
    value = getattr(gf, name)
    assert value.__name__.rpartition(".")[2] == name
    assert value.__doc__
    if not isinstance(value, types.ModuleType):
        assert getattr(importlib.import_module(value.__module__), name) is value
        assert pickle.loads(pickle.dumps(value)) is value


def test_the_list_of_names_is_whole_and_sorted_as_ruff_sorts_it():
    assert set(gf.__all__) == set(gf._WHERE)
    assert set(gf.__all__) <= set(dir(gf))


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'gradflow' has no attribute 'recrod'"):
        gf.recrod  # noqa: B018
    assert not hasattr(gf, "__wrapped__")


def python(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.split()


def test_importing_gradflow_imports_nothing_heavy():
    heavy = "torch numpy scipy xarray pandas matplotlib seaborn numba h5netcdf mlxtend rich typer jaxtyping"
    code = f"import sys, gradflow; print(*[name for name in {heavy!r}.split() if name in sys.modules])"
    assert python(code) == []


def test_a_name_brings_its_module_and_no_figures():
    loaded = "*[name for name in ('torch', 'matplotlib') if name in sys.modules]"
    code = f"import sys, gradflow; gradflow.Skip; print({loaded})"
    assert python(code) == ["torch"]


@pytest.mark.parametrize("floor", ["gradflow.analysis", "gradflow.theory", "gradflow.plots"])
def test_arrays_know_no_network(floor):
    """Design §4: analysis, theory and plots import neither network nor engine; nor torch."""
    code = f"import sys, {floor}; print(*[m for m in sys.modules if m.startswith(('gradflow.', 'torch'))])"
    loaded = set(python(code))
    assert floor in loaded
    assert not {m for m in loaded if m.startswith(("gradflow.network", "gradflow.engine", "gradflow.layer"))}


MODULES = [module.name for module in pkgutil.walk_packages(gf.__path__, "gradflow.")]
IMPORTS = Path(__file__).with_name("imports.py")


def imported_first(root, package):
    """Return the modules that `imports.py` could import first, and the last line of its error."""
    done = subprocess.run(
        [sys.executable, IMPORTS, root, package], capture_output=True, text=True, check=False, timeout=120
    )
    return done.stdout.split(), done.stderr.strip().rpartition("\n")[2]


def test_every_module_can_be_imported_first():
    """No import circle, whatever is imported first.

    By `imports.py`, which executes imports alone; what else modules do when imported runs for the doctests.
    """
    assert {"gradflow.recording", "gradflow.jacobian.dense", "gradflow.layer"} <= set(MODULES)
    found, error = imported_first(Path(gf.__file__).parent.parent, "gradflow")
    assert error == ""
    assert sorted(found) == sorted(["gradflow", *MODULES])


@pytest.mark.parametrize(
    ("first", "second", "error"),
    [
        ("from p.two import Y\nX = 1", "from p.one import X\nY = 2", "cannot import name 'X' from 'p.one'"),
        # in this order alone: one binds X before it asks for Y
        ("X = 1\nfrom p.two import Y", "from p.one import X\nY = 2", "cannot import name 'Y' from 'p.two'"),
        ("import numpy\nif True:\n    from p.two import Y\n", "from p.one import Z\nY = 2", "name 'Z' from"),
        ("X = 1\nfrom p.two import Y", "def f():\n    from p.one import X\nY = 2", ""),
        ("if TYPE_CHECKING:\n    from p.two import Y\nX = 1", "from p.one import X\nY = 2", ""),
    ],
)
def test_a_circle_would_be_found(first, second, error, tmp_path):
    package = tmp_path / "p"
    package.mkdir()
    for name, text in (("__init__", ""), ("one", first), ("two", second)):
        (package / f"{name}.py").write_text(text)
    found, said = imported_first(tmp_path, "p")
    assert error in said
    assert (found == ["p", "p.one", "p.two"]) == (not error)
