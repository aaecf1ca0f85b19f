"""The fused engine against the reference: every neuron, reset, surrogate, recurrence, length and dtype."""

import logging
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from agreement import check_agreement, gradients, layer, run_and_gradients
from cases import TABLE, networks
from compare import assert_close, assert_equal
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import gradflow as gf
from gradflow.engine import operands
from gradflow.engine.automatic import _said
from gradflow.recurrence import Taps

ENGINES = (gf.engine.reference, gf.engine.fused)


def check(case, **options):
    """Assert that the fused engine agrees with the reference; False where a rounding flipped a spike."""
    return check_agreement(case, gf.engine.fused, "fused", **options)


@pytest.mark.parametrize("name", TABLE)
def test_every_case_agrees(name):
    assert check(TABLE[name])


@given(networks())
@settings(max_examples=120)
def test_every_network_agrees(case):
    # a potential within rounding of the threshold may fall on either side of it
    assume(check(case))


@given(networks(), st.booleans())
@settings(max_examples=80)
def test_every_network_agrees_in_float32(case, through_u):
    assume(check(case, dtype=torch.float32, through_u=through_u))


@given(networks())
def test_gradients_that_arrive_at_the_potentials_agree(case):
    assume(check(case, through_u=True))


@given(networks(), st.integers(9, 70), st.integers(1, 9), st.integers(60, 70))
@settings(max_examples=15)
def test_longer_wider_networks_agree(case, steps, batch, neurons):
    wide = replace(case, steps=steps, batch=max(batch, 2), hidden=(neurons,) * len(case.hidden))
    assume(check(wide))


@pytest.mark.parametrize(
    ("spans", "weights"),
    [
        ((1,), [1.0]),
        ((7,), [0.8]),
        ((39,), [1.0]),
        ((40,), [1.0]),
        ((1, 2), [0.5, 0.5]),
        ((3, 5, 39, 60), [0.2, -0.3, 0.4, 0.1]),
        (tuple(range(1, 35)), [1 / 34] * 34),
    ],
)
def test_spans_and_their_weights(spans, weights):
    """Spans up to and beyond the sequence, weights that are no softmax, and the gradient of each weight."""
    drive, V, dynamics = layer()
    (want, expected), (got, found) = (
        gradients(engine, drive, V, dynamics, spans, weights) for engine in ENGINES
    )
    assert_equal(got.s, want.s)
    for a, b, name in zip(found, expected, ("drive", "V", "p"), strict=True):
        assert_close(a, b, rtol=1e-10, atol=1e-11 * float(b.abs().max()), why=f"order of sums, {name}")


@pytest.mark.parametrize("drive", [-3.0, 0.1, 3.0, 30.0])
def test_from_silence_to_every_neuron_firing(drive):
    """The product with V is sparse at low and dense at high rates: the result is the same."""
    x, V, dynamics = layer(batch=8)
    rates = []
    for engine in ENGINES:
        trace, found = gradients(engine, x + drive, V, dynamics, (4,), [1.0])
        rates.append((float(trace.s.detach().mean()), trace, found))
    (rate, want, expected), (_, got, found) = rates
    assert (rate < 0.1) == (drive < 0)
    assert (rate > 0.95) == (drive >= 3.0)
    assert_equal(got.s, want.s)
    for a, b in zip(found, expected, strict=True):
        assert_close(a, b, rtol=1e-10, atol=1e-11 * float(b.abs().max()), why="order of sums")


def test_negligible_taps_are_dropped_with_the_stated_error():
    weights = np.array([1e-17, 3e-17, 0.6, 0.4 - 1e-12, 1e-12])
    spans, p = operands.acting_taps((1, 2, 3, 4, 5), torch.tensor(weights), 10, np.dtype(np.float64))
    assert spans.tolist() == [3, 4, 5]
    assert 1 - p.sum() <= np.finfo(np.float64).eps
    spans, p = operands.acting_taps((1, 2, 3, 4, 5), torch.tensor(weights), 10, np.dtype(np.float32))
    assert spans.tolist() == [3, 4]
    assert p.dtype == np.float32


