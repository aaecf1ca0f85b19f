"""Singular values of products against exact numbers, the dense twin and numpy; angles; zeros and reasons."""

import math

import mpmath
import numpy as np
import pytest
import torch
from cases import TABLE, networks
from compare import assert_close
from exact import matrices
from hypothesis import given, settings
from hypothesis import strategies as st
from test_products import layer, silent

import gradflow as gf
from gradflow.jacobian.graded import graded, singular_rows
from gradflow.jacobian.leading import LeadingSweep
from gradflow.jacobian.spectrum import angles, participation_ratio, singular_values
from gradflow.jacobian.sweep import Part
from gradflow.transition import DenseTransition, LayerTransition, Transition

ONE = 1e-11  # one span of 1: a few hundred roundings of 1e-16, times conditions of about 10
SPANS = 1e-4  # the default tolerance, where blocks of several lags share one basis
REFERENCE = 1e-10  # numpy's own error at ratios of 1e-5, the smallest compared with it


def values(*layers, **options):
    return singular_values(Transition(layers), **options)


def exact_values(P, digits):
    with mpmath.workdps(digits):
        if not np.any(P):
            return np.full(len(P), -np.inf)
        found = mpmath.svd_r(mpmath.matrix(P.tolist()), compute_uv=False)
        return np.sort([float(mpmath.log(x)) for x in found])[::-1]


def check_exact(transition, monkeypatch, tolerance, every=60, digits=1000, unknown=0):
    """Compare with numbers of so many digits; at most `unknown` values may be NaN. Return all."""
    monkeypatch.setattr("exact.DIGITS", digits)
    last = len(transition.a) - 1 if isinstance(transition, LayerTransition) else len(transition.jacobians)
    found = values(transition, every=every).log_singular[0, 0]
    products = matrices(transition, 0, last)
    for lag in found.lag.values:
        expected = exact_values(products[lag], digits)
        # what so many digits leave of a structural zero: e^−2.3 for each of them
        expected = np.where(expected < expected[0] - 2.0 * digits, -np.inf, expected)
        got = found.sel(lag=lag).values
        known = ~np.isnan(got)
        assert_close(got[known], expected[known], atol=tolerance, rtol=1e-13, why="the stated error")
    assert np.isnan(found).sum() <= unknown
    return found


GATE = np.random.default_rng(5).uniform(0.5, 1.0, size=(241, 3))
EXACT = {
    "vanilla": (layer(481, spread=0.4, gain=0.4), ONE),
    "vanilla, silent rows": (layer(481, spread=1.5, decay=0.3), ONE),
    "silent neuron": (silent(601, decay=0.1), ONE),
    "skip": (layer(241, spans=(7,), spread=0.8), SPANS),
    "skip, gated": (layer(241, spans=(2,), weights=(0.1,), gate=GATE), SPANS),
    "comb": (layer(241, spans=(4,), decay=0.0, spread=0.3), ONE),
    "comb that goes out": (layer(241, spans=(4,), decay=0.0, spread=1.0), ONE),
    "longer than the run": (layer(241, spans=(200,), spread=0.5), SPANS),
    "adaptive": (layer(241, spans=(2, 9, 23), weights=(0.5, 0.2, 0.3), spread=0.8), SPANS),
    "no recurrence": (layer(481, spans=(), weights=(), spread=0.9), ONE),
    "dense": (DenseTransition(np.random.default_rng(0).normal(size=(240, 1, 3, 3)) * 1e-3), ONE),
}


@pytest.mark.parametrize("name", EXACT)
def test_every_singular_value_is_exact_whatever_its_ratio(name, monkeypatch):
    transition, tolerance = EXACT[name]
    check_exact(transition, monkeypatch, tolerance)


