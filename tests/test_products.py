"""Jacobian products against the dense twin, exact numbers of unbounded exponent, and themselves in pieces."""

import math
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import xarray as xr
from cases import TABLE, networks, one_layer
from compare import assert_close, assert_equal
from exact import curves
from hypothesis import given, settings
from hypothesis import strategies as st

import gradflow as gf
from gradflow.jacobian import sweep
from gradflow.theory import bound
from gradflow.transition import DenseTransition, LayerTransition, Transition

AGREED = 1e-9  # the issue's: relative, on norms; that is absolute on their logs
LONG = 1e-11  # a few hundred to a thousand roundings of 1e-16 each, and the spectral residual of 1e-12
SHARES = tuple(f"share_{kind}" for kind in ("structural", "float16", "bfloat16", "float32", "float64"))
NAMES = {"log_frobenius", "log_spectral", "at_risk", *SHARES}


def layer(
    steps,
    neurons=3,
    spans=(1,),
    weights=(1.0,),
    *,
    samples=1,
    decay=0.5,
    spread=0.7,
    gate=None,
    gain=1.0,
    seed=0,
):
    """A layer of triangle surrogates at random potentials; a wider spread leaves more exact zeros in φ."""
    rng = np.random.default_rng(seed)
    phi = np.maximum(0.0, 1.0 - np.abs(spread * rng.normal(size=(steps, samples, neurons))))
    V = np.linalg.qr(rng.normal(size=(neurons, neurons)))[0]
    return LayerTransition(decay * (1.0 - phi), gain * phi, V, spans, weights, gate)


def products(*layers, **options):
    return gf.jacobian_products(Transition(layers), **options)


def check_exact(transition, *, end=-1, tolerance=LONG):
    """Assert that both curves and all counts are those of the exact recursion; return the products."""
    found = products(transition, end=end)
    last = found.sizes["lag"] - 1
    frobenius, spectral, counts = curves(transition, last)
    assert_close(found.log_frobenius[0].T, frobenius, atol=tolerance, rtol=1e-13, why="rounding per step")
    assert_close(found.log_spectral[0].T, spectral, atol=tolerance, rtol=1e-13, why="rounding per step")
    for k, name in enumerate(SHARES):
        assert_equal(np.rint(found[name][0].T * found.neurons.item() ** 2), counts[..., k])
    return found


def check_dense(net, x, end=-1):
    """Assert agreement with autograd, norms and zeros; return the products."""
    found, dense = gf.jacobian_products(net, x, end=end), gf.dense_products(net, x, end=end)
    for k, P in enumerate(dense):
        with np.errstate(divide="ignore"):
            for name, order in (("log_frobenius", "fro"), ("log_spectral", 2)):
                expected = np.log(np.linalg.norm(P, order, axis=(2, 3)))
                assert_close(found[name][k], expected, atol=AGREED, why="the issue's tolerance")
        assert_equal(found.share_structural[k], np.mean(P == 0, axis=(2, 3)))
    return found


@pytest.mark.parametrize("name", TABLE)
def test_products_are_those_of_autograd(name):
    check_dense(TABLE[name].net(), TABLE[name].x())


@given(networks(), st.data())
def test_products_of_any_network_are_those_of_autograd_and_keep_the_bound(case, data):
    end = data.draw(st.integers(-case.steps, case.steps - 1))
    found = check_dense(case.net(), case.x(), end)
    theory = bound(found)
    for name, limit in (("log_spectral", "log_bound"), ("log_frobenius", "log_bound_frobenius")):
        assert np.all(found[name] <= theory[limit] + AGREED)


@pytest.mark.parametrize("mode", list(gf.SpanMode))
def test_soft_and_hard_spans_are_those_of_autograd(mode):
    case = TABLE["lif hard detached, asrc"]
    net, x = case.net(), case.x()
    expected = np.log(np.linalg.norm(gf.dense_products(net, x, span_mode=mode)[0], axis=(2, 3)))
    assert_close(
        gf.jacobian_products(net, x, span_mode=mode).log_frobenius[0],
        expected,
        atol=AGREED,
        why="the issue's",
    )


