"""Singular values and lag matrices between layers: against autograd, exact numbers and each layer's own."""

import math

import mpmath
import numpy as np
import pytest
import torch
import xarray as xr
from cases import TABLE, networks
from compare import assert_close, assert_equal
from exact import DIGITS
from hypothesis import given, settings
from hypothesis import strategies as st
from test_paths import layer
from test_stack import THREE, coupled, exact_rows, stacked

import gradflow as gf
from gradflow import lag_matrix, singular_values
from gradflow.jacobian.column import column_bytes
from gradflow.jacobian.dense import dense_stack
from gradflow.jacobian.spectrum import participation_ratio
from gradflow.transition import DenseTransition, LayerTransition, Transition

LONG = 1e-11  # a few hundred roundings of 1e-16 each
SMALLEST = math.log(2.0**-30)  # what is smaller beside the largest is not known


def check_values(net, x, target, *, leading=None, end=-1):
    """Assert that singular values of ∂u_m[T]/∂u_l[t] are numpy's of autograd's matrices, as far as known."""
    found = singular_values(net, x, target=target, leading=leading, end=end)
    for low in range(target + 1):
        P = dense_stack(net, x, end=end)[target, low]
        count = min(P.shape[2:]) if leading is None else leading
        with np.errstate(divide="ignore"):
            expected = np.log(np.linalg.svd(P, compute_uv=False))[..., :count]
        got = found.log_singular.sel(layer=low).values[..., :count]
        top = expected[..., :1]
        known = np.isfinite(got) & (top > -20)
        with np.errstate(invalid="ignore"):  # −∞ − (−∞)
            tolerance = 1e-14 * np.exp(np.where(known, top - expected, 0.0)) + 1e-10
        assert_close(
            np.where(known, got, 0), np.where(known, expected, 0), atol=tolerance.max(), why="1e-14 σ₁/σ"
        )
        lost = ~np.isfinite(got) & (top > -20)
        assert np.all(expected[lost] < (top + SMALLEST + 1).repeat(count, -1)[lost]), "the unknown is small"
        assert np.all(np.isneginf(got[P.any(axis=(2, 3)) == 0]))
        rank = np.minimum(P.any(axis=2).sum(-1), P.any(axis=3).sum(-1))
        assert np.all(found.rank_bound.sel(layer=low) >= np.linalg.matrix_rank(P))
        assert np.all(found.rank_bound.sel(layer=low) <= np.maximum(rank, P.shape[3] * (rank > 0)))
        ratio = participation_ratio(np.sort(expected, axis=-1)[..., ::-1])
        if leading is None:
            solid = np.isfinite(ratio) & (top[..., 0] > -20)
            got = found.participation.sel(layer=low).values
            assert_close(np.where(solid, got, 1), np.where(solid, ratio, 1), rtol=1e-9, why="sums of squares")
    return found


LINKED = [name for name in TABLE if len(TABLE[name].hidden) > 1 and not coupled(TABLE[name])]


@pytest.mark.parametrize("name", LINKED)
def test_singular_values_between_layers_are_those_of_autograd(name):
    check_values(TABLE[name].net(), TABLE[name].x(), 1)


@settings(max_examples=10)
@given(networks(), st.data())
def test_singular_values_of_any_network_are_those_of_autograd(case, data):
    if coupled(case):
        return
    end = data.draw(st.integers(-case.steps, case.steps - 1))
    check_values(case.net(), case.x(), data.draw(st.integers(0, len(case.hidden) - 1)), end=end)


def test_values_are_known_at_any_length():
    parts = layer(80, decay=1e-8, weights=(1e-8,)), layer(80, 4, decay=1e-8, weights=(1e-8,), seed=1)
    made = stacked(*parts)
    found = singular_values(made, target=-1, every=79)
    rows = exact_rows(made, 0, 79, 1, np.eye(4), lambda t: np.zeros((4, 4)))
    for low in range(2):
        P = rows[low][79]
        top = np.abs(P).max()
        with mpmath.workdps(DIGITS):
            values = np.linalg.svd((P / top).astype(float), compute_uv=False)
            expected = np.log(values) + float(mpmath.log(top))
        got = found.log_singular.sel(layer=low, lag=79, sample=0).values[: len(values)]
        known = np.isfinite(got)
        assert known[0]
        assert_close(got[known], expected[known], atol=1e-6, why="1e-15 σ₁/σ, σ down to 2⁻³⁰ σ₁")
    assert found.log_singular.sel(lag=79)[..., 0].max() < -745.2  # float64 has nothing left here


