"""Plots of records, products and training: what their artists hold, and what `data` hands back."""

import measured
import numpy as np
import pytest
import xarray as xr
from compare import assert_close, assert_equal
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradflow.analysis import zero_summary
from gradflow.analysis.steps import norm_band
from gradflow.plots.drawn import data as drawn_data
from gradflow.plots.epochs import rates_over_epochs
from gradflow.plots.products import path_norms, zero_shares
from gradflow.plots.records import activity, gradient_map, gradient_norms, gradient_paths

LN10 = np.log(10.0)
ROUNDING = "one multiplication by log10 e"


@pytest.fixture
def band():
    """Two layers along four steps; the second has an exact zero."""
    centre = np.array([[0.0, -1.0, -2.0, -3.0], [0.0, -np.inf, -1.0, -2.0]])
    parts = {"centre": centre, "low": centre - 1.0, "high": centre + 0.5}
    coords = {"layer": [0, 1], "time": np.arange(4)}
    return xr.Dataset({name: (("layer", "time"), values) for name, values in parts.items()}, coords)


def heights(line):
    return np.asarray(line.get_ydata(), dtype=float)


def test_norms_are_drawn_in_powers_of_ten_with_gaps_at_exact_zeros(band):
    artists = gradient_norms(band)
    assert list(artists.curves) == ["layer 0", "layer 1"]
    assert_close(heights(artists.curves["layer 0"]), band.centre[0].values / LN10, rtol=1e-14, why=ROUNDING)
    second = heights(artists.curves["layer 1"])
    assert_equal(np.isnan(second), [False, True, False, False])
    table = drawn_data(artists)
    edge = table[(table.part == "bands") & (table.label == "layer 0") & (table.x == 2)].iloc[0]
    assert_close([edge.low, edge.high], np.array([-3.0, -1.5]) / LN10, rtol=1e-12, why=ROUNDING)


def test_curves_differ_in_colour_and_in_dashes(band):
    first, second = gradient_norms(band).curves.values()
    assert first.get_color() != second.get_color()
    assert first.get_linestyle() != second.get_linestyle()


def test_axes_that_are_given_are_used_and_labelled(band):
    ax = Figure().subplots()
    assert gradient_norms(band, ax=ax).ax is ax
    assert ax.get_xlabel() == "time $t$  (steps)"
    assert "partial L" in ax.get_ylabel()


@pytest.mark.parametrize(
    ("plot", "along"),
    [(gradient_norms, "time"), (activity, "time"), (zero_shares, "lag"), (rates_over_epochs, "epoch")],
)
def test_two_dimensions_besides_the_axis_are_refused(plot, along):
    names = ("centre", "low", "high", "firing_rate", "window", "share_structural", "share_float32", "rate")
    data = xr.Dataset({name: (("layer", "sample", along), np.zeros((2, 2, 3))) for name in names})
    with pytest.raises(ValueError, match=rf"besides {along}, expected one; select"):
        plot(data)


def test_paths_are_named():
    record = measured.record(hidden=(8,)).isel(layer=0)
    parts = [norm_band(record, f"grad_u_{path}") for path in ("neuron", "recurrent", "direct")]
    data = xr.concat(parts, "path", combine_attrs="drop").assign_coords(
        path=["neuron", "recurrent", "direct"]
    )
    artists = gradient_paths(data)
    for path in ("neuron", "recurrent", "direct"):
        expected = norm_band(record, f"grad_u_{path}").centre.values / LN10
        shown = heights(artists.curves[f"{path} path"])
        finite = np.isfinite(expected)
        assert_equal(np.isfinite(shown), finite)
        assert_close(shown[finite], expected[finite], rtol=1e-12, why=ROUNDING)


def test_activity_is_drawn_in_percent():
    record = measured.record().mean("sample")
    artists = activity(record[["firing_rate", "window"]])
    for name, ending in (("firing_rate", ""), ("window", ", window")):
        shown = heights(artists.curves[f"layer 1{ending}"])
        assert_close(shown, record[name].values[1] * 100.0, rtol=1e-15, why="one product")


def test_a_map_has_a_cell_for_each_layer_and_step_and_grey_where_nothing_is(band):
    artists = gradient_map(band.centre)
    cells = artists.maps["gradient"].get_array()
    assert cells.shape == (2, 4)
    assert np.ma.getmaskarray(cells).tolist() == [[False] * 4, [False, True, False, False]]
    assert_close(cells[0].filled(), band.centre[0].values / LN10, rtol=1e-14, why=ROUNDING)
    table = drawn_data(artists)
    cell = table[(table.y == 1) & (table.x == 3)].iloc[0]
    assert_close(cell.value, -2.0 / LN10, rtol=1e-12, why=ROUNDING)
    assert "partial L" in artists.colourbar.ax.get_ylabel()
    with pytest.raises(ValueError, match="expected layer and time"):
        gradient_map(band.centre.isel(layer=0))


def test_shares_of_zeros_add_up():
    data = zero_summary(measured.constant_products(a=0.125, steps=60)).isel(layer=0)
    artists = zero_shares(data, label="run")
    shown = heights(artists.underflow["run"])
    both = (data.share_structural + data.share_float32).values * 100
    assert_close(shown, both, rtol=1e-15, why="one product")
    assert shown[49] < 100.0 == shown[50], "2⁻³ a step reaches float32's end at lag 50"
    assert_close(
        heights(artists.structural["run"]), data.share_structural.values * 100, rtol=1e-15, why="same"
    )


def test_parts_of_a_product_are_drawn():
    data = measured.paths().isel(layer=0).median("sample")
    parts = {"whole": data.log_frobenius, "neuron": data.log_neuron, "recurrent": data.log_recurrent}
    artists = path_norms(xr.Dataset({**parts, "hops": data.log_hops}))
    assert set(artists.parts) == set(parts)
    assert list(artists.hops) == [1, 2, 3, 4, 5, 6]
    whole = heights(artists.parts["whole"])
    finite = np.isfinite(whole)
    assert_close(whole[finite], data.log_frobenius.values[finite] / LN10, rtol=1e-12, why=ROUNDING)
    assert drawn_data(artists).label.isin(["whole", "neuron", "recurrent", *"123456"]).all()


def test_rates_over_epochs_with_interval_and_theory():
    data = measured.training()
    artists = rates_over_epochs(data[["rate", "rate_low", "rate_high", "rate_mean_square"]])
    assert_equal(heights(artists.curves["layer 1"]), data.rate.values[:, 1])
    assert_equal(heights(artists.theory["layer 0"]), data.rate_mean_square.values[:, 0])
    table = drawn_data(artists)
    edge = table[(table.part == "bands") & (table.label == "layer 0") & (table.x == 1)].iloc[0]
    assert_close([edge.low, edge.high], [-0.31, -0.29], rtol=1e-12, why="rounding")
    assert not rates_over_epochs(data[["rate", "rate_low", "rate_high"]]).theory


def test_what_several_panels_show_bears_their_number(band):
    panels = [gradient_norms(band.isel(layer=k), label="run") for k in (0, 1)]
    table = drawn_data(panels)
    curves = table[table.part == "curves"]
    for k in (0, 1):
        shown = curves[curves.panel == k].y.to_numpy() * LN10
        expected = np.where(np.isfinite(band.centre[k]), band.centre[k], np.nan)
        assert_close(np.nan_to_num(shown), np.nan_to_num(expected), rtol=1e-12, why=ROUNDING)
    assert drawn_data([]).empty


def test_what_is_no_picture_is_refused():
    with pytest.raises(ValueError, match="got Line2D, expected what a plot returned"):
        drawn_data(Line2D([], []))
