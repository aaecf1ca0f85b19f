"""Findings: numbers that are those of analysis and theory, warnings where something is wrong, refusals."""

import measured
import numpy as np
import pytest
import xarray as xr
from compare import assert_close

import gradflow as gf
from gradflow.findings import KINDS, findings, read_source
from gradflow.findings.layers import activity_warnings, growth_warnings, per_layer
from gradflow.train.watch import write_look

SAME = "the same function on the same data"


def changed(data, **attrs):
    return data.assign_attrs(attrs)


def test_products_give_the_numbers_of_analysis_and_theory():
    data = measured.products()
    rows = findings(data).rows
    fit = gf.fit_decay(data)
    for name in ("rate", "rate_low", "rate_high", "half_life", "horizon"):
        assert_close(rows[name].to_numpy(), fit[name].values, rtol=0, why=SAME)
    assert_close(rows.rate_mean_square.to_numpy(), gf.theory.mean_square(data).rate.values, rtol=0, why=SAME)
    upper = gf.theory.bound(data).rate.mean("sample").values
    assert_close(rows.rate_bound.to_numpy(), upper, rtol=1e-15, why=SAME)
    assert (rows.rate < rows.rate_bound).all()
    assert rows.layer.tolist() == [0, 1]
    assert rows.span.tolist() == [2.0, 2.0]
    assert (rows.last_lag == measured.STEPS - 1).all()


def test_a_neuron_path_alone_decays_by_its_leak():
    row = findings(measured.constant_products(a=0.5)).rows.iloc[0]
    assert_close(row.rate, np.log(0.5), rtol=1e-12, why="powers of two")
    assert_close(row.half_life, 1.0, rtol=1e-12, why="powers of two")
    assert_close(row.horizon, np.log(1e-3) / np.log(0.5), rtol=1e-12, why="a straight line")
    assert_close(row.rate_neuron_path, np.log(0.5), rtol=1e-15, why="the same number")
    assert_close(row.rate_bound, np.log(0.5), rtol=1e-12, why="no recurrence: bound and product are equal")


def test_the_level_moves_the_horizon():
    data = measured.constant_products(a=0.5)
    far, near = findings(data, 1e-6).rows.horizon[0], findings(data, 1e-3).rows.horizon[0]
    assert_close(far, 2 * near, rtol=1e-12, why="a straight line")


def test_a_product_that_underflows_says_from_which_lag():
    found = findings(measured.constant_products(a=0.125, steps=60))
    # 2⁻³ a step: at most half of the smallest float32, 2⁻¹⁵⁰, from lag 50 on
    assert found.rows.zero_float32[0] == 50.0
    assert (
        "layer 0: float32 backpropagation returns 0, by underflow or structure, from lag 50 on"
        in found.warnings
    )


def test_a_product_that_is_zero_by_structure_says_from_which_lag():
    found = findings(measured.constant_products(a=0.0, phi=0.0, steps=20))
    assert found.rows.zero_structural[0] == 1.0
    assert any("exactly zero by structure from lag 1 on" in line for line in found.warnings)
    assert any("no rate, fewer than 3 lags" in line for line in found.warnings)


def test_products_that_grow_and_an_empty_window_are_said():
    found = findings(measured.constant_products(a=1.1))
    assert any("grows by 0.0953 nats per step, the gradient explodes" in line for line in found.warnings)
    assert any("window is empty" in line for line in found.warnings)
    assert found.rows.half_life[0] == np.inf
    assert found.rows.horizon[0] == np.inf


def test_moments_of_another_run_are_found_out_by_the_bound():
    data = measured.products()
    assert not [line for line in findings(data).warnings if "bound" in line]
    wrong = data.assign(a_max=data.a_max / 4, V_spectral=data.V_spectral / 4)
    assert any("exceed their bound by" in line for line in findings(wrong).warnings)


