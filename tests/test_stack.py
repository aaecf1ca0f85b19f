"""Products through the stack and down to the inputs, against autograd, exact numbers and a closed form."""

import math
import tracemalloc
from dataclasses import replace
from functools import partial

import mpmath
import numpy as np
import pytest
import torch
import xarray as xr
from cases import TABLE, Case, networks, one_layer
from compare import assert_close, assert_equal
from exact import DIGITS
from hypothesis import given, settings
from hypothesis import strategies as st
from test_paths import layer, log_norm

import gradflow as gf
from gradflow.jacobian.column import column_bytes
from gradflow.jacobian.dense import dense_sensitivity, dense_stack
from gradflow.jacobian.products import ZEROS
from gradflow.jacobian.sensitivity import logit_sensitivity
from gradflow.jacobian.stack import stack_products
from gradflow.links import Link, ReadoutLink
from gradflow.transition import DenseTransition, LayerTransition, Transition

AGREED = 1e-9  # the issue's: relative, on norms
LONG = 1e-11  # a few hundred roundings of 1e-16 each
CANCELLED = 1e-15  # per unit of the largest norm: what is zero by cancellation, in one of the two at least


def coupled(case):
    return isinstance(case.norm, gf.BatchNorm) and case.training


def check_norms(log, dense, axes):
    """Assert that exp(log) are the Frobenius norms of matrices over `axes`; zeros by structure are exact."""
    norms = np.sqrt(np.square(dense).sum(axis=axes))
    top = norms.max(initial=0.0)
    assert_close(
        np.exp(log), norms, rtol=AGREED, atol=CANCELLED * max(top, 1.0), why="the issue's; cancellation"
    )
    assert np.all(norms[np.isneginf(log)] <= CANCELLED * max(top, 1.0))


def check_stack(net, x, end=-1):
    found, dense = stack_products(net, x, end=end), dense_stack(net, x, end=end)
    layers = found.sizes["layer"]
    assert set(dense) == {(m, below) for m in range(layers) for below in range(m + 1)}
    for m in range(layers):
        for below in range(layers):
            curve = found.log_frobenius.sel(target=m, layer=below).values
            if below > m:
                assert np.all(np.isnan(curve))
            else:
                check_norms(curve, dense[m, below], (2, 3))
                check_spectral(found.log_spectral.sel(target=m, layer=below), dense[m, below])
    return found


def check_spectral(log, dense):
    """Assert that exp(log) are the largest singular values, up to what cancels."""
    values = np.linalg.norm(dense, 2, axis=(2, 3))
    top = max(1.0, values.max(initial=0.0))
    assert_close(np.exp(log), values, rtol=AGREED, atol=CANCELLED * top, why="the issue's; cancellation")


def check_sensitivity(net, x):
    found = logit_sensitivity(net, x)
    *by_layer, by_input = dense_sensitivity(net, x)
    check_norms(np.moveaxis(found.log_input.values, 1, 2), by_input, 3)
    for index, dense in enumerate(by_layer):
        check_norms(np.moveaxis(found.log_layer.values[index], 1, 2), dense, 3)
    return found


LINKED = [name for name in TABLE if not coupled(TABLE[name])]
assert len(LINKED) == len(TABLE) - 1


@pytest.mark.parametrize("name", LINKED)
def test_products_through_the_stack_are_those_of_autograd(name):
    check_stack(TABLE[name].net(), TABLE[name].x())


@pytest.mark.parametrize("name", LINKED)
def test_sensitivities_are_those_of_autograd(name):
    check_sensitivity(TABLE[name].net(), TABLE[name].x())


@settings(max_examples=20)
@given(networks(), st.data())
def test_products_and_sensitivities_of_any_network_are_those_of_autograd(case, data):
    net, x = case.net(), case.x()
    if coupled(case):
        with pytest.raises(ValueError, match="no links between its layers: batch norm in training couples"):
            stack_products(net, x)
        return
    check_stack(net, x, data.draw(st.integers(-case.steps, case.steps - 1)))
    check_sensitivity(net, x)


THREE = Case(
    (gf.LIF(), gf.GLIF(per_neuron=True), gf.LIF(reset=gf.Reset.HARD, surrogate=gf.Sigmoid())),
    (gf.Skip(2), gf.AdaptiveSkip(3), gf.Vanilla()),
    hidden=(5, 3, 4),
    steps=9,
    norm=gf.LayerNorm(epsilon=0.1),
)


