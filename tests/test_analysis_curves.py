"""The envelope and the band: against their definitions, one lag at a time."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import gradflow.analysis
import gradflow.theory
from gradflow.analysis import curve_band, envelope
from gradflow.analysis.curves import log_quantile

LOGS = st.floats(-1e3, 1e3) | st.just(-np.inf)


@given(arrays(np.float64, array_shapes(max_dims=3, max_side=6), elements=LOGS))
def test_the_envelope_is_the_largest_value_still_to_come(curves):
    env = envelope(curves)
    for lag in range(curves.shape[-1]):
        np.testing.assert_array_equal(env[..., lag], curves[..., lag:].max(axis=-1))


def test_the_envelope_of_an_exact_comb_is_the_level_of_the_next_tooth():
    lag = np.arange(23)
    comb = np.where(lag % 5 == 0, -0.2 * lag, -np.inf)
    expected = np.where(lag <= 20, -0.2 * 5 * np.ceil(lag / 5), -np.inf)
    np.testing.assert_array_equal(envelope(comb), expected)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_the_envelope_refuses_what_is_no_log_norm(wrong):
    with pytest.raises(ValueError, match="1 of 2 entries are NaN or"):
        envelope(np.array([0.0, wrong]))


@given(arrays(np.float64, (2, 5), elements=st.floats(-1e3, 1e3)), st.floats(0, 1))
def test_a_quantile_of_finite_values_is_that_of_numpy(values, q):
    np.testing.assert_allclose(
        log_quantile(values, q), np.quantile(values, q, axis=-1), rtol=1e-12, atol=1e-9
    )


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [
        ([-np.inf, -np.inf, -2.0], 0.5, -np.inf),
        ([-np.inf, -2.0], 0.5, -np.inf),
        ([-np.inf, -2.0], 1.0, -2.0),
        ([-np.inf, -2.0, -1.0], 0.5, -2.0),
        ([-4.0], 0.3, -4.0),
    ],
)
def test_a_quantile_among_exact_zeros(values, q, expected):
    assert log_quantile(np.array(values), q).item() == expected


@pytest.mark.parametrize(("values", "q"), [([1.0], -0.1), ([1.0], 1.1), ([], 0.5)])
def test_a_quantile_that_does_not_exist(values, q):
    with pytest.raises(ValueError, match="expected 0 <= q <= 1 and values"):
        log_quantile(np.array(values), q)


@pytest.fixture
def prod():
    lag = np.arange(7)
    noise = np.random.default_rng(3).normal(size=(2, 3, 4, 7))
    curves = xr.DataArray(
        -0.3 * lag + noise, {"lag": lag, "seed": [5, 6]}, ["seed", "layer", "sample", "lag"]
    )
    return xr.Dataset({"log_frobenius": curves, "log_spectral": curves - 1.0}, attrs={"task": "digits"})


def test_the_band_pools_samples_and_seeds(prod):
    band = curve_band(prod)
    pooled = prod.log_frobenius.values.transpose(1, 3, 0, 2).reshape(3, 7, 8)
    assert band.centre.dims == ("layer", "lag")
    np.testing.assert_allclose(band.centre, np.median(pooled, -1))
    np.testing.assert_allclose(band.low, np.quantile(pooled, 0.1, axis=-1))
    np.testing.assert_allclose(band.high, np.quantile(pooled, 0.9, axis=-1))
    np.testing.assert_array_equal(band.envelope, envelope(band.centre.values))
    assert band.attrs["task"] == "digits"
    assert "seed" not in band.coords


def test_the_band_keeps_every_other_dimension(prod):
    both = xr.concat([prod, prod - 2.0], xr.Variable("recurrence", ["vanilla", "skip:4"]))
    band = curve_band(both, variable="log_spectral", over=["sample"], quantiles=(0.0, 1.0))
    assert dict(band.sizes) == {"recurrence": 2, "seed": 2, "layer": 3, "lag": 7}
    one = band.sel(recurrence="skip:4", seed=6)
    np.testing.assert_allclose(one.high, both.log_spectral.sel(recurrence="skip:4", seed=6).max("sample"))


def test_the_band_keeps_holes_and_warns_of_nothing():
    curves = np.array([[0.0, -np.inf, -1.0, -np.inf], [0.0, -np.inf, -3.0, -4.0]])
    prod = xr.Dataset({"log_frobenius": (("sample", "lag"), curves)}, {"lag": range(4)})
    band = curve_band(prod)
    assert band.centre.values.tolist() == [0.0, -np.inf, -2.0, -np.inf]
    assert band.envelope.values.tolist() == [0.0, -2.0, -2.0, -np.inf]


@pytest.mark.parametrize("over", [["lag"], ["epoch"]])
def test_the_band_refuses_to_pool_what_is_not_there(prod, over):
    with pytest.raises(ValueError, match="expected dimensions among"):
        curve_band(prod, over=over)


@pytest.mark.parametrize("package", [gradflow.analysis, gradflow.theory])
def test_arrays_in_and_arrays_out_no_network(package):
    allowed = {"numpy", "scipy", "xarray", "jaxtyping", *sys.stdlib_module_names}
    own_names = ("analysis", "theory", "seeds", "links", "results")  # arrays alone
    families = tuple(f"gradflow.{name}" for name in own_names)
    for file in Path(package.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                own = name.startswith(families)
                assert own or name.split(".")[0] in allowed, f"{file.name} imports {name}"