GATE = np.random.default_rng(5).uniform(0.5, 1.0, size=(1200, 3))
HALF = tuple(range(1, 12))
LENGTHS = {
    "vanilla, silent rows": layer(1200, spread=1.5, decay=0.3),
    "vanilla, all alive": layer(1200, spread=0.4, gain=0.4),
    "skip": layer(1200, spans=(7,), spread=0.8),
    "skip, gated, weighted": layer(1200, spans=(2,), weights=(0.1,), gate=GATE),
    "skip, comb with holes": layer(900, spans=(4,), decay=0.0, spread=0.5),
    "skip longer than the rescaling reaches": layer(900, spans=(700,), spread=0.5),
    "adaptive": layer(900, spans=HALF, weights=(1 / 11,) * 11, spread=0.8),
    "adaptive, gated, gaps": layer(900, spans=(2, 9, 23), weights=(0.5, 0.2, 0.3), gate=GATE[:900]),
    "adaptive, nearly one-hot": layer(400, spans=(1, 2, 5), weights=(1e-250, 1.0, 1e-40), decay=0.0),
    "adaptive, weights of any sign": layer(400, spans=(1, 3), weights=(-2.0, 0.5), spread=0.3),
    "no recurrence": layer(1200, spans=(), weights=(), spread=0.9),
    "explodes": LayerTransition(*(1e3 * x for x in (GATE[:, None], GATE[:, None])), np.eye(3) + 1.0),
    "one neuron": layer(1200, neurons=1, spread=0.4, gain=0.4),
    "two samples": layer(300, samples=2, spread=0.8),
}


BEYOND = {
    "vanilla, silent rows",
    "vanilla, all alive",
    "skip, gated, weighted",
    "no recurrence",
    "one neuron",
}


@pytest.mark.parametrize("name", LENGTHS)
def test_long_products_are_exact_beyond_the_range_of_float64(name):
    found = check_exact(LENGTHS[name])
    finite = found.log_frobenius.values[np.isfinite(found.log_frobenius)]
    if name in BEYOND:
        assert finite.min() < -745.2  # float64 has nothing left here
    if name == "explodes":
        assert finite.max() > 5000


def test_the_float64_range_is_passed_by_finite_norms_while_elements_are_counted():
    found = products(LENGTHS["vanilla, all alive"])
    assert np.all(np.isfinite(found.log_frobenius))
    assert found.share_float64[0, 0, -1] + found.share_structural[0, 0, -1] == 1


def silent(steps, decay=0.3, wake=None):
    """Neuron 0 is never in its window and the others always are; at `wake` the others are cut off."""
    base = layer(steps, spread=0.2)
    a, phi = base.a.copy(), base.phi.copy()
    a[..., 0], phi[..., 0] = decay, 0.0
    if wake is not None:
        a[wake, :, 1:], phi[wake, :, 1:] = 0.0, 0.0
    return LayerTransition(a, phi, base.V, base.spans, base.weights)


def test_a_silent_neuron_is_never_taken_for_a_structural_zero():
    found = check_exact(silent(1500))
    assert found.at_risk.item() > 0  # one exponent per row would have lost it


def test_what_is_left_of_a_row_when_its_large_elements_are_cut_off_is_exact():
    found = check_exact(silent(1500, wake=5))
    assert found.log_frobenius[0, 0, -1] < 1490 * math.log(0.3)


def test_a_row_that_goes_wide_keeps_its_past_of_a_long_span():
    base = silent(1300, decay=0.2)
    check_exact(LayerTransition(base.a, base.phi, base.V, (3, 40), (0.5, 0.5)))


