"""Span weights, what they read, and the words that name them."""

import math

import numpy as np
import pytest
import torch
from cases import Case
from compare import assert_close, assert_equal
from hypothesis import given
from hypothesis import strategies as st

import gradflow as gf
from gradflow.recurrence import Taps, parse_recurrence

LIKE = torch.zeros(1, dtype=torch.float64)
SUM = {"rtol": 1e-13, "atol": 1e-13, "why": "sums of at most 40 terms in another order"}


def taps_of(spec, mode=gf.SpanMode.SOFT, logits=None):
    parameters = spec.build().double()
    if logits is not None:
        parameters.span_logits.data.copy_(torch.tensor(logits, dtype=torch.float64))
    return parameters.taps(mode, LIKE)


def weights(taps):
    return dict(zip(taps.spans, taps.weights.tolist(), strict=True))


@pytest.mark.parametrize("mode", list(gf.SpanMode))
def test_fixed_recurrences_say_one_span_or_none(mode):
    assert weights(taps_of(gf.NoRecurrence(), mode)) == {}
    assert weights(taps_of(gf.Vanilla(), mode)) == {1: 1.0}
    assert weights(taps_of(gf.Skip(7), mode)) == {7: 1.0}
    assert [spec.max_span for spec in (gf.NoRecurrence(), gf.Vanilla(), gf.Skip(7), gf.AdaptiveSkip(9))] == [
        0, 1, 7, 9,
    ]  # fmt: skip


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=9), st.sampled_from([0.3, 1.0, 2.0]))
def test_an_adaptive_recurrence_softens_its_logits_by_the_temperature(logits, temperature):
    taps = taps_of(gf.AdaptiveSkip(len(logits), temperature=temperature), logits=logits)
    powers = np.exp(np.array(logits) / temperature)
    assert taps.spans == tuple(range(1, len(logits) + 1))
    assert_close(taps.weights, powers / powers.sum(), rtol=1e-12, why="exp and a division")


def test_the_hard_span_is_the_largest_logit_and_ties_go_to_the_shortest():
    spec = gf.AdaptiveSkip(4)
    assert weights(taps_of(spec, gf.SpanMode.HARD, [0.1, 0.5, 0.9, 0.2])) == {3: 1.0}
    assert weights(taps_of(spec, gf.SpanMode.HARD, [0.1, 0.9, 0.9, 0.2])) == {2: 1.0}
    assert weights(taps_of(spec, gf.SpanMode.HARD)) == {1: 1.0}


def test_annealing_multiplies_the_temperature_and_hardens_the_weights():
    parameters = gf.AdaptiveSkip(3, temperature=2.0, temperature_decay=0.5).build().double()
    parameters.span_logits.data.copy_(torch.tensor([0.0, 1.0, 0.0]))
    before = parameters.taps(gf.SpanMode.SOFT, LIKE).weights.max()
    for _ in range(2):
        parameters.anneal()
    assert parameters.temperature.item() == 0.5
    expected = math.exp(2) / (math.exp(2) + 2)
    assert_close(parameters.taps(gf.SpanMode.SOFT, LIKE).weights[1], expected, rtol=1e-14, why="softmax")
    assert before < expected
    assert not parameters.temperature.requires_grad
    assert "temperature" in parameters.state_dict()


@given(
    st.integers(1, 9),
    st.dictionaries(st.integers(1, 12), st.floats(-2, 2), max_size=4),
    st.integers(0, 10**6),
)
def test_read_is_the_weighted_past_and_spread_its_adjoint(steps, p, seed):
    taps = Taps(tuple(sorted(p)), torch.tensor([p[d] for d in sorted(p)], dtype=torch.float64))
    s, g = (torch.from_numpy(gf.seeds.normal(seed, name, shape=(steps, 2, 3))) for name in "sg")
    expected = np.zeros(s.shape)
    for t in range(steps):
        for d, weight in p.items():
            if t - d >= 0:
                expected[t] += weight * s[t - d].numpy()
    assert_close(taps.read(s), expected, **SUM)
    assert_close((taps.read(s) * g).sum(), (s * taps.spread(g)).sum(), **SUM)


@pytest.mark.parametrize("steps", [1, 5])
def test_a_span_as_long_as_the_sequence_reads_nothing(steps):
    s = torch.ones(steps, 1, 2, dtype=torch.float64)
    for span in (steps, steps + 1, 1000):
        taps = taps_of(gf.Skip(span))
        assert_equal(taps.read(s), torch.zeros_like(s))
        assert_equal(taps.spread(s), torch.zeros_like(s))