def test_the_transfer_operators_rate_is_shown_where_it_was_recorded():
    transition = gf.local_jacobians(measured.network(), measured.batch())
    data = gf.jacobian_products(transition)
    assert "rate_transfer needs the run itself" in findings(data).notes[0]
    rate = gf.theory.transfer_operator(transition).rate
    found = findings(data.assign(rate_transfer=rate))
    assert_close(found.rows.rate_transfer.to_numpy(), rate.values, rtol=0, why=SAME)
    assert not found.notes


def test_products_without_factors_or_zeros_still_have_a_rate():
    data = measured.constant_products(a=0.5)[["log_frobenius"]].assign_attrs(kind="jacobian products")
    rows = findings(data).rows
    assert_close(rows.rate[0], np.log(0.5), rtol=1e-12, why="powers of two")
    assert not {"rate_bound", "window", "zero_float32"} & set(rows)


def test_a_record_with_the_loss_on_the_last_step_has_a_rate():
    lag = np.arange(measured.STEPS)[::-1]
    norms = np.exp(-0.25 * lag)[None, :, None] * np.array([1.0, 2.0, 4.0])
    data = xr.Dataset({"grad_u": (("layer", "time", "sample"), norms)}, {"layer": [0], "time": lag[::-1]})
    found = findings(data.assign_attrs(kind="record", loss_placement="last", p='{"1": 1.0}'))
    row = found.rows.iloc[0]
    assert_close(row.rate, -0.25, rtol=1e-12, why="straight lines")
    assert_close(row.horizon, np.log(1e3) / 0.25, rtol=1e-12, why="straight lines")
    assert_close(row.log10_first, np.log10(2.0) - 0.25 * 39 / np.log(10), rtol=1e-12, why="the median sample")
    assert_close(row.log10_last, np.log10(2.0), rtol=1e-12, why="the median sample")
    assert np.isnan(row.exact_zero)
    assert not found.warnings


def test_a_record_whose_loss_feeds_every_step_has_no_rate_and_says_why():
    found = findings(measured.record(loss="sum"))
    assert "rate" not in found.rows
    assert "the loss is placed on sum of the steps: it feeds every step directly" in found.notes[0]
    assert "rate" in findings(measured.record(loss="last")).rows


def test_a_gradient_that_is_zero_from_a_lag_on_says_so():
    data = measured.record(loss="last", hidden=(8,)).copy(deep=True)
    data["grad_u"][0, :10] = 0.0
    found = findings(data)
    assert found.rows.exact_zero[0] == measured.STEPS - 10
    assert any(f"exactly 0 from lag {measured.STEPS - 10} on" in line for line in found.warnings)
    data["grad_u"][0, :, 0] = 0.0
    assert any("33 % of the samples have no gradient" in line for line in findings(data).warnings)


def test_activity_of_a_record_is_its_mean_and_silence_is_said():
    data = measured.record()
    rows = findings(data).rows
    for name in ("firing_rate", "window", "zero_share"):
        expected = data[name].mean(["time", "sample"]).values
        assert_close(rows[name].to_numpy(), expected, rtol=1e-12, why="another order of sums")
    silent = data.assign(firing_rate=data.firing_rate * 0.0, window=data.window * 0.0)
    warnings = findings(silent).warnings
    assert "layer 0 is silent: no neuron fires, so what follows sees nothing of the input" in warnings
    assert "layer 1: the surrogate's window is empty, no gradient passes a spike" in warnings


@pytest.mark.parametrize(
    ("rate", "words"),
    [(0.0, "silent"), (0.004, "fires at 0.4 % only"), (0.05, None), (0.95, "saturated")],
)
def test_firing_rates_are_judged(rate, words):
    found = list(activity_warnings(np.array([rate]), None))
    assert len(found) == (words is not None)
    assert words is None or words in found[0]


@pytest.mark.parametrize(
    ("rate", "low", "grows"),
    [(0.1, 0.05, True), (0.1, -0.1, False), (0.1, np.nan, True), (-0.1, np.nan, False)],
)
def test_growth_needs_an_interval_above_zero(rate, low, grows):
    assert bool(list(growth_warnings(np.array([rate]), np.array([low])))) is grows


