"""Plots are tested by the data on their artists."""

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from compare import assert_close, assert_equal
from matplotlib.figure import Figure

import gradflow as gf
from gradflow.plots import FLOAT32_FLOOR, decay_curves, float32_floor, name_ends, ordered_colours, style

ROUNDING = "one multiplication by log10 e"
LAGS = np.arange(6)


@pytest.fixture
def band():
    """Two spans; the second is a comb with a hole at lag 1, and ends in exact zeros."""
    centre = np.array([[0.0, -2.0, -4.0, -6.0, -8.0, -10.0], [0.0, -np.inf, -1.0, -5.0, -2.0, -np.inf]])
    envelope = np.array([centre[0], [0.0, -1.0, -1.0, -2.0, -2.0, -np.inf]])
    parts = {"centre": centre, "low": centre - 1.0, "high": centre + 0.5, "envelope": envelope}
    return xr.Dataset(
        {name: (("span", "lag"), values) for name, values in parts.items()}, {"span": [1, 2], "lag": LAGS}
    )


def powers(nats):
    values = np.asarray(nats) / np.log(10.0)
    return np.where(np.isfinite(values), values, np.nan)


def drawn(line):
    return np.asarray(line.get_ydata(), dtype=float)


def same(actual, expected):
    assert_equal(np.isnan(actual), np.isnan(expected))
    assert_close(np.nan_to_num(actual), np.nan_to_num(expected), rtol=1e-14, why=ROUNDING)


def test_lines_hold_the_medians_in_powers_of_ten_with_gaps_at_exact_zeros(band):
    artists = decay_curves(band, label="λ = {value}")
    assert list(artists.curves) == ["λ = 1", "λ = 2"]
    for row, line in enumerate(artists.curves.values()):
        assert_equal(np.asarray(line.get_xdata()), LAGS)
        same(drawn(line), powers(band.centre.values[row]))
    assert not artists.envelopes
    assert not artists.theory
    assert not artists.zeros


def test_bands_reach_from_low_to_high(band):
    vertices = decay_curves(band).bands["span 1"].get_paths()[0].vertices
    for lag in LAGS:
        heights = vertices[vertices[:, 0] == lag, 1]
        expected = [powers(band[name].values[0, lag]) for name in ("low", "high")]
        assert_close(np.array([heights.min(), heights.max()]), expected, rtol=1e-12, why=ROUNDING)


def test_envelopes_are_drawn_thicker_than_the_curves_they_envelop(band):
    artists = decay_curves(band, envelopes=True)
    for row, (text, line) in enumerate(artists.envelopes.items()):
        same(drawn(line), powers(band.envelope.values[row]))
        assert line.get_linewidth() > artists.curves[text].get_linewidth()


def test_theory_is_dashed_in_the_colour_of_its_curve_and_no_two_dash_alike(band):
    theory = xr.Dataset({"log_frobenius": band.envelope - 0.25})
    artists = decay_curves(band, theory=theory)
    for row, (text, line) in enumerate(artists.theory.items()):
        same(drawn(line), powers(band.envelope.values[row] - 0.25))
        assert line.get_color() == artists.curves[text].get_color()
        assert line.is_dashed()
    assert len({str(line._unscaled_dash_pattern) for line in artists.theory.values()}) == 2


def test_a_rough_prediction_is_finer_than_the_theory_and_lies_under_it(band):
    theory, rough = (xr.Dataset({"log_frobenius": band.envelope - shift}) for shift in (0.25, 0.5))
    artists = decay_curves(band, theory=theory, rough=rough)
    for row, (text, line) in enumerate(artists.rough.items()):
        same(drawn(line), powers(band.envelope.values[row] - 0.5))
        assert line.get_color() == artists.curves[text].get_color()
        assert line.is_dashed()
        assert line.get_linewidth() < artists.theory[text].get_linewidth()
        assert line.get_zorder() < artists.theory[text].get_zorder()
    assert not decay_curves(band, theory=theory).rough


def test_float32_zeros_are_marked_on_the_curve_and_only_where_there_is_one(band):
    zero_lag = xr.DataArray([3.4, np.nan], {"span": [1, 2]}, ["span"])
    artists = decay_curves(band, zero_lag=zero_lag)
    assert list(artists.zeros) == ["span 1"]
    (mark,) = artists.zeros.values()
    assert list(mark.get_xdata()) == [3.4]
    same(drawn(mark), powers([band.centre.values[0, 3]]))