def test_a_layer_with_itself_has_its_own_values():
    made = stacked(layer(40, 5, spans=(3,), spread=0.5), layer(40, 4, spread=0.5), norm=True)
    found, alone = singular_values(made, target=1, every=3), singular_values(made, every=3)
    own, expected = (data.log_singular.sel(layer=1, index=slice(0, 3)) for data in (found, alone))
    known = np.isfinite(own) & np.isfinite(expected)
    assert known.sum() > 25
    assert_close(
        own.where(known, 0), expected.where(known, 0), atol=1e-5, why="1e-15 σ₁/σ, σ down to 2⁻³⁰ σ₁"
    )
    assert found.attrs["target"] == 1
    assert "target" not in alone.attrs
    few = singular_values(made, target=1, every=3, leading=2)
    assert_equal(few.log_singular, found.log_singular.sel(index=[0, 1]))


def test_the_gradient_of_a_last_step_turns_into_the_leading_direction_in_every_layer():
    """Layers of different sizes: the gradient is given as `record` keeps it, one array a layer."""
    net = gf.RecurrentSNN(
        gf.Sizes(2, 3, 40), hidden=(6, 4), neuron=gf.LIF(surrogate=gf.Sigmoid()), readout="last", seed=3,
        dtype=torch.float64,
    )  # fmt: skip
    x = torch.from_numpy(2.0 * gf.seeds.normal(0, "spectra", shape=(40, 2, 2)))
    batch = gf.Batch(x, torch.zeros(2, dtype=torch.int64))
    rec = gf.record(net, batch, keep=gf.Keep.TENSORS)
    gradient = [rec[f"grad_u_layer_{k}"].values for k in range(2)]
    found = singular_values(net, batch, target=1, leading=1, gradient=gradient).gradient_angle
    dense = dense_stack(net, batch)
    for low in range(2):
        right = np.linalg.svd(dense[1, low])[2][:, :, 0]
        g = np.moveaxis(gradient[low][::-1], 0, 1)
        cosine = np.abs((right * g).sum(-1)) / np.linalg.norm(g, axis=-1)
        expected = np.arccos(np.minimum(cosine, 1.0))[:, 1:]
        assert_close(
            found.sel(layer=low)[:, 1:], expected, atol=1e-5, why="arccos near 1 has half the digits"
        )
    assert np.all(found[..., -1] < 0.3)
    own = singular_values(net, batch, leading=1, gradient=gradient)
    assert own.gradient_angle.sizes == {"layer": 2, "sample": 2, "lag": 40}


def test_empty_windows_are_counted_at_the_step_that_loses_them():
    base = layer(21, 4, spread=0.2)
    a, phi = base.a.copy(), base.phi.copy()
    a[8, 0, 1:], phi[8, 0, 1:] = 0.0, 0.0  # three neurons have just fired, and reset to nothing
    phi[20, 0, 2] = 0.0  # at T itself only layers below are read through φ
    reset = LayerTransition(a, phi, base.V)
    above = layer(21, 4, spread=0.2, seed=1)
    alone = singular_values(Transition((reset,)))
    assert alone.no_window.values.ravel().tolist() == [0.0] * 12 + [3.0] + [0.0] * 8
    assert alone.rank_bound.values.ravel().tolist() == [4.0] * 12 + [1.0] * 9
    assert np.isneginf(alone.log_singular[0, 0, 12:]).sum() == 3 * 9
    found = singular_values(stacked(reset, above, inputs=2), target=1).sel(layer=0)
    assert found.no_window.values.ravel().tolist() == [1.0] + [0.0] * 11 + [3.0] + [0.0] * 8
    assert found.rank_bound[0, 12] == 1
    dense = DenseTransition(np.eye(3)[None, None] * np.array([1.0, 0.0, 2.0]))
    assert singular_values(Transition((dense,))).no_window.values.ravel().tolist() == [0.0, 1.0]