@pytest.mark.parametrize("seed", range(12))
def test_what_is_not_known_is_said_and_the_rest_is_exact(seed, monkeypatch):
    """Long spans, hard resets and small leaks: rates so far apart that small values get lost."""
    rng = np.random.default_rng(seed)
    span = int(rng.choice([5, 16, 40]))
    spans = (span,) if seed % 2 else tuple(sorted({*rng.integers(1, span, 2).tolist(), span}))
    weights = (1 / len(spans),) * len(spans)
    base = layer(67, neurons=4, spans=spans, weights=weights, decay=0.1, spread=1.0 + seed % 3 / 2, seed=seed)
    a = np.where(rng.random(base.a.shape) < 0.3 * (seed % 4 < 2), 0.0, base.a)
    check_exact(
        LayerTransition(a, base.phi, base.V, spans, weights), monkeypatch, SPANS, 22, digits=400, unknown=4
    )


def test_a_stricter_tolerance_knows_less_and_keeps_to_it(monkeypatch):
    monkeypatch.setattr("exact.DIGITS", 200)
    base = layer(61, neurons=12, spans=(12,), decay=0.1, spread=1.6, seed=3)
    expected = exact_values(matrices(base, 0, 60)[60], 200)
    missing = []
    for tolerance in (1e-3, 1e-9):
        found = values(base, every=60, tolerance=tolerance).log_singular[0, 0, -1].values
        known = np.isfinite(found)
        assert_close(found[known], expected[known], atol=tolerance, why="the tolerance")
        missing.append(np.isnan(found).sum())
    assert missing[0] < missing[1] < 12


def test_ratios_beyond_float64_are_kept():
    found = values(silent(1201, decay=0.05), every=1200).log_singular[0, 0, -1]
    assert found[0] - found[-1] > 1300  # of which float64 holds 745
    assert found[-1] == pytest.approx(1200 * math.log(0.05), rel=1e-3)


def by_numpy(P):
    """Log singular values where numpy knows them to 1e-10, NaN elsewhere."""
    found = np.linalg.svd(P, compute_uv=False)
    with np.errstate(divide="ignore"):
        return np.where(found > 1e-5 * found[..., :1], np.log(found), np.nan)


def check_dense(case):
    """Compare with whole matrices; return how many values were compared, and how many the twin misses."""
    net, x = case.net(), case.x()
    found, dense = singular_values(net, x), gf.dense_products(net, x)
    for k, P in enumerate(dense):
        expected, got = by_numpy(P), found.log_singular[k].values[..., : P.shape[-1]]
        known = np.isfinite(expected)
        assert_close(got[known], expected[known], atol=REFERENCE, why="numpy's error at 1e-5 σ_1")
        rank = np.linalg.matrix_rank(P)
        assert np.all(np.isneginf(got).sum(-1) <= P.shape[-1] - rank)
        assert np.all(found.rank_bound[k] >= rank)
        zero = ~P.any(axis=(2, 3))
        assert np.all(np.isneginf(got[zero]))
        leading = singular_values(net, x, leading=1).log_singular[k, ..., 0]
        assert_close(leading, found.log_singular[k, ..., 0], atol=1e-12, why="1e-16 · H")


@pytest.mark.parametrize("name", TABLE)
def test_singular_values_are_those_of_autograd(name):
    check_dense(TABLE[name])


@settings(max_examples=10)
@given(networks())
def test_singular_values_of_any_network_are_those_of_autograd(case):
    check_dense(case)


@pytest.mark.parametrize("spans", [(1,), (6,), (1, 3, 8)])
def test_squares_add_up_to_the_frobenius_norm_and_the_largest_is_the_spectral_norm(spans):
    base = layer(120, neurons=24, spans=spans, weights=(1 / len(spans),) * len(spans), spread=0.9, samples=2)
    found, norms = values(base), gf.jacobian_products(Transition((base,)))
    logs = found.log_singular[0].values
    total = 0.5 * np.logaddexp.reduce(2 * np.nan_to_num(logs, nan=-np.inf), axis=-1)
    assert_close(total, norms.log_frobenius[0], atol=1e-9, why="two sweeps, each of 1e-10 or better")
    assert_close(logs[..., 0], norms.log_spectral[0], atol=1e-9, why="two sweeps, each of 1e-10 or better")