def test_one_adaptive_parameter_can_serve_all_layers():
    spec = gf.AdaptiveSkip(4, shared=True)
    case = Case((gf.LIF(),) * 3, (spec, gf.Skip(2), spec), hidden=(3, 4, 5))
    net = case.net()
    assert net.layers[0].spans is net.layers[2].spans
    assert len([name for name, _ in net.named_parameters() if "span_logits" in name]) == 1
    before = net.layers[0].spans.temperature.item()
    net.anneal()
    assert net.layers[2].spans.temperature.item() == pytest.approx(0.96 * before, rel=1e-15)
    apart = Case((gf.LIF(),) * 2, (gf.AdaptiveSkip(4),) * 2, hidden=(3, 4)).net()
    assert apart.layers[0].spans is not apart.layers[1].spans


def test_a_shared_span_collects_the_gradients_of_its_layers():
    shared = Case((gf.LIF(),) * 2, (gf.AdaptiveSkip(3, shared=True),) * 2, hidden=(4, 4))
    net, twin = shared.net(), Case((gf.LIF(),) * 2, (gf.AdaptiveSkip(3),) * 2, hidden=(4, 4)).net()
    twin.load_state_dict(net.state_dict())
    for each in (net, twin):
        each(shared.x()).logits.square().sum().backward()
    total = sum(layer.spans.span_logits.grad for layer in twin.layers)
    assert (twin.layers[0].spans.span_logits.grad != 0).any()
    assert_close(net.layers[0].spans.span_logits.grad, total, **SUM)


def test_training_is_soft_and_evaluation_hard_unless_asked():
    case = Case(recurrences=(gf.AdaptiveSkip(3),))
    net, x = case.net(), case.x()
    assert len(net(x).layers[0].taps.spans) == 3
    assert len(net(x, span_mode=gf.SpanMode.HARD).layers[0].taps.spans) == 1
    net.eval()
    run = net(x)
    assert (len(run.layers[0].taps.spans), run.span_mode) == (1, gf.SpanMode.HARD)
    assert len(net(x, span_mode=gf.SpanMode.SOFT).layers[0].taps.spans) == 3


@pytest.mark.parametrize(
    "spec", [gf.NoRecurrence(), gf.Vanilla(), gf.Skip(16), gf.AdaptiveSkip(51)], ids=lambda spec: spec.label
)
def test_labels_can_be_read_back(spec):
    assert parse_recurrence(spec.label) == spec
    assert str(spec) == spec.label
    assert parse_recurrence(f" {spec.label.upper()} ") == spec


@pytest.mark.parametrize("word", ["", "skip", "skip:", "skip:x", "skip:-3", "skip:2.5", "vanilla:1", "lstm"])
def test_other_words_are_refused_with_the_list_of_those_that_exist(word):
    with pytest.raises(ValueError, match="expected none, vanilla, skip:SPAN or asrc:MAX_SPAN"):
        parse_recurrence(word)


@pytest.mark.parametrize("span", [0, -1, 2.5, True, "3", None, math.nan])
@pytest.mark.parametrize("kind", [gf.Skip, gf.AdaptiveSkip])
def test_a_span_is_a_whole_number_of_at_least_one(kind, span, no_shape_checks):
    name = {gf.Skip: "span", gf.AdaptiveSkip: "max_span"}[kind]
    with pytest.raises(ValueError, match=rf"{kind.__name__}\({name}=.*whole number of steps, at least 1"):
        kind(span)


@pytest.mark.parametrize("field", ["temperature", "temperature_decay"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan, True, "1"])
def test_temperatures_are_positive(field, value, no_shape_checks):
    with pytest.raises(ValueError, match=rf"AdaptiveSkip\({field}=.*positive finite number"):
        gf.AdaptiveSkip(3, **{field: value})


def test_a_span_of_zero_on_the_command_line_is_refused():
    with pytest.raises(ValueError, match=r"Skip\(span=0\)"):
        parse_recurrence("skip:0")


def test_a_span_mode_that_does_not_exist_lists_those_that_do():
    with pytest.raises(ValueError, match="span mode 'medium': expected soft or hard"):
        gf.SpanMode("medium")
