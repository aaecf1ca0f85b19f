"""Neuron path and recurrent path: their rates apart, and the crossing against the closed form of scalars."""

import math

import numpy as np
import pytest
from compare import assert_close

from gradflow.theory import (
    Moments,
    crossing_span,
    log_root,
    measured_crossing,
    recurrent_rate,
    transfer_rate_arnoldi,
)

LEAK = 0.9


def moments(a, phi, active=3, silent=0):
    """Constant factors; the silent neurons keep the leak and never enter their window."""
    keep = np.r_[np.full(active, a), np.full(silent, LEAK)]
    fire = np.r_[np.full(active, phi), np.zeros(silent)]
    return Moments(np.outer(keep, keep), np.outer(keep, fire), np.outer(fire, fire), keep, fire)


def test_silent_neurons_decay_at_the_leak_and_the_others_without_them():
    both, V = moments(0.2, 0.5, silent=2), np.eye(5)
    V[0, 3] = V[4, 1] = 0.7  # into and out of silent neurons
    expected = log_root(0.2, 0.5, [2], [1.0]).item()
    assert expected < math.log(LEAK)
    assert_close(recurrent_rate(both, V, {2: 1.0}), expected, atol=2e-7, why="the tolerance of the iteration")
    whole = transfer_rate_arnoldi(both, V, {2: 1.0})
    assert_close(whole, math.log(LEAK), atol=2e-7, why="the silent neurons carry the product")
    assert recurrent_rate(moments(0.2, 0.0), np.eye(3), {2: 1.0}) == -np.inf


@pytest.mark.parametrize(("a", "b"), [(0.2, 0.3), (0.5, 0.2), (0.0, 0.1)])
def test_the_crossing_of_scalars(a, b):
    found = crossing_span(moments(a, b, silent=1), np.eye(4), LEAK)
    # z^λ = a z^(λ−1) + b at z = leak: λ = log(b / (1 − a/z)) / log z
    expected = math.log(b / (1 - a / LEAK)) / math.log(LEAK)
    assert_close(found.span, expected, rtol=0.01, why="a power law through two neighbouring spans")
    assert found.neuron_rate == math.log(LEAK)
    assert math.ceil(expected) <= found.spans[0] <= math.ceil(1.04 * expected) + 1
    assert found.spans[1] == found.spans[0] + 1
    assert found.rates[1] > found.rates[0] > found.neuron_rate


def test_a_recurrent_path_that_always_or_never_wins():
    always = crossing_span(moments(0.2, 0.75), np.eye(3), LEAK)
    assert 0.0 < always.span < 1.0
    assert always.spans == (1, 2)
    never = crossing_span(moments(0.2, 1e-5), np.eye(3), LEAK, largest=8)
    assert never.span == np.inf


def test_the_reading_of_measured_rates():
    rates = [-0.105, -0.1053, -0.09, -0.06, -0.04]
    found = measured_crossing([1, 2, 4, 6, 9], rates, LEAK)
    assert (found.spans, found.rates) == ((4, 6), (-0.09, -0.06))
    assert_close(found.span, 4 * 0.09 / -math.log(LEAK), rtol=1e-12, why="−0.36/λ through both")
    assert measured_crossing([1, 2], [-0.105, -0.106], LEAK).span == np.inf
    assert measured_crossing([9, 4], [0.01, -0.05], LEAK).span == 4.0, "a branch that grows has no power law"


def test_refusals():
    with pytest.raises(ValueError, match=r"leak: got 0\.0"):
        crossing_span(moments(0.1, 0.1), np.eye(3), 0.0)
