"""The figure decay-rate: its rates against the library's own, its crossing, its claims, files and picture."""

import json
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from compare import assert_close

import gradflow as gf
from gradflow.figures import cells
from gradflow.figures.decay_rate import FIGURE, DecayRateConfig, compute, crossings
from gradflow.figures.decay_rate_claims import RUNGS, claims, summary
from gradflow.figures.make import draw_from, make
from gradflow.figures.registry import find

SAME = "the same float64 numbers"
SMALL = DecayRateConfig(spans=(1, 4), decay=(0.5, 0.9), pool=2, hidden=16, samples=2, seeds=2)
COMMAND = "gradflow figures decay-rate --pool 2"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(FIGURE, SMALL, tmp_path_factory.mktemp("figure"), command=COMMAND)


@pytest.fixture(scope="module")
def data(made):
    return gf.load(made.files[0])


def run_of(decay, span, seed):
    task = gf.tasks.psmnist(pool=2)
    net = gf.RecurrentSNN(task, hidden=16, recurrence=gf.Skip(span), neuron=gf.LIF(decay=decay), seed=seed)
    return gf.local_jacobians(net, task.sample(2, seed=seed))


# numbers


@pytest.mark.parametrize(("decay", "span", "windows"), [(0.5, 1, 120), (0.9, 4, 60)])
def test_every_rate_is_the_librarys_own_for_the_network_of_that_seed(data, decay, span, windows):
    here = data.sel(decay=decay, span=span)
    for seed in (0, 1):
        found = run_of(decay, span, seed)
        prod = gf.jacobian_products(found)
        (layer,) = found.layers
        mean_a, mean_phi = layer.a[:-1].mean(), layer.phi[:-1].mean()
        expected = {
            "bound": gf.theory.bound(prod).rate.mean(),
            # V is orthogonal: its gain is 1
            "characteristic root": np.log(gf.theory.characteristic_root(mean_a, mean_phi, [span], [1.0])),
            "mean square": gf.theory.mean_square(prod).rate.mean(),
            "variance propagation": gf.theory.variance_propagation(found).rate.mean(),
            "transfer operator": gf.theory.transfer_operator(found).rate.mean(),
            "typical product": gf.theory.typical_product(found, window=24, windows=windows).rate.mean(),
        }
        assert list(data.rung.values) == list(RUNGS) == list(expected)
        for rung, rate in expected.items():
            assert_close(
                here.predicted_seed.sel(seed=seed, rung=rung),
                float(rate),
                rtol=1e-6,
                why="float32 V: its gain",
            )
        rate = gf.fit_decay(prod).rate.item()
        assert_close(here.rate_seed.sel(seed=seed), rate, rtol=1e-12, why=SAME)


def test_rates_are_means_over_networks_and_errors_are_of_the_means(data):
    assert_close(data.rate, data.rate_seed.mean("seed"), rtol=1e-12, why=SAME)
    assert_close(data.predicted, data.predicted_seed.mean("seed"), rtol=1e-12, why=SAME)
    assert_close(data.error, data.predicted / data.rate - 1, rtol=1e-12, why=SAME)
    assert (data.rate_low < data.rate).all()
    assert (data.rate < data.rate_high).all()
    assert_close(data.neuron_path_rate, np.log([0.5, 0.9]), rtol=1e-15, why=SAME)


def shown(measured, operator):
    """Two networks with these rates at decay 0.9 over spans 1, 2, 4, 8."""
    seeds = np.repeat(np.array([measured, operator])[..., None], 2, axis=-1)
    return xr.Dataset(
        {
            "rate": (("decay", "span"), [measured]),
            "rate_seed": (("decay", "span", "seed"), seeds[:1]),
            "predicted_seed": (("decay", "rung", "span", "seed"), seeds[None, 1:]),
            "neuron_path_rate": ("decay", [np.log(0.9)]),
        },
        {"decay": [0.9], "span": [1, 2, 4, 8], "rung": ["transfer operator"]},
    )