@pytest.mark.parametrize("spans", [(1,), (5,)])
def test_leading_values_are_the_first_of_all(spans, monkeypatch):
    base = layer(150, neurons=40, spans=spans, spread=0.9)
    whole = values(base, every=5)
    rounds = []
    svd = np.linalg.svd

    def counted(a, full_matrices=True, **options):
        rounds.append(full_matrices)
        return svd(a, full_matrices=full_matrices, **options)

    monkeypatch.setattr("gradflow.jacobian.leading.np.linalg.svd", counted)
    found = values(base, every=5, leading=4)
    kept = found.log_singular[0, 0].notnull().values
    expected = whole.log_singular[0, 0, :, :4].values
    assert_close(found.log_singular[0, 0].values[kept], expected[kept], atol=1e-6, why="the stated error")
    missing = expected[~kept] - whole.log_singular[0, 0, :, :1].values.repeat(4, 1)[~kept]
    assert np.all(missing < math.log(2.0**-29))
    assert not all(rounds)  # some lags were iterated …
    assert any(rounds)  # … and some, of flat spectra, taken whole
    assert rounds.count(True) < len(found.lag)
    ratio = whole.participation[0, 0]
    assert_close(found.participation[0, 0], ratio, rtol=1e-9, why="sums of the leading few")


def test_a_direction_that_the_start_does_not_know_is_not_missed():
    """The certificate: what is left of P beside the subspace is under σ_k, or P is decomposed as a whole."""
    base = layer(3, neurons=40)
    sweep = LeadingSweep(base, 2, Part(slice(0, 1), slice(0, 40)), 2, {0: 0})
    S = np.diag(np.r_[1.0, 0.5, 0.6, np.full(37, 1e-4)])
    start = np.eye(40)[:, [0, 1, *range(3, 11)]]  # the value 0.6 lies outside of it
    sweep.draws = [block * 0.0 + np.eye(40)[:, 20:30] for block in sweep.draws]
    assert_close(sweep.leading(S, start, 0)[0], [1.0, 0.6], atol=1e-12, why="rounding")


def test_a_reflection_permuted_and_scaled_is_graded_without_loss():
    rng = np.random.default_rng(3)
    Q, U = (np.linalg.qr(rng.normal(size=(8, 8)))[0] for _ in range(2))
    e = rng.permutation(np.arange(8) * 300)
    P = graded(Q, e, U)
    logs, left = singular_rows(P.e, P.U)
    assert_close(logs / math.log(2), np.arange(8.0)[::-1] * 300, atol=1e-12, why="rounding of e ln 2")
    assert_close(np.abs(left @ U[np.argsort(-e)].T), np.eye(8), atol=1e-13, why="rounding")


def test_structural_zeros_are_told_from_what_is_not_known():
    """Neuron 1 forgets all at one step: from there on one singular value is exactly zero."""
    base = layer(41, neurons=4, spread=0.2)
    a, phi = base.a.copy(), base.phi.copy()
    a[20, 0, 1] = phi[20, 0, 1] = 0.0
    found = values(LayerTransition(a, phi, base.V))
    zeros = np.isneginf(found.log_singular[0, 0]).sum("index")
    assert zeros.values.tolist() == [0] * 20 + [1] * 21
    assert found.rank_bound[0, 0].values.tolist() == [4] * 20 + [3] * 21
    # a V of rank 1 without a neuron path: zero too, but no structure says so
    flat = LayerTransition(np.zeros_like(a), base.phi, np.outer(np.ones(4), [0.3, 0.7, 0.1, 0.9]))
    logs = values(flat).log_singular[0, 0, 1:]
    assert np.all(np.isfinite(logs[:, 0]))
    assert np.all(np.isnan(logs[:, 1:]))


