"""What labelled functions say to datasets that are not what they expect."""

import numpy as np
import pytest
import xarray as xr

from gradflow.analysis import curve_band, fit_decay, horizon_at, zero_summary
from gradflow.analysis.schema import labelled, lag_values, ordered, span_weights, steps
from gradflow.theory import bound, curve_residual, mean_square


def dataset(**changes):
    lag = changes.pop("lag", np.arange(4))
    curve = changes.pop("curve", np.zeros((1, 1, 4)))
    prod = xr.Dataset({"log_frobenius": (("layer", "sample", "lag"), curve)})
    return prod if lag is None else prod.assign_coords(lag=lag)


LABELLED = [curve_band, fit_decay, horizon_at]


@pytest.mark.parametrize("function", [*LABELLED, lambda p: curve_residual(p, p)])
def test_a_missing_variable_is_named(function):
    with pytest.raises(ValueError, match="no variable 'log_frobenius', only \\['loss'\\]"):
        function(xr.Dataset({"loss": 1.0}))


@pytest.mark.parametrize("function", LABELLED)
def test_a_missing_lag_coordinate_is_named(function):
    with pytest.raises(ValueError, match="no coordinate 'lag'"):
        function(dataset(lag=None))


@pytest.mark.parametrize("function", LABELLED)
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_nan_is_refused(function, wrong):
    with pytest.raises(ValueError, match="log_frobenius: 4 of 4 entries are NaN or"):
        function(dataset(curve=np.full((1, 1, 4), wrong)))


@pytest.mark.parametrize("function", LABELLED)
@pytest.mark.parametrize(
    ("lag", "message"),
    [
        ([0, 2, 1, 3], "increasing"),
        ([0, 1, 1, 2], "increasing"),
        ([-1, 0, 1, 2], "whole numbers of steps >= 0"),
        ([0.0, 0.5, 1.0, 1.5], "whole numbers of steps"),
        (["a", "b", "c", "d"], "whole numbers of steps"),
    ],
)
def test_lags_that_make_no_sense(function, lag, message):
    with pytest.raises(ValueError, match=message):
        function(dataset(lag=lag))


def test_a_missing_dimension_is_named():
    with pytest.raises(ValueError, match=r"expected \['lag'\] among them"):
        labelled(dataset().isel(lag=0), "log_frobenius", "lag")


@pytest.mark.parametrize("function", [bound, mean_square, zero_summary])
def test_theory_and_zeros_name_what_is_missing(function):
    with pytest.raises(ValueError, match=r"no span weights|no variable"):
        function(dataset())


def test_a_moment_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="leak: has entries that are NaN or infinite"):
        labelled(xr.Dataset({"leak": ("layer", [np.nan])}), "leak")


def test_weights_of_spans_that_another_recurrence_has_are_zero():
    parts = [xr.Dataset({"p": ("span", [1.0])}, {"span": [d]}) for d in (1, 4)]
    both = xr.concat(parts, "recurrence", join="outer")
    weights, spans = span_weights(both)
    assert spans.tolist() == [1, 4]
    assert ordered(weights, "span").values.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_no_recurrence_has_no_spans():
    weights, spans = span_weights(xr.Dataset({"p": (("layer", "span"), np.zeros((2, 0)))}, {"span": []}))
    assert weights.shape == (2, 0)
    assert spans.shape == (0,)


def test_infinite_weights_are_refused():
    with pytest.raises(ValueError, match="infinite"):
        span_weights(xr.Dataset({"p": ("span", [np.inf])}, {"span": [1]}))


@pytest.mark.parametrize("wrong", [3, [[1]], [], [0], [1.5], [True]])
def test_spans_are_whole_steps(wrong):
    with pytest.raises(ValueError, match="spans: got"):
        steps(wrong, "spans", smallest=1)


def test_lags_need_not_be_without_gaps():
    assert lag_values(dataset(lag=[0, 2, 4, 8])).tolist() == [0, 2, 4, 8]