def test_the_crossing_is_where_the_recurrent_branch_meets_log_alpha():
    alone = np.log(0.9)
    # recurrent branch: rate = −0.4 / λ at λ = 4 and 8, which is log α at λ = 0.4 / |log α|
    measured, predicted = [alone, alone, -0.4 / 4, -0.4 / 8], [alone, alone, -0.36 / 4, -0.36 / 8]
    found = crossings(shown(measured, predicted)).sel(decay=0.9)
    assert_close(found.crossing, 0.4 / abs(alone), rtol=1e-9, why="a power law through two points of one")
    assert_close(found.crossing_predicted, 0.36 / abs(alone), rtol=1e-9, why="as above")
    assert found.recurrent.values.tolist() == [False, False, True, True]
    assert_close(found.recurrent_path_rate, -0.4 / np.array([1, 2, 4, 8]), rtol=1e-9, why="c/λ")


def test_without_a_recurrent_branch_nothing_crosses():
    alone = [np.log(0.9)] * 4
    found = crossings(shown(alone, alone))
    assert found.crossing.isnull().all()
    assert not found.recurrent.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decay": 0.0}, r"got 0\.0, expected decays between 0 and 1"),
        ({"decay": (0.5, 1.0)}, r"got 0\.5, 1\.0, expected decays between 0 and 1"),
        ({"decay": ()}, r"got none, expected decays"),
        ({"spans": (0,)}, r"got 0, expected spans"),
        ({"colour": "red"}, "not permitted"),
    ],
)
def test_options_that_make_no_figure_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DecayRateConfig(**options)


def test_one_decay_is_enough_and_many_are_sorted():
    assert DecayRateConfig(decay=0.7).decay == (0.7,)
    assert DecayRateConfig(decay=(0.9, 0.3, 0.9)).decay == (0.3, 0.9)


def test_a_span_beyond_the_sequence_is_predicted_as_no_recurrence():
    config = SMALL.model_copy(update={"spans": (1, 60), "decay": (0.5,), "pool": 4, "samples": 1})
    found = compute(config).sel(decay=0.5, span=60)
    assert_close(found.rate, np.log(0.5), rtol=0.03, why="the reset adds a little at the first lags")
    for rung in ("bound", "transfer operator", "variance propagation"):
        assert_close(found.predicted.sel(rung=rung), np.log(0.5), rtol=0.03, why="as above")
    assert not found.recurrent


def test_beyond_span_8_the_operator_stands_for_the_typical_product():
    found = compute(SMALL.model_copy(update={"spans": (9,), "decay": (0.5,), "seeds": 1}))
    assert found.predicted.sel(rung="typical product").isnull().all()
    assert found.predicted.sel(rung="transfer operator").notnull().all()


def test_a_gap_in_the_last_rung_fails_no_claim(data):
    gap = usual(data)
    for name in ("error", "predicted_seed"):
        gap[name].loc[{"rung": "typical product", "span": 16}] = np.nan
    assert failing(gap.assign(crossings(gap))) == []


def test_without_the_typical_product_the_operator_is_the_last_rung():
    found = compute(SMALL.model_copy(update={"typical": False, "decay": (0.5,), "seeds": 1}))
    assert list(found.rung.values) == list(RUNGS[:-1])
    assert found.predicted.notnull().all()


# claims


def usual(data, decay=0.9, typical=True, **options):
    """A dataset as the usual options would give it, whose rates bear the claims out."""
    data = data if typical else data.isel(rung=slice(-1))
    config = {**json.loads(data.attrs["config"]), "pool": 1, "hidden": 128, "seeds": 3, **options}
    spans, alone = np.array([1, 2, 4, 8, 16]), np.log(decay)
    rate = np.maximum(-0.45 / spans, alone)
    changed = data.sel(span=1, drop=True).isel(decay=[0]).assign_coords(decay=[decay])
    changed = changed.expand_dims(span=spans).copy(deep=True)
    for name in ("rate", "rate_seed"):
        changed[name] = changed[name] * 0 + changed.span.copy(data=rate)
    factor = changed.rung.copy(data=[-1.0, 0.7, 1.2, 1.4, 1.02, 1.01][: changed.sizes["rung"]])
    changed["predicted_seed"] = changed.predicted_seed * 0 + changed.rate * factor
    changed["error"] = changed.error * 0 + factor - 1.0
    changed["neuron_path_rate"] = ("decay", [alone])
    return changed.assign(crossings(changed)).assign_attrs(config=json.dumps(config))


