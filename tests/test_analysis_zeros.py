"""Zeros: the lag from which nothing but zeros is left, for each reason."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gradflow.analysis import exact_zero_lag, first_exact_zero, zero_summary


@given(st.lists(st.sampled_from([0.0, 5e-324, 1.0]), min_size=1, max_size=12))
def test_the_first_exact_zero_is_what_its_definition_says(norms):
    expected = next((n for n in range(len(norms)) if not any(norms[n:])), np.nan)
    np.testing.assert_array_equal(first_exact_zero(np.array(norms)), expected)


def test_a_float32_norm_is_zero_where_float32_says_so():
    norms = np.exp(-np.arange(200.0)).astype(np.float32)
    # half the smallest subnormal, 2^-150 = e^-103.97, is the last that rounds to something else than 0.
    assert first_exact_zero(norms).item() == 104.0


@pytest.mark.parametrize("norms", [[1.0, np.nan], [-1.0, 0.0], []])
def test_norms_are_norms(norms):
    with pytest.raises(ValueError, match="expected norms >= 0"):
        first_exact_zero(np.array(norms))


def test_labelled_norms_along_time_are_read_backwards():
    norms = np.array([[0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0]])
    array = xr.DataArray(norms, {"time": [10, 11, 12, 13], "layer": [0, 1]}, ["layer", "time"])
    np.testing.assert_array_equal(exact_zero_lag(array), [2.0, np.nan])
    along_lag = xr.DataArray(norms[:, ::-1], {"lag": range(4)}, ["layer", "lag"])
    np.testing.assert_array_equal(exact_zero_lag(along_lag), [2.0, np.nan])


def test_labelled_norms_need_a_coordinate():
    with pytest.raises(ValueError, match="no coordinate 'lag'"):
        exact_zero_lag(xr.DataArray([1.0, 0.0], dims="time"))


def shares(structural, float32, float64):
    """One layer, one row a sample."""
    rows = {"structural": structural, "float32": float32, "float64": float64}
    table = {f"share_{name}": (("layer", "sample", "lag"), np.array([row])) for name, row in rows.items()}
    return xr.Dataset(table, {"lag": np.arange(len(structural[0]))}, {"task": "digits"})


def test_the_two_kinds_of_zero_are_counted_apart():
    prod = shares(
        structural=[[0.0, 1.0, 0.2, 0.3, 1.0], [0.0, 0.0, 0.5, 0.5, 1.0]],
        float32=[[0.0, 0.0, 0.8, 0.7, 0.0], [0.0, 0.1, 0.1, 0.5, 0.0]],
        float64=[[0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.5, 0.0]],
    )
    summary = zero_summary(prod)
    assert summary.lag_float32_samples.values.tolist() == [[1.0, 3.0]]
    assert summary.lag_float32.values.tolist() == [3.0]
    assert summary.lag_float64_samples.values.tolist() == [[4.0, 3.0]]
    assert summary.lag_float64.values.tolist() == [4.0]
    assert summary.lag_structural_samples.values.tolist() == [[4.0, 4.0]]
    np.testing.assert_allclose(summary.share_structural[0], [0.0, 0.5, 0.35, 0.4, 1.0])
    np.testing.assert_allclose(summary.share_float32[0], [0.0, 0.05, 0.45, 0.6, 0.0])
    assert summary.attrs["task"] == "digits"


def test_zeros_that_never_come_are_nan_and_further_dimensions_stay():
    some = [[0.0, 0.5]]
    one = zero_summary(xr.concat([shares(some, some, some), shares(some, [[0.0, 0.4]], some)], "seed"))
    assert one.lag_float32.dims == ("seed", "layer")
    np.testing.assert_array_equal(one.lag_float32, [[1.0], [np.nan]])
    np.testing.assert_array_equal(one.lag_structural, [[np.nan], [np.nan]])


def test_thirds_of_a_matrix_add_up_to_all_of_it():
    # 1/49 · 3 + 1/49 · 46 is not exactly 1 in binary
    prod = shares([[0.0, 3 * (1 / 49)]], [[0.0, 46 * (1 / 49)]], [[0.0, 0.0]])
    assert zero_summary(prod).lag_float32.item() == 1.0


@pytest.mark.parametrize("wrong", [-0.1, 1.5])
def test_shares_are_shares(wrong):
    with pytest.raises(ValueError, match="expected 0 to 1"):
        zero_summary(shares([[0.0, wrong]], [[0.0, 0.0]], [[0.0, 0.0]]))
