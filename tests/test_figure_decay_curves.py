"""The figure decay-curves: its numbers against the library's own, its claims, its files and its picture."""

import hashlib
import json
import re
from dataclasses import fields, replace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from compare import assert_close, assert_equal
from PIL import Image

import gradflow as gf
from gradflow.analysis import exact_zero_lag
from gradflow.figures import cells
from gradflow.figures import decay_curves as module
from gradflow.figures.decay_curves import FIGURE, DecayCurvesConfig, compute, measure
from gradflow.figures.decay_curves_claims import claims, in_neuron_path, remarks, summary, table
from gradflow.figures.make import draw_from, make
from gradflow.figures.registry import find, names

SAME = "the same float64 numbers, divided by log 10 once more"
SMALL = DecayCurvesConfig(spans=(1, 4, 300), pool=2, hidden=24, samples=2, seeds=3)
COMMAND = "gradflow figures decay-curves --pool 2"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(FIGURE, SMALL, tmp_path_factory.mktemp("figure"), command=COMMAND)


@pytest.fixture(scope="module")
def stored(made):
    return made.files[0]


@pytest.fixture(scope="module")
def data(stored):
    return gf.load(stored)


@pytest.fixture(scope="module")
def leaky():
    """α = 0.9, where the neuron path carries the narrow spans."""
    return compute(SMALL.model_copy(update={"decay": 0.9, "spans": (1, 2), "hidden": 64}))


