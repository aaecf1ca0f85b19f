"""The hinge: local Jacobians of a run against the numpy network, and arrays that fit no layer refused."""

import numpy as np
import oracle
import pytest
import torch
from cases import TABLE, networks, one_layer
from compare import assert_close, assert_equal
from hypothesis import assume, given

import gradflow as gf
from gradflow.neurons import Dynamics
from gradflow.transition import to_float64

SUMS = {"rtol": 1e-10, "atol": 1e-12, "why": "potentials of up to ten steps, summed in another order"}


def check(case):
    net = case.net()
    values = oracle.parameters(net)
    run = oracle.forward(case, values, case.x().numpy())
    if run.kink_distance < 1e-9:
        return False
    found = gf.local_jacobians(net, case.data())
    for got, want, spec in zip(found.layers, run.layers, case.neurons, strict=True):
        assert_close(got.a, want.a, **SUMS)
        assert_close(got.phi, want.phi, **SUMS)
        assert_equal(got.V, want.V)
        assert set(got.spans) == set(want.spans)
        assert_close(got.weights, [want.spans[d] for d in got.spans], rtol=1e-13, why="a softmax")
        gate = np.ones((1, 1)) if got.gate is None else got.gate
        assert_close(gate * np.ones((case.steps, 1)), want.gate[:, 0] * np.ones((case.steps, 1)), **SUMS)
        compact, peak = spec.surrogate.compact, oracle.PHI[type(spec.surrogate)](0.0, spec.surrogate.scale)
        assert_equal(got.window, np.abs(want.phi) > (0 if compact else 0.01 * peak))
        outside = (want.phi == 0) & (want.s == 0)
        assert (np.abs(want.a[outside]) <= got.leak * (1 + 1e-12)).all()
    return True


@pytest.mark.parametrize("name", TABLE)
def test_the_local_jacobians_of_every_case_are_the_oracles(name):
    assert check(TABLE[name])


@given(networks())
def test_the_local_jacobians_of_every_network_are_the_oracles(case):
    assume(check(case))


def test_they_are_float64_whatever_the_network_and_hold_no_graph():
    case = TABLE["glif shared"]
    single, double = (
        gf.local_jacobians(case.net(dtype=d), case.data(d)) for d in (torch.float32, torch.float64)
    )
    for got, want in zip(single.layers, double.layers, strict=True):
        for name in ("a", "phi", "V", "gate"):
            assert getattr(got, name).dtype == np.float64
            assert_close(getattr(got, name), getattr(want, name), rtol=1e-5, atol=1e-5, why="a float32 run")
    assert single.conventions["dtype"] == "float32"


def test_the_span_mode_is_a_choice():
    case = one_layer(recurrence=gf.AdaptiveSkip(4))
    net = case.net()
    soft, hard = (gf.local_jacobians(net, case.x(), span_mode=mode) for mode in gf.SpanMode)
    assert soft.layers[0].spans == (1, 2, 3, 4)
    assert hard.layers[0].spans == (int(net.layers[0].spans.span_logits.argmax()) + 1,)
    assert [found.conventions["span_mode"] for found in (soft, hard)] == ["soft", "hard"]


def test_inputs_are_cast_to_the_network():
    case = one_layer()
    single = case.x(torch.float32)
    cast, exact = (gf.local_jacobians(case.net(), x).layers[0] for x in (single, single.double()))
    assert_equal(cast.a, exact.a)
    assert gf.local_jacobians(case.net(dtype=torch.float32), case.x()).conventions["dtype"] == "float32"


def test_a_record_and_the_jacobians_of_a_network_with_dropout_are_of_one_run():
    case = one_layer(hidden=(30,), recurrence=gf.Skip(2))
    net = case.net()
    net.dropout = 0.5
    random = torch.get_rng_state()
    rec = gf.record(net, case.data(), keep=gf.Keep.TENSORS)
    found = gf.local_jacobians(net, case.data()).layers[0]
    assert_equal(torch.get_rng_state(), random)
    u = torch.from_numpy(rec.u_layer_0.values)
    assert_equal(found.phi, gf.Triangle().derivative(u - 1.0))
    net.dropout = 0.0
    assert not np.array_equal(found.phi, gf.local_jacobians(net, case.data()).layers[0].phi)


def test_to_float64_keeps_the_values_of_a_float32_network():
    dynamics = (
        one_layer(gf.PLIF(decay=0.9)).net(dtype=torch.float32).layers[0].neuron.dynamics(torch.zeros(1))
    )
    double = to_float64(dynamics)
    assert isinstance(double, Dynamics)
    assert double.leak.dtype == torch.float64
    assert double.leak.item() == dynamics.leak.item()


@pytest.mark.parametrize("batch", [None, 3, np.zeros((5, 1, 2)), torch.zeros(5, 1, 2).long()])
def test_what_is_no_batch_is_refused(batch, no_shape_checks):
    with pytest.raises(ValueError, match=r"batch: got \w+, expected task.sample\(n\) or a floating tensor"):
        gf.local_jacobians(one_layer().net(), batch)


def layer(**changes):
    arrays = {"a": np.ones((4, 2, 3)), "phi": np.ones((4, 2, 3)), "V": np.eye(3)}
    return gf.LayerTransition(**{**arrays, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"a": np.ones((4, 2))},
            r"a is \(4, 2\) and phi is \(4, 2, 3\); both must be \(time, sample, neuron\)",
        ),
        ({"phi": np.ones((5, 2, 3))}, r"a is \(4, 2, 3\) and phi is \(5, 2, 3\)"),
        ({"V": np.eye(2)}, r"V is \(2, 2\), expected \(3, 3\)"),
        ({"spans": (0,)}, r"spans \(0,\) \(each ≥ 1\) need one weight each"),
        ({"spans": (1, 2)}, r"spans \(1, 2\) \(each ≥ 1\) need one weight each"),
        (
            {"spans": (2, 2), "weights": (0.5, 0.5)},
            r"spans \(2, 2\) name one span twice; add their weights up",
        ),
        ({"gate": np.ones((4, 2))}, r"gate is \(4, 2\), expected \(time, 1 or neuron\)"),
        ({"gate": np.ones((3, 1))}, r"gate is \(3, 1\)"),
        ({"a": np.full((4, 2, 3), np.nan)}, "a holds NaN or infinity; the run it came from exploded"),
        ({"phi": np.full((4, 2, 3), np.inf)}, "phi holds NaN or infinity"),
        ({"V": np.full((3, 3), np.nan)}, "V holds NaN or infinity"),
        ({"weights": (np.nan,)}, "weights holds NaN or infinity"),
        ({"gate": np.full((4, 1), np.inf)}, "gate holds NaN or infinity"),
    ],
)
def test_arrays_that_fit_no_layer_are_refused(changes, message, no_shape_checks):
    assert layer().spans == (1,)
    with pytest.raises(ValueError, match=message):
        layer(**changes)


@pytest.mark.parametrize(
    ("jacobians", "message"),
    [
        (np.ones((4, 2, 3)), r"got \(4, 2, 3\), expected \(time − 1, sample, state, state\)"),
        (np.ones((4, 2, 3, 2)), r"got \(4, 2, 3, 2\)"),
        (np.full((4, 2, 3, 3), np.nan), "the Jacobians hold NaN or infinity"),
    ],
)
def test_arrays_that_are_no_jacobians_are_refused(jacobians, message, no_shape_checks):
    with pytest.raises(ValueError, match=message):
        gf.DenseTransition(jacobians)
