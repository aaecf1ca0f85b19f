"""Paths: parts of a product against exact numbers, autograd, counts and a derivative; splits that add up."""

import itertools
import math
import tracemalloc

import mpmath
import numpy as np
import pytest
import xarray as xr
from cases import TABLE, networks
from compare import assert_close
from exact import DIGITS
from hypothesis import given, settings
from hypothesis import strategies as st

import gradflow as gf
from gradflow import count_routes, path_products
from gradflow.jacobian import splits
from gradflow.jacobian.walk import Walk, element_bytes
from gradflow.transition import DenseTransition, LayerTransition, Transition

AGREED = 1e-9  # the issue's: relative, on norms; that is absolute on their logs
LONG = 1e-11  # a few hundred roundings of 1e-16 each


def layer(steps, neurons=3, spans=(1,), weights=None, *, samples=1, decay=0.5, spread=0.7, gate=None, seed=0):
    rng = np.random.default_rng(seed)
    phi = np.maximum(0.0, 1.0 - np.abs(spread * rng.normal(size=(steps, samples, neurons))))
    V = np.linalg.qr(rng.normal(size=(neurons, neurons)))[0]
    weights = (1.0 / len(spans),) * len(spans) if weights is None else weights
    return LayerTransition(decay * (1.0 - phi), phi, V, spans, weights, gate)


def paths(*layers, **options):
    return path_products(Transition(layers), **options)


def exact_parts(layer, sample, last, hops):
    """log‖P_k‖ (hop, lag) with the rest last, and log‖F_d‖ (span, lag), in 60-digit numbers."""
    with mpmath.workdps(DIGITS):
        exact = np.vectorize(mpmath.mpf, otypes=[object])
        a, phi, V = exact(layer.a[:, sample]), exact(layer.phi[:, sample]), exact(layer.V)
        gate = exact(np.ones((len(a), 1)) if layer.gate is None else layer.gate)
        zero, one = exact(np.zeros(V.shape)), exact(np.eye(len(V)))
        pairs = list(zip(layer.spans, layer.weights, strict=True))
        P = [[one, *[zero] * (hops + 1)]]
        F = [[zero] * len(pairs)]
        for n in range(1, last + 1):
            t = last - n
            through = {
                d: [((Q * (mpmath.mpf(p) * gate[t + d])) @ V) * phi[t] for Q in P[n - d]]
                for d, p in pairs
                if d <= n
            }
            new = [Q * a[t] for Q in P[n - 1]]
            for k, hop in itertools.product(range(hops + 2), through.values()):
                new[k] = new[k] + (hop[k - 1] if k else zero) + (hop[k] if k == hops + 1 else zero)
            first = [
                Q * a[t] + sum(through.get(d, [zero])) for (d, _), Q in zip(pairs, F[n - 1], strict=True)
            ]
            P.append(new)
            F.append(first)
        return [np.array([[log_norm(Q) for Q in at] for at in sequence]).T for sequence in (P, F)]


def log_norm(Q):
    squares = sum(x * x for x in Q.flat)
    return float(mpmath.log(squares) / 2) if squares else -math.inf


def check_exact(layer, hops):
    found = paths(layer, max_hops=hops)
    last = found.sizes["lag"] - 1
    for b in range(found.sizes["sample"]):
        by_hop, by_span = exact_parts(layer, b, last, hops)
        at = found.isel(layer=0, sample=b)
        assert_close(at.log_hops, by_hop[:-1], rtol=1e-13, atol=LONG, why="rounding per step")
        assert_close(at.log_rest, by_hop[-1], rtol=1e-13, atol=LONG, why="rounding per step")
        assert_close(at.log_neuron, by_hop[0], rtol=1e-13, atol=LONG, why="rounding per step")
        for d, expected in zip(layer.spans, by_span, strict=True):
            if d <= last:
                curve = at.log_first_span.sel(span=d)
                assert_close(curve, expected, rtol=1e-13, atol=LONG, why="rounding per step")
    return found


