"""Time checkpointing: the same outputs, gradients and records from a run in segments."""

import dataclasses

import pytest
import torch
from cases import TABLE, Case, networks
from compare import assert_close
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import gradflow as gf

ROUNDING = {"rtol": 1e-10, "why": "the same sums in another order"}
USABLE = [name for name, case in TABLE.items() if not (isinstance(case.norm, gf.BatchNorm) and case.training)]


def gradients(net, batch, engine, checkpoint):
    """Return the run and the gradients of the summed loss for inputs and parameters."""
    x = batch.inputs.clone().requires_grad_()
    run = net(x, engine=engine, checkpoint=checkpoint)
    loss = torch.nn.functional.cross_entropy(run.logits, batch.targets, reduction="sum")
    leaves = {"inputs": x, **dict(net.named_parameters())}
    grads = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    zeros = {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
    return run, {name: zeros[name] if g is None else g for name, g in zip(leaves, grads, strict=True)}


def check(case, every, engine):
    net, batch = case.net(), case.data()
    whole, expected = gradients(net, batch, engine, None)
    # a potential within rounding of its threshold may fall on either side
    over = [(layer.u - layer.dynamics.threshold).detach().abs().min() for layer in whole.layers]
    if min(over) < 1e-9:
        return False
    run, found = gradients(net, batch, engine, every)
    assert_close(run.outputs, whole.outputs, atol=1e-12, **ROUNDING)
    scale = 1.0 + max(float(g.abs().max()) for g in expected.values() if g.numel())
    for name, value in expected.items():
        assert_close(found[name], value, atol=1e-13 * scale, **ROUNDING)
    return True


@pytest.mark.parametrize("every", [1, 2, 4])
@pytest.mark.parametrize("name", USABLE)
def test_gradients_are_those_of_the_whole_sequence(name, every):
    assert check(TABLE[name], every, gf.engine.fused)


@given(networks(), st.integers(1, 9), st.sampled_from([gf.engine.fused, gf.engine.reference]))
@settings(max_examples=40)
def test_gradients_of_every_network_are_those_of_the_whole_sequence(case, every, engine):
    assume(case.norm is None or isinstance(case.norm, gf.LayerNorm) or not case.training)
    assume(check(case, every, engine))


@pytest.mark.parametrize("every", [1, 3, 5, 6])
@pytest.mark.parametrize("name", USABLE)
def test_records_are_those_of_the_whole_sequence(name, every):
    """Paths too: what the next segment sends back is not taken for the layer above; nothing counts twice."""
    case = TABLE[name]
    whole = gf.record(case.net(), case.data())
    parts = gf.record(case.net(), case.data(), checkpoint=every)
    assert parts.attrs == whole.attrs
    for variable in whole:
        assert_close(parts[variable], whole[variable], atol=1e-14, **ROUNDING)


def test_dropout_takes_one_mask_for_all_segments():
    net = gf.RecurrentSNN(gf.Sizes(2, 3), hidden=(5, 4), dropout=0.5).double()
    batch = gf.Batch(torch.ones(9, 4, 2, dtype=torch.float64), torch.tensor([0, 1, 2, 0]))
    whole, parts = gf.record(net, batch), gf.record(net, batch, checkpoint=2)
    assert_close(parts.grad_u, whole.grad_u, atol=1e-15, **ROUNDING)


def kept_bytes(net, x, checkpoint):
    """Return the bytes that the graph keeps for the backward pass."""
    sizes = {}

    def pack(tensor):
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run = net(x, checkpoint=checkpoint)
    assert run.logits.requires_grad
    return sum(sizes.values())


def test_less_is_kept():
    net = gf.RecurrentSNN(gf.Sizes(1, 3), hidden=(64, 64), recurrence=gf.Skip(4))
    x = torch.rand(400, 8, 1)
    whole = kept_bytes(net, x, None)
    held = net(x, checkpoint=40)
    # states of ten segments, and nothing of the size of a layer's sequence
    assert whole > 2 * 400 * 8 * 64 * 4
    assert all(len(layer.u) == 0 for layer in held.layers)
    assert kept_bytes(net, x, 40) < whole / 4


@pytest.mark.parametrize("every", [0, -3, 2.5, True])
def test_segments_have_at_least_one_step(every, no_shape_checks):
    with pytest.raises(ValueError, match="expected the steps of a segment, a whole number of at least 1"):
        TABLE["one step"].net()(TABLE["one step"].x(), checkpoint=every)


def test_what_cannot_be_run_in_segments_is_refused():
    case = TABLE["batch norm"]
    with pytest.raises(ValueError, match="batch norm in training takes its statistics over all steps"):
        case.net()(case.x(), checkpoint=2)
    glif = dataclasses.replace(TABLE["glif shared"], steps=6)
    with pytest.raises(ValueError, match=r"has 8 steps .* conductances for 6"):
        glif.net()(torch.cat([glif.x(), glif.x()[:2]]), checkpoint=4)
    plain = Case()
    for options in ({"keep": gf.Keep.WEIGHTS}, {"engine": gf.engine.reference}):
        with pytest.raises(ValueError, match="a run in segments keeps no gradients to split"):
            gf.record(plain.net(), plain.data(), checkpoint=2, **options)