def failing(data):
    return [claim.text for claim in claims(data) if not claim.holds]


def test_the_small_figure_makes_the_claims_that_apply_to_any(data):
    assert next(claim.text for claim in claims(data)) == "no network decays more slowly than the bound"
    assert not any("operator" in claim.text for claim in claims(data))


def test_all_claims_are_made_of_the_usual_digits(data):
    assert {claim.text for claim in claims(usual(data)) if claim.holds} == {
        "no network decays more slowly than the bound",
        "α = 0.9: the wider the span, the slower, strictly: λ = 8, 16",
        "α = 0.9: the typical product is nearest of all rungs, in the median",
        "α = 0.9: the typical product is within 3 % wherever it is computed",
        "α = 0.9: the transfer operator is within 10 % at every span",
        "α = 0.9: the neuron path carries the gradient for λ ≤ 2, at log α within 5 %",
        "α = 0.9: the recurrent path does for λ ≥ 8",
        "α = 0.9: the predicted crossing is within 20 % of the measured one",
    }
    assert {claim.text for claim in claims(usual(data, decay=0.5, typical=False)) if claim.holds} == {
        "no network decays more slowly than the bound",
        "α = 0.5: the wider the span, the slower, strictly: λ = 1, 2, 4, 8, 16",
        "α = 0.5: the transfer operator is nearest of all rungs, in the median",
        "α = 0.5: the transfer operator is within 5 % at every span",
        "α = 0.5: λ · rate is constant within a factor of 1.5 for λ ≤ 16",
    }
    for decay in (0.5, 0.9):
        assert failing(usual(data, decay=decay)) == []


@pytest.mark.parametrize(
    ("decay", "name", "where", "factor", "text"),
    [
        (0.9, "rate_seed", {"span": 4, "seed": 1}, -2.0, "no network decays more slowly than the bound"),
        (0.5, "rate", {"span": 8}, 0.4, "α = 0.5: the wider"),
        (0.9, "error", {"rung": "typical product"}, 30.0, "α = 0.9: the typical product is nearest"),
        (0.9, "error", {"rung": "typical product", "span": 4}, 3.1, "α = 0.9: the typical product is within"),
        (
            0.5,
            "error",
            {"rung": "transfer operator", "span": 4},
            3.0,
            "α = 0.5: the transfer operator is within",
        ),
        (0.5, "rate", {"span": 16}, 0.6, "α = 0.5: λ · rate"),
        (0.9, "recurrent", {"span": 2}, "not", "α = 0.9: the neuron path carries"),
        (0.9, "recurrent", {"span": 8}, "not", "α = 0.9: the recurrent path does"),
        (0.9, "error", {"rung": "transfer operator", "span": 4}, 6.0, "α = 0.9: the transfer"),
        (0.9, "crossing_predicted", {}, 1.3, "α = 0.9: the predicted crossing"),
        (0.9, "crossing_predicted", {}, np.nan, "α = 0.9: the predicted crossing"),
    ],
)
def test_each_claim_fails_where_the_data_does_not_bear_it_out(data, decay, name, where, factor, text):
    changed = usual(data, decay=decay)
    old = changed[name].sel(where)
    changed[name].loc[where] = ~old if factor == "not" else factor * old
    assert any(found.startswith(text) for found in failing(changed))


@pytest.mark.parametrize("options", [{"folder": "x"}, {"task": "smnist"}, {"hidden": 64}, {"seeds": 2}])
def test_what_was_found_on_the_digits_is_not_claimed_of_other_data(data, options):
    assert len(claims(usual(data, **options))) == 2


# files