def check_sums(found):
    """Assert that both splits add up to the whole; where P is zero, shares are undefined."""
    known = np.isfinite(found.log_frobenius)
    by_hops = found.share_hops.sum("hop", skipna=False) + found.share_rest
    by_span = found.share_hops.sel(hop=0) + found.share_first_span.sum("span", skipna=False)
    for total in (by_hops, by_span):
        assert_close(total.where(known, 1.0), np.ones(known.shape), atol=AGREED, why="the issue's")
        assert np.all(np.isnan(total.where(~known)))


def check_dense(case, *, hops, end=-1):
    """Assert that P, and Σ_k P_k and P_0 + Σ_d F_d as matrices, are autograd's."""
    net, x = case.net(), case.x()
    found = path_products(net, x, max_hops=hops, end=end)
    check_sums(found)
    dense = gf.dense_products(net, x, end=end)
    transition = gf.local_jacobians(net, x)
    for k, (P, local) in enumerate(zip(dense, transition.layers, strict=True)):
        with np.errstate(divide="ignore"):
            expected = np.log(np.linalg.norm(P, axis=(2, 3)))
            recurrent = np.log(np.linalg.norm(P - neuron_path(local, P.shape[1] - 1), axis=(2, 3)))
        assert_close(found.log_frobenius[k], expected, atol=AGREED, why="the issue's tolerance")
        solid = recurrent > expected - 10  # further down, the difference of two matrices has lost its digits
        assert_close(
            found.log_recurrent[k].where(solid, 0.0), np.where(solid, recurrent, 0.0), atol=AGREED, why="same"
        )
        last, n = P.shape[1] - 1, P.shape[3]
        closed = last // splits.shortest(local, last) > hops
        walk = Walk(local, last, slice(0, P.shape[0]), n, parts=hops + 2, closed=closed)
        for lag, _ in splits.walk_hops(walk, last, np.eye(n), splits.shortest(local, last)):
            whole = np.ldexp(walk.P.m, np.maximum(walk.P.e, -2000).astype(int)).sum(axis=0)
            assert_close(
                whole, P[:, lag], rtol=AGREED, atol=1e-14, why="the issue's; zeros of cancelling paths"
            )


def neuron_path(local, last):
    """P_0 as matrices (sample, lag, target, source)."""
    a = np.concatenate([np.ones((1, *local.a.shape[1:])), local.a[:last][::-1]])
    return np.einsum("lbn,nm->blnm", np.cumprod(a, axis=0), np.eye(a.shape[2]))


@pytest.mark.parametrize("name", TABLE)
def test_parts_add_up_to_the_product_of_autograd(name):
    check_dense(TABLE[name], hops=2)


@settings(max_examples=15)
@given(networks(), st.integers(0, 9), st.data())
def test_parts_of_any_network_add_up_to_the_product_of_autograd(case, hops, data):
    check_dense(case, hops=hops, end=data.draw(st.integers(-case.steps, case.steps - 1)))


GATE = np.random.default_rng(5).uniform(0.5, 1.0, size=(300, 3))


@pytest.mark.parametrize(
    "base",
    [
        layer(300, decay=0.05),
        layer(200, spans=(7,), samples=2, spread=1.0),
        layer(250, spans=(2, 5, 9), weights=(0.5, 0.2, 0.3), gate=GATE[:250]),
        layer(60, spans=(1, 3), weights=(-2.0, 0.5), spread=0.3),
        layer(60, spans=(1, 2), weights=(1e-250, 1.0), decay=0.0),
        layer(40, spans=(4,), decay=0.0, spread=0.1),
        layer(30, spans=(50,)),
        layer(30, spans=(), weights=()),
        layer(1),
    ],
    ids=[
        "vanilla",
        "skip",
        "gated asrc",
        "signs",
        "weights apart",
        "comb",
        "over the end",
        "none",
        "one step",
    ],
)
def test_every_part_is_exact_also_beyond_the_range_of_float64(base):
    found = check_exact(base, 3)
    if base.a.shape[0] == 300:
        finite = found.log_hops.values[np.isfinite(found.log_hops)]
        assert finite.min() < -745.2  # float64 has nothing left here


