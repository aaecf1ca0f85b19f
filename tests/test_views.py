"""Views: several files in one picture, told apart by what differs, panels where there are layers."""

import json
from pathlib import Path

import measured
import numpy as np
import pytest
from compare import assert_close
from matplotlib.figure import Figure
from PIL import Image

from gradflow.analysis.steps import norm_band
from gradflow.findings import Source
from gradflow.plots.writing import write_picture, write_whole
from gradflow.views import VIEWS
from gradflow.views.drawn import MAX_CURVES, Layout, draw_view

LN10 = np.log(10.0)
MADE = {
    "record": measured.record,
    "jacobian products": measured.products,
    "path products": measured.paths,
    "gradient while training": lambda span=2: measured.training().assign_attrs(recurrence=f"skip:{span}"),
}


def sources(kind, *spans):
    return [Source(Path(f"span{span}.nc"), MADE[kind](span=span)) for span in spans]


def title_of(drawn):
    """Return the title, which stands above the legend where there is one, on one line."""
    words = [legend.get_title().get_text() for legend in drawn.picture.legends]
    return " ".join((words or [drawn.picture.get_suptitle()])[0].split())


@pytest.mark.parametrize("name", VIEWS)
def test_every_view_draws_one_file_and_two_and_labels_all_axes(name):
    for spans in ((2,), (2, 4)):
        drawn = draw_view(
            name, sources(VIEWS[name].reads, *spans), Layout(theory=name in ("decay-curves", "rates"))
        )
        shown = [ax for ax in drawn.picture.axes if ax.lines or ax.collections]
        assert shown
        assert all(ax.get_ylabel() for ax in shown)
        assert any(ax.get_xlabel() for ax in shown)
        drawn.picture.draw_without_rendering()
        if len(spans) == 2:
            words = [text.get_text() for legend in drawn.picture.legends for text in legend.get_texts()]
            titles = [ax.get_title() for ax in drawn.picture.axes]
            ends = [text.get_text() for ax in shown for text in ax.texts]
            for label in ("λ = 2", "λ = 4"):
                assert label in [*words, *ends] or any(label in title for title in titles)


def test_views_hold_what_their_files_need():
    for name, view in VIEWS.items():
        data = MADE[view.reads]()
        assert set(view.needs) <= set(data), name


def test_files_are_curves_and_layers_are_panels():
    drawn = draw_view("gradient-norms", sources("record", 2, 4))
    assert [ax.get_title() for ax in drawn.picture.axes] == ["layer 0", "layer 1"]
    for layer, panel in enumerate(drawn.artists):
        assert list(panel.curves) == ["λ = 2", "λ = 4"]
        for span in (2, 4):
            expected = norm_band(measured.record(span=span)).centre.sel(layer=layer).values / LN10
            shown = np.asarray(panel.curves[f"λ = {span}"].get_ydata())
            finite = np.isfinite(expected)
            assert_close(shown[finite], expected[finite], rtol=1e-12, why="one multiplication")


def test_of_one_file_the_layers_are_curves():
    drawn = draw_view("gradient-norms", sources("record", 2))
    assert list(drawn.artists[0].curves) == ["layer 0", "layer 1"]
    assert len(drawn.picture.axes) == 1


def test_a_shorter_file_ends_earlier():
    long, short = sources("record", 2, 4)
    short = Source(short.path, short.data.isel(time=slice(0, 10)))
    panel = draw_view("gradient-norms", [long, short]).artists[0]
    shown = np.asarray(panel.curves["λ = 4"].get_ydata(), dtype=float)
    assert np.isnan(shown[10:]).all()
    assert np.isfinite(shown[:10]).any()


def test_the_title_says_what_is_common_and_where_the_loss_is():
    assert (
        title_of(draw_view("gradient-norms", sources("record", 2, 4)))
        == "tensors, hidden 8,8, α = 0.5, loss on the sum over all steps"
    )
    both = [
        Source(s.path, s.data.assign_attrs(decay=d))
        for s, d in zip(sources("record", 2, 2), (0.5, 0.9), strict=True)
    ]
    assert "α" not in title_of(draw_view("gradient-norms", both))
    assert title_of(draw_view("gradient-map", sources("record", 2))).startswith(
        "tensors, hidden 8,8, α = 0.5, λ = 2"
    )


def test_maps_of_several_files_share_their_colours():
    drawn = draw_view("gradient-map", sources("record", 2, 4))
    first, second = (panel.maps["gradient"] for panel in drawn.artists)
    assert first.get_clim() == second.get_clim()
    values = np.concatenate([np.ma.compressed(mesh.get_array()) for mesh in (first, second)])
    assert_close(first.get_clim(), [values.min(), values.max()], rtol=1e-12, why="one multiplication")


def test_the_width_is_kept():
    assert draw_view("activity", sources("record", 2), Layout(width=3.5)).picture.get_figwidth() == 3.5


@pytest.mark.parametrize("count", [0, MAX_CURVES + 1])
def test_no_files_and_too_many_are_refused(count):
    with pytest.raises(ValueError, match=f"got {count} files, expected 1 to 12"):
        draw_view("activity", sources("record", 2) * count)


def test_a_view_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="view 'pie': expected one of decay-curves"):
        draw_view("pie", sources("record", 2))


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_pictures_are_the_same_bytes_and_say_where_they_come_from(tmp_path, suffix):
    files = []
    for name in ("first", "second"):
        drawn = draw_view("activity", sources("record", 2))
        path = tmp_path / f"{name}.{suffix}"
        files.append(write_picture(drawn.picture, path, title="activity", provenance=json.dumps({"a": 1})))
    assert files[0].read_bytes() == files[1].read_bytes()
    if suffix == "png":
        assert Image.open(files[0]).text["Description"] == '{"a": 1}'
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"first.{suffix}", f"second.{suffix}"]


def test_a_full_disk_keeps_the_old_picture(tmp_path, monkeypatch):
    old = tmp_path / "old.png"
    old.write_bytes(b"old")

    def full(self, path, **options):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(
        OSError, match=r"cannot write old\.png there \(No space left on device\); choose another"
    ):
        write_picture(Figure(), old, title="", provenance="")
    assert old.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [old]


def test_a_folder_in_the_files_place_is_said(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder; name a file in it"):
        write_whole(tmp_path, lambda path: None)
    with pytest.raises(ValueError, match=r"got the suffix '\.gif', expected \.png, \.pdf or \.svg"):
        write_picture(Figure(), tmp_path / "x.gif", title="", provenance="")


def test_the_public_arrays_are_not_changed_by_drawing():
    before = measured.record(span=2).copy(deep=True)
    draw_view("gradient-norms", sources("record", 2))
    assert measured.record(span=2).identical(before)
