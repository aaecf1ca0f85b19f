"""The figure robustness: its numbers against the library's own, claims both ways, table and picture."""

from functools import partial

import numpy as np
import pytest
import xarray as xr
from compare import assert_close

import gradflow as gf
from gradflow.figures import robustness as figure
from gradflow.figures import trained
from gradflow.figures.make import make
from gradflow.figures.robustness import FIGURE, STRENGTHS, RobustnessConfig
from gradflow.sweep import run_sweep

SAME = "the same numbers"
WORDS = ["vanilla", "skip:8", "asrc:16"]
SMALL = RobustnessConfig(pool=7, spans=(2,), max_span=0, hidden=(5,), epochs=1, seeds=1, repetitions=2)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(trained, "run_sweep", partial(run_sweep, jobs=1, threads=1))
        patch.setattr(figure, "STRENGTHS", {"delete": (0.0, 0.5), "span-shift": (-1, 0)})
        return figure.compute(SMALL), trained.run_folders(SMALL)


def test_every_accuracy_is_the_librarys_own_for_the_run_of_that_seed(small):
    data, folders = small
    assert list(folders) == [("psmnist", "skip:2", 0)]
    session = gf.train.load_run(folders["psmnist", "skip:2", 0])
    kinds = [gf.evaluation.SpikeDeletion(0.5), gf.evaluation.SpanShift(-1)]
    own = gf.evaluation.robustness(session.net, session.task, kinds, repetitions=2)
    here = data.sel(task="psmnist", recurrence="skip:2", seed=0)
    assert_close(
        here.accuracy_delete.sel(delete=0.5), own.accuracy_delete.sel(delete=0.5), rtol=1e-12, why=SAME
    )
    shifted = own.accuracy_span_shift.sel(span_shift=-1)
    assert_close(here.accuracy_span_shift.sel(span_shift=-1), shifted, rtol=1e-12, why=SAME)
    assert data.attrs["split"] == "validation"


def made_up():
    """Three networks a recurrence that lose a tenth of their answers for each strength in turn."""
    start = np.array([0.3, 0.6, 0.7])[:, None] + [0.0, 0.02, 0.04]
    parts = {}
    for word, strengths in STRENGTHS.items():
        order = np.abs(np.array(strengths)).argsort(kind="stable").argsort()
        values = start[..., None] * (1.0 - 0.1 * order)
        name = word.replace("-", "_")
        if word == "span-shift":
            parts[f"accuracy_{name}"] = (("recurrence", "seed", name), values)
        else:
            spread = values[..., None] + np.where(order > 0, 0.01, 0.0)[:, None] * [-1.0, 1.0]
            parts[f"accuracy_{name}"] = (("recurrence", "seed", name, "repetition"), spread)
    coords = {word.replace("-", "_"): list(strengths) for word, strengths in STRENGTHS.items()}
    data = xr.Dataset(parts, {**coords, "recurrence": WORDS, "seed": [0, 1, 2]}).expand_dims(task=["psmnist"])
    return data.assign_attrs(config=RobustnessConfig().model_dump_json(), figure="robustness")


def failing(data):
    return [claim.text for claim in FIGURE.claims(data) if not claim.holds]


def test_the_claims_hold_where_the_data_bears_them_out_and_fail_where_not():
    data = made_up()
    assert len(FIGURE.claims(data)) == 2
    assert failing(data) == []
    other = data.copy(deep=True)
    other["accuracy_delete"].loc[{"delete": 0.0, "recurrence": "skip:8"}] = 0.5
    assert failing(other)[0].startswith("at strength 0")
    strong = data.copy(deep=True)
    strong["accuracy_input_noise"].loc[{"input_noise": 0.4}] = 0.9
    assert failing(strong) == ["the strongest of each kind costs right answers, in the mean over recurrences"]


def test_table_and_summary_hold_means_over_networks_and_repetitions(tmp_path):
    from dataclasses import replace

    data = made_up()
    made = make(replace(FIGURE, compute=lambda *_: data), FIGURE.config(), tmp_path, command="x")
    assert made.summary["undisturbed"].tolist() == pytest.approx([0.32, 0.62, 0.72])
    rows = FIGURE.table(data)
    assert len(rows) == 3 * sum(len(strengths) for strengths in STRENGTHS.values())
    row = rows[(rows.recurrence == "asrc:16") & (rows.disturbance == "delete") & (rows.strength == 0.1)].iloc[
        0
    ]
    assert_close(
        [row.accuracy, row.worst, row.best], 0.7 * np.array([0.72, 0.70, 0.74]), rtol=1e-12, why=SAME
    )


def test_each_panel_shows_the_bands_of_its_disturbance():
    data = made_up()
    axes = FIGURE.draw(data).axes
    assert [ax.get_title() for ax in axes] == list(figure.TITLES.values())
    for ax, word in zip(axes, STRENGTHS, strict=True):
        band = figure.curves_of(data.sel(task="psmnist"), word)
        lines = {line.get_label(): np.asarray(line.get_ydata(), dtype=float) for line in ax.get_lines()}
        for name, recurrence in zip(("vanilla", "SRC λ = 8", "ASRC, spans to 16"), WORDS, strict=True):
            assert_close(lines[name], 100.0 * band.centre.sel(recurrence=recurrence), rtol=1e-12, why=SAME)
        assert "(" in ax.get_xlabel() or "probability" in ax.get_xlabel()


def test_no_label_lies_outside_the_picture_or_on_another():
    picture = FIGURE.draw(made_up())
    picture.draw_without_rendering()
    frame = picture.bbox
    boxes = [ax.xaxis.label.get_window_extent() for ax in picture.axes]
    boxes += [ax.title.get_window_extent() for ax in picture.axes]
    for place, box in enumerate(boxes):
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1  # noqa: PT018
        assert not any(box.overlaps(other) for other in boxes[:place])
