"""Routes through the stack: parts against whole matrices by route, autograd, counts and a derivative."""

import math
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from cases import TABLE, networks
from compare import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from test_paths import layer
from test_stack import THREE, coupled, stacked

import gradflow as gf
from gradflow import count_routes, dense_routes, path_products, stack_paths
from gradflow.jacobian.column import WHOLE, Column, Telling, column_bytes
from gradflow.jacobian.logit_routes import logit_paths, walk_readout
from gradflow.jacobian.stack_splits import climbs_from, hops_in, hops_together, walk_split
from gradflow.links import Link, ReadoutLink
from gradflow.transition import DenseTransition, LayerTransition, Transition

AGREED = 1e-9  # the issue's: relative
CANCELLED = 1e-14  # per unit of the largest element: what cancels between routes


def total(routes):
    """The sum of all routes' matrices."""
    return sum(routes.values())


def grouped(routes, keys, count):
    """The sums of the routes of keys 0 … count − 1; of a larger key, in the last."""
    parts = np.zeros((count, *total(routes).shape))
    for key, matrix in zip(keys, routes.values(), strict=True):
        parts[min(key, count - 1)] += matrix
    return parts


def check_part(log, share, part, whole):
    """Assert a part's log-norm and share; far below the whole both are what cancelling leaves."""
    norm, top = np.linalg.norm(part), np.linalg.norm(whole)
    assert_close(
        np.exp(log), norm, rtol=AGREED, atol=CANCELLED * max(top, 1.0), why="the issue's; cancelling"
    )
    if top > 1e-10:
        expected = np.sum(part * whole) / top**2
        size = max(1.0, norm / top)
        assert_close(share, expected, rtol=AGREED, atol=AGREED * size, why="the issue's; of terms this large")


def check_hops(at, parts, whole, kind):
    *counted, rest = parts
    for k, part in enumerate(counted):
        check_part(at[f"log_{kind}hops"][k], at[f"share_{kind}hops"][k], part, whole)
    check_part(at[f"log_{kind}rest"], at[f"share_{kind}rest"], rest, whole)
    recurrent = np.exp(at[f"log_{kind}recurrent"])
    top = max(1.0, np.linalg.norm(whole))
    expected = np.linalg.norm(whole - parts[0])
    assert_close(recurrent, expected, rtol=AGREED, atol=CANCELLED * top, why="the issue's; cancelling")


def check_sums(found):
    """Assert that every split's shares add up to 1 where P is not zero."""
    known = np.isfinite(found.log_frobenius)
    by_layer = found.share_layer_hops.sum("hop", skipna=False) + found.share_layer_rest
    sums = [found.share_hops.sum("hop", skipna=False) + found.share_rest]
    sums += [by_layer.sel(counted=j).where(found.layer <= j, 1.0) for j in found.counted.values]
    if "share_climbs" in found:
        by_climb = found.share_climbs.sum("climb", skipna=False)
        sums += [by_climb.sel(counted=j).where(found.layer <= j, 1.0) for j in found.counted.values[:-1]]
    for shares in sums:
        assert_close(shares.where(known, 1.0), np.ones(known.shape), atol=AGREED, why="the issue's")


