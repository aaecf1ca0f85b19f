"""The slow twin: autograd's Jacobians against the recursion of the equations, and what it leaves alone."""

import numpy as np
import pytest
import torch
from cases import TABLE, one_layer
from compare import assert_close, assert_equal
from oracle import forward, parameters

import gradflow as gf


def recursion(layer, last):
    """P(T, T−n) (sample, lag, target, source) from an oracle's layer, as the design writes it."""
    samples, H = layer.u.shape[1:]
    P = [np.broadcast_to(np.eye(H), (samples, H, H))]
    gate = np.broadcast_to(layer.gate, (len(layer.u), 1, layer.gate.shape[-1]))
    for n in range(1, last + 1):
        t = last - n
        new = P[-1] * layer.a[t][:, None]
        for d, p in layer.spans.items():
            if d <= n:
                new = new + p * (P[n - d] * gate[t + d]) @ layer.V * layer.phi[t][:, None]
        P.append(new)
    return np.stack(P, axis=1)


@pytest.mark.parametrize("name", TABLE)
def test_autograd_gives_the_recursion_of_the_equations(name):
    case = TABLE[name]
    net = case.net()
    run = forward(case, parameters(net), case.x().numpy())
    for found, layer in zip(gf.dense_products(net, case.x()), run.layers, strict=True):
        expected = recursion(layer, case.steps - 1)
        assert_close(found, expected, rtol=1e-11, atol=1e-14, why="float64 sums in another order")


@pytest.mark.parametrize("end", [0, 2, -1, -4])
def test_an_end_is_counted_as_in_a_list(end):
    case = TABLE["lif hard attached, skip"]
    net = case.net()
    last = range(case.steps)[end]
    run = forward(case, parameters(net), case.x().numpy())
    expected = recursion(run.layers[0], last)
    assert_close(
        gf.dense_products(net, case.x(), end=end)[0], expected, rtol=1e-11, atol=1e-14, why="order of sums"
    )


def test_lag_zero_is_the_identity():
    (found,) = gf.dense_products(TABLE["glif shared"].net(), TABLE["glif shared"].x())
    assert_equal(found[:, 0], np.broadcast_to(np.eye(4), (2, 4, 4)).copy())


def test_it_leaves_no_gradient_and_works_where_gradients_are_off():
    net = TABLE["two layers that differ"].net()
    with torch.no_grad():
        gf.dense_products(net, TABLE["two layers that differ"].x())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_it_underflows_where_the_products_do_not():
    case = one_layer(gf.LIF(decay=0.1), gf.NoRecurrence(), steps=400)
    net = case.net()
    assert not np.any(gf.dense_products(net, case.x())[0][:, -1])
    assert np.all(gf.jacobian_products(net, case.x()).share_structural[..., -1] < 1)


def test_the_span_mode_reaches_the_run():
    case = TABLE["lif hard detached, asrc"]
    soft, hard = (
        gf.dense_products(case.net(), case.x(), span_mode=mode)[0]
        for mode in (gf.SpanMode.SOFT, gf.SpanMode.HARD)
    )
    assert not np.array_equal(soft, hard)


def test_dropout_takes_the_masks_of_the_products():
    net = gf.RecurrentSNN(gf.Sizes(2, 3), hidden=4, recurrence=gf.Skip(2), dropout=0.5).double()
    x = 3 * torch.from_numpy(gf.seeds.normal(0, "x", shape=(8, 2, 2)))
    dense = gf.dense_products(net, x)[0]
    found = gf.jacobian_products(net, x).log_frobenius[0]
    with np.errstate(divide="ignore"):
        expected = np.log(np.linalg.norm(dense, axis=(2, 3)))
    assert_close(found, expected, rtol=1e-9, atol=1e-12, why="the same run, products in another order")
