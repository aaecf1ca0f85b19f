"""Intervals: Wilson's against its definition and scipy's, and what a band of runs is over."""

import numpy as np
import pytest
import xarray as xr
from compare import assert_close, assert_equal
from scipy import stats

from gradflow.evaluation import accuracies, accuracy_band, groups_of, wilson_interval
from gradflow.evaluation.runs import choices_of
from gradflow.evaluation.tables import by_strength, tidy
from gradflow.train import resolve

Z = stats.norm.ppf(0.975)


@pytest.mark.parametrize(("right", "count"), [(0, 5), (5, 5), (1, 2), (450, 500), (3, 10000)])
def test_wilsons_ends_are_the_shares_that_are_just_not_rejected(right, count):
    share = right / count
    for end in wilson_interval(share, count):
        rejected = abs(share - end) - Z * np.sqrt(end * (1.0 - end) / count)
        assert_close(rejected, 0.0, atol=1e-12, why="the root of a quadratic, to rounding")


@pytest.mark.parametrize(("right", "count"), [(0, 5), (5, 5), (313, 500), (3, 10000)])
@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_wilsons_interval_is_that_of_scipy(right, count, confidence):
    theirs = stats.binomtest(right, count).proportion_ci(confidence, method="wilson")
    ours = wilson_interval(right / count, count, confidence=confidence)
    assert_close(ours, (theirs.low, theirs.high), rtol=1e-12, atol=1e-15, why="other order of operations")


def test_an_interval_has_a_width_at_the_ends_and_stays_within():
    low, high = wilson_interval(np.array([0.0, 1.0]), 20)
    assert_equal(np.array([low[0], high[1]]), np.array([0.0, 1.0]))
    assert high[0] > 0.1
    assert low[1] < 0.9


@pytest.mark.parametrize(("share", "count"), [(1.2, 5), (-0.1, 5), (0.5, 0), (np.nan, 5)])
def test_what_is_no_share_of_examples_is_refused(share, count):
    with pytest.raises(ValueError, match="expected a share from 0 to 1 of at least one"):
        wilson_interval(share, count)


@pytest.fixture
def evaluated():
    """Two vanilla runs that differ by their seed, and one with a skip; two strengths, three repetitions."""
    delete = np.array([[[0.5, 0.5, 0.5], [0.1, 0.2, 0.3]], [[0.7, 0.7, 0.7], [0.3, 0.4, 0.5]],
                       [[0.9, 0.9, 0.9], [0.6, 0.7, 0.8]]])  # fmt: skip
    found = {
        "accuracy": ("run", [0.5, 0.7, 0.9]),
        "examples": ("run", [200, 200, 200]),
        "accuracy_delete": (("run", "delete", "repetition"), delete),
        "accuracy_span_shift": (("run", "span_shift"), [[0.5, 0.25], [0.7, 0.35], [0.9, 0.5]]),
    }
    coords = {
        "run": ["vanilla, seed 0", "vanilla, seed 1", "λ = 8"],
        "group": ("run", ["vanilla", "vanilla", "λ = 8"]),
        "delete": ("delete", [0.0, 0.1], {"units": "1", "long_name": "probability"}),
        "span_shift": ("span_shift", [0, 1], {"units": "steps", "long_name": "shift"}),
    }
    return xr.Dataset(found, coords, {"split": "validation"})


def student(values):
    values = np.asarray(values)
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    return np.array([values.mean(), low, high])


def test_a_group_of_runs_has_the_interval_over_runs(evaluated):
    band = accuracy_band(evaluated, "delete").sel(group="vanilla", strength=0.1)
    expected = student([0.2, 0.4]).clip(0.0, 1.0)
    assert_close([band.centre, band.low, band.high], expected, rtol=1e-12, why="other order of sums")
    assert band.interval.item() == "Student, 95 %, over 2 runs with other seeds"
    whole = accuracies(evaluated).sel(group="vanilla")
    assert_close(whole.centre, 0.6, rtol=1e-12, why="one mean")