def test_the_table_has_a_row_for_each_decay_and_span_with_every_rung(made, data):
    rows = pd.read_csv(made.files[1]).set_index(["decay", "span"])
    assert len(rows) == 4
    for (decay, span), row in rows.iterrows():
        here = data.sel(decay=decay, span=span)
        for name in ("rate", "rate_low", "rate_high", "neuron_path_rate", "recurrent_path_rate"):
            found, expected = (np.nan_to_num(value, nan=-99.0) for value in (row[name], here[name]))
            assert_close(found, expected, rtol=1e-8, why="nine digits are written; NaN where nothing crosses")
        for rung in RUNGS:
            word = rung.replace(" ", "_")
            assert_close(row[word], here.predicted.sel(rung=rung), rtol=1e-8, why="nine digits are written")
            assert_close(row[f"{word}_error"], here.error.sel(rung=rung), rtol=1e-8, why="nine digits")


def test_the_summary_says_which_path_carries_the_gradient(data):
    assert list(summary(usual(data)).path) == ["neuron"] * 3 + ["recurrent"] * 2
    gone = data.assign(rate=data.rate * np.nan)
    assert list(summary(gone).path) == ["?"] * 4


def test_the_file_holds_all_conventions_and_every_option(data):
    assert {field.name for field in fields(gf.Conventions)} <= set(data.attrs)
    said = data.attrs
    assert said["decay"] == "0.5,0.9"
    assert said["network_seed"] == "0,1"
    assert said["recurrence"] == "vanilla,skip:4"
    assert said["command"] == COMMAND
    assert DecayRateConfig.model_validate_json(said["config"]) == SMALL
    assert find("decay-rate") is FIGURE


def test_a_picture_drawn_again_from_the_file_alone_is_the_same_byte_for_byte(made, tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "RecurrentSNN", None)
    again = draw_from(FIGURE, made.files[0], tmp_path)
    for old, new in zip(made.files[1:], again.files[1:], strict=True):
        assert old.name == new.name
        assert old.read_bytes() == new.read_bytes()


# the picture


def lines_of(ax):
    return {line.get_label(): np.asarray(line.get_ydata(), dtype=float) for line in ax.get_lines()}


def test_every_panel_shows_its_decays_rates_errors_and_bound(data):
    axes = np.array(FIGURE.draw(data).axes).reshape(3, 2)
    for column, decay in zip(axes.T, (0.5, 0.9), strict=True):
        panel = data.sel(decay=decay)
        rates, errors, below = (lines_of(ax) for ax in column)
        for rung in RUNGS[1:]:
            expected = -panel.predicted.sel(rung=rung)
            assert_close(rates[rung], expected.where(expected > 0), rtol=1e-12, why=SAME)
            assert_close(errors[rung], 100 * panel.error.sel(rung=rung), rtol=1e-12, why=SAME)
        assert_close(below["bound"], panel.predicted.sel(rung="bound"), rtol=1e-12, why=SAME)
        points = column[0].containers[0].lines[0].get_ydata()
        assert_close(np.asarray(points), -panel.rate, rtol=1e-12, why=SAME)
        assert f"α = {decay:g}" in column[0].get_title()
        assert_close(rates["where they cross"], [-np.log(decay)], rtol=1e-12, why=SAME)
    for ax in axes[:, 0]:
        assert "per step" in ax.get_ylabel() or "%" in ax.get_ylabel()
    assert all(ax.get_xlabel() == "span λ (steps)" for ax in axes[2])


def test_a_panel_without_a_crossing_says_so(data):
    alone = usual(data)
    for name in ("rate", "rate_seed"):
        alone[name] = alone[name] * 0 + np.log(0.9)
    title = FIGURE.draw(alone.assign(crossings(alone))).axes[0].get_title()
    assert "neuron path at λ = 1, 2, 4, 8, 16" in title
    assert "no crossing" in title


def test_no_label_covers_another_and_all_lie_within_the_picture(data):
    close = usual(data)
    close["error"] = close.error * 0 + close.rung.copy(data=[-3.0, 0.5, -0.06, 0.7, -0.06, 0.0])
    picture = FIGURE.draw(close)
    picture.draw_without_rendering()
    frame = picture.bbox
    boxes = [
        text.get_window_extent() for ax in picture.axes for text in (*ax.texts, ax.title) if text.get_text()
    ]
    for place, box in enumerate(boxes):
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1  # noqa: PT018
        assert not any(box.overlaps(other) for other in boxes[:place])
