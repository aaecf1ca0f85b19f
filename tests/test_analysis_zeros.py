"""Zeros: the lag from which nothing but zeros is left, for each reason."""

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import gradflow as gf
from gradflow.analysis import exact_zero_lag, first_exact_zero, zero_summary
from gradflow.transition import LayerTransition, Transition


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


def shares(structural, float32, float64, **further):
    """One layer, one row a sample."""
    rows = {"structural": structural, "float32": float32, "float64": float64, **further}
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


FORMATS = {"float16": -25, "bfloat16": -134, "float32": -150, "float64": -1075}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_zero_where_torch_rounds_to_zero(name):
    """A chain of halves, P(T,t) = 2^−n: half of the smallest subnormal number is a tie, and goes to zero."""
    steps = 1100
    halves = LayerTransition(np.full((steps, 1, 1), 0.5), np.zeros((steps, 1, 1)), np.zeros((1, 1)))
    prod = gf.jacobian_products(Transition((halves,)))
    found = zero_summary(prod)[f"lag_{name}"].item()
    assert found == -FORMATS[name]
    if name != "float64":
        rounded = torch.ldexp(torch.ones(1, dtype=torch.float64), torch.tensor(-found)).to(
            getattr(torch, name)
        )
        above = torch.ldexp(torch.full((1,), 1 + 2.0**-7, dtype=torch.float64), torch.tensor(-found))
        assert rounded.item() == 0.0
        assert above.to(getattr(torch, name)).item() != 0.0


def test_counts_of_real_products_are_those_of_casts():
    """Elements of whole matrices, cast to each format by torch; ratios keep them within float64."""
    random = np.random.default_rng(0)
    a, phi = random.uniform(0.05, 0.4, (60, 2, 5)), random.uniform(0, 0.3, (60, 2, 5))
    V = np.linalg.qr(random.normal(size=(5, 5)))[0]
    prod = gf.jacobian_products(Transition((LayerTransition(a, phi, V),)))
    P = np.broadcast_to(np.eye(5), (2, 5, 5))
    for lag in range(1, 60):
        t = 59 - lag
        P = P * a[t][:, None] + P @ V * phi[t][:, None]
        for name in ("float16", "bfloat16", "float32"):
            cast = torch.from_numpy(P).to(getattr(torch, name)) == 0
            expected = (cast.numpy() & (P != 0)).mean(axis=(1, 2))
            np.testing.assert_allclose(prod[f"share_{name}"][0, :, lag], expected, atol=1e-15)
    assert ((prod.share_float16 > 0) & (prod.share_float16 < 1)).any()
    assert prod.share_float16[0, :, -1].min() == 1 > prod.share_bfloat16[0, :, -1].max()


def test_formats_that_end_earlier_are_zero_earlier():
    half = [[0.0, 0.5, 1.0, 1.0]]
    prod = shares(
        [[0.0] * 4], [[0.0, 0.0, 0.5, 1.0]], [[0.0] * 4], float16=half, bfloat16=[[0.0, 0.0, 0.6, 1.0]]
    )
    summary = zero_summary(prod)
    assert summary.lag_float16.item() == 2.0
    assert summary.lag_bfloat16.item() == summary.lag_float32.item() == 3.0
    assert np.isnan(summary.lag_float64.item())


def test_files_from_before_a_format_was_counted_are_read():
    summary = zero_summary(shares([[0.0, 1.0]], [[0.0, 0.0]], [[0.0, 0.0]]))
    assert "lag_float16" not in summary
    assert summary.lag_float32.item() == 1.0


def test_a_dataset_without_any_format_is_refused():
    prod = shares([[0.0]], [[0.0]], [[0.0]]).drop_vars(["share_float32", "share_float64"])
    with pytest.raises(ValueError, match="no variable 'share_float64'"):
        zero_summary(prod)