def test_three_layers_with_dropout_and_layer_norm_are_those_of_autograd():
    net = THREE.net()
    net.dropout = 0.4
    assert any(np.any(link.factor == 0) for link in gf.local_jacobians(net, THREE.x()).links)
    check_stack(net, THREE.x(), 6)
    check_sensitivity(net, THREE.x())


@pytest.mark.parametrize("mode", list(gf.SpanMode))
def test_the_span_mode_reaches_the_run(mode):
    case = TABLE["two layers that differ"]
    net, x = case.net(), case.x()
    found = stack_products(net, x, span_mode=mode)
    check_norms(found.log_frobenius.values[1, 0], dense_stack(net, x, span_mode=mode)[1, 0], (2, 3))
    found = logit_sensitivity(net, x, span_mode=mode)
    dense = dense_sensitivity(net, x, span_mode=mode)[-1]
    check_norms(np.moveaxis(found.log_input.values, 1, 2), dense, 3)


def test_a_layer_with_itself_is_its_own_product():
    net, x = THREE.net(), THREE.x()
    found, alone = stack_products(net, x), gf.jacobian_products(net, x).log_frobenius
    for index in range(3):
        assert_close(found.log_frobenius[index, index], alone[index], atol=LONG, why="rounding per step")


def stacked(*layers, seed=0, norm=False, readout=None, inputs=2):
    """A transition of random layers with random links; with `norm`, layer norm and a mask in each."""
    rng = np.random.default_rng(seed)
    links, below = [], inputs
    for part in layers:
        steps, samples, neurons = part.a.shape
        W = rng.normal(size=(neurons, below))
        if norm:
            current = rng.normal(size=(steps, samples, neurons))
            deviation = np.sqrt(current.var(axis=2) + 0.1)
            normed = (current - current.mean(axis=2, keepdims=True)) / deviation[..., None]
            links.append(Link(W, rng.choice([0.0, 1.25], size=(samples, neurons)), normed, deviation))
        else:
            links.append(Link(W))
        below = neurons
    return Transition(tuple(layers), links=tuple(links), readout=readout)


def exact_rows(made, sample, last, top, start, above):
    """∂(rows)/∂u_l[t] and ∂(rows)/∂x[t] (layer, lag) as mpf matrices, the inputs last."""
    with mpmath.workdps(DIGITS):
        exact = np.vectorize(mpmath.mpf, otypes=[object])
        P = [[] for _ in range(top + 2)]
        for n in range(last + 1):
            t = last - n
            down = exact(above(t))
            for index in range(top, -1, -1):
                part, link = made.layers[index], made.links[index]
                a, phi, V = (exact(x) for x in (part.a[t, sample], part.phi[t, sample], part.V))
                gate = exact(np.ones((last + 1, 1)) if part.gate is None else part.gate)
                new = down * phi
                if n:
                    new = new + P[index][n - 1] * a
                elif index == top:
                    new = new + exact(start)
                for d, p in zip(part.spans, part.weights, strict=True):
                    if d <= n:
                        new = new + ((P[index][n - d] * (mpmath.mpf(p) * gate[t + d])) @ V) * phi
                P[index].append(new)
                down = (new * gate[t]) @ exact_link(link, t, sample, exact)
            P[top + 1].append(down)
        return P


def exact_link(link, t, sample, exact):
    W, H = exact(link.W), len(link.W)
    if link.normed is not None:
        n = exact(link.normed[t, sample])
        N = exact(np.eye(H)) - exact(np.ones((H, H))) / H - np.outer(n, n) / H
        W = (N / mpmath.mpf(float(link.deviation[t, sample]))) @ W
    return W if link.factor is None else exact(link.factor[min(sample, len(link.factor) - 1)])[:, None] * W


def zeros_of(Q):
    """Shares of a matrix of mpf numbers that are 0, and that are not but round to 0 in each format."""
    sizes = np.abs(Q)
    counts = [np.sum(sizes <= mpmath.ldexp(1, exponent)) for exponent in (-25, -134, -150, -1075)]
    zero = np.sum(sizes == 0)
    return np.array([zero, *(count - zero for count in counts)], dtype=float) / Q.size


GATE = np.random.default_rng(5).uniform(0.5, 1.0, size=(60, 1))