def check_lags(source, x, target):
    """Assert that every end's rows are those of its own products through the stack."""
    found = lag_matrix(source, x, target=target, probes=0)
    for end in found.end.values:
        expected = gf.stack_products(source, x, end=int(end), norms=("frobenius",)).log_frobenius
        row = found.log_frobenius.sel(end=end)
        assert_close(
            row[..., : end + 1], expected.sel(target=target, layer=found.layer), atol=LONG, rtol=1e-13,
            why="rounding per step",
        )  # fmt: skip
        assert np.all(np.isnan(row[..., end + 1 :]))
    return found


@settings(max_examples=6)
@given(networks(), st.data())
def test_every_end_of_any_network_is_that_of_its_own_products(case, data):
    if not coupled(case):
        check_lags(case.net(), case.x(), data.draw(st.integers(0, len(case.hidden) - 1)))


def test_lag_matrices_through_three_layers_and_at_any_length():
    check_lags(THREE.net(), THREE.x(), 2)
    made = stacked(layer(14, decay=1e-40, weights=(1e-30,)), layer(14, 2, decay=1e-40, weights=(1e-30,)))
    found = check_lags(made, None, 1)
    assert found.log_frobenius.where(np.isfinite(found.log_frobenius)).min() < -745.2
    assert found.attrs["target"] == 1
    assert found.log_average.dims == ("layer", "sample", "lag")


WIDE = stacked(layer(24, 12, spans=(2,), samples=20, spread=0.5), layer(24, 10, samples=20, spread=0.5))


def test_probes_are_unbiased_with_the_error_that_is_stated():
    m, ends = 40, (5, 11, 17, 23)
    exact, found = (lag_matrix(WIDE, target=1, ends=ends, probes=probes) for probes in (0, m))
    squares = np.exp(2 * (found.log_frobenius - exact.log_frobenius)).sel(layer=0)
    score = ((squares - 1) / (2 * found.standard_error.sel(layer=0))).values
    alive = np.isfinite(score)
    means = np.nanmean(np.where(alive, squares.values - 1, np.nan), axis=2).ravel()
    assert means.size == 80  # independent pairs of sample and end, each with correlated lags
    assert abs(means.mean()) < 4 * means.std(ddof=1) / math.sqrt(means.size)
    # the square of a score has mean 1 for a Gaussian; skew at m = 40 widens it, by less than half
    assert 0.7 < np.mean(score[alive] ** 2) < 1.5
    own = lag_matrix(WIDE, ends=ends, probes=m)
    got, expected = (data.log_frobenius.sel(layer=1).fillna(0.0) for data in (found, own))
    assert_close(got, expected, atol=1e-12, why="the same probes")


def test_ends_and_samples_in_chunks_are_those_at_once():
    made = stacked(layer(12, 4, samples=3), layer(12, 3, spans=(2,), samples=3))
    for rows in (3 * 2, 50):
        found = lag_matrix(made, target=1, probes=2, memory_budget=rows * column_bytes(made, 1, 11))
        xr.testing.assert_allclose(found, lag_matrix(made, target=1, probes=2), rtol=1e-12, atol=1e-12)


def test_what_cannot_be_measured_is_refused():
    dense = Transition((DenseTransition(np.ones((3, 1, 2, 2))),))
    for function in (lag_matrix, singular_values):
        with pytest.raises(ValueError, match=r"\(target=2\): expected a layer, −2 … 1"):
            function(WIDE, target=2)
        with pytest.raises(ValueError, match="no links between its layers: it was made without any"):
            function(dense, target=0)
    with pytest.raises(ValueError, match="leading=11: layer 0 has 10 neurons that count"):
        singular_values(WIDE, target=1, leading=11)
