"""Design rules against the recursion they are read off, closed forms, and a real network."""

import numpy as np
import pytest
import torch
from compare import assert_close
from hypothesis import given
from hypothesis import strategies as st

import gradflow as gf
from gradflow.theory.design_rules import (
    critical_gain,
    critical_initialisation,
    predicted_horizon,
    smallest_span,
    temperature_horizons,
)
from gradflow.theory.root import characteristic_root

EXACT = {"rtol": 1e-9, "why": "a dozen roundings"}
moments = st.floats(0.01, 0.9)


@pytest.mark.parametrize("span", [1, 3, 8])
def test_without_a_neuron_path_the_horizon_is_a_whole_number_of_hops(span):
    """x_n = b^(n/λ) at multiples of λ: the envelope falls below b^(3/2 − small) within the fourth hop."""
    level = 0.3**1.5 * 1.001
    assert 2 * span <= predicted_horizon(0.0, 0.3, [span], [1.0], level) <= 3 * span


@given(moments, moments, st.integers(1, 60))
def test_the_smallest_span_reaches_and_the_one_before_does_not(a, b, demand):
    try:
        span = smallest_span(demand, a * (1 - b), b, largest=40)
    except ValueError:
        reaches = [predicted_horizon(a * (1 - b), b, [d], [1.0], longest=400) for d in range(1, 41)]
        assert max(reaches) < demand
        return
    assert predicted_horizon(a * (1 - b), b, [span], [1.0]) >= demand
    assert all(predicted_horizon(a * (1 - b), b, [d], [1.0]) < demand for d in range(1, span))


@given(moments, moments, st.lists(st.floats(0.1, 1.0), min_size=1, max_size=4))
def test_at_the_critical_gain_the_root_is_one_for_any_spans(a, phi, weights):
    gain = float(critical_gain(a, phi, weights))
    spans = np.cumsum(np.arange(1, len(weights) + 1))
    root = characteristic_root(a, gain**2 * phi, spans, np.array(weights) ** 2)
    assert_close(root, 1.0, **EXACT)


def products(gain):
    net = gf.RecurrentSNN(
        gf.Sizes(1, 2), hidden=48, recurrence=gf.Skip(4), recurrent_gain=gain, seed=1, dtype=torch.float64
    )
    x = torch.from_numpy(gf.seeds.uniform(0, "x", shape=(160, 4, 1)))
    return gf.jacobian_products(net, 3.0 * x)


def test_the_critical_initialisation_slows_the_decay_of_a_real_network():
    before = products(1.0)
    rule = critical_initialisation(before)
    assert_close(rule.rate, gf.theory.mean_square(before).rate, **EXACT)
    factor = float(rule.factor[0])
    assert factor > 1.05
    after = products(factor)
    rates = [float(gf.fit_decay(prod).rate[0]) for prod in (before, after)]
    # moments move when V is scaled, so the root does not come to lie at 1; but most of the decay is gone
    assert rates[0] < 0.5 * rates[0] < rates[1] < 0.02
    scaled = before.assign(V_spectral=before.V_spectral * rule.factor)
    assert_close(rule.rate_bound, gf.theory.bound(scaled).rate.max("sample"), **EXACT)


def test_sharpening_moves_the_mixture_towards_the_hard_span():
    c = np.array([0.0, 0.2, 1.0, 0.1])
    found = temperature_horizons(c, [10.0, 1.0, 0.1, 0.01], 0.1, 0.3)
    assert_close(found.spans_used[0], 4.0, rtol=0.02, why="nearly even at a high temperature")
    assert (np.diff(found.spans_used) < 0).all()
    assert (np.diff(found.rate) > 0).all()
    assert_close(found.rate[-1], found.rate_hard, rtol=1e-12, why="the softmax is one-hot to rounding")
    assert float(found.horizon_hard) == predicted_horizon(0.1, 0.3, [3], [1.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: smallest_span(0, 0.1, 0.2), "demand: got 0"),
        (
            lambda: smallest_span(900, 0.1, 0.2, largest=3),
            r"900 steps are beyond every span up to 3; span 3 reaches",
        ),
        (lambda: critical_gain(1.0, 0.5, [1.0]), "expected 0 ≤ E"),
        (lambda: critical_gain(0.5, 0.0, [1.0]), "a recurrent path that carries something"),
        (lambda: temperature_horizons(np.zeros((2, 2)), [1.0], 0.1, 0.2), "span_logits: got shape"),
        (lambda: temperature_horizons(np.zeros(2), [0.0], 0.1, 0.2), "temperatures: got"),
    ],
)
def test_what_has_no_answer_is_refused(call, message, no_shape_checks):
    with pytest.raises(ValueError, match=message):
        call()