@pytest.mark.parametrize(
    "made",
    [
        stacked(layer(300, decay=1e-3, weights=(1e-2,)), layer(300, 2, decay=1e-3, weights=(1e-2,), seed=1)),
        stacked(
            layer(60, spans=(3, 5), gate=GATE, samples=2), layer(60, 4, spans=(7,), samples=2), norm=True
        ),
        stacked(layer(20), layer(20, 2, spans=(), weights=()), layer(20, 4, spans=(30,))),
    ],
    ids=["vanilla", "norms, masks, gates", "three layers"],
)
def test_long_stacks_are_exact_also_beyond_the_range_of_float64(made):
    top = len(made.layers) - 1
    steps, samples, neurons = made.layers[-1].a.shape
    W = np.random.default_rng(9).normal(size=(2, neurons))
    made = Transition(made.layers, links=made.links, readout=ReadoutLink(W, np.eye(steps)[-1]))
    seen = set()
    found, logits = stack_products(made), logit_sensitivity(made)
    for b in range(samples):
        none = np.zeros((neurons, neurons))
        rows = exact_rows(made, b, steps - 1, top, np.eye(neurons), lambda t, none=none: none)
        expected = np.array([[log_norm(Q) for Q in at] for at in rows[:-1]])
        curves = found.log_frobenius.sel(target=top, sample=b)
        assert_close(curves, expected, rtol=1e-13, atol=LONG, why="rounding per step, cancelling in norms")
        counted = np.array([[zeros_of(Q) for Q in at] for at in rows[:-1]])
        for k, kind in enumerate(ZEROS):
            got = found[f"share_{kind}"].sel(target=top, sample=b)
            assert_close(got, counted[..., k], atol=1e-15, why="one division")
        seen |= {
            kind for k, kind in enumerate(ZEROS) if np.any((counted[..., k] > 0) & (counted[..., k] < 1))
        }
        rows = exact_rows(made, b, steps - 1, top, np.zeros(W.shape), lambda t: W * (t == steps - 1))
        by_class = np.array([[[log_norm(q) for q in Q] for Q in at[::-1]] for at in rows])
        got = logits.log_layer.sel(sample=b).transpose("layer", "time", "class")
        assert_close(got, by_class[:-1], rtol=1e-13, atol=LONG, why="rounding per step")
        got = logits.log_input.sel(sample=b).transpose("time", "class")
        assert_close(got, by_class[-1], rtol=1e-13, atol=LONG, why="rounding per step")
    if steps == 300:
        assert found.log_frobenius.sel(target=1, layer=0).min() < -745.2  # float64 has nothing left here
        assert seen == set(ZEROS)


def test_zeros_and_norms_of_a_layer_with_itself_are_those_of_jacobian_products():
    base = layer(150, 4, samples=2, spread=1.2, decay=0.0, weights=(0.05,))
    a = np.where(base.phi == 0, 0.0, base.a)  # out of the window, nothing is left
    made = stacked(replace(base, a=a), layer(150, 3, spans=(5,), samples=2, weights=(0.05,)), norm=True)
    found, alone = stack_products(made), gf.jacobian_products(made)
    for name in ("log_frobenius", "log_spectral", *(f"share_{kind}" for kind in ZEROS)):
        for index in range(2):
            got = found[name].sel(target=index, layer=index)
            assert_close(got, alone[name].sel(layer=index), atol=LONG, why="rounding per step")
    assert np.any((found.share_structural > 0) & (found.share_structural < 1))
    summary, expected = gf.zero_summary(found), gf.zero_summary(alone)
    for name in ("lag_structural", "lag_float16", "lag_bfloat16", "lag_float32", "lag_float64"):
        assert summary[name].dims == ("target", "layer")
        assert np.isnan(summary[name].sel(target=0, layer=1))
        for index in range(2):
            got = summary[name].sel(target=index, layer=index).fillna(-1.0)
            assert_equal(got, expected[name].sel(layer=index).fillna(-1.0))
    assert summary.lag_float16.sel(target=1, layer=0) < 150