def test_paths_have_rates_of_their_own_and_the_lag_at_which_the_lead_changes():
    data = measured.paths()
    rows = findings(data).rows
    lead = (data.log_recurrent > data.log_neuron).sum("sample") > 1.5
    for layer, lag in enumerate(rows.recurrent_leads):
        assert lead.sel(layer=layer, lag=slice(lag, None)).all()
        assert not lead.sel(layer=layer, lag=lag - 1)
    assert (rows.rate_neuron < rows.rate_recurrent).all()
    assert_close(rows.hops.to_numpy(), data.mean_hops[..., -1].mean("sample").values, rtol=1e-12, why=SAME)


def test_a_training_run_has_a_row_for_each_epoch_and_layer():
    data = measured.training()
    found = findings(data)
    assert found.rows[["epoch", "layer"]].values.tolist() == [
        [epoch, k] for epoch in (0, 1, 2) for k in (0, 1)
    ]
    for row in found.rows.itertuples():
        assert row.rate == data.rate.sel(epoch=row.epoch, layer=row.layer)
    assert [line for line in found.warnings if "from lag 35" in line]
    assert not [line for line in found.warnings if "from lag 30" in line], "of the first epoch"
    assert findings(data, 1e-2).notes == ("horizons are those at level 0.001, taken while training",)


def test_every_kind_has_its_findings():
    made = {
        "record": measured.record(),
        "jacobian products": measured.products(),
        "path products": measured.paths(),
        "gradient while training": measured.training(),
    }
    assert set(made) == set(KINDS)
    for kind, data in made.items():
        assert data.attrs["kind"] == kind
        assert findings(data).kind == kind


def test_means_pass_over_what_is_not_known():
    array = xr.DataArray([[1.0, np.nan], [np.nan, np.nan]], dims=("layer", "sample"))
    assert per_layer(array)[0] == 1.0
    assert np.isnan(per_layer(array)[1])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (xr.Dataset({"x": 1.0}), r"does not say what it holds \(variables: x\); expected one of: record"),
        (xr.Dataset(attrs={"kind": "lag matrix"}), "holds lag matrix; expected one of"),
        (xr.Dataset(attrs={"kind": "record"}), "holds neither norms nor activity"),
        (xr.Dataset(attrs={"kind": "jacobian products"}), "no variable 'log_frobenius'"),
        (xr.Dataset(attrs={"kind": "gradient while training"}), "no rates over epochs"),
        (
            xr.Dataset(attrs={"kind": "figure decay-curves", "figure": "decay-curves"}),
            "holds figure decay-curves, which `gradflow figures decay-curves --redraw FILE` draws",
        ),
    ],
)
def test_other_datasets_are_refused_with_what_they_are(data, message):
    with pytest.raises(ValueError, match=message):
        findings(data)


def test_a_runs_folder_is_read_from_the_file_that_it_holds(tmp_path):
    gf.save(measured.training(), tmp_path / "gradients.nc")
    assert read_source(tmp_path).data.identical(measured.training())
    with pytest.raises(FileNotFoundError, match=r"a folder without gradients\.nc"):
        read_source(tmp_path.parent / tmp_path.name / "..")


def test_a_run_that_goes_on_is_read_from_its_looks(tmp_path):
    whole = measured.training()
    for k in range(3):
        look = whole.isel(epoch=k).drop_vars(["epoch", "step"], errors="ignore")
        write_look(tmp_path / "gradients", look, epoch=float(whole.epoch[k]), step=k)
    found = read_source(tmp_path).data.drop_vars("step")
    assert found.equals(whole.drop_vars("step", errors="ignore"))


def test_a_source_must_be_of_the_kind_and_hold_what_is_needed(tmp_path):
    file = gf.save(measured.record(), tmp_path / "run.nc")
    with pytest.raises(
        ValueError, match=r"run.nc: holds record; expected jacobian products, as `gradflow record"
    ):
        read_source(file, kinds=["jacobian products"])
    with pytest.raises(ValueError, match=r"run.nc: lacks grad_V_step \(it holds firing_rate, grad_s"):
        read_source(file, needs=["grad_u", "grad_V_step"])