def test_a_mixture_that_has_become_one_span_is_run_as_one_span():
    """At a low temperature the softmax is one-hot to rounding; the gradients are still the reference's."""
    net = gf.RecurrentSNN(gf.Sizes(2, 3), hidden=9, recurrence=gf.AdaptiveSkip(6, temperature=0.01)).double()
    with torch.no_grad():
        net.layers[0].spans.span_logits[3] = 1.0
    x = 3 * torch.from_numpy(gf.seeds.normal(0, "x", shape=(20, 4, 2)))
    weights = net(x).layers[0].taps.weights
    assert operands.acting_taps(tuple(range(1, 7)), weights, 20, np.dtype(np.float64))[0].tolist() == [4]
    batch = gf.Batch(x, torch.tensor([0, 1, 2, 0]))
    (_, expected), (_, found) = (run_and_gradients(net, batch, engine) for engine in ENGINES)
    for name, value in expected.items():
        assert_close(found[name], value, rtol=1e-10, atol=1e-13, why=f"order of sums, {name}")


def test_threads_change_nothing():
    """Threads change nothing: u, s and ∂L/∂u bit for bit, sums over samples to rounding."""
    drive, V, dynamics = layer(steps=60, batch=70)
    results = []
    before = torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(gradients(gf.engine.fused, drive, V, dynamics, (3,), [1.0]))
    torch.set_num_threads(before)
    for trace, found in results[1:]:
        assert_equal(trace.u, results[0][0].u)
        assert_equal(found[0], results[0][1][0])
        for a, b in zip(found[1:], results[0][1][1:], strict=True):
            assert_close(a, b, rtol=1e-12, atol=1e-12 * float(b.abs().max()), why="sums over other slices")


def test_passes_in_several_threads_at_once_do_not_meet():
    def one(seed):
        return gradients(gf.engine.fused, *layer(seed=seed, batch=40), (1, 3), [0.5, 0.5])[1][0]

    alone = [one(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for a, b in zip(pool.map(one, range(4)), alone, strict=True):
            assert_equal(a, b)


def _in_child(queue):
    torch.set_num_threads(1)
    queue.put(float(gradients(gf.engine.fused, *layer(), (2,), [1.0])[1][0].sum()))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_it_runs_after_a_fork():
    here = float(gradients(gf.engine.fused, *layer(), (2,), [1.0])[1][0].sum())
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == here
    child.join()


def test_how_often_a_rounding_flips_a_spike(record_property):
    """float32 against float32: both engines round, in another order; less than one spike in 10⁴ differs."""
    flipped = total = 0
    for seed in range(5):
        drive, V, dynamics = layer(torch.float32, steps=30, batch=8, seed=seed)
        taps = Taps((1,), torch.ones(1))
        first = [engine(drive, V, dynamics, taps).s for engine in ENGINES]
        flipped += int((first[0] != first[1]).sum())
        total += first[0].numel()
    record_property("flipped share of spikes in 30 steps", flipped / total)
    assert flipped / total < 1e-4


def test_a_pass_keeps_the_potentials_and_no_other_sequence():
    drive, V, dynamics = layer(batch=4, neurons=64)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda t: t):
        gf.engine.fused(drive.requires_grad_(), V, dynamics, Taps((3,), torch.ones(1)))
    assert [tensor.shape for tensor in kept if tensor.ndim == 3] == [drive.shape]


def test_what_cannot_be_fused_runs_on_the_reference_and_is_said_once(caplog):
    net = TABLE["lif soft attached, vanilla"].net(smooth=True)
    x = TABLE["lif soft attached, vanilla"].x()
    _said.clear()
    with caplog.at_level(logging.WARNING, logger="gradflow"):
        runs = [net(x) for _ in range(3)]
    assert runs[0].engine == "reference"
    assert len(caplog.records) == 1
    assert "cannot run the spikes of SmoothTwin" in caplog.text
    with pytest.raises(
        ValueError, match=r"cannot run the spikes of SmoothTwin.*engine=gradflow.engine.reference"
    ):
        net(x, engine=gf.engine.fused)


def test_a_second_backward_pass_needs_a_retained_graph():
    drive, V, dynamics = layer(batch=2)
    trace = gf.engine.fused(drive.requires_grad_(), V, dynamics, Taps((1,), torch.ones(1)))
    first = torch.autograd.grad(trace.u.sum(), drive, retain_graph=True)[0]
    assert_equal(torch.autograd.grad(trace.u.sum(), drive)[0], first)


def test_errors_inside_a_thread_reach_the_caller():
    def broken(b0, b1):
        raise ArithmeticError(f"samples {b0} to {b1}")

    with pytest.raises(ArithmeticError, match="samples"):
        operands.run_slices(broken, 64, 10**6)