def test_two_neurons_have_their_closed_form():
    # ∂u_2[T]/∂u_1[T−n] = w φ Σ_k a_2^(n−k) a_1^k, the step up being taken at any time
    steps, a, b, w, phi = 1200, 0.5, 0.3, 4.0, 0.7
    parts = [
        LayerTransition(np.full((steps, 1, 1), x), np.full((steps, 1, 1), phi), np.zeros((1, 1)), (), ())
        for x in (a, b)
    ]
    made = Transition(tuple(parts), links=(Link(np.ones((1, 1))), Link(np.full((1, 1), w))))
    found = stack_products(made, norms=("frobenius",)).log_frobenius.sel(target=1, layer=0).squeeze()
    n = np.arange(steps)
    expected = math.log(w * phi / (a - b)) + (n + 1) * math.log(a) + np.log1p(-((b / a) ** (n + 1)))
    assert_close(found, expected, rtol=1e-12, why="rounding of a log of −830, and of 1,200 steps")
    assert found[-1] < -745.2  # float64 has nothing left here


def test_summed_logits_feed_every_step_and_the_last_one_alone_vanishes():
    parts = [layer(200, 4, spread=0.4, weights=(0.1,)), layer(200, 4, spread=0.4, weights=(0.1,), seed=3)]
    W = np.random.default_rng(1).normal(size=(3, 4))
    curves = {}
    for name, placement in (
        ("sum", np.ones(200)),
        ("mean", np.full(200, 1 / 200)),
        ("last", np.eye(200)[-1]),
    ):
        made = stacked(*parts, readout=ReadoutLink(W, placement))
        curves[name] = logit_sensitivity(made).log_input.mean("class").squeeze()
    assert_close(curves["mean"], curves["sum"] - math.log(200), atol=1e-11, why="rounding of 200 shares")
    assert abs(curves["sum"][0] - curves["sum"][150]) < 10
    assert curves["last"][0] < curves["last"][150] - 50


def test_the_mean_over_time_and_the_last_step_are_the_networks_own():
    for readout in gf.Readout:
        case = one_layer(readout=readout)
        placement = gf.local_jacobians(case.net(), case.x()).readout.placement
        expected = {"sum": [1.0] * 6, "mean": [1 / 6] * 6, "last": [0.0] * 5 + [1.0]}[readout.value]
        assert_close(placement, np.array(expected), rtol=1e-15, why="one division")


def test_links_are_the_networks_weights_in_float64_with_masks_and_norms():
    case = TABLE["batch norm evaluated"]
    net = case.net()
    found = gf.local_jacobians(net, case.x())
    for part, link in zip(net.layers, found.links, strict=True):
        assert_equal(link.W, part.linear.weight)
        norm = part.norm
        expected = norm.scale / (norm.running_variance + norm.epsilon).sqrt()
        assert_close(link.factor[0], expected, rtol=1e-15, why="one root and one division")
        assert link.constant
    found = gf.local_jacobians(case.net(dtype=torch.float32), case.x())
    assert found.links[0].W.dtype == found.readout.W.dtype == np.float64


def test_layers_are_still_looked_at_one_by_one_where_there_are_no_links():
    case = TABLE["batch norm"]
    found = gf.local_jacobians(case.net(), case.x())
    assert found.links is None
    assert np.all(np.isfinite(gf.jacobian_products(found).log_frobenius[..., 0]))
    for function in (stack_products, logit_sensitivity):
        with pytest.raises(ValueError, match=r"batch norm in training couples the samples.*use net.eval\(\)"):
            function(found)
        with pytest.raises(ValueError, match="no links between its layers: it was made without any"):
            function(Transition((layer(3),)))


CUT = stacked(
    layer(20, 5, spans=(1, 4), samples=3), layer(20, 4, samples=3, seed=1), norm=True,
    readout=ReadoutLink(np.random.default_rng(0).normal(size=(6, 4)), np.ones(20)),
)  # fmt: skip


@pytest.mark.parametrize("rows", [1, 3, 4, 9])
def test_rows_and_samples_in_chunks_are_those_at_once(rows):
    budget = rows * column_bytes(CUT, 1, 19)
    norms = ("frobenius", "spectral") if rows > 4 else ("frobenius",)
    for function in (partial(stack_products, norms=norms), logit_sensitivity):
        found = function(CUT, memory_budget=budget)
        xr.testing.assert_allclose(found, function(CUT), rtol=1e-12, atol=1e-12)
    if rows < 4:
        with pytest.raises(ValueError, match=r"singular values need all rows.*norms=\('frobenius',\)"):
            stack_products(CUT, memory_budget=budget)


def test_memory_stays_within_the_budget():
    parts = [layer(20, 16, spans=(6,), samples=8, seed=seed) for seed in range(2)]
    made, budget = stacked(*parts), 2**20
    stack_products(made, memory_budget=budget)  # compiled code and caches are not working memory
    tracemalloc.start()
    try:
        found = stack_products(made, memory_budget=budget)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0.4 * budget < peak < budget + 8 * found.nbytes + 2**19


