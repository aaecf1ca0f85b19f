"""Labels name what differs between files, all of it, and nothing else."""

from pathlib import PurePath

import pytest

import gradflow as gf
from gradflow.labels import labels, short_names

BASE = gf.Conventions(recurrence="skip:4", p='{"4": 1.0}', decay=0.5, surrogate="triangle", steps=784)


def attrs(**changes):
    return {"kind": "record", **gf.Conventions(**{**BASE.attrs(), **changes}).attrs()}


def named(*attributes):
    return labels(attributes, [f"file {k}" for k in range(len(attributes))])


def test_one_choice_that_differs_is_the_label():
    assert named(attrs(decay=0.5), attrs(decay=0.9)) == ["α = 0.5", "α = 0.9"]
    assert named(attrs(reset="soft"), attrs(reset="hard")) == ["soft reset", "hard reset"]
    assert named(attrs(network_seed=0), attrs(network_seed=3)) == ["seed 0", "seed 3"]


def test_spans_are_named_as_in_the_figures_and_what_follows_from_them_is_not():
    found = [
        attrs(recurrence="vanilla", p='{"1": 1.0}'),
        attrs(recurrence="skip:16", p='{"16": 1.0}'),
        attrs(recurrence="asrc:51", p="{}", span_mode="soft"),
        attrs(recurrence="none", p="{}"),
        attrs(recurrence="skip:4 | vanilla", p="[]"),
    ]
    assert named(*found) == ["vanilla", "λ = 16", "ASRC up to 51", "no recurrence", "λ = 4 | vanilla"]


def test_every_choice_that_differs_is_named_even_where_one_would_tell_the_files_apart():
    first, second = attrs(recurrence="skip:2", decay=0.5), attrs(recurrence="skip:8", decay=0.9)
    assert named(first, second) == ["λ = 2, α = 0.5", "λ = 8, α = 0.9"]


def test_a_width_is_named_only_where_the_surrogate_is_the_same():
    wide, narrow = attrs(surrogate_scale=1.0), attrs(surrogate_scale=0.5)
    assert named(wide, narrow) == ["width 1", "width 0.5"]
    assert named(wide, attrs(surrogate="sigmoid", surrogate_scale=4.0)) == ["triangle", "sigmoid"]


def test_details_serve_where_the_choices_leave_labels_alike():
    three = (attrs(decay=0.5, batch=4), attrs(decay=0.9, batch=4), attrs(decay=0.5, batch=8))
    assert named(*three) == ["α = 0.5, 4 samples", "α = 0.9, 4 samples", "α = 0.5, 8 samples"]
    assert named(attrs(batch=4), attrs(batch=8)) == ["4 samples", "8 samples"]


def test_a_tasks_own_settings_are_named():
    assert named({**attrs(), "delay": 10}, {**attrs(), "delay": 20}) == ["delay 10", "delay 20"]


def test_names_help_where_nothing_differs_and_only_there():
    assert named(attrs(), attrs()) == ["file 0", "file 1"]
    assert named(attrs(commit="a"), attrs(commit="b")) == ["file 0", "file 1"]
    assert named(attrs(decay=0.5), attrs(decay=0.9), attrs(decay=0.9)) == [
        "α = 0.5",
        "α = 0.9 (file 1)",
        "α = 0.9 (file 2)",
    ]
    assert named(attrs()) == ["file 0"]
    assert named() == []


def test_what_a_file_does_not_say_is_unknown():
    assert named({"kind": "record"}, attrs(recurrence="skip:2"))[0].startswith("unknown")


def test_there_must_be_a_name_for_each():
    with pytest.raises(ValueError, match="got 1 names for 2 datasets"):
        labels([attrs(), attrs()], ["a"])


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["x/run.nc"], ["run"]),
        (["a.nc", "b.nc"], ["a", "b"]),
        (["1/a/run.nc", "2/a/run.nc"], ["1/a/run", "2/a/run"]),
        (["run.nc", "run.nc"], ["run", "run"]),
        (["seed0", "runs/seed0"], ["seed0", "runs/seed0"]),
    ],
)
def test_names_are_the_shortest_ends_that_tell_files_apart(paths, names):
    assert short_names([PurePath(path) for path in paths]) == names
