"""Mixed precision: under autocast the feed-forward products are bfloat16, and everything else is float32."""

import pytest
import torch
from compare import assert_close

import gradflow as gf
from gradflow.engine import automatic, reference
from gradflow.tasks import Split
from gradflow.train import Session, evaluate, resolve, train
from gradflow.train.steps import train_step

BF16 = 2.0**-8
"""Largest relative error of a number rounded to bfloat16, and of one made of two that were."""
TABLES = {
    "task": {"name": "delayed-recall", "options": {"delay": 3, "examples": 60}},
    "network": {"hidden": [12, 10], "recurrence": "asrc:3", "neuron": {"kind": "lif", "decay": 0.9}},
    "optimiser": {"lr": 0.02},
    "training": {"epochs": 3, "batch": 20, "precision": "bf16"},
    "watch": {"every": 0},
    "logging": {"tensorboard": False},
}


def net_and_inputs(**options):
    net = gf.RecurrentSNN(gf.Sizes(3, 4), hidden=(9, 8), recurrence=gf.Skip(2), seed=2, **options)
    return net, 2.0 * torch.rand((20, 6, 3), generator=torch.Generator().manual_seed(0), dtype=net.dtype)


def mixed(net, x, engine=automatic):
    with torch.autocast("cpu", torch.bfloat16):
        return net(x, engine=engine)


def test_currents_are_those_of_rounded_factors_and_all_else_is_float32():
    net, x = net_and_inputs()
    run = mixed(net, x)
    first = run.layers[0]
    weight, bias = net.layers[0].linear.weight, net.layers[0].linear.bias
    exact = x.bfloat16().double() @ weight.bfloat16().double().T + bias.bfloat16().double()
    assert_close(
        first.linear, exact, atol=BF16 * float(exact.detach().abs().max()), why="the sum is rounded once"
    )
    assert not torch.equal(first.linear, net(x).layers[0].linear)
    assert {first.u.dtype, first.s.dtype, run.logits.dtype} == {torch.float32}
    assert 0.05 < float(first.s.detach().mean()) < 0.95
    again = reference(first.drive, first.V, first.dynamics, first.taps)
    assert torch.equal(again.s, first.s)
    assert_close(first.u, again.u, atol=1e-5, why="float32 sums of eight spikes, in another order")


def test_both_engines_see_the_same_currents():
    net, x = net_and_inputs()
    fused, plain = mixed(net, x), mixed(net, x, reference)
    for one, other in zip(fused.layers, plain.layers, strict=True):
        assert torch.equal(one.linear, other.linear)
        assert torch.equal(one.s, other.s)


def test_gradients_are_those_of_full_precision_up_to_the_rounding():
    net, x = net_and_inputs()
    grads = []
    for run in (mixed(net, x), net(x)):
        net.zero_grad()
        run.logits.square().sum().backward()
        grads.append({name: p.grad.clone() for name, p in net.named_parameters()})
    name = "output.weight"
    assert grads[0][name].dtype is torch.float32
    largest = float(grads[1][name].abs().max())
    assert_close(grads[0][name], grads[1][name], atol=0.25 * largest, why="single spikes come at other steps")


def test_float64_is_left_alone():
    net, x = net_and_inputs(dtype=torch.float64)
    assert torch.equal(mixed(net, x).logits, net(x).logits)


def test_training_steps_are_mixed_and_evaluation_is_not(tmp_path):
    session = Session.start(resolve(TABLES))
    seen = []
    forward = session.model.forward

    def spy(*args, **kwargs):
        seen.append((session.net.training, torch.is_autocast_enabled("cpu")))
        return forward(*args, **kwargs)

    session.model.forward = spy
    train_step(session, next(iter(session.task.batches(20, seed=0, epoch=0))))
    evaluate(session, Split.VALIDATION)
    assert set(seen) == {(True, True), (False, False)}
    summary = train(resolve(TABLES), tmp_path / "mixed")
    full = train(resolve(TABLES, {"training": {"precision": "full"}}), tmp_path / "full")
    assert summary.validation_loss != full.validation_loss
    assert_close(summary.validation_loss, full.validation_loss, rtol=0.5, why="six steps, other roundings")


@pytest.mark.parametrize("part", [{"dtype": "float64"}, {"model": "gru", "recurrence": None}])
def test_networks_that_have_no_mixed_precision_are_refused(part):
    network = {key: value for key, value in {**TABLES["network"], **part}.items() if value is not None}
    network = {key: value for key, value in network.items() if "model" not in part or key != "neuron"}
    with pytest.raises(ValueError, match=r"training.precision: got bf16 for model .* in .*, expected full"):
        resolve({**TABLES, "network": network})
