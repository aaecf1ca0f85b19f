"""The worked examples of the site: each passes the property tests that the library's own parts pass."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import one_layer
from compare import assert_close, assert_equal
from probes import probed_gradients
from test_products import check_dense

import gradflow as gf
from gradflow.figures.make import make
from gradflow.gradients import layer_gradients
from gradflow.recording import cross_entropy
from gradflow.recurrence import Taps

FOLDER = Path(__file__).parent.parent / "docs" / "examples"
STEP = 1e-6
SUMS = {"rtol": 1e-10, "atol": 1e-13, "why": "up to ten steps of float64 sums in another order"}


def example(name):
    """Import an example under a name of its own; figures are looked up by the name of their module."""
    spec = importlib.util.spec_from_file_location(f"docs_example_{name}", FOLDER / f"{name}.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


neuron, recurrence, task, figure = map(example, ("neuron", "recurrence", "task", "figure"))
SpreadLIF, TwoSpans = neuron.SpreadLIF, recurrence.TwoSpans
CASES = {
    "spread lif": one_layer(SpreadLIF(longest=5.0)),
    "spread lif hard, skip": one_layer(SpreadLIF(reset=gf.Reset.HARD, threshold=0.7), gf.Skip(3), steps=9),
    "spread lif detached": one_layer(SpreadLIF(detach_reset=True), gf.AdaptiveSkip(3)),
    "two spans": one_layer(recurrence=TwoSpans(3, share=0.3), steps=9),
    "two spans evaluated": one_layer(recurrence=TwoSpans(3, share=0.3), steps=9, training=False),
    "two spans over the end": one_layer(recurrence=TwoSpans(50)),
    "both": one_layer(SpreadLIF(surrogate=gf.Sigmoid()), TwoSpans(2), steps=8),
}
cases = pytest.mark.parametrize("name", CASES)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short_and_its_own_examples_hold(path):
    import doctest

    assert len(path.read_text().splitlines()) <= 120
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    assert doctest.testmod(sys.modules[f"docs_example_{path.stem}"], optionflags=flags).failed == 0


@cases
def test_gradients_are_finite_differences_on_the_smooth_twin(name):
    """Of every parameter in two directions; a detached reset has another gradient than its forward pass."""
    case = CASES[name]
    net, batch = case.net(smooth=True), case.data()

    def loss():
        return cross_entropy(net(batch.inputs).logits, batch.targets).sum()

    leaves = dict(net.named_parameters())
    grads = torch.autograd.grad(loss(), list(leaves.values()), allow_unused=True)
    worst = 0.0
    for (key, leaf), grad in zip(leaves.items(), grads, strict=True):
        for place in range(2):
            way = torch.from_numpy(gf.seeds.normal(place, "direction", key, shape=tuple(leaf.shape)))
            slopes = []
            for sign in (STEP, -STEP):
                with torch.no_grad():
                    leaf += sign * way
                    slopes.append(loss().item())
                    leaf -= sign * way
            expected = (slopes[0] - slopes[1]) / (2 * STEP)
            found = 0.0 if grad is None else (grad * way).sum().item()
            worst = max(worst, abs(found - expected) / (3e-8 + 1e-6 * abs(expected)))
    # truncation h² L'''/6 and rounding 1e-16 · L / h come to 1e-9 with losses and slopes of order 1
    assert (worst <= 1.0) != case.neurons[0].detach_reset


@cases
def test_products_are_those_of_autograd(name):
    check_dense(CASES[name].net(), CASES[name].x())


@cases
def test_engines_agree_and_every_path_is_that_of_probes(name):
    case = CASES[name]
    net = case.net()
    truth, fast = (net(case.x(), engine=engine) for engine in (gf.engine.reference, gf.engine.fused))
    assert_close(fast.layers[0].u, truth.layers[0].u, **SUMS)
    assert 0.02 < truth.layers[0].s.mean() < 0.98
    run = net(case.x(), track_drive=True)
    (found,) = layer_gradients(run, cross_entropy(run.logits, case.data().targets))
    at_u, at_s, _ = probed_gradients(net, case.data(), cross_entropy)
    assert_close(found.u, at_u[0], **SUMS)
    assert_close(found.s, at_s[0], **SUMS)


def test_a_spread_layer_is_lif_neurons_of_its_decays():
    parameters = SpreadLIF(shortest=1.0, longest=9.0).build(3, None).double()
    current = torch.from_numpy(gf.seeds.normal(0, "currents", shape=(9, 4, 3)) * 1.2 + 0.4)
    nothing = Taps((), torch.ones(0, dtype=torch.float64))

    def potentials(neurons):
        dynamics = neurons.dynamics(current)
        return gf.engine.reference(dynamics.drive(current), None, dynamics, nothing).u

    spread = potentials(parameters)
    for place, tau in enumerate((1.0, 3.0, 9.0)):  # even on a logarithm
        same = potentials(gf.LIF(decay=float(np.exp(-1.0 / tau))).build(3, None))
        assert_close(spread[..., place], same[..., place], rtol=1e-12, atol=1e-14, why="a few operations")


def test_records_say_which_neuron_and_recurrence_it_was():
    case = CASES["both"]
    said = gf.record(case.net(), case.data()).attrs
    assert (said["neuron"], said["decay"], said["recurrence"]) == ("SpreadLIF", "0.5134 to 0.9512", "two:2")


def test_two_spans_share_one_and_a_hard_span_is_the_larger():
    built = TwoSpans(7, share=0.2).build()
    like = torch.zeros(1, dtype=torch.float64)
    soft, hard = (built.taps(mode, like) for mode in (gf.SpanMode.SOFT, gf.SpanMode.HARD))
    assert soft.spans == (1, 7)
    assert_close(soft.weights, [0.8, 0.2], rtol=1e-12, why="sigmoid of logit")
    assert hard.spans == (1,)
    assert TwoSpans(7, share=0.9).build().taps(gf.SpanMode.HARD, like).spans == (7,)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SpreadLIF(shortest=0.0), "shortest"),
        (lambda: SpreadLIF(shortest=3.0, longest=2.0), "expected shortest <= longest"),
        (lambda: SpreadLIF(reset="none"), r"Reset\.SOFT or Reset\.HARD"),
        (lambda: TwoSpans(1), r"Vanilla\(\) is span 1 alone"),
        (lambda: TwoSpans(4, share=1.0), "share=1.0"),
        (lambda: task.temporal_order(1), "delay: got 1, expected a whole number, at least 2"),
        (lambda: task.temporal_order(9, distractors=0), "distractors: got 0"),
    ],
)
def test_what_makes_no_sense_is_refused(build, message, no_shape_checks):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_task_of_temporal_order_written_out():
    order = task.TASKS["temporal-order"](delay=6, distractors=3)
    batch = order.train.batch(range(200))
    x = batch.inputs.numpy()
    assert (order.steps, order.memory_demand, x.shape) == (7, 6, (7, 200, 5))
    assert_equal(x.sum(-1), np.ones((7, 200), dtype=np.float32))  # one input is on at every step
    first, last = x[0].argmax(-1), x[-1].argmax(-1)
    assert set(first) == set(last) == {0, 1}
    assert x[1:-1].argmax(-1).min() == 2
    assert_equal(batch.targets.numpy(), (2 * first + last).astype(np.int64))
    # each of 4 classes has 50 ± 6 of 200: five standard deviations
    assert np.abs(np.bincount(batch.targets) - 50).max() < 31


def test_an_example_depends_on_its_number_and_splits_and_seeds_differ():
    order = task.temporal_order(delay=6)
    alone, among = order.train.batch([7]), order.train.batch([3, 7, 11])
    assert torch.equal(alone.inputs[:, 0], among.inputs[:, 1])
    assert alone.targets[0] == among.targets[1]
    sets = [order.train, order.validation, order.test, task.temporal_order(delay=6, data_seed=1).train]
    seen = {tuple(part.batch(range(20)).targets.tolist()) for part in sets}
    assert len(seen) == 4


def test_a_network_of_both_is_recorded_on_the_task():
    order = task.temporal_order(delay=6)
    net = gf.RecurrentSNN(order, hidden=8, neuron=SpreadLIF(), recurrence=TwoSpans(4))
    said = gf.record(net, order.sample(4)).attrs
    assert (said["task"], said["recurrence"], said["loss_placement"]) == ("temporal-order", "two:4", "last")


def test_the_figure_is_made_end_to_end_and_its_claims_can_fail(tmp_path):
    config = figure.RoutesConfig(longest=20)
    made = make(figure.FIGURE, config, tmp_path, command="python figure.py")
    assert {path.suffix for path in made.files} == {".nc", ".csv", ".png", ".pdf", ".svg", ".json"}
    assert [claim.holds for claim in made.claims] == [True, True]
    data = gf.load(tmp_path / "routes.nc")
    for span in config.spans:  # by the recursion N(n) = N(n − 1) + N(n − λ), not by binomials
        count = [1]
        for lag in range(1, 21):
            count.append(count[-1] + (count[lag - span] if lag >= span else 0))
        assert_close(10 ** data.log10_routes.sel(span=span), count, rtol=1e-12, why="a logarithm and back")
    same = data.assign(log10_routes=0.0 * data.log10_routes)
    assert [claim.holds for claim in figure.claims(same)] == [False, True]
    many = data.assign(hops=2.0 * data.lag + 0.0 * data.hops)
    assert [claim.holds for claim in figure.claims(many)] == [False, False]