@pytest.mark.parametrize("which", ["a", "phi", "V", "p", "gate"])
@pytest.mark.parametrize("factor", [1e-310, 1e-200, 1e-120, 1e120, 1e200])
def test_extreme_factors_are_exact(which, factor):
    base = layer(40, spread=0.6, gate=np.ones((40, 3)))
    parts = {"a": base.a.copy(), "phi": base.phi.copy(), "V": base.V.copy(), "gate": base.gate.copy()}
    weights = (factor, 1.0) if which == "p" else (0.5, 0.5)
    if which == "V":
        parts["V"][0] *= factor
    elif which != "p":
        parts[which][::3, ..., 1] *= factor
    V, gate = parts.pop("V"), parts.pop("gate")
    check_exact(LayerTransition(**parts, V=V, gate=gate, spans=(1, 2), weights=weights), tolerance=1e-9)


@pytest.mark.parametrize("decay", [1e-120, 1e-170, 1e-200])
@pytest.mark.parametrize("lags", [1, 3, 20])
def test_one_step_cannot_carry_an_element_out_of_the_range_of_float64(decay, lags):
    check_exact(silent(lags + 1, decay))


@pytest.mark.parametrize("spread", [0.4, 1.0, 2.0])
def test_scaling_every_factor_by_a_power_of_two_shifts_the_curve_exactly(spread):
    base = layer(500, neurons=8, spread=spread)
    small = LayerTransition(base.a * 2.0**-7, base.phi, base.V * 2.0**-7, base.spans, base.weights)
    one, other = products(base), products(small)
    shift = -7 * math.log(2) * one.lag
    for name in ("log_frobenius", "log_spectral"):
        assert_close(
            other[name], one[name] + shift, rtol=1e-13, atol=1e-11, why="rounding of a log of −2,400"
        )
    assert_equal(other.share_structural, one.share_structural)


def test_between_multiples_of_the_span_a_comb_is_structurally_zero():
    found = products(layer(30, spans=(4,), decay=0.0, spread=0.1))
    holes = found.lag % 4 != 0
    assert np.all(np.isneginf(found.log_frobenius.where(holes, drop=True)))
    assert np.all(found.share_structural.where(holes, drop=True) == 1)
    assert np.all(np.isfinite(found.log_spectral.where(~holes, drop=True)))


def test_a_dense_transition_is_the_product_of_its_matrices():
    J = np.random.default_rng(0).normal(size=(200, 2, 5, 5)) * 1e-3
    check_exact(DenseTransition(J))


def test_dense_factors_as_far_apart_as_numbers_go_are_exact():
    rng = np.random.default_rng(0)
    check_exact(DenseTransition(10.0 ** rng.uniform(-300, 300, size=(30, 1, 4, 4))), tolerance=1e-9)


def test_a_vanilla_layer_is_the_dense_transition_of_its_steps():
    base = layer(60, neurons=6, samples=3)
    diagonal = np.einsum("tbj,jk->tbjk", base.a[:-1], np.eye(6))
    J = DenseTransition(diagonal + base.V * base.phi[:-1, :, None])
    for name in ("log_frobenius", "log_spectral"):
        assert_close(products(base)[name], products(J)[name], atol=LONG, why="rounding per step")


def test_singular_values_that_cross_are_not_taken_for_each_other():
    # two directions that never meet: σ = r^n and 2^-9 s^n cross, and the leading vector changes at once
    jacobians = np.broadcast_to(np.diag([0.98, 0.96]), (700, 1, 2, 2)).copy()
    jacobians[-1] = np.diag([2.0**-9, 1.0])
    lag = np.arange(701)
    logs = np.log([0.98, 0.96])[:, None] * np.maximum(lag - 1, 0) + np.log([2.0**-9, 1.0])[:, None] * (
        lag > 0
    )
    found = products(DenseTransition(jacobians))
    assert_close(found.log_spectral[0, 0], logs.max(axis=0), atol=LONG, why="rounding per step")


def test_rows_of_very_different_scale_have_the_spectral_norm_of_the_largest():
    found = products(DenseTransition(np.diag([1e-150, 1.0, 1e-9])[None, None].repeat(50, axis=0)))
    assert_close(found.log_spectral[0, 0], np.zeros(51), atol=LONG, why="rounding per step")