def test_a_single_run_has_the_interval_over_repetitions(evaluated):
    band = accuracy_band(evaluated, "delete").sel(group="λ = 8")
    expected = student([0.6, 0.7, 0.8])
    got = [band[name].sel(strength=0.1) for name in ("centre", "low", "high")]
    assert_close(got, expected, rtol=1e-12, why="other order of sums")
    assert_close(band.low.sel(strength=0.0), 0.9, rtol=1e-15, why="the same in every repetition")
    assert band.interval.item() == "Student, 95 %, over 3 repetitions of the disturbance, one run"
    assert band.strength.attrs["long_name"] == "probability"


def test_a_single_run_without_randomness_has_the_interval_over_examples(evaluated):
    band = accuracy_band(evaluated, "span-shift").sel(group="λ = 8", strength=1)
    assert_close([band.low, band.high], wilson_interval(0.5, 200), rtol=1e-12, why="the same function")
    assert band.interval.item() == "Wilson score, 95 %, over 200 examples, one run"
    assert accuracies(evaluated).sel(group="λ = 8").interval.item().startswith("Wilson")


def test_each_run_can_have_a_curve_of_its_own(evaluated):
    band = accuracy_band(evaluated, "delete", each_run=True)
    assert list(band.run.values) == list(evaluated.run.values)
    assert_close(band.centre.sel(strength=0.1), [0.2, 0.4, 0.7], rtol=1e-12, why="means of three")


def test_one_repetition_has_no_interval(evaluated):
    band = accuracy_band(evaluated.isel(repetition=[0]), "delete").sel(group="λ = 8")
    assert np.isnan(band.low).all()
    assert band.centre.notnull().all()
    _, (_, rows) = by_strength(evaluated.isel(repetition=[0]), "delete")
    assert rows[1] == ["λ = 8", "90.0", "60.0"]
    _, (_, rows) = by_strength(evaluated, "span-shift")
    low, high = (100 * end for end in wilson_interval(0.5, 200))
    assert rows[1][2] == f"50.0 [{low:.1f}, {high:.1f}]"


def test_what_is_not_there_is_said(evaluated):
    with pytest.raises(ValueError, match="hold no accuracy_jitter along run, but delete, span-shift"):
        accuracy_band(evaluated, "jitter")


def test_runs_that_differ_by_more_than_seeds_are_groups_of_their_own():
    base = {"recurrence": "skip:4", "network_seed": 0, "hidden": "8", "p": "{}", "commit": "a"}
    runs = [base, {**base, "network_seed": 1}, {**base, "hidden": "9"}, {**base, "p": "{1}", "commit": "b"}]
    assert groups_of(list("1121"), runs, list("abcd")) == ["hidden 8", "hidden 8", "hidden 9", "hidden 8"]
    assert groups_of(list("1112"), [base] * 4, list("abcd")) == ["a", "a", "a", "d"]
    assert groups_of(list("11"), runs[:2], list("ab")) == ["λ = 4", "λ = 4"]
    assert groups_of(["1"], [base], ["a"]) == ["a"]


def test_choices_are_all_but_seeds_and_what_changes_no_number():
    base = resolve({"network": {"seed": 3}})
    for same in ({"network": {"seed": 4}}, {"training": {"seed": 9}}, {"watch": {"every": 0}}):
        assert choices_of(resolve(same)) == choices_of(base)
    for other in (
        {"optimiser": {"lr": 0.5}},
        {"task": {"options": {"permutation_seed": 1}}},
        {"network": {"recurrence": "skip:2"}},
    ):
        assert choices_of(resolve(other)) != choices_of(base)


def test_every_number_has_a_row(evaluated):
    table = tidy(evaluated)
    assert len(table) == sum(evaluated[name].size for name in evaluated.data_vars)
    here = (table.quantity == "accuracy_delete") & (table.run == "λ = 8") & (table.strength == 0.1)
    assert table[here].sort_values("repetition").value.tolist() == [0.6, 0.7, 0.8]
