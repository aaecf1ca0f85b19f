"""The curve of one span, without the neurons at rest, against the blocks that keep them all."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from compare import assert_close

from gradflow.theory.moments import Moments
from gradflow.theory.transfer_curve import transfer_curve
from gradflow.theory.transfer_pairs import at_rest, one_span_traces

ORDER = "nats; the same sums in another order"


def drawn(rest, *, seed=0, neurons=7, constants=(0.6,), gain=0.9):
    """Moments of random factors and a V; the last `rest` neurons never enter their window."""
    stream = np.random.default_rng(seed)
    shared = stream.normal(size=(400, 1))
    phi = np.maximum(0.0, 1.0 - abs(stream.normal(size=(400, neurons)) + 0.5 * shared))
    a = 0.6 * (1.0 - phi)
    if rest:
        phi[:, -rest:] = 0.0
        a[:, -rest:] = np.resize(constants, rest)
    V = gain * np.linalg.qr(stream.normal(size=(neurons, neurons)))[0]
    return moments_of(a, phi), V


def moments_of(a, phi):
    n = len(a)
    return Moments(a.T @ a / n, a.T @ phi / n, phi.T @ phi / n, a.mean(axis=0), phi.mean(axis=0))


def in_blocks(moments, V, span, weight, length):
    """The general form, which `transfer_curve` takes where there is a gate: here one that is 1."""
    ones = np.ones(len(V))
    return transfer_curve(
        replace(moments, gate=ones, gate_gate=np.outer(ones, ones)), V, {span: weight}, length
    )


@pytest.mark.parametrize("rest", [0, 1, 3, 7])
@pytest.mark.parametrize("span", [1, 2, 3, 6])
def test_it_is_the_general_form(rest, span):
    moments, V = drawn(rest, seed=span)
    assert at_rest(moments)[0].sum() == rest
    for weight in (1.0, -0.7):
        found = transfer_curve(moments, V, {span: weight}, 60)
        assert_close(found, in_blocks(moments, V, span, weight, 60), atol=1e-11, why=ORDER)


def test_of_several_constants_the_most_frequent_is_left_out_and_the_others_kept():
    moments, V = drawn(5, constants=(0.9, 0.3, 0.9, 0.9, 0.3))
    rest, constant = at_rest(moments)
    assert rest.tolist() == [False, False, True, False, True, True, False]
    assert constant == pytest.approx(0.9, rel=1e-12)
    assert_close(
        transfer_curve(moments, V, {3: 1.0}, 60), in_blocks(moments, V, 3, 1.0, 60), atol=1e-11, why=ORDER
    )


def test_a_neuron_out_of_its_window_whose_a_varies_is_not_at_rest():
    stream = np.random.default_rng(0)
    a, phi = stream.choice([0.0, 0.5], size=(100, 3)), np.zeros((100, 3))  # hard reset: a = α (1 − s)
    a[:, 0], phi[:, 1] = 0.5, 0.5
    moments = moments_of(a, phi)
    assert at_rest(moments)[0].tolist() == [True, False, False]


@pytest.mark.parametrize("rest", [0, 3])
def test_nothing_is_lost_far_below_and_above_the_range_of_float64(rest):
    for gain in (1e-3, 30.0):
        moments, V = drawn(rest, gain=gain)
        found = transfer_curve(moments, V, {2: 1.0}, 1500)
        assert np.isfinite(found).all()
        assert abs(found[-1]) > 750  # e^±750 squared is far out of range
        expected = in_blocks(moments, V, 2, 1.0, 1500)
        assert_close(found, expected, rtol=1e-12, atol=1e-9, why="rounding over 1,500 steps")


def test_constant_factors_give_the_product_itself():
    a, phi = np.array([0.5, 0.4, 0.7, 0.7]), np.array([0.3, 0.9, 0.0, 0.0])
    moments = moments_of(np.tile(a, (5, 1)), np.tile(phi, (5, 1)))
    V = np.random.default_rng(3).normal(size=(4, 4))
    products = [np.eye(4)]
    for lag in range(1, 20):
        read = products[lag - 3] @ V * phi if lag >= 3 else 0.0
        products.append(products[-1] * a + read)
    expected = [np.log(np.linalg.norm(P)) for P in products]
    assert_close(transfer_curve(moments, V, {3: 1.0}, 20), expected, atol=1e-12, why=ORDER)


def test_where_nothing_is_carried_the_curve_ends():
    nothing = Moments(*np.zeros((3, 2, 2)), *np.zeros((2, 2)))
    assert transfer_curve(nothing, np.eye(2), {1: 1.0}, 3).tolist() == [0.5 * np.log(2.0), -np.inf, -np.inf]


def test_traces_go_on_without_end():
    moments, V = drawn(2)
    traces = list(islice(one_span_traces(moments, V, 2, 1.0), 50))
    assert_close(0.5 * np.array(traces[:10]), transfer_curve(moments, V, {2: 1.0}, 10), atol=1e-14, why=ORDER)