def test_the_gradient_of_a_last_step_turns_into_the_leading_direction():
    base = layer(61, neurons=6, spread=0.4)
    P = np.stack([m.astype(float) for m in matrices(base, 0, 60)])
    w = np.random.default_rng(1).normal(size=6)
    gradient = (w @ P)[::-1][None, :, None]  # ∂L/∂u[t] = P(T,t)ᵀ w
    found = values(base, gradient=np.ascontiguousarray(gradient)).gradient_angle[0, 0]
    right = np.linalg.svd(P)[2][:, 0]
    cosine = np.abs(np.sum(right * (w @ P), axis=1)) / np.linalg.norm(w @ P, axis=1)
    expected = np.arccos(np.minimum(cosine, 1.0))
    # at lag 0 all singular values are 1 and there is no leading direction
    assert_close(found[1:], expected[1:], atol=1e-6, why="arccos near 1 has half the digits")
    assert found[-1] < 0.05 < found[1]
    again = values(base, gradient=np.ascontiguousarray(-gradient) * 1e-250, leading=1).gradient_angle[0, 0]
    assert_close(again[1:], found[1:], atol=1e-6, why="the leading vector's own residual of 1e-7")


def test_angles_are_exact_at_both_ends_and_zero_gradients_have_none():
    x = np.eye(3)
    assert_close(angles(x[0], np.array([1.0, 1e-9, 0.0])), 1e-9, rtol=1e-12, why="rounding")
    assert angles(x[0], x[1]).item() == math.pi / 2
    assert np.isnan(angles(x[0], np.zeros(3)))


@given(st.integers(1, 30), st.floats(-2000, 2000))
def test_the_participation_ratio_counts_equal_directions(count, level):
    logs = np.r_[np.full(count, level), level - 40.0, -np.inf]
    assert participation_ratio(logs).item() == pytest.approx(count, rel=1e-12)
    assert participation_ratio(np.r_[logs[:-1], np.nan]).item() == pytest.approx(count, rel=1e-12)
    assert np.isnan(participation_ratio(np.r_[logs[:-2], np.nan]))


def test_nothing_has_no_participation():
    assert np.isnan(participation_ratio(np.full(3, -np.inf)))


def test_layers_of_different_sizes_and_ends():
    found = values(layer(9, neurons=5), layer(9, neurons=3, spans=(3,)), end=-2, every=3)
    assert found.log_singular.dims == ("layer", "sample", "lag", "index")
    assert found.sizes == {"layer": 2, "sample": 1, "lag": 3, "index": 5}
    assert found.attrs["end"] == 7
    assert found.lag.values.tolist() == [0, 3, 6]
    cut = values(LayerTransition(*(x[:8] for x in (layer(9).a, layer(9).phi)), layer(9).V), every=3)
    assert_close(values(layer(9), end=7, every=3).log_singular, cut.log_singular, atol=1e-14, why="the same")


def test_float32_networks_are_measured_in_float64():
    case = TABLE["lif soft attached, vanilla"]
    found = singular_values(case.net(dtype=torch.float32), case.x(torch.float32))
    assert found.log_singular.dtype == np.float64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "expected 1 or more"),
        ({"leading": 0}, "expected 1 or more"),
        ({"leading": 4}, "layer 0 has 3 neurons"),
        ({"tolerance": 0.0}, "expected nats in 0 < tolerance <= 1e-3"),
        ({"tolerance": 0.1}, "expected nats in 0 < tolerance <= 1e-3"),
        ({"end": 9}, "end=9: the sequence has 9 steps"),
        (
            {"gradient": np.zeros((1, 8, 1, 3))},
            r"got \[\(8, 1, 3\)\], expected \(time, sample, neuron\) of each layer, \[\(9, 1, 3\)\]",
        ),
    ],
)
def test_nonsense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        values(layer(9), **options)


@pytest.mark.parametrize(
    ("factor", "message"), [(1e200, "exploded"), (np.nan, "NaN"), (1e-290, "too far apart")]
)
def test_factors_beyond_float64_are_refused(factor, message):
    base = layer(9)
    base.a[...] *= factor
    base.phi[...] *= factor
    with pytest.raises(ValueError, match=message):
        values(base)


def test_a_network_needs_a_batch():
    with pytest.raises(ValueError, match=r"singular_values\(net\): give the batch"):
        singular_values(TABLE["one step"].net())