@pytest.fixture(scope="module")
def full():
    """The size of the issue: T = 784, H = 128, permuted digits; the same seeds and samples for all spans.

    At λ = 41 the operator takes as long as all the rest: it is not computed there.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "AFFORDABLE", 2**26)
        return compute(DecayCurvesConfig(samples=1, seeds=4))


def run_of(span, *, seed, config=SMALL):
    task = gf.tasks.psmnist(pool=config.pool)
    net = gf.RecurrentSNN(
        task, hidden=config.hidden, recurrence=gf.Skip(span), neuron=gf.LIF(decay=config.decay), seed=seed
    )
    return gf.local_jacobians(net, task.sample(config.samples, seed=seed))


def products(span, *, seed, config=SMALL):
    return gf.jacobian_products(run_of(span, seed=seed, config=config))


# numbers


@pytest.mark.parametrize("seed", [0, 2])
def test_seed_k_is_network_seed_k_and_sample_seed_k_for_every_span(data, seed):
    for span in SMALL.spans:
        found = data.log_frobenius.sel(span=span, seed=seed).transpose("sample", "lag")
        expected = products(span, seed=seed).log_frobenius.sel(layer=0).transpose("sample", "lag")
        assert_close(found, expected, rtol=1e-12, why="one computation, threads may sum in another order")


def test_centre_and_band_are_quantiles_over_samples_and_seeds(data):
    pooled = data.log_frobenius.stack(curve=("seed", "sample")).transpose("span", "lag", "curve").values
    for name, q in (("low", 0.1), ("centre", 0.5), ("high", 0.9)):
        found = data[name].transpose("span", "lag")
        assert_close(found, np.quantile(pooled, q, axis=-1), atol=1e-9, why="nats; numpy's quantile")


def test_rates_and_theory_are_means_over_the_seeds_own(data):
    for span in (1, 4):
        here, seeds = data.sel(span=span), range(SMALL.seeds)
        own = [products(span, seed=seed) for seed in seeds]
        rates = [gf.fit_decay(prod).rate.item() for prod in own]
        assert_close(here.rate, np.mean(rates), rtol=1e-9, why="a mean of three")
        theories = {
            "mean_square": [gf.theory.mean_square(prod) for prod in own],
            "transfer_operator": [gf.theory.transfer_operator(run_of(span, seed=seed)) for seed in seeds],
        }
        for name, parts in theories.items():
            rates = [part.rate.item() for part in parts]
            assert_close(here[f"{name}_rate"], np.mean(rates), rtol=1e-9, why="a mean of three")
            curve = np.mean([part.log_frobenius.values[0] for part in parts], axis=0)
            assert_close(here[name], curve, rtol=1e-9, atol=1e-9, why="nats; a mean of three")


def test_the_operator_begins_at_the_true_end_where_the_product_is_the_identity(data):
    # before one span is over there is the neuron path alone: ½ log Σ_i (E a_i²)ⁿ
    expected = []
    for seed in range(SMALL.seeds):
        square = (run_of(4, seed=seed).layers[0].a[:-1] ** 2).mean(axis=(0, 1))
        expected.append([0.5 * np.log((square**lag).sum()) for lag in range(4)])
    found = data.transfer_operator.sel(span=4)[:4]
    assert_close(found, np.mean(expected, axis=0), rtol=1e-12, why="the same moments in another order")


def test_an_operator_that_takes_too_much_memory_is_left_out_and_that_is_said(monkeypatch):
    config = SMALL.model_copy(update={"spans": (1, 4), "seeds": 1, "samples": 1, "pool": 4})
    needed = 4 * 4 * 5 * 24**2  # 4 λ (λ + 1) H² bytes for λ = 4
    monkeypatch.setattr(cells, "AFFORDABLE", needed - 1)
    found = compute(config)
    assert found.transfer_operator.isnull().all("lag").values.tolist() == [False, True]
    assert found.transfer_operator_rate.isnull().values.tolist() == [False, True]
    assert remarks(found)[-1] == "The transfer operator takes too much memory for λ = 4."
    FIGURE.draw(found)
    monkeypatch.setattr(cells, "AFFORDABLE", needed)
    assert compute(config).transfer_operator.notnull().all()


def test_a_span_beyond_the_sequence_is_predicted_as_no_recurrence(data):
    beyond = data.sel(span=300)
    assert_close(beyond.rate, np.log(0.5), rtol=0.02, why="the reset adds a little at the first lags")
    squares = [products(300, seed=seed).a_square.mean().item() for seed in range(SMALL.seeds)]
    assert_close(
        beyond.mean_square_rate, np.mean(np.log(squares)) / 2, rtol=1e-9, why="½ log E a², a mean of three"
    )
    assert_close(beyond.transfer_operator_rate, np.log(0.5), rtol=0.02, why="neurons out of their window win")
    assert in_neuron_path(data).values.tolist() == [False, False, True]


def test_the_neuron_path_is_alpha_to_the_lag_times_root_h(data, leaky):
    for dataset, hidden, decay in ((data, 24, 0.5), (leaky, 64, 0.9)):
        expected = 0.5 * np.log(hidden) + np.arange(196) * np.log(decay)
        assert_close(dataset.neuron_path, expected, rtol=1e-12, why=SAME)
        assert_close(dataset.neuron_path_rate, np.log(decay), rtol=1e-15, why=SAME)


def test_alpha_0_keeps_nothing_and_alpha_1_everything():
    nothing = compute(SMALL.model_copy(update={"decay": 0.0, "pool": 4, "spans": (1,), "seeds": 1}))
    assert nothing.neuron_path.values[0] > 0.0
    assert (nothing.neuron_path.values[1:] == -np.inf).all()
    assert not in_neuron_path(nothing).any()
    assert not any("finite" in claim.text for claim in claims(nothing))
    everything = compute(SMALL.model_copy(update={"decay": 1.0, "pool": 4, "spans": (1, 2), "seeds": 1}))
    assert_equal(everything.neuron_path.values, np.full(49, 0.5 * np.log(24)))
    assert in_neuron_path(everything).all()
    assert not any("slower" in claim.text for claim in claims(everything))
    FIGURE.draw(nothing)
    FIGURE.draw(everything)


def cell(hidden, decay=0.5, span=1, pool=1):
    task = gf.tasks.psmnist(pool=pool)
    net = gf.RecurrentSNN(task, hidden=hidden, recurrence=gf.Skip(span), neuron=gf.LIF(decay=decay))
    return net, task.sample(2)


def test_the_float32_zero_is_the_lag_from_which_the_recorded_gradient_is_0():
    net, batch = cell(hidden=16)
    measured = measure(net, batch, gf.local_jacobians(net, batch))
    found = measured.float32_zero_lag.values
    gradient = gf.record(net, batch, loss_placement=gf.Readout.LAST).grad_u.isel(layer=0)
    for sample, lag in enumerate(found):
        backwards = gradient.isel(sample=sample).values[::-1]
        assert (backwards[int(lag) :] == 0.0).all()
        assert backwards[int(lag) - 1] > 0.0
        norm = measured.log_frobenius.isel(sample=sample).sel(lag=lag) / np.log(10)
        assert -50.0 < float(norm) < -40.0  # float32 ends at 10^-44.85; loss and width shift that


def test_a_gradient_that_is_zero_by_structure_is_no_underflow():
    silent_net, batch = cell(hidden=1)
    gradient = gf.record(silent_net, batch, loss_placement=gf.Readout.LAST).grad_u.isel(layer=0)
    assert (exact_zero_lag(gradient) == 0.0).all()  # its neuron is out of the window at the last step
    assert measure(silent_net, batch, gf.local_jacobians(silent_net, batch)).float32_zero_lag.isnull().all()
    holes, batch = cell(hidden=16, decay=0.0, span=41, pool=2)  # only every 41st lag is not 0
    found = measure(holes, batch, gf.local_jacobians(holes, batch))
    lost = found.float32_zero_lag.values
    assert np.isnan(lost).all()
    assert np.isneginf(found.log_frobenius.isel(lag=-1)).all()


def two_networks():
    """The products of two networks, and what the operator predicts of them."""
    two = xr.concat([products(1, seed=seed).isel(layer=0) for seed in (0, 1)], dim="seed")
    return two, xr.concat([cells.predicted(run_of(1, seed=seed)) for seed in (0, 1)], dim="seed")


def test_the_marker_is_the_median_and_curves_that_never_underflow_count_as_never(data, monkeypatch):
    monkeypatch.setattr(module, "fit_decay", lambda _: data.isel(span=0, drop=True))
    two, operator = two_networks()
    lags = xr.DataArray([[90.0, 100.0], [110.0, np.nan]], dims=("seed", "sample"))
    assert module.summarise(two.assign(float32_zero_lag=lags), operator).float32_zero_lag.item() == 105.0
    lags = xr.DataArray([[90.0, np.nan], [np.nan, np.nan]], dims=("seed", "sample"))
    found = module.summarise(two.assign(float32_zero_lag=lags), operator)
    assert np.isnan(found.float32_zero_lag.item())


def test_the_margin_counts_a_bound_of_zero_above_a_product_that_is_not(data, monkeypatch):
    two, operator = two_networks()
    two = two.assign(float32_zero_lag=xr.DataArray([[np.nan] * 2] * 2, dims=("seed", "sample")))
    assert module.summarise(two, operator).bound_margin.item() >= -1e-12
    nothing = two.assign(a_max=0.0 * two.a_max, phi_max=0.0 * two.phi_max)
    assert module.summarise(nothing, operator).bound_margin == -np.inf


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 4001}, r"samples: got 4001, expected at most 4000, the training examples of psmnist"),
        ({"pool": 28}, r"pool: got 28, expected one that leaves psmnist more than 1 step"),
        ({"pool": 3}, r"pool: got 3, expected a divisor"),
    ],
)
def test_options_that_the_task_cannot_meet_are_refused_before_computing(options, message):
    with pytest.raises(ValueError, match=message):
        compute(DecayCurvesConfig(**options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spans": (4, 0)}, r"got 4,0, expected spans of 1 to 1000000000"),
        ({"spans": ()}, r"got none, expected spans"),
        ({"task": "mnist"}, r"got 'mnist', expected one of smnist, psmnist"),
        ({"seeds": 0}, "greater than or equal to 1"),
        ({"decay": 1.1}, "less than or equal to 1"),
        ({"colour": "red"}, "not permitted"),
    ],
)
def test_options_that_make_no_figure_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DecayCurvesConfig(**options)


def test_spans_are_sorted_and_each_is_measured_once():
    assert DecayCurvesConfig(spans=(16, 1, 16)).spans == (1, 16)


# what it must show


def test_at_full_size_it_shows_what_the_project_says(full):
    assert {claim.text for claim in claims(full) if claim.holds} == {
        "the bound holds at every lag",
        "every curve is finite at every lag",
        "the wider the span, the slower the decay, strictly: λ = 1, 4, 16, 41",
        "the curve of λ = 1 falls below 10^-100",
        "the transfer operator is within 5 % of the measured rate for λ ≤ 16",
        "mean-square theory is within 15 % of the measured rate for λ ≤ 16",
        "λ · rate is constant within a factor of 1.5 for λ ≤ 16",
    }
    assert all(claim.holds for claim in claims(full))
    # said once more without the claims' own code
    assert dict(full.log_frobenius.sizes) == {"span": 4, "seed": 4, "sample": 1, "lag": 784}
    assert np.isfinite(full.log_frobenius).all()
    assert (full.log_frobenius.sel(span=1, lag=783) < -100 * np.log(10)).all()
    assert (np.diff(full.rate) > 0).all()
    few = full.sel(span=[1, 4, 16])
    assert float((few.span * few.rate).min() / (few.span * few.rate).max()) < 1.5
    assert (abs(few.mean_square_rate / few.rate - 1) < 0.15).all()
    assert (abs(few.transfer_operator_rate / few.rate - 1) < 0.05).all()


def test_at_full_size_rates_are_those_measured_before(full):
    # an earlier implementation on the same digits; networks differ by 8 % (standard deviation)
    expected = {1: -0.5084, 4: -0.1572, 16: -0.0393}
    for span, rate in expected.items():
        assert_close(full.rate.sel(span=span), rate, rtol=0.1, why="2.5 standard errors of 4 networks")


def test_at_full_size_and_alpha_09_the_neuron_path_wins_and_the_theory_fails():
    config = DecayCurvesConfig(samples=1, seeds=4, decay=0.9, spans=(1, 2))
    found = compute(config)
    assert in_neuron_path(found).values.tolist() == [True, True]
    texts = {claim.text: claim.holds for claim in claims(found)}
    assert texts["λ = 1 decays at log α, and mean-square theory misses it by over 15 %"]
    assert texts["the transfer operator is within 5 % of the measured rate for λ ≤ 2"]
    assert texts[
        "the wider the span, the slower the decay, strictly: λ = 1, 2 "
        "(but 1, 2 decay at log α, the neuron path)"
    ]
    said = " ".join(remarks(found))
    assert "log α = −0.1054 per step" in said
    assert "Mean-square theory fails, by more than 15 %, for λ = 1 (+" in said


# claims


def usual(data, **options):
    """A dataset as the usual options would give it, over three spans, with rates that bear the claims out."""
    config = {**json.loads(data.attrs["config"]), "pool": 1, "hidden": 128, "seeds": 4, **options}
    alone = np.log(config["decay"])
    data = data.assign_coords(span=[1, 4, 16])
    return data.assign(
        rate=("span", [-0.5, -0.15, -0.04]),
        transfer_operator_rate=("span", [-0.505, -0.148, -0.0405]),
        mean_square_rate=("span", [-0.52, -0.17, -0.045]),
        centre=xr.full_like(data.centre, -300.0),
        log_frobenius=xr.zeros_like(data.log_frobenius),
        neuron_path_rate=alone,
        bound_margin=("span", [0.0, 0.0, 0.0]),
    ).assign_attrs(config=json.dumps(config))


def failing(data):
    return [claim.text for claim in claims(data) if not claim.holds]


def test_the_small_figure_makes_the_claims_that_apply_to_it_and_no_others(data):
    assert [claim.text for claim in claims(data)] == [
        "the bound holds at every lag",
        "every curve is finite at every lag",
        "the wider the span, the slower the decay, strictly: λ = 1, 4",  # 300 never acts in 196 steps
    ]
    assert failing(data) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"bound_margin": ("span", [0.0, -1e-6, 0.0])}, "the bound holds"),
        ({"bound_margin": ("span", [0.0, np.nan, 0.0])}, "the bound holds"),
        ({"rate": ("span", [-0.5, -0.15, -0.151])}, "the wider the span"),
        ({"rate": ("span", [-0.5, -0.15, -0.15])}, "the wider the span"),
        ({"rate": ("span", [-0.5, np.nan, -0.04])}, "the wider the span"),
        ({"rate": ("span", [-0.5, -0.1, -0.02])}, "λ · rate"),
        ({"mean_square_rate": ("span", [-0.52, -0.173, -0.045])}, "mean-square theory is within"),
        ({"mean_square_rate": ("span", [-0.42, -0.15, -0.045])}, "mean-square theory is within"),
        ({"transfer_operator_rate": ("span", [-0.5, -0.15, -0.0421])}, "the transfer operator is within"),
        ({"transfer_operator_rate": ("span", [-0.474, -0.15, -0.04])}, "the transfer operator is within"),
        ({"transfer_operator_rate": ("span", [-0.5, np.nan, -0.04])}, "the transfer operator is within"),
        ({"centre": 0.1}, "the curve of λ = 1"),
        ({"log_frobenius": -np.inf}, "every curve is finite"),
    ],
)
def test_each_claim_fails_where_the_data_does_not_bear_it_out(data, change, text):
    changed = usual(data)
    assert failing(changed) == []
    for name, value in change.items():
        old = changed[name]
        changed[name] = value if isinstance(value, tuple) else old * 0 + value
    assert any(found.startswith(text) for found in failing(changed))


def test_spans_in_the_neuron_path_need_no_order_and_others_do(data):
    alone = np.log(0.9)
    leaky = usual(data, decay=0.9).assign(mean_square_rate=("span", [-0.157, -0.09, -0.027]))
    leaky = leaky.assign(transfer_operator_rate=("span", [alone, alone, -0.03]))
    assert failing(leaky.assign(rate=("span", [alone * 1.01, alone * 1.02, -0.03]))) == []
    outside = leaky.assign(rate=("span", [alone * 0.9, alone * 1.02, -0.03]))
    assert any("the wider the span" in text for text in failing(outside))
    near = leaky.assign(rate=("span", [alone, alone, -0.03]), mean_square_rate=("span", [alone] * 3))
    assert any("misses it" in text for text in failing(near))
    far = leaky.assign(transfer_operator_rate=("span", [1.06 * alone, alone, -0.03]))
    far = far.assign(rate=("span", [alone, alone, -0.03]))
    assert failing(far) == ["the transfer operator is within 5 % of the measured rate for λ ≤ 2"]


@pytest.mark.parametrize("options", [{"folder": "x"}, {"task": "smnist"}, {"hidden": 64}, {"pool": 2}])
def test_what_was_found_on_the_digits_is_not_claimed_of_other_data(data, options):
    assert len(claims(usual(data))) == 7
    assert len(claims(usual(data, **options))) == 3


def test_single_networks_do_not_answer_for_the_mean_over_networks(data):
    said = " ".join(claim.text for claim in claims(usual(data, seeds=3)))
    assert "theory" not in said
    assert "operator" not in said


def test_one_span_is_in_no_order(data):
    assert not any("slower" in claim.text for claim in claims(data.sel(span=[1])))


# files


def test_the_table_holds_every_line_in_powers_of_ten(made, data):
    rows = pd.read_csv(made.files[1]).set_index(["span", "lag"])
    assert len(rows) == 3 * 196
    columns = {"median": "centre", "low": "low", "high": "high", "envelope": "envelope"}
    theories = ("transfer_operator", "mean_square")
    columns |= {f"{name}{kind}": f"{name}{kind}" for name in theories for kind in ("", "_envelope")}
    for column, name in columns.items():
        for span in SMALL.spans:
            found = rows.loc[span, f"log10_{column}"].to_numpy()
            expected = data[name].sel(span=span).values / np.log(10)
            assert_close(found, expected, rtol=1e-8, why="nine digits are written")
    expected = data.neuron_path.values / np.log(10)
    assert_close(rows.loc[4, "log10_neuron_path"].to_numpy(), expected, rtol=1e-8, why="nine digits")


def test_exact_zeros_stay_in_the_table(data):
    gone = data.assign(centre=data.centre.where(data.lag < 5, -np.inf))
    rows = table(gone)
    assert np.isneginf(rows[rows.lag == 5].log10_median).all()


def test_the_summary_has_a_row_for_each_span(data, made):
    rows = made.summary.set_index("span")
    assert list(rows.index) == [1, 4, 300]
    assert_close(rows.span_times_rate, data.span * data.rate, rtol=1e-15, why=SAME)
    for name in ("transfer_operator", "mean_square"):
        assert_close(rows[name], data[f"{name}_rate"], rtol=1e-15, why=SAME)
        assert_close(rows[f"{name}_error"], data[f"{name}_rate"] / data.rate - 1, rtol=1e-12, why=SAME)
    last = data.centre.isel(lag=-1) / np.log(10)
    assert_close(rows.log10_norm_at_end, last, rtol=1e-14, why=SAME)
    assert list(rows.path) == ["recurrent", "recurrent", "neuron"]
    assert list(summary(data.assign(rate=data.rate * np.nan)).path) == ["?"] * 3


def test_the_file_holds_all_conventions_and_every_option(data):
    known = {field.name for field in fields(gf.Conventions)}
    assert known <= set(data.attrs)
    said = data.attrs
    neuron = {"neuron": "LIF", "decay": 0.5, "reset": "soft", "detach_reset": "attached"}
    task = {"task": "psmnist", "pool": 2, "steps": 196, "batch": 2, "permutation_seed": 0, "split": "train"}
    seeds = {"network_seed": "0,1,2", "sample_seed": "0,1,2"}
    assert {**neuron, **task, **seeds, "surrogate": "triangle", "dtype": "float32"}.items() <= said.items()
    assert said["recurrence"] == "vanilla,skip:4,skip:300"
    assert json.loads(said["p"]) == [{"1": 1.0}, {"4": 1.0}, {"300": 1.0}]
    assert "last step for float32_zero_lag" in said["loss_placement"]
    assert json.loads(said["versions"])["torch"]
    assert DecayCurvesConfig.model_validate_json(data.attrs["config"]) == SMALL
    assert data.attrs["command"] == COMMAND


def said_by(path):
    if path.suffix == ".png":
        return json.loads(Image.open(path).text["Description"])
    if path.suffix == ".svg":
        purl = "{http://purl.org/dc/elements/1.1/}"
        return json.loads(ElementTree.parse(path).getroot().find(f".//{purl}description").text)
    text = path.read_bytes().decode("latin-1").split("/Subject (", 1)[1]
    return json.loads(re.sub(r"\\(.)", r"\1", re.match(r"(?:[^()\\]|\\.)*", text, re.DOTALL)[0]))


def test_every_picture_says_where_it_comes_from(made, stored, data):
    digest = hashlib.sha256(stored.read_bytes()).hexdigest()
    assert [path.suffix for path in made.files] == [".nc", ".csv", ".png", ".pdf", ".svg", ".json"]
    for path in made.files[2:5]:
        said = said_by(path)
        assert said["data_sha256"] == digest
        assert said["command"] == COMMAND
        for name in ("config", "versions", "commit", "network_seed", "permutation_seed", "recurrence"):
            assert said[name] == data.attrs[name]


def test_a_picture_drawn_again_from_the_file_alone_is_the_same_byte_for_byte(
    made, stored, tmp_path, monkeypatch
):
    copy = tmp_path / "elsewhere" / stored.name
    copy.parent.mkdir()
    copy.write_bytes(stored.read_bytes())
    monkeypatch.setattr(cells, "RecurrentSNN", None)
    again = draw_from(FIGURE, copy, tmp_path / "again")
    for old, new in zip(made.files[1:], again.files[1:], strict=True):
        assert old.name == new.name
        assert old.read_bytes() == new.read_bytes()
    assert again.claims == made.claims
    pd.testing.assert_frame_equal(again.summary, made.summary)


def test_another_kind_of_file_is_refused(tmp_path):
    other = gf.save(products(4, seed=0), tmp_path / "products.nc")
    with pytest.raises(
        ValueError, match=r"products\.nc: holds jacobian products, expected figure decay-curves"
    ):
        draw_from(FIGURE, other, tmp_path)
    text = tmp_path / "text.nc"
    text.write_text("no netCDF")
    with pytest.raises(ValueError, match=r"text\.nc: not a readable netCDF file"):
        draw_from(FIGURE, text, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"products.nc", "text.nc"}


def test_nothing_is_left_half_written(stored, tmp_path, monkeypatch):
    old = tmp_path / "decay-curves.png"
    old.write_bytes(b"the older picture")

    def interrupted(self, path, **options):
        path.write_bytes(b"half a picture")
        raise KeyboardInterrupt

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", interrupted)
    with pytest.raises(KeyboardInterrupt):
        draw_from(FIGURE, stored, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"decay-curves.csv", "decay-curves.png"}
    assert old.read_bytes() == b"the older picture"


def test_a_folder_that_cannot_be_written_is_found_out_before_anything_is_computed(tmp_path):
    blocked = tmp_path / "file"
    blocked.touch()

    def never(config, progress):
        raise AssertionError("computed")

    with pytest.raises(OSError, match="file"):
        make(replace(FIGURE, compute=never), SMALL, blocked / "folder", command="")


def test_progress_counts_every_cell():
    seen = []
    config = SMALL.model_copy(update={"spans": (1, 2), "seeds": 2, "samples": 1, "pool": 7, "hidden": 4})
    compute(config, lambda done, total, what: seen.append((done, total, what)))
    assert [done for done, _, _ in seen] == [0, 1, 2, 3, 4]
    assert {total for _, total, _ in seen} == {4}
    assert seen[2][2] == "span 2, seed 0"


def test_the_registry_knows_the_figure_and_names_it_when_asked_for_another():
    assert names()[:3] == ["schematic", "decay-curves", "decay-rate"]
    assert find("decay-curves") is FIGURE
    with pytest.raises(
        ValueError, match="figure 'decay': expected one of schematic, decay-curves, decay-rate"
    ):
        find("decay")


# the picture


def lines_of(ax):
    return {line.get_label(): np.asarray(line.get_ydata(), dtype=float) for line in ax.get_lines()}


def test_the_picture_shows_the_whole_range_above_and_the_uppermost_decades_below(data):
    whole, detail = FIGURE.draw(data).axes
    lowest = float(data.low.min()) / np.log(10)
    assert whole.get_ylim()[0] < lowest < whole.get_ylim()[0] + 10
    assert detail.get_ylim()[0] == -25.0
    for ax in (whole, detail):
        drawn = lines_of(ax)
        for span in SMALL.spans:
            expected = data.centre.sel(span=span).values / np.log(10)
            assert_close(drawn[f"λ = {span}"], expected, rtol=1e-12, why=SAME)
        expected = data.neuron_path.values / np.log(10)
        assert_close(drawn["neuron path"], expected, rtol=1e-12, why=SAME)


@pytest.mark.parametrize(("theory", "width"), [("transfer_operator", 1.2), ("mean_square", 0.7)])
def test_the_theory_drawn_is_the_predictions_envelope_in_the_colour_of_its_span(data, theory, width):
    whole, _ = FIGURE.draw(data).axes
    broken = [line for line in whole.get_lines() if line.is_dashed() and line.get_linewidth() == width]
    assert len(broken) == 3
    for line, span in zip(broken, SMALL.spans, strict=True):
        predicted = data[theory].sel(span=span).values / np.log(10)
        envelope = np.maximum.accumulate(predicted[::-1])[::-1]
        assert_close(np.asarray(line.get_ydata()), envelope, rtol=1e-12, why=SAME)
        (curve,) = (curve for curve in whole.get_lines() if curve.get_label() == f"λ = {span}")
        assert line.get_color() == curve.get_color()


def test_where_the_theory_fails_the_picture_says_so_and_draws_log_alpha(leaky):
    carried = [str(span) for span in leaky.span.values[in_neuron_path(leaky)]]
    assert "1" in carried
    (ax,) = FIGURE.draw(leaky).axes
    assert f"for λ = {', '.join(carried)}: it decays at log α = −0.1054 per step." in ax.get_title()
    assert "Mean-square theory fails, by more than 15 %, for λ = 1 (+" in ax.get_title()
    path = lines_of(ax)["neuron path"]
    assert_close(np.diff(path), np.full(195, np.log10(0.9)), rtol=1e-9, why="a difference of two powers")
    assert "neuron path alone" in " ".join(text.get_text() for text in ax.get_legend().get_texts())


def test_float32_zeros_are_marked_where_the_file_says(data):
    marked = data.assign(float32_zero_lag=("span", [150.0, np.nan, np.nan]))
    whole, detail = FIGURE.draw(marked).axes
    for ax in (whole, detail):
        (mark,) = (line for line in ax.get_lines() if line.get_marker() not in ("None", None))
        assert list(mark.get_xdata()) == [150.0]
    assert any("float32" in text.get_text() for text in whole.get_legend().get_texts())
    assert any(text.get_text() == "below float32" for text in whole.texts)


def test_no_label_covers_another_and_all_lie_within_the_picture(full):
    picture = FIGURE.draw(full)
    picture.draw_without_rendering()
    frame = picture.bbox
    for ax in picture.axes:
        boxes = [text.get_window_extent() for text in ax.texts]
        boxes += [text.get_window_extent() for text in ax.get_legend().get_texts()]
        for place, box in enumerate(boxes):
            assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1  # noqa: PT018
            assert not any(box.overlaps(other) for other in boxes[:place])