def test_a_hole_of_the_comb_bears_no_mark(band):
    assert not decay_curves(band, zero_lag=xr.DataArray([np.nan, 1.0], {"span": [1, 2]}, ["span"])).zeros


def test_products_are_pooled_over_samples_first():
    values = np.array([[[0.0, -1.0], [0.0, -3.0], [0.0, -4.0]]])
    prod = xr.Dataset({"log_frobenius": (("layer", "sample", "lag"), values)}, {"layer": [0], "lag": [0, 1]})
    artists = gf.plots.decay_curves(prod)
    same(drawn(artists.curves["layer 0"]), powers([0.0, -3.0]))


def test_a_network_is_drawn_with_its_theory_by_two_public_calls():
    net = gf.RecurrentSNN(gf.Sizes(2, 3), hidden=(5, 4), recurrence=gf.Skip(2))
    batch = gf.Batch(
        gf.tasks.smnist(pool=14).sample(2).inputs.repeat(1, 1, 2), gf.tasks.smnist().sample(2).targets
    )
    prod = gf.jacobian_products(net, batch)
    theory = gf.theory.mean_square(prod)
    artists = decay_curves(prod, theory=theory)
    assert list(artists.curves) == ["layer 0", "layer 1"]
    same(drawn(artists.theory["layer 1"]), powers(theory.log_frobenius.sel(layer=1).values))


def test_axes_given_are_drawn_on_and_named_with_units(band):
    ax = Figure().subplots()
    assert decay_curves(band, ax=ax).ax is ax
    assert ax.get_xlabel().endswith("(steps)")
    assert "log_{10}" in ax.get_ylabel()


def test_a_second_dimension_is_refused_with_advice(band):
    with pytest.raises(ValueError, match=r"got the dimensions \['layer', 'span'\].*expected one; select"):
        decay_curves(band.expand_dims(layer=[0, 1]))


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_colours_grow_lighter_in_even_steps_and_stay_legible(count):
    grey = np.array([np.dot(colour, (0.2126, 0.7152, 0.0722)) for colour in ordered_colours(count)])
    assert (np.diff(grey) > 0.4 / count).all()
    assert grey.max() < 0.72


def test_the_style_leaves_global_settings_as_they_were():
    before = mpl.rcParams["axes.spines.top"], mpl.rcParams["font.size"]
    with style():
        assert mpl.rcParams["axes.spines.top"] is False
    assert (mpl.rcParams["axes.spines.top"], mpl.rcParams["font.size"]) == before


def test_the_float32_floor_is_its_smallest_number_and_shades_what_is_below():
    smallest = np.nextafter(np.float32(0), np.float32(1))
    assert_close(FLOAT32_FLOOR, np.log10(np.float64(smallest)), rtol=1e-12, why=ROUNDING)
    ax = Figure().subplots()
    ax.set_ylim(-100, 3)
    shade = float32_floor(ax)
    assert (shade.get_y(), shade.get_height()) == (-100, FLOAT32_FLOOR + 100)
    ax.set_ylim(-40, 3)
    assert float32_floor(ax) is None


def named(*curves, bottom=-10.0):
    ax = Figure().subplots()
    ax.set_xlim(0, 12)
    ax.set_ylim(bottom, 1)
    lines = {f"line {k}": ax.plot(np.arange(11), curve)[0] for k, curve in enumerate(curves)}
    return {text: label.xy for text, label in name_ends(ax, lines).items()}


def test_a_line_is_named_where_it_ends():
    assert named(-0.5 * np.arange(11.0)) == {"line 0": (10.0, -5.0)}


def test_names_that_would_touch_are_moved_apart_in_the_order_of_their_lines():
    names = named(-0.5 * np.arange(11.0), -0.5 * np.arange(11.0) - 0.01)
    assert names["line 0"] == (10.0, -5.0)
    assert names["line 1"][1] <= -5.0 - 0.05 * 11


def test_a_line_that_leaves_below_is_named_where_it_leaves():
    x, y = named(-2.0 * np.arange(11.0))["line 0"]
    assert (x, y) == (5.0, -10 + 0.05 * 11)


def test_a_line_with_nothing_to_see_has_no_name():
    assert named(np.full(11, np.nan), np.full(11, -20.0)) == {}