def check_routes(source, x=None, *, target=-1, end=-1, hops=2, edges=None, sample=0):
    """Assert that every part of every split is the sum of its routes, and that shares add up to 1."""
    found = stack_paths(source, x, target=target, end=end, max_hops=hops, climb_edges=edges)
    check_sums(found)
    lags = found.lag.values[:: max(1, found.lag.size // 3)]
    for lag in lags:
        by_layer = dense_routes(source, x, lag=int(lag), target=target, end=end, sample=sample)
        for low, routes in enumerate(by_layer):
            at, whole = found.sel(layer=low, lag=lag, sample=sample), total(routes)
            check_part(at.log_frobenius, 1.0, whole, whole)
            together = grouped(routes, [sum(route.hops) for route in routes], hops + 2)
            check_hops(at, together, whole, "")
            for j in range(low, len(by_layer)):
                alone = grouped(routes, [route.hops[j - low] for route in routes], hops + 2)
                check_hops(at.sel(counted=j), alone, whole, "layer_")
            for j in range(low, len(by_layer) - 1):
                bins = [np.sum(found.climb.values <= route.climbs[j - low]) - 1 for route in routes]
                own = at.sel(counted=j)
                for c, part in enumerate(grouped(routes, bins, found.climb.size)):
                    check_part(own.log_climbs[c], own.share_climbs[c], part, whole)
    return found


LINKED = ["two layers that differ", "two layers, shared span", "layer norm", "batch norm evaluated"]


@pytest.mark.parametrize("name", [*LINKED, "no recurrence", "glif per neuron, detached, asrc"])
def test_routes_add_up_to_the_product_of_autograd(name):
    net, x = TABLE[name].net(), TABLE[name].x()
    for (m, low), P in gf.jacobian.dense_stack(net, x).items():
        for lag in {0, P.shape[1] // 2, P.shape[1] - 1}:
            for b in range(len(P)):
                whole = total(dense_routes(net, x, lag=lag, target=m, sample=b)[low])
                assert_close(whole, P[b, lag], rtol=AGREED, atol=CANCELLED, why="the issue's; cancelling")


@pytest.mark.parametrize("name", LINKED)
def test_every_part_is_the_sum_of_its_routes(name):
    check_routes(TABLE[name].net(), TABLE[name].x(), sample=1)


@settings(max_examples=8)
@given(networks(), st.integers(0, 4), st.data())
def test_every_part_of_any_network_is_the_sum_of_its_routes(case, hops, data):
    if coupled(case):
        return
    end = data.draw(st.integers(-case.steps, case.steps - 1))
    target = data.draw(st.integers(0, len(case.hidden) - 1))
    check_routes(case.net(), case.x(), target=target, end=end, hops=hops)


def test_three_layers_with_dropout_and_layer_norm_split_exactly():
    net = THREE.net()
    net.dropout = 0.4
    found = check_routes(net, THREE.x(), end=5, hops=1, edges=range(6))
    assert found.share_climbs.sizes == {"counted": 3, "climb": 6, "layer": 3, "sample": 2, "lag": 6}
    assert np.all(np.isnan(found.share_climbs.sel(counted=2)))
    assert np.all(np.isnan(found.share_layer_hops.sel(counted=0, layer=1)))


def test_parts_add_up_as_matrices():
    net, x = THREE.net(), THREE.x()
    made, last = gf.local_jacobians(net, x), 8
    dense = gf.jacobian.dense_stack(net, x)
    splits = [hops_together(made, 2, last, 1), hops_in(made, 2, last, 2, 1), climbs_from(2, 0, (0, 2, 5))]
    seen = 0
    for split in splits:
        column = Column(made, 2, last, slice(0, 2), 4, split.telling)
        for lag, low, P in walk_split(column, last, np.eye(4), split):
            whole = np.ldexp(P.m, np.maximum(P.e, -2000).astype(int)).sum(axis=0)
            assert_close(whole, dense[2, low][:, lag], rtol=AGREED, atol=CANCELLED, why="the issue's")
            seen += 1
    assert seen == 9 * (3 + 2 + 1)


def ones(steps, *spans):
    """A stack of single neurons all of whose factors are 1."""
    one = np.ones((steps, 1, 1))
    parts = tuple(LayerTransition(one, one, np.eye(1), (span,)) for span in spans)
    return Transition(parts, links=(Link(np.ones((1, 1))),) * len(spans))


def test_parts_are_the_numbers_of_routes_where_every_factor_is_one():
    low, high, n = 2, 3, 12
    found = stack_paths(ones(n + 1, low, high), max_hops=6, climb_edges=range(n + 1))
    at = found.sel(layer=0, sample=0, lag=n)
    by_climb = [count_routes(n - c, low) * count_routes(c, high) for c in range(n + 1)]
    assert_close(
        np.exp(at.log_climbs.sel(counted=0)), np.array(by_climb, float), rtol=1e-12, why="sums of integers"
    )
    for k in range(7):
        by_hops = sum(
            count_routes(n - c, low, i) * count_routes(c, high, k - i)
            for c in range(n + 1)
            for i in range(k + 1)
        )
        in_low = sum(count_routes(n - c, low, k) * count_routes(c, high) for c in range(n + 1))
        in_high = sum(count_routes(n - c, low) * count_routes(c, high, k) for c in range(n + 1))
        got = np.exp([at.log_hops[k], *at.log_layer_hops.sel(hop=k)])
        assert_close(got, np.array([by_hops, in_low, in_high], float), rtol=1e-12, why="sums of integers")
    assert_close(np.exp(at.log_frobenius), float(sum(by_climb)), rtol=1e-12, why="sums of integers")


def gained(made, gains):
    """The same stack with recurrent matrices scaled."""
    parts = [replace(part, V=part.V * gain) for part, gain in zip(made.layers, gains, strict=True)]
    return replace(made, layers=tuple(parts))


def test_signed_hops_of_a_layer_are_the_sensitivity_to_its_recurrent_gain():
    # P(z) = Σ z^k P_k, so Σ k ⟨P_k, P⟩ / ‖P‖² = d log‖P(z)‖ / d log z at z = 1: by central differences
    made = stacked(layer(25, 4, spans=(1, 3), spread=0.5), layer(25, 3, spans=(2,), spread=0.5), norm=True)
    found, h = stack_paths(made, max_hops=30), 1e-4
    signed = (found.hop * found.share_layer_hops).sum("hop", skipna=False)

    def slope(scaled):
        up, down = (
            gf.stack_products(gained(made, [math.exp(s * h) if j in scaled else 1.0 for j in range(2)]),
                              norms=("frobenius",)).log_frobenius.sel(target=1)
            for s in (1, -1)
        )  # fmt: skip
        return (up - down) / (2 * h)

    why = "h² = 1e-8 times a third derivative of some thousands"
    assert_close(signed.sel(counted=1), slope({1}), rtol=1e-5, atol=1e-5, why=why)
    assert_close(signed.sel(counted=0, layer=0), slope({0}).sel(layer=0), rtol=1e-5, atol=1e-5, why=why)
    together = (found.hop * found.share_hops).sum("hop", skipna=False)
    assert_close(together, slope({0, 1}), rtol=1e-5, atol=1e-5, why=why)


def test_a_layer_alone_has_the_parts_of_path_products():
    made = stacked(layer(30, 4, spans=(1, 4), samples=2))
    found, alone = stack_paths(made, max_hops=3), path_products(made, max_hops=3)
    for name in ("log_hops", "log_rest", "log_recurrent", "share_hops", "share_rest", "mean_hops"):
        dims, expected = alone[name].dims, alone[name].fillna(-1.0)
        both = found[name], found[name.replace("_", "_layer_", 1)].sel(counted=0)
        for got in both:
            assert_close(got.transpose(*dims).fillna(-1.0), expected, atol=1e-12, why="another order of sums")
    assert "log_climbs" not in found


def test_nothing_underflows_at_any_length():
    made = stacked(
        layer(300, decay=1e-3, weights=(1e-2,)), layer(300, 2, decay=1e-3, weights=(1e-2,), seed=1)
    )
    found = stack_paths(made, max_hops=8)
    check_sums(found)
    assert found.log_frobenius.min() < -745.2  # float64 has nothing left here
    parts = found.share_climbs.sel(counted=0, layer=0, lag=299)
    assert np.all(np.abs(parts) > 0)


def test_a_slow_layer_above_is_climbed_to_early():
    # the layer below forgets at once, the one above keeps: gradients spend their time above
    slow, fast = layer(40, 3, decay=0.95, spread=3.0, weights=(0.1,)), layer(40, 3, decay=0.1, weights=(0.1,))
    above = stack_paths(stacked(fast, slow), splits=["climbs"], climb_edges=(0, 20)).share_climbs
    below = stack_paths(stacked(slow, fast), splits=["climbs"], climb_edges=(0, 20)).share_climbs
    at = {"counted": 0, "layer": 0, "lag": 39, "climb": 20, "sample": 0}
    assert above.sel(at) > 0.9
    assert below.sel(at) < 0.1


PAIR = layer(20, 4, spans=(1, 3), spread=0.5, samples=2), layer(20, 3, spans=(2,), samples=2)
LOGITS = replace(
    stacked(*PAIR, norm=True),
    readout=ReadoutLink(np.random.default_rng(4).normal(size=(3, 3)), np.linspace(0.5, 1.5, 20)),
)  # fmt: skip


def forgetful(part):
    """The layer without memory: no neuron path, no recurrence."""
    return replace(part, a=np.zeros_like(part.a), spans=(), weights=())


def test_direct_paths_are_those_of_a_last_layer_without_memory():
    found = logit_paths(LOGITS, max_hops=3)
    *below, top = LOGITS.layers
    direct = gf.logit_sensitivity(replace(LOGITS, layers=(*below, forgetful(top)))).log_input
    assert_close(found.log_direct, direct, atol=1e-12, why="the same products")
    whole = gf.logit_sensitivity(LOGITS).log_input
    assert_close(found.log_input, whole, atol=1e-12, why="the same products")
    known = np.isfinite(whole)
    none = [replace(part, spans=(), weights=()) for part in LOGITS.layers]
    without = gf.logit_sensitivity(replace(LOGITS, layers=tuple(none))).log_input
    assert_close(found.log_hops[0], without, atol=1e-12, why="the same products")
    for shares in (found.share_direct + found.share_later, found.share_hops.sum("hop") + found.share_rest):
        assert_close(shares.where(known, 1.0), np.ones(shares.shape), atol=AGREED, why="the issue's")
    # polarisation: ‖later‖² = ‖whole‖² + ‖direct‖² − 2 ⟨direct, whole⟩
    whole = whole.where(known, 0.0)
    later = 1 + np.exp(2 * (direct - whole)) - 2 * found.share_direct
    got = np.exp(2 * (found.log_later - whole)).where(known, 0.0)
    assert_close(got, later.where(known, 0.0), atol=1e-12, why="rounding")


def test_signed_hops_of_logits_are_the_sensitivity_to_all_gains():
    found, h = logit_paths(LOGITS, max_hops=30), 1e-4
    up, down = (gf.logit_sensitivity(gained(LOGITS, [math.exp(s * h)] * 2)).log_input for s in (1, -1))
    known = np.isfinite(up) & np.isfinite(down)
    signed = (found.hop * found.share_hops).sum("hop", skipna=False).where(known, 0.0)
    slope = (up.where(known, 0.0) - down.where(known, 0.0)) / (2 * h)
    assert known.mean() > 0.9
    assert_close(signed, slope, rtol=1e-5, atol=1e-5, why="h² times a third derivative")


@pytest.mark.parametrize("name", [*LINKED, "glif shared", "one step"])
def test_logit_parts_add_up_to_the_sensitivity_of_autograd(name):
    net, x = TABLE[name].net(), TABLE[name].x()
    made = gf.local_jacobians(net, x)
    samples, classes, steps = x.shape[1], len(made.readout.W), len(x)
    telling = (*[Telling(2, kept=True)] * (len(made.layers) - 1), WHOLE)
    column = Column(made, len(made.layers) - 1, steps - 1, slice(0, samples), classes, telling)
    dense = gf.jacobian.dense_sensitivity(net, x)[-1]
    for t, E in walk_readout(column, made.readout.W, made.readout.placement):
        whole = np.ldexp(E.m, np.maximum(E.e, -2000).astype(int)).sum(axis=0)
        assert_close(whole, dense[:, t], rtol=AGREED, atol=CANCELLED, why="the issue's; cancelling")
    found = logit_paths(net, x, max_hops=2)
    norms = np.linalg.norm(np.moveaxis(dense, 1, 2), axis=3)
    assert_close(np.exp(found.log_input), norms, rtol=AGREED, atol=CANCELLED, why="the issue's; cancelling")


CUT = replace(
    stacked(layer(15, 5, spans=(1, 4), samples=3), layer(15, 4, samples=3, seed=1), norm=True),
    readout=ReadoutLink(np.random.default_rng(0).normal(size=(6, 4)), np.ones(15)),
)


@pytest.mark.parametrize("rows", [2, 9])
def test_rows_and_samples_in_chunks_are_those_at_once(rows):
    budget = rows * 5 * column_bytes(CUT, 1, 14)
    for function in (stack_paths, logit_paths):
        found = function(CUT, memory_budget=budget, max_hops=3)
        xr.testing.assert_allclose(found, function(CUT, max_hops=3), rtol=1e-12, atol=1e-12)


def test_the_datasets_have_axes_units_and_conventions_and_come_back_from_files(tmp_path):
    case = TABLE["two layers that differ"]
    for function, kind in ((stack_paths, "stack paths"), (logit_paths, "logit paths")):
        found = function(case.net(), case.data(), max_hops=2)
        assert {variable.attrs["units"] for variable in found.data_vars.values()} == {"nats", "1"}
        assert found.attrs["kind"] == kind
        assert found.attrs["recurrence"] == "skip:2 | asrc:3"
        gf.save(found, tmp_path / f"{kind}.nc")
        xr.testing.assert_identical(gf.load(tmp_path / f"{kind}.nc"), found)
    assert found.log_hops.dims == ("hop", "sample", "class", "time")
    found = stack_paths(case.net(), case.data(), splits=[gf.RouteSplit.HOPS])
    assert found.log_hops.dims == ("hop", "layer", "sample", "lag")
    assert "log_climbs" not in found
    assert "log_layer_hops" not in found


def test_what_cannot_be_split_is_refused(no_shape_checks):
    made = stacked(layer(5))
    for edges in ((), (1, 2), (0, 0), (0, 1.5)):
        with pytest.raises(ValueError, match=r"climb_edges=.*: expected lags that increase from 0"):
            stack_paths(made, climb_edges=edges)
    with pytest.raises(ValueError, match=r"stack_paths\(splits=\(\)\): expected members of RouteSplit"):
        stack_paths(made, splits=())
    for target in (1, -2):
        with pytest.raises(ValueError, match=rf"stack_paths\(target={target}\): expected a layer, −1 … 0"):
            stack_paths(made, target=target)
    for function in (stack_paths, logit_paths):
        with pytest.raises(ValueError, match=r"max_hops=-1\): expected a whole number of hops"):
            function(made, max_hops=-1)
        with pytest.raises(ValueError, match="no links between its layers"):
            function(Transition((DenseTransition(np.ones((3, 1, 2, 2))),)))
    with pytest.raises(ValueError, match="the transition has no readout"):
        logit_paths(made)
    with pytest.raises(ValueError, match=r"dense_routes\(lag=5, sample=0\): expected a lag of 0 … 4"):
        dense_routes(made, lag=5)
    with pytest.raises(ValueError, match="a sample of 0 … 0"):
        dense_routes(made, lag=1, sample=1)
    with pytest.raises(ValueError, match=r"memory_budget=10\): expected at least \d+ bytes"):
        stack_paths(made, memory_budget=10)