@pytest.mark.parametrize("which", ["a", "phi", "V"])
@pytest.mark.parametrize("factor", [1e-310, 1e-200, 1e200])
def test_extreme_factors_are_exact(which, factor):
    base = layer(20, spans=(1, 2))
    parts = {"a": base.a.copy(), "phi": base.phi.copy(), "V": base.V.copy()}
    if which == "V":
        parts["V"][0] *= factor
    else:
        parts[which][::3, ..., 1] *= factor
    check_exact(LayerTransition(**parts, spans=(1, 2), weights=(0.5, 0.5)), 4)


def test_the_mean_number_of_signed_hops_is_the_sensitivity_to_the_recurrent_gain():
    # P(z) = Σ z^k P_k, so Σ k ⟨P_k, P⟩ / ‖P‖² = d log‖P(z)‖ / d log z at z = 1: by central differences
    base = layer(40, neurons=6, spans=(1, 3), spread=0.5, samples=2)
    found = paths(base, max_hops=40)
    h = 1e-4

    def at(z):
        scaled = LayerTransition(base.a, base.phi, base.V * z, base.spans, base.weights)
        return gf.jacobian_products(Transition((scaled,)), norms=("frobenius",)).log_frobenius

    slope = (at(math.exp(h)) - at(math.exp(-h))) / (2 * h)
    hops = (found.hop * found.share_hops).sum("hop")
    assert_close(
        hops, slope, rtol=1e-6, atol=1e-6, why="h² = 1e-8 times a third derivative of at most 40³/12"
    )


def test_the_mean_number_of_hops_weights_by_norms_and_is_not_given_where_the_rest_is_large():
    base = layer(30, neurons=4, spread=0.4)
    whole, cut = paths(base, max_hops=30), paths(base, max_hops=3)
    weights = np.exp(whole.log_hops)
    assert_close(
        whole.mean_hops, (weights * whole.hop).sum("hop") / weights.sum("hop"), rtol=1e-12, why="sums"
    )
    assert_close(cut.mean_hops[..., :4], whole.mean_hops[..., :4], rtol=1e-12, why="there is no rest there")
    assert np.all(np.isnan(cut.mean_hops[..., 10:]))
    weak = LayerTransition(np.full(base.a.shape, 0.5), base.phi, base.V, (1,), (1e-5,))
    small = paths(weak, max_hops=1)  # one hop weighs 30 · 2e-5 at most, two 1e-7: a rest that may be there
    assert np.all(small.log_rest[..., 2:] > -np.inf)
    assert_close(small.mean_hops, paths(weak).mean_hops, rtol=1e-3, why="a rest of up to 0.1 %, of two hops")
    assert np.all(whole.mean_hops[..., 1:] > whole.mean_hops[..., :1])


def test_a_skip_needs_fewer_hops_than_vanilla_over_the_same_distance():
    spans = {span: paths(layer(65, neurons=8, spans=(span,), spread=0.5), max_hops=64) for span in (1, 4, 16)}
    hops = {span: found.mean_hops[0, 0, 64].item() for span, found in spans.items()}
    assert hops[16] <= 4 < hops[4] <= 16 < hops[1] <= 64


def test_parts_are_the_numbers_of_routes_where_every_factor_is_one():
    ones = np.ones((25, 1, 1))
    for span in (1, 2, 5):
        found = paths(LayerTransition(ones, ones, np.eye(1), (span,)), max_hops=25).isel(layer=0, sample=0)
        counted = [[count_routes(n, span, k) for n in range(25)] for k in range(26)]
        assert_close(np.exp(found.log_hops), np.array(counted, float), rtol=1e-12, why="sums of integers")
        assert_close(
            np.exp(found.log_frobenius), np.array([float(count_routes(n, span)) for n in range(25)]),
            rtol=1e-12, why="sums of integers",
        )  # fmt: skip


