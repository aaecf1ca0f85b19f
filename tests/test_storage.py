"""Files: what goes in comes out, what is damaged is refused, and what was there is never lost."""

import warnings

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import gradflow as gf

EDGES = np.array([-np.inf, np.inf, np.nan, -0.0, 5e-324, 1e-310, np.finfo(float).max, np.pi])
VALUES = {
    "float64": EDGES,
    "float32": np.array([-np.inf, np.nan, -0.0, 1e-45, 3.4e38], dtype=np.float32),
    "int64": np.array([2**63 - 1, -(2**63), 0]),
    "uint8": np.array([0, 255], dtype=np.uint8),
    "bool": np.array([True, False]),
    "text": np.array(["", "a", "λ = ½ ∂L/∂u", "日本"]),
    "complex": np.array([1 - 2j, np.inf]),
    "scalar": np.float64(-np.inf),
    "empty": np.zeros((0, 3)),
    "large": np.where(np.arange(6000).reshape(60, 100) % 7, np.nan, -np.inf)[:, ::-1],
}


def files(folder):
    return [path.name for path in folder.iterdir()]


def back(data, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return gf.load(gf.save(data, folder / "data.nc"))


def assert_unchanged(again, data):
    assert again.identical(data)
    for name, variable in data.variables.items():
        assert again[name].dtype == variable.dtype
        if variable.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(again[name]), np.signbit(variable))


@pytest.mark.parametrize("kind", VALUES)
def test_values_come_back_bit_for_bit(kind, tmp_path):
    values = np.asarray(VALUES[kind])
    data = xr.Dataset({"x": ([f"axis_{i}" for i in range(values.ndim)], values, {"units": "seconds"})})
    assert_unchanged(back(data, tmp_path), data)


@given(
    hnp.arrays(
        st.sampled_from(["f8", "f4", "i8", "i4", "bool"]),
        hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4),
    )
)
def test_any_array_comes_back(tmp_path_factory, values):
    data = xr.Dataset({"x": ([f"axis_{i}" for i in range(values.ndim)], values)})
    assert_unchanged(back(data, tmp_path_factory.mktemp("any")), data)


def test_coordinates_and_attributes_come_back(tmp_path):
    data = xr.Dataset(
        {"∂L∂u": (("layer", "lag"), np.eye(2, 3), {"units": "nats", "long_name": "Größe"})},
        {
            "layer": [0, 7],
            "lag": ("lag", [1, 2, 5], {"units": "steps", "long_name": "lag T − t"}),
            "name": ("layer", ["vanilla", "skip:16"]),
            "rate": -0.5,
        },
        {"a": "λ=16", "empty": "", "n": 3, "x": 0.5, "minus": -np.inf, "long": "ü" * 70_000},
    )
    again = back(data, tmp_path)
    assert_unchanged(again, data)
    assert {key: type(value) for key, value in again.attrs.items()} == {
        key: type(value) for key, value in data.attrs.items()
    }
    assert again.lag.dtype == np.int64
    assert set(again.coords) == set(data.coords)


def test_nan_and_lists_as_attributes(tmp_path):
    again = back(xr.Dataset(attrs={"nan": np.nan, "list": [1.5, 2.0], "words": ["a", "é"]}), tmp_path)
    assert np.isnan(again.attrs["nan"])
    np.testing.assert_array_equal(again.attrs["list"], [1.5, 2.0])
    assert list(again.attrs["words"]) == ["a", "é"]


@pytest.mark.parametrize("units", ["seconds", "days", "hours since 2000-01-01"])
def test_numbers_with_units_of_time_stay_numbers(units, tmp_path):
    data = xr.Dataset({"x": ("t", [0.5, 2.0], {"units": units}), "n": ("t", [1, 2], {"units": units})})
    assert_unchanged(back(data, tmp_path), data)


def test_no_number_is_declared_missing_to_other_readers(tmp_path):
    path = gf.save(xr.Dataset({"x": ("t", EDGES)}, {"t": np.arange(8.0)}), tmp_path / "a.nc")
    with h5py.File(path) as file:
        assert [name for name in file if "_FillValue" in file[name].attrs] == []


def test_packing_left_over_from_another_file_is_not_applied(tmp_path):
    encoding = {"dtype": "int16", "scale_factor": 0.1, "_FillValue": -1}
    data = xr.Dataset({"x": ("t", [0.123, -1.0], {}, encoding), "n": ("t", [1, 2], {}, {"_FillValue": 2})})
    again = back(data, tmp_path)
    assert_unchanged(again, data)
    assert again.x.encoding == {}


def test_large_arrays_are_compressed(tmp_path):
    path = gf.save(xr.Dataset({"x": ("t", np.zeros(200_000))}), tmp_path / "a.nc")
    assert path.stat().st_size < 200_000


def test_the_folder_is_made_and_the_path_returned(tmp_path):
    path = tmp_path / "one" / "two" / "ö.nc"
    assert gf.save(xr.Dataset({"x": 1.0}), str(path)) == path
    assert files(path.parent) == ["ö.nc"]