@pytest.mark.parametrize("end", [0, 1, 7, -1, -3, -9])
def test_an_end_is_that_of_the_shorter_sequence(end):
    base = layer(9, spans=(2, 3), weights=(0.4, 0.6), samples=2)
    last = range(9)[end]
    cut = LayerTransition(base.a[: last + 1], base.phi[: last + 1], base.V, base.spans, base.weights)
    xr.testing.assert_allclose(products(base, end=end), products(cut))
    assert products(base, end=end).attrs["end"] == last


@pytest.mark.parametrize("end", [9, -10])
def test_an_end_outside_the_sequence_is_refused(end):
    with pytest.raises(ValueError, match=f"end={end}: the sequence has 9 steps, expected −9 … 8"):
        products(layer(9), end=end)


def test_no_norm_and_no_batch_are_refused():
    with pytest.raises(ValueError, match="expected MatrixNorm"):
        products(layer(3), norms=())
    with pytest.raises(ValueError, match="give the batch"):
        gf.jacobian_products(one_layer().net())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", ["a", "phi", "V"])
def test_nan_and_infinity_that_came_in_later_are_refused(which, value):
    base = layer(9)
    getattr(base, which)[(0,) * getattr(base, which).ndim] = value
    with pytest.raises(ValueError, match="NaN or infinity"):
        products(base)


def test_one_step_is_the_identity_without_a_warning():
    found = products(layer(1, neurons=4))
    assert found.log_frobenius.values.tolist() == [[[math.log(2)]]]
    assert found.log_spectral.values.tolist() == [[[0.0]]]
    assert found.share_structural.item() == 0.75


def test_the_dataset_has_its_names_axes_and_units():
    found = products(layer(5), layer(5, neurons=2, spans=(3,)))
    assert set(found.data_vars) >= NAMES
    assert all(found[name].dims == ("layer", "sample", "lag") for name in NAMES - {"at_risk"})
    assert {found[name].attrs["units"] for name in ("log_frobenius", "log_spectral")} == {"nats"}
    assert found.p.sel(layer=1, span=1) == 0
    assert found.p.sel(layer=1, span=3) == 1


@pytest.mark.parametrize("norm", list(gf.MatrixNorm))
def test_one_norm_is_the_same_without_the_other(norm):
    base = layer(50, neurons=5)
    alone = products(base, norms=(norm,))
    assert_equal(alone[f"log_{norm}"], products(base)[f"log_{norm}"])
    assert {name for name in alone.data_vars if str(name).startswith("log_")} == {f"log_{norm}"}


def test_moments_are_those_over_the_steps_before_the_end():
    base = layer(9, neurons=4, samples=2, spread=1.0, gate=np.linspace(0.1, 0.9, 9)[:, None])
    found = products(base, end=6)
    a, phi = base.a[:6], base.phi[:6]
    assert_close(found.a_square[0], np.mean(a**2, axis=(0, 2)), rtol=1e-14, why="order of a sum")
    assert_close(found.phi_square[0], np.mean(phi**2, axis=(0, 2)), rtol=1e-14, why="order of a sum")
    assert_equal(found.a_max[0], np.abs(a).max(axis=(0, 2)))
    assert_equal(found.phi_max[0], np.abs(phi).max(axis=(0, 2)))
    assert_equal(found.window[0], np.mean(phi != 0, axis=(0, 2)))
    assert_equal(found.gate_max[0], np.full(2, base.gate[6, 0]))
    assert_close(found.gate_square[0], np.full(2, np.mean(base.gate[1:7] ** 2)), rtol=1e-14, why="a sum")


CUT = layer(60, neurons=8, spans=(1, 2, 5), weights=(0.5, 0.2, 0.3), samples=5)
PIECES = 1e-13  # products of other shapes round in another order