def test_the_datasets_have_axes_units_and_conventions_and_come_back_from_files(tmp_path):
    case = TABLE["two layers that differ"]
    for function, kind in ((stack_products, "stack products"), (logit_sensitivity, "logit sensitivity")):
        found = function(case.net(), case.data())
        assert {variable.attrs["units"] for variable in found.data_vars.values()} <= {"nats", "1"}
        assert found.attrs["kind"] == kind
        assert found.attrs["recurrence"] == "skip:2 | asrc:3"
        gf.save(found, tmp_path / f"{kind}.nc")
        xr.testing.assert_identical(gf.load(tmp_path / f"{kind}.nc"), found)
    assert found.log_input.dims == ("sample", "class", "time")


ONE = layer(5, samples=2)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: Transition((ONE,), links=()), "0 links for 1 layers, of which 1 are"),
        (
            lambda: Transition((DenseTransition(np.ones((4, 2, 3, 3))),), links=(Link(np.ones((3, 2))),)),
            "1 links for 1 layers, of which 0 are LayerTransitions",
        ),
        (
            lambda: Transition((ONE,), links=(Link(np.ones((2, 2))),)),
            r"W of layer 0 is \(2, 2\), expected \(3, 2\)",
        ),
        (
            lambda: Transition((ONE, ONE), links=(Link(np.ones((3, 2))),) * 2),
            r"W of layer 1 is \(3, 2\), expected \(3, 3\)",
        ),
        (
            lambda: Transition((ONE,), links=(Link(np.ones((3, 2)), np.ones((3, 3))),)),
            r"factor of layer 0 is \(3, 3\), expected \(1 or 2, 3\)",
        ),
        (
            lambda: Transition(
                (ONE,), links=(Link(np.ones((3, 2)), None, np.ones((4, 2, 3)), np.ones((4, 2))),)
            ),
            r"deviation of layer 0 is \(4, 2\), expected \(5, 2\)",
        ),
        (
            lambda: Transition(
                (ONE,), links=(Link(np.ones((3, 2))),), readout=ReadoutLink(np.ones((2, 3)), np.ones(4))
            ),
            r"the readout is \(2, 3\) over 4 steps, expected \(class, 3\) over 5",
        ),
        (lambda: Link(np.ones((3, 2)), np.ones((1, 2))), r"factor is \(1, 2\), expected \(1 or sample, 3\)"),
        (lambda: Link(np.ones((3, 2)), None, np.ones((4, 2, 3))), "needs both normed and deviation"),
        (
            lambda: Link(np.ones((3, 2)), None, np.ones((4, 2, 2)), np.ones((4, 2))),
            r"normed is \(4, 2, 2\), expected \(4, 2, 3\)",
        ),
        (
            lambda: Link(np.ones((3, 2)), None, np.ones((4, 2, 3)), np.zeros((4, 2))),
            "deviation is not positive everywhere; raise the norm's epsilon",
        ),
        (lambda: Link(np.full((3, 2), np.nan)), "W holds NaN or infinity"),
    ],
)
def test_links_that_fit_no_layer_are_refused(made, message, no_shape_checks):
    with pytest.raises(ValueError, match=message):
        made()


def test_what_cannot_be_walked_is_refused(no_shape_checks):
    made = stacked(ONE)
    with pytest.raises(ValueError, match=r"the transition has no readout; give Transition\(readout="):
        logit_sensitivity(made)
    broken = Transition(
        made.layers, links=made.links, readout=ReadoutLink(np.full((2, 3), np.nan), np.ones(5))
    )
    with pytest.raises(ValueError, match="the readout holds NaN or infinity"):
        logit_sensitivity(broken)
    with pytest.raises(ValueError, match="end=5: the sequence has 5 steps"):
        stack_products(made, end=5)
    with pytest.raises(ValueError, match=r"norms=\(\): expected MatrixNorm.FROBENIUS"):
        stack_products(made, norms=())
    with pytest.raises(ValueError, match=r"stack_products\(memory_budget=10\): expected at least \d+ bytes"):
        stack_products(made, memory_budget=10)
    for function in (stack_products, logit_sensitivity):
        with pytest.raises(ValueError, match=f"{function.__name__}\\(net\\): give the batch"):
            function(one_layer().net())
