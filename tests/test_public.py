"""The public names: each resolves, to the thing of that name, and none costs time before it is used."""

import importlib
import pickle
import pkgutil
import subprocess
import sys
import types

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


def test_every_module_can_be_imported_first():
    """No import circle."""
    modules = [module.name for module in pkgutil.walk_packages(gf.__path__, "gradflow.")]
    assert {"gradflow.recording", "gradflow.jacobian.dense", "gradflow.layer"} <= set(modules)
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}:\n"
        "    for loaded in [m for m in sys.modules if m.startswith('gradflow')]: del sys.modules[loaded]\n"
        "    importlib.import_module(name); print(name)"
    )
    assert python(code) == modules