def budget_of(rows, spectral):
    taps = sweep.taps_of(CUT, 59)
    budget = rows * sweep.row_bytes(8, taps) + 8 * 64 * (1 + 2 * sweep.workers() * spectral)
    return budget, sweep.parts_of(CUT, taps, budget, spectral)


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_samples_in_chunks_are_those_at_once(samples):
    budget, parts = budget_of(8 * samples + 5, True)
    assert len(parts) == -(-5 // samples)
    xr.testing.assert_allclose(products(CUT, memory_budget=budget), products(CUT), rtol=PIECES, atol=PIECES)


@pytest.mark.parametrize("rows", [1, 3, 7])
def test_rows_in_chunks_are_those_at_once(rows):
    budget, parts = budget_of(rows, False)
    assert len(parts) == 5 * -(-8 // rows)
    norms = ("frobenius",)
    found = products(CUT, norms=norms, memory_budget=budget)
    xr.testing.assert_allclose(found, products(CUT, norms=norms), rtol=PIECES, atol=PIECES)


def test_a_budget_under_one_sample_or_one_row_is_refused_with_what_it_takes():
    budget = budget_of(8, True)[0] - 1
    with pytest.raises(ValueError, match=r"expected at least \d+ bytes .* norms=\('frobenius',\)"):
        products(CUT, memory_budget=budget)
    with pytest.raises(ValueError, match="memory_budget=100: expected at least"):
        products(CUT, norms=("frobenius",), memory_budget=100)


@pytest.mark.parametrize("spans", [(1,), (12,), tuple(range(1, 21))])
@pytest.mark.parametrize("budget", [2 * 2**20, 8 * 2**20])
def test_memory_stays_within_the_budget_whatever_the_number_of_samples(spans, budget):
    big = layer(40, neurons=32, spans=spans, weights=(1 / len(spans),) * len(spans), samples=64)
    products(big, memory_budget=budget)  # compiled code and caches are not working memory
    tracemalloc.start()
    try:
        found = products(big, memory_budget=budget)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # the sweep's results, the dataset and its merges hold each curve a few times; lists and locks are small
    assert peak < budget + 8 * found.nbytes + 2**19
    assert peak > 0.2 * min(budget, 64 * 32 * sweep.row_bytes(32, sweep.taps_of(big, 39)))


def test_threads_do_not_change_a_bit(monkeypatch):
    one = products(CUT)
    monkeypatch.setattr(sweep, "workers", lambda: 3)
    xr.testing.assert_identical(products(CUT), one)


def test_two_calls_at_once_give_the_same_bits():
    alone = [products(CUT), products(LENGTHS["two samples"])]
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(products, [CUT, LENGTHS["two samples"]] * 4))
    for found, expected in zip(both, alone * 4, strict=True):
        xr.testing.assert_identical(found, expected)


FORKED = """
import os, sys, warnings
import numpy as np, torch
from gradflow.jacobian import jacobian_products
from gradflow.transition import LayerTransition, Transition
torch.set_num_threads(2)
ones = np.full((50, 4, 6), 0.5)
run = lambda: jacobian_products(Transition((LayerTransition(ones, ones, np.eye(6)),))).log_spectral.values
before = run()
warnings.simplefilter("ignore")  # a fork of a process with threads is what is tested
child = os.fork()
if not child:
    os._exit(0 if np.array_equal(run(), before) else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork on this system")
def test_a_forked_process_gives_the_same_bits():
    assert subprocess.run([sys.executable, "-c", FORKED], timeout=120, check=False).returncode == 0


@settings(max_examples=8)
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 3, 8, 13]), st.integers(1, 30))
def test_blocks_of_steps_do_not_change_the_result(seed, span, steps):
    base = layer(steps, neurons=4, spans=(span,), seed=seed)
    taps = sweep.taps_of(base, steps - 1)
    assert len(sweep.Sweep(base, steps - 1, sweep.Part(slice(0, 1), slice(0, 4)), taps, True).drive) == max(
        1, taps.depth
    )
    check_exact(base)


def test_float32_networks_are_swept_in_float64():
    case = one_layer(gf.LIF(), gf.Vanilla(), steps=400, hidden=(6,), seed=3)
    found = gf.jacobian_products(case.net(dtype=torch.float32), case.x(torch.float32))
    assert found.log_frobenius.dtype == np.float64
    assert found.log_frobenius.where(np.isfinite(found.log_frobenius)).min() < math.log(2.0**-149)
