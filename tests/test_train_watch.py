"""The gradient while training: what a look sees, what it leaves alone, and what it may cost."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gradflow as gf
from gradflow.readout import Readout
from gradflow.recording import Keep
from gradflow.train import plan_watch, read_watch, resolve, train
from gradflow.train.budget import FIXED, SLOWNESS, Sizes
from gradflow.train.config import WatchPart
from gradflow.train.watch import look, write_look
from gradflow.transition import local_jacobians


@pytest.fixture
def net():
    net = gf.RecurrentSNN(
        gf.Sizes(1, 10, 49),
        hidden=(10, 12),
        recurrence=(gf.Skip(3), gf.AdaptiveSkip(5)),
        neuron=gf.GLIF(alpha=0.4),
        dropout=0.3,
    )
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "span_logits" in name:
                parameter.copy_(torch.tensor([0.1, 0.0, 0.4, 0.2, -0.3]))
            elif "linear.weight" in name:
                parameter.mul_(3.0)  # enough current for spikes
    net.anneal()
    return net.train()


@pytest.fixture
def batch():
    return gf.tasks.psmnist(pool=4).sample(3)


def test_a_look_sees_what_the_functions_of_the_package_see(net, batch):
    seen = look(net, batch)
    quiet = net.eval()
    products = gf.jacobian_products(quiet, batch, span_mode=gf.SpanMode.SOFT)
    assert np.array_equal(seen.log_frobenius, products.log_frobenius)
    fit = gf.fit_decay(products)
    for name in ("rate", "rate_low", "rate_high", "horizon", "half_life", "comb_depth"):
        assert np.array_equal(seen[name], fit[name], equal_nan=True), name
    zeros = gf.zero_summary(products)
    for name in ("share_structural", "share_float16", "share_float32", "lag_structural", "lag_float32"):
        assert np.array_equal(seen[name], zeros[name], equal_nan=True), name
    assert np.array_equal(seen.rate_mean_square, gf.theory.mean_square(products).rate)
    for ending, place in (("", None), ("_last", Readout.LAST)):
        own = gf.record(
            quiet, batch, keep=Keep.NORMS | Keep.ACTIVITY, span_mode=gf.SpanMode.SOFT, loss_placement=place
        )
        assert np.array_equal(seen[f"grad_u{ending}"], np.sqrt((own.grad_u**2).mean("sample")))
        assert np.array_equal(seen[f"zero_share{ending}"], own.zero_share.mean("sample"))
    assert np.array_equal(seen.firing_rate, own.firing_rate.mean(["time", "sample"]))
    assert np.array_equal(seen.window, own.window.mean(["time", "sample"]))


def test_a_look_sees_spans_and_their_softmax(net, batch):
    seen = look(net, batch)
    weights = np.exp(np.array([0.1, 0.0, 0.4, 0.2, -0.3]) / 0.96)
    weights /= weights.sum()
    # kept in float32
    assert seen.p.sel(layer=1).values == pytest.approx(weights, rel=1e-6)
    assert seen.p.sel(layer=0).values.tolist() == [0, 0, 1, 0, 0]
    assert seen.span_mean.values == pytest.approx([3.0, weights @ np.arange(1, 6)], rel=1e-6)
    assert seen.span_hard.values.tolist() == [3, 3]
    assert np.isnan(seen.temperature[0])
    assert float(seen.temperature[1]) == pytest.approx(0.96, rel=1e-6)


def test_a_look_changes_nothing(net, batch):
    before = {name: value.clone() for name, value in net.state_dict().items()}
    drawn = torch.get_rng_state()
    look(net, batch)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert torch.equal(torch.get_rng_state(), drawn)
    look(net.eval(), batch)
    assert not net.training


def test_a_network_stays_in_its_mode_when_a_look_fails(net, batch):
    with torch.no_grad():
        net.output.bias[0] = torch.nan
    with pytest.raises(ValueError, match="the loss of sample 0 is nan"):
        look(net, batch)
    assert net.training


@pytest.mark.parametrize("lags", [1, 7, 48, 500])
def test_curves_of_few_lags_are_the_beginning_of_the_whole_ones(net, batch, lags):
    whole, short = look(net, batch), look(net, batch, lags=lags)
    assert short.sizes["lag"] == min(lags + 1, 49)
    kept = whole.isel(lag=slice(short.sizes["lag"]))
    assert np.array_equal(short.log_frobenius, kept.log_frobenius)
    assert np.array_equal(short.share_structural, kept.share_structural)


def test_where_the_loss_is_on_the_last_step_already_it_is_looked_at_once(batch):
    net = gf.RecurrentSNN(gf.Sizes(1, 10, 49), hidden=6, readout="last")
    seen = look(net, batch)
    assert seen.grad_u.attrs["loss_placement"] == seen.attrs["loss_placement"] == "last"
    assert "grad_u_last" not in seen


def test_looks_come_together_in_one_dataset(net, batch, tmp_path):
    first = look(net, batch)
    with torch.no_grad():
        net.layers[1].spans.span_logits[4] = 2.0
    second = look(net, batch)
    write_look(tmp_path, second, epoch=1.5, step=12)
    write_look(tmp_path, first, epoch=0.0, step=0)
    data = read_watch(tmp_path)
    assert data.epoch.values.tolist() == [0.0, 1.5]
    assert data.step.values.tolist() == [0, 12]
    assert data.log_frobenius.dims == ("epoch", "layer", "sample", "lag")
    assert data.p.dims == ("epoch", "layer", "span")
    assert np.array_equal(data.log_frobenius[1], second.log_frobenius)
    assert data.span_hard.values.tolist() == [[3, 3], [3, 5]]
    assert data.attrs["recurrence"] == "skip:3 | asrc:5"
    assert data.attrs["kind"] == "gradient while training"
    assert data.attrs["loss_placement"] == data.grad_u.attrs["loss_placement"] == "sum"
    assert data.grad_u_last.attrs["loss_placement"] == "last"
    assert data.attrs["horizon_level"] == 1e-3
    assert data.lag.attrs["units"] == "steps"
    assert read_watch(tmp_path, until=11).sizes["epoch"] == 1
    gf.save(data, tmp_path / "all.nc")
    assert gf.load(tmp_path / "all.nc").identical(data)
    with pytest.raises(FileNotFoundError, match="no looks at the gradient there"):
        read_watch(tmp_path / "none")
    path = tmp_path / "step-00000012.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        ValueError, match=r"step-00000012\.safetensors: not a look at the gradient, or damaged"
    ):
        read_watch(tmp_path)


SMALL = Sizes(train=4000, validation=500, steps=196, inputs=1, hidden=(64, 128, 128), spans=(1, 1, 1))


def test_costs_are_counts_of_operations():
    sizes = Sizes(train=10, validation=5, steps=7, inputs=2, hidden=(3, 4), spans=(1, 6))
    each = (2 * 3 + 9 + 3) + (3 * 4 + 16 + 6 * 4)
    assert sizes.epoch() == 7 * each * (6 * 10 + 2 * 5)
    products = 2 * 6 * (27 + 64) + 2 * 6 * (1 * 9 + 6 * 16)
    records = 14 * 7 * ((6 + 9) + (12 + 16))
    assert sizes.look(None) == sizes.look(100) == products + records
    assert sizes.look(3) == products / 2 + records


def test_what_is_wished_is_done_where_it_is_cheap():
    plan = plan_watch(WatchPart(budget=0.5), SMALL, epochs=20, batches=80)
    assert (plan.every, plan.samples, plan.note) == (80, 4, "")
    cost = 21 * (4 * SLOWNESS["cpu"] * SMALL.look(None) + FIXED)
    assert plan.expected == pytest.approx(cost / (20 * SMALL.epoch()))
    steps = plan_watch(WatchPart(budget=1.0, every=40, unit="steps"), SMALL, epochs=20, batches=80)
    assert [step for step in range(81) if steps.due(step)] == [0, 40, 80]


def test_sequences_are_given_up_first_then_looks_then_all():
    fewer = plan_watch(WatchPart(samples=64), SMALL, epochs=20, batches=80)
    assert fewer.every == 80
    assert 1 <= fewer.samples < 64
    assert "every 80 steps instead of 64 sequences every epoch, to stay within 10%" in fewer.note
    rarer = plan_watch(WatchPart(budget=0.01), SMALL, epochs=20, batches=80)
    assert rarer.samples == 1
    assert rarer.every % 80 == 0
    assert rarer.every > 80
    none = plan_watch(WatchPart(budget=1e-6), SMALL, epochs=20, batches=80)
    assert (none.every, none.due(0)) == (0, False)
    assert none.note.startswith("no looks instead of 4 sequences every epoch")
    assert plan_watch(WatchPart(every=0), SMALL, epochs=20, batches=80).every == 0


@given(
    budget=st.floats(1e-4, 10.0),
    every=st.integers(1, 50),
    samples=st.integers(1, 40),
    epochs=st.integers(1, 300),
    batches=st.integers(1, 500),
    unit=st.sampled_from(["epochs", "steps"]),
    width=st.sampled_from([8, 64, 512]),
)
def test_no_plan_costs_more_than_its_budget(budget, every, samples, epochs, batches, unit, width):
    sizes = Sizes(train=1000, validation=100, steps=100, inputs=1, hidden=(width,), spans=(5,))
    part = WatchPart(budget=budget, every=every, samples=samples, unit=unit)
    plan = plan_watch(part, sizes, epochs=epochs, batches=batches)
    # one before training, and the last one even if it is not due
    looks = 1 - (-epochs * batches // plan.every) if plan.every else 0
    cost = looks * (plan.samples * SLOWNESS["cpu"] * sizes.look(None) + FIXED)
    allowed = budget * epochs * sizes.epoch()
    # a share of a share: rounding alone
    assert cost <= allowed * (1 + 1e-12)
    assert plan.expected == pytest.approx(budget * cost / allowed)
    assert plan.samples <= samples


def test_a_run_watches_by_its_plan_and_says_what_it_took(tmp_path):
    tables = {
        "task": {"name": "smnist", "options": {"pool": 4}},
        "network": {"hidden": [16], "recurrence": "asrc:4"},
        "training": {"epochs": 2, "batch": 1000},
        "watch": {"budget": 100.0, "samples": 2, "every": 3, "unit": "steps", "lags": 20},
    }
    summary = train(resolve(tables), tmp_path / "run")
    data = gf.load(tmp_path / "run" / "gradients.nc")
    assert data.step.values.tolist() == [0, 3, 6, 8]
    assert data.epoch.values.tolist() == [0.0, 0.75, 1.5, 2.0]
    assert dict(data.log_frobenius.sizes) == {"epoch": 4, "layer": 1, "sample": 2, "lag": 21}
    # annealed after each epoch, kept in float32
    assert data.temperature.values.ravel() == pytest.approx([1, 1, 0.96, 0.96**2], rel=1e-6)
    assert data.p[0].values.ravel() == pytest.approx([0.25] * 4)
    assert np.abs(data.p[3].values - 0.25).max() > 1e-3  # spans are learned
    assert (data.attrs["task"], data.attrs["mode"], data.attrs["span_mode"]) == (
        "smnist",
        "evaluation",
        "soft",
    )
    assert summary.watch_seconds > 0
    assert summary.watch_overhead == pytest.approx(summary.watch_seconds / summary.seconds)
    assert f"{summary.watch_overhead:.1%} of training's time" in summary.lines()[-1]


def test_the_first_and_last_state_are_seen_and_match_the_network_itself(tmp_path):
    tables = {
        "task": {"name": "smnist", "options": {"pool": 7}},
        "network": {"hidden": [8], "recurrence": "skip:2"},
        "training": {"epochs": 1, "batch": 2000},
        "watch": {"budget": 1e6, "samples": 3},
    }
    train(resolve(tables), tmp_path / "run")
    data = gf.load(tmp_path / "run" / "gradients.nc")
    task = gf.tasks.smnist(pool=7)
    start = gf.RecurrentSNN(task, hidden=8, recurrence=gf.Skip(2)).eval()
    expected = gf.jacobian_products(local_jacobians(start, task.sample(3)))
    assert np.array_equal(data.log_frobenius.sel(epoch=0), expected.log_frobenius)
    end = gf.train.load_run(tmp_path / "run", step=2).net.eval()
    expected = gf.jacobian_products(local_jacobians(end, task.sample(3)))
    assert np.array_equal(data.log_frobenius.sel(epoch=1), expected.log_frobenius)
