"""The network: modules own parameters only, a pass leaves nothing behind, and wrong requests are refused."""

import copy
import io
import math
import pickle

import numpy as np
import oracle
import pytest
import torch
from cases import TABLE, Case, networks, one_layer
from compare import assert_close, assert_equal
from hypothesis import assume, given

import gradflow as gf

SUMS = {"rtol": 1e-12, "atol": 1e-13, "why": "sums in another order"}


def runs_equal(one, other):
    assert_equal(one.logits, other.logits)
    assert_equal(one.outputs, other.outputs)
    for a, b in zip(one.layers, other.layers, strict=True):
        for name in ("inputs", "linear", "drive", "u", "s"):
            assert_equal(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize("name", TABLE)
def test_two_passes_in_a_row_are_the_same_and_change_nothing(name):
    case = TABLE[name]
    net, x = case.net(), case.x()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    first = net(x)
    runs_equal(net(x), first)
    assert net.state_dict().keys() == before.keys()
    for key, value in net.state_dict().items():
        assert_equal(value, before[key])
    assert not [
        key for module in net.modules() for key in vars(module) if isinstance(vars(module)[key], torch.Tensor)
    ]


@given(networks(norms=False))
def test_batches_of_other_sizes_and_lengths_cannot_influence_each_other(case):
    net, x = case.net(), case.x()
    alone = net(x)
    alone.logits.square().sum().backward()
    grads = {name: copy.deepcopy(p.grad) for name, p in net.named_parameters()}
    net.zero_grad()
    net(torch.cat([x, x], dim=1)).logits.sum()
    net(x[: (case.steps + 1) // 2, :1])
    again = net(x)
    runs_equal(again, alone)
    again.logits.square().sum().backward()
    for name, parameter in net.named_parameters():
        assert (parameter.grad is None) == (grads[name] is None)
        if parameter.grad is not None:
            assert_equal(parameter.grad, grads[name])


@pytest.mark.parametrize("how", ["state_dict", "deepcopy", "pickle", "torch.save"])
@pytest.mark.parametrize(
    "name", ["two layers that differ", "two layers, shared span", "glif shared", "batch norm"]
)
def test_a_copy_runs_the_same_and_is_independent(name, how):
    case = TABLE[name]
    net, x = case.net(), case.x()
    net.anneal()
    if how == "state_dict":
        twin = Case(**{**vars(case), "seed": 99}).net()
        assert not torch.equal(twin(x).logits, net(x).logits)
        twin.load_state_dict(net.state_dict())
    elif how == "torch.save":
        stream = io.BytesIO()
        torch.save(net.state_dict(), stream)
        stream.seek(0)
        twin = Case(**{**vars(case), "seed": 99}).net()
        twin.load_state_dict(torch.load(stream, weights_only=True))
    else:
        twin = copy.deepcopy(net) if how == "deepcopy" else pickle.loads(pickle.dumps(net))
    expected = net(x)
    runs_equal(twin(x), expected)
    assert len(list(twin.parameters())) == len(list(net.parameters()))
    twin.anneal()
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter += 0.1
    runs_equal(net(x), expected)


def test_the_published_networks_have_their_published_sizes():
    """ASRC: 155 thousand parameters on permuted digits, 0.37 million on ssc (design §6)."""
    digits = gf.RecurrentSNN(gf.Sizes(1, 10), hidden=(64, 212, 212), recurrence=gf.AdaptiveSkip(31))
    speech = gf.RecurrentSNN(gf.Sizes(140, 35), hidden=(256,) * 3, recurrence=gf.AdaptiveSkip(6))
    counts = [sum(p.numel() for p in net.parameters()) for net in (digits, speech)]
    assert [round(counts[0] / 1e3), round(counts[1] / 1e6, 2)] == [155, 0.37]


@pytest.mark.parametrize(
    ("options", "extra"),
    [
        ({}, 0),
        ({"bias": False}, -5 - 3),
        ({"recurrence": gf.NoRecurrence()}, -25),
        ({"recurrence": gf.AdaptiveSkip(9)}, 9),
        ({"neuron": gf.PLIF()}, 1),
        ({"neuron": gf.PLIF(per_neuron=True)}, 5),
        ({"neuron": gf.GLIF()}, 6 + 7 + 1),
        ({"neuron": gf.GLIF(per_neuron=True)}, 5 * (6 + 7 + 1)),
        ({"norm": gf.BatchNorm()}, 5 + 5),
    ],
)
def test_the_number_of_parameters(options, extra):
    net = gf.RecurrentSNN(gf.Sizes(2, 3, 7), hidden=5, **options)
    plain = (2 * 5 + 5) + 5 * 5 + (5 * 3 + 3)
    assert sum(p.numel() for p in net.parameters()) == plain + extra


def test_v_is_a_rotation_times_the_gain_and_w_is_uniform():
    net = gf.RecurrentSNN(gf.Sizes(4, 3), hidden=(40, 50), recurrent_gain=0.7, seed=3, dtype=torch.float64)
    for layer, inputs in zip(net.layers, (4, 40), strict=True):
        V, W, b = (p.detach() for p in (layer.V, layer.linear.weight, layer.linear.bias))
        assert_close(
            V @ V.T, 0.49 * torch.eye(len(V), dtype=torch.float64), atol=1e-14, why="QR of a 50 × 50 matrix"
        )
        bound = 1 / math.sqrt(inputs)
        for values in (W, b):
            assert values.abs().max() <= bound
            assert values.abs().max() > 0.8 * bound
        assert abs(W.mean()) < 4 * bound / math.sqrt(3 * W.numel())
        assert_close(W.std(), bound / math.sqrt(3), rtol=0.2, why="a sample of 160 or more")


def test_parameters_depend_on_the_seed_and_their_layer_only():
    def build(**options):
        return gf.RecurrentSNN(gf.Sizes(2, 3), **{"hidden": (4, 5), "dtype": torch.float64, **options})

    state, random = build(), torch.get_rng_state()
    same, other = build(hidden=(4, 5, 6), recurrence=gf.Skip(3)), build(seed=1)
    assert_equal(torch.get_rng_state(), random)
    for name in ("layers.0.linear.weight", "layers.1.linear.bias", "layers.1.V"):
        assert_equal(same.get_parameter(name), state.get_parameter(name))
        assert not torch.equal(other.get_parameter(name), state.get_parameter(name))
    assert_equal(
        build(dtype=torch.float32).get_parameter("layers.1.V"), state.get_parameter("layers.1.V").float()
    )


def dropped(net, x, seed):
    return net(x, generator=torch.Generator().manual_seed(seed)).layers[0]


def test_dropout_takes_one_mask_for_a_whole_sequence_and_keeps_the_mean():
    case = one_layer(recurrence=gf.NoRecurrence(), hidden=(200,), steps=5, batch=4)
    net = case.net()
    net.dropout = 0.3
    layer = dropped(net, case.x(), 1)
    factor = (layer.drive / layer.linear).detach()
    assert_close(factor, factor[:1].expand_as(factor), atol=1e-14, why="one division")
    assert_close(np.unique(factor.numpy().round(12)), [0.0, 1 / 0.7], rtol=1e-11, why="rounded for unique")
    share = (factor[0] == 0).double().mean()
    assert abs(share - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 800)
    assert not torch.equal(factor[:, 0], factor[:, 1])
    assert not torch.equal(dropped(net, case.x(), 2).drive, layer.drive)
    assert_equal(dropped(net, case.x(), 1).drive, layer.drive)
    net.eval()
    assert_equal(dropped(net, case.x(), 1).drive, dropped(net, case.x(), 1).linear)


def test_dropout_of_both_dtypes_drops_the_same_currents():
    case = one_layer(hidden=(50,))
    masks = []
    for dtype in (torch.float32, torch.float64):
        net = case.net(dtype=dtype)
        net.dropout = 0.5
        masks.append(dropped(net, case.x(dtype), 1).drive[0] == 0)
    assert_equal(*masks)


def test_without_a_generator_dropout_takes_torchs_own():
    case = one_layer(hidden=(50,))
    net = case.net()
    net.dropout = 0.5
    torch.manual_seed(5)
    first, second = net(case.x()), net(case.x())
    torch.manual_seed(5)
    runs_equal(net(case.x()), first)
    assert not torch.equal(first.layers[0].drive, second.layers[0].drive)


@given(networks())
def test_the_readout_sums_averages_or_takes_the_last_step(case):
    assume(case.steps > 1)
    net, x = case.net(), case.x()
    outputs = net(x).outputs
    weight, bias = net.output.weight, 0.0 if net.output.bias is None else net.output.bias
    assert_close(outputs, net(x).layers[-1].s @ weight.T + bias, **SUMS)
    for readout, logits in (("sum", outputs.sum(0)), ("mean", outputs.mean(0)), ("last", outputs[-1])):
        assert_close(net(x, readout=readout).logits, logits, **SUMS)
    assert_close(net(x).logits, net(x, readout=case.readout).logits, **SUMS)


def test_layers_of_other_sizes_neurons_and_spans():
    case = Case(
        (gf.LIF(), gf.GLIF(), gf.PLIF()),
        (gf.NoRecurrence(), gf.Skip(2), gf.AdaptiveSkip(3)),
        hidden=(7, 1, 4),
    )
    run = case.net()(case.x())
    expected = oracle.forward(case, oracle.parameters(case.net()), case.x().numpy())
    assert expected.kink_distance > 1e-9
    for layer, want in zip(run.layers, expected.layers, strict=True):
        assert_close(layer.u, want.u, **SUMS)
    assert [layer.V is None for layer in run.layers] == [True, False, False]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", TABLE)
def test_a_run_on_cuda_is_that_on_the_cpu(name):
    case = TABLE[name]
    here, there = case.net()(case.x()), case.net().cuda()(case.x().cuda())
    assert there.logits.is_cuda
    for a, b in zip(there.layers, here.layers, strict=True):
        assert_close(a.u, b.u, **SUMS)
