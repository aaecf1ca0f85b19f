"""The residual between theory and measurement."""

import math

import numpy as np
import pytest
import xarray as xr

from gradflow.analysis import fit_decay
from gradflow.theory import curve_residual, residual

LAG = np.arange(50)


def measured(rates, dims=("layer", "sample")):
    array = xr.DataArray(np.asarray(rates)[..., None] * LAG, {"lag": LAG}, [*dims, "lag"])
    return array.to_dataset(name="log_frobenius")


def test_the_residual_of_the_rate():
    fit = fit_decay(measured([[-0.20, -0.22], [-0.1, -0.1001]]))
    theory = xr.Dataset({"rate": ("layer", [-0.189, -0.2])}, attrs={"theory": "mean square"})
    left = residual(fit, theory)
    np.testing.assert_allclose(left.relative_error, [-0.1, 0.2 / 0.10005 - 1], rtol=1e-9)
    np.testing.assert_allclose(left.difference, [0.021, -0.09995], rtol=1e-9)
    assert left.inside.values.tolist() == [True, False]
    assert left.attrs["theory"] == "mean square"


def test_the_theory_is_pooled_where_the_fit_is():
    fit = fit_decay(measured(np.full((3, 1, 2), -0.2), ("seed", "layer", "sample")))
    theory = xr.Dataset({"rate": (("seed", "layer"), [[-0.1], [-0.2], [-0.3]])}, {"seed": [4, 5, 6]})
    left = residual(fit, theory)
    assert left.relative_error.dims == ("layer",)
    np.testing.assert_allclose(left.rate_theory, [-0.2])


def test_further_dimensions_are_kept():
    fit = fit_decay(measured(np.full((3, 1, 2), -0.2), ("recurrence", "layer", "sample")))
    theory = xr.Dataset({"rate": (("recurrence", "layer"), [[-0.1], [-0.2], [-0.3]])})
    np.testing.assert_allclose(residual(fit, theory).relative_error[:, 0], [-0.5, 0.0, 0.5], atol=1e-12)


@pytest.mark.parametrize("rate", [0.0, math.nan])
def test_nothing_is_relative_to_no_rate(rate):
    left = residual(xr.Dataset({"rate": rate}), xr.Dataset({"rate": -0.1}))
    assert math.isnan(left.relative_error.item())
    assert "inside" not in left


def test_a_missing_rate_is_named():
    with pytest.raises(ValueError, match="theory: has no variable 'rate'"):
        residual(xr.Dataset({"rate": -0.1}), xr.Dataset({"log_bound": -0.1}))


def test_the_residual_of_the_curve():
    prod = measured([[-0.2, -0.2, -0.4]])
    theory = xr.Dataset({"log_frobenius": (("layer", "lag"), [-0.2 * LAG + 1.5])}, {"lag": LAG})
    left = curve_residual(prod, theory)
    np.testing.assert_allclose(left.rms, [1.5])
    np.testing.assert_allclose(left.difference, np.full((1, 50), 1.5))
    assert (left.lags.item(), left.mismatched.item()) == (50, 0.0)


def test_holes_are_left_out_and_mismatches_are_counted():
    centre = [0.0, -np.inf, -2.0, -np.inf]
    prod = xr.Dataset({"log_frobenius": (("sample", "lag"), [centre])}, {"lag": range(4)})
    theory = xr.Dataset({"log_frobenius": ("lag", [0.0, -np.inf, -5.0, -1.0])}, {"lag": range(4)})
    left = curve_residual(prod, theory)
    assert left.rms.item() == pytest.approx(3 / math.sqrt(2))
    assert (left.lags.item(), left.mismatched.item()) == (2, 0.25)


def test_a_theory_for_each_seed_is_pooled_like_the_measurement():
    prod = measured(np.full((3, 1, 2), -0.2), ("seed", "layer", "sample"))
    theory = xr.Dataset(
        {"log_frobenius": (("seed", "layer", "lag"), np.outer([-0.1, -0.2, -9.0], LAG)[:, None])},
        {"lag": LAG},
    )
    left = curve_residual(prod, theory)
    assert left.rms.dims == ("layer",)
    np.testing.assert_allclose(left.rms, [0.0], atol=1e-12)