@pytest.mark.parametrize("span", [2, 3, 7])
def test_routes_are_the_compositions_one_can_write_down(span):
    for n in range(13):
        steps = [c for r in range(n + 1) for c in itertools.product((1, span), repeat=r) if sum(c) == n]
        assert count_routes(n, span) == len(steps)
        for k in range(n + 1):
            assert count_routes(n, span, k) == sum(c.count(span) == k for c in steps)


def test_routes_follow_their_recursion_as_exact_integers():
    for span in (1, 2, 16):
        assert all(
            count_routes(n, span) == count_routes(n - 1, span) + count_routes(n - span, span)
            for n in range(span, 300)
        )
    assert count_routes(784, 1) == 2**784
    assert count_routes(0, 9) == count_routes(0, 9, 0) == 1
    assert count_routes(5, 9, 1) == 0


@pytest.mark.parametrize(("arguments", "name"), [((-1, 2), "lag"), ((3, 0), "span"), ((3, 2, -1), "hops")])
def test_routes_that_cannot_be_are_refused(arguments, name):
    with pytest.raises(ValueError, match=f"count_routes\\({name}=.*: expected a whole number, at least"):
        count_routes(*arguments)


def test_layers_of_different_spans_share_one_dataset():
    found = paths(layer(12, spans=(2, 3)), layer(12, spans=(5,)), layer(12, spans=(), weights=()), max_hops=2)
    check_sums(found)
    assert found.span.values.tolist() == [2, 3, 5]
    assert np.all(np.isneginf(found.log_first_span.sel(layer=2)))
    assert np.all(np.isneginf(found.log_first_span.sel(layer=1, span=2)))
    assert np.all(found.share_first_span.sel(layer=0, span=5) == 0)


def test_the_dataset_has_its_axes_units_and_conventions_and_comes_back_from_a_file(tmp_path):
    case = TABLE["lif hard detached, asrc"]
    found = path_products(case.net(), case.data(), max_hops=2)
    assert found.log_hops.dims == ("layer", "hop", "sample", "lag")
    assert found.log_first_span.dims == ("layer", "span", "sample", "lag")
    assert found.log_hops.attrs["units"] == "nats"
    assert found.mean_hops.attrs["units"] == "1"
    assert found.attrs["kind"] == "path products"
    assert found.attrs["recurrence"] == "asrc:4"
    gf.save(found, tmp_path / "paths.nc")
    xr.testing.assert_identical(gf.load(tmp_path / "paths.nc"), found)


CUT = layer(30, neurons=5, spans=(1, 4), samples=3)


@pytest.mark.parametrize("rows", [1, 3, 7, 11])
def test_rows_and_samples_in_chunks_are_those_at_once(rows):
    budget = rows * 5 * 5 * element_bytes(CUT, 29)
    found = paths(CUT, max_hops=3, memory_budget=budget)
    xr.testing.assert_allclose(found, paths(CUT, max_hops=3), rtol=1e-13, atol=1e-13)


def test_memory_stays_within_the_budget():
    big = layer(30, neurons=24, spans=(8,), samples=16)
    budget = 2 * 2**20
    paths(big, max_hops=3, memory_budget=budget)  # compiled code and caches are not working memory
    tracemalloc.start()
    try:
        found = paths(big, max_hops=3, memory_budget=budget)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0.4 * budget < peak < budget + 8 * found.nbytes + 2**19


def test_what_cannot_be_split_is_refused(no_shape_checks):
    with pytest.raises(ValueError, match=r"path_products\(max_hops=-1\): expected a whole number of hops"):
        paths(layer(3), max_hops=-1)
    with pytest.raises(ValueError, match="DenseTransition, whose Jacobians are not split"):
        paths(DenseTransition(np.ones((3, 1, 2, 2))))
    with pytest.raises(ValueError, match=r"path_products\(net\): give the batch"):
        path_products(TABLE["last step"].net())
    with pytest.raises(ValueError, match="end=3: the sequence has 3 steps"):
        paths(layer(3), end=3)
    with pytest.raises(ValueError, match=r"memory_budget=10\): expected at least \d+ bytes"):
        paths(layer(3), memory_budget=10)
    base = layer(9)
    base.a[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        paths(base)
