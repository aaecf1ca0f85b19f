"""Pictures of evaluations: what their artists hold."""

import numpy as np
import pytest
import xarray as xr
from compare import assert_close, assert_equal
from matplotlib.figure import Figure

import gradflow as gf
from gradflow.evaluation import accuracy_band
from gradflow.plots import confusion, robustness
from gradflow.plots.drawn import data as drawn_data

ROUNDING = "one product by 100"


@pytest.fixture
def band():
    """Two groups over three strengths; the second has no interval at the last."""
    centre = np.array([[0.9, 0.6, 0.1], [0.5, 0.3, 0.2]])
    parts = {"centre": centre, "low": centre - 0.05, "high": centre + 0.1}
    parts["low"][1, 2] = parts["high"][1, 2] = np.nan
    strength = ("strength", [0.0, 0.1, 0.4], {"units": "thresholds", "long_name": "noise on u"})
    coords = {"group": ["vanilla", "λ = 8"], "strength": strength, "interval": ("group", ["over runs"] * 2)}
    return xr.Dataset({name: (("group", "strength"), values) for name, values in parts.items()}, coords)


def test_curves_are_accuracies_in_percent_against_strength(band):
    ax = Figure().subplots()
    artists = robustness(band, ax)
    assert artists.ax is ax
    assert list(artists.curves) == ["vanilla", "λ = 8"]
    for row, line in enumerate(artists.curves.values()):
        assert_equal(np.asarray(line.get_xdata(), dtype=float), np.array([0.0, 0.1, 0.4]))
        assert_close(np.asarray(line.get_ydata()), 100 * band.centre[row].values, rtol=1e-15, why=ROUNDING)
    first, second = artists.curves.values()
    assert first.get_color() != second.get_color()
    assert first.get_marker() != second.get_marker()
    assert ax.get_xlabel() == "noise on u  (thresholds)"
    assert ax.get_ylabel() == "accuracy  (%)"


def test_bands_reach_from_low_to_high_with_a_gap_where_there_is_none(band):
    table = drawn_data(robustness(band))
    first = table[(table.part == "bands") & (table.label == "vanilla")]
    assert_close(first.low.to_numpy(), 100 * band.low[0].values, rtol=1e-12, why=ROUNDING)
    assert_close(first.high.to_numpy(), 100 * band.high[0].values, rtol=1e-12, why=ROUNDING)
    assert table[(table.part == "bands") & (table.label == "λ = 8")].x.tolist() == [0.0, 0.1]


def test_an_evaluation_is_drawn_by_two_public_calls():
    values = np.array([[[0.8, 0.6], [0.4, 0.2]]])
    found = xr.Dataset(
        {"accuracy_jitter": (("run", "jitter", "repetition"), values), "examples": ("run", [9])},
        {
            "run": ["a"],
            "group": ("run", ["a"]),
            "jitter": ("jitter", [0, 2], {"units": "steps", "long_name": "shift"}),
        },
    )
    artists = gf.plots.robustness(accuracy_band(found, "jitter"))
    assert_close(np.asarray(artists.curves["a"].get_ydata()), [70.0, 30.0], rtol=1e-12, why=ROUNDING)
    assert artists.ax.get_xlabel() == "shift  (steps)"


def test_two_dimensions_besides_strength_are_refused(band):
    with pytest.raises(ValueError, match="besides strength, expected one; select"):
        robustness(band.drop_vars("interval").expand_dims(kind=["a", "b"]))


@pytest.fixture
def counts():
    names = ["cat", "dog", "elk"]
    values = np.array([[5, 1, 0], [0, 6, 2], [3, 0, 10]])
    return xr.DataArray(values, {"actual": names, "predicted": names}, ("actual", "predicted"))


def test_a_confusion_matrix_has_its_counts_in_their_cells(counts):
    artists = confusion(counts.T)
    mesh = artists.maps["confusion"]
    assert_equal(np.asarray(mesh.get_array()), counts.values.astype(float))
    assert artists.ax.yaxis_inverted()
    assert {place: text.get_text() for place, text in artists.counts.items()} == {
        ("cat", "cat"): "5", ("cat", "dog"): "1", ("dog", "dog"): "6", ("dog", "elk"): "2",
        ("elk", "cat"): "3", ("elk", "elk"): "10",
    }  # fmt: skip
    dog = artists.counts["dog", "elk"]
    assert dog.get_position() == (2, 1)
    assert (artists.counts["elk", "elk"].get_color(), dog.get_color()) == ("white", "black")
    assert [label.get_text() for label in artists.ax.get_xticklabels()] == ["cat", "dog", "elk"]
    assert artists.ax.get_ylabel() == "class shown"
    assert artists.colourbar.ax.get_ylabel() == "answers"
    cells = drawn_data(artists)
    here = cells[(cells.x == 2) & (cells.y == 1)]
    assert here.value.tolist() == [2.0]


def test_many_classes_have_sparse_names_and_no_counts():
    names = [str(k) for k in range(35)]
    many = xr.DataArray(np.eye(35), {"actual": names, "predicted": names}, ("actual", "predicted"))
    artists = confusion(many)
    assert artists.counts == {}
    assert [label.get_text() for label in artists.ax.get_yticklabels()] == names[::2]


def test_the_matrix_of_several_runs_is_refused(counts):
    with pytest.raises(ValueError, match="expected actual and predicted; select a run"):
        confusion(counts.expand_dims(run=["a"]))
