"""snnTorch's and SpikingJelly's layers as baselines: against loops over the libraries' own steps."""

import copy

import pytest
import torch
from compare import assert_close

import gradflow as gf
from gradflow.baselines import BaselineNetwork, SnnTorch, SpikingJelly, baseline_conventions, hidden_for
from gradflow.baselines import peers as peers_module
from gradflow.baselines.peers import quiet
from gradflow.train import Session, resolve, train_step

SIZES = gf.Sizes(2, 3)
CELLS = [SnnTorch, SpikingJelly]
kinds = pytest.mark.parametrize("kind", CELLS, ids=lambda kind: kind.word)


def network(kind, decay=0.8, threshold=0.7, hidden=(6, 5)):
    pytest.importorskip(kind.library)
    neuron = gf.LIF(decay=decay, threshold=threshold)
    return BaselineNetwork(SIZES, hidden, kind(neuron), seed=1, dtype=torch.float64)


def inputs(steps=40):
    return 1.5 * torch.from_numpy(gf.seeds.normal(0, "x", shape=(steps, 4, 2)))


def spiking(kind, net, decay=0.8, threshold=0.7):
    """Return gradflow's vanilla network with the same seed."""
    neuron = gf.LIF(decay=decay, threshold=threshold)
    return gf.RecurrentSNN(SIZES, net.hidden, neuron=neuron, seed=1, dtype=torch.float64)


def snntorch_steps(net, x):
    import snntorch
    from snntorch import surrogate

    below = x
    for layer in net.layers:
        width = layer.linear.out_features
        cell = snntorch.RLeaky(
            beta=torch.tensor(0.8, dtype=torch.float64),
            threshold=torch.tensor(0.7, dtype=torch.float64),
            linear_features=width,
            spike_grad=surrogate.custom_surrogate(lambda x, g, s: g * torch.relu(1 - x.abs())),
            reset_delay=False,
        ).double()
        with torch.no_grad():
            cell.recurrent.weight.copy_(layer.cell.recurrent.weight)
            cell.recurrent.bias.zero_()
        cell.reset_mem()
        spike = potential = torch.zeros(x.shape[1], width, dtype=torch.float64)
        spikes = []
        for now in below:
            spike, potential = cell(layer.linear(now), spike, potential)
            spike = spike.double()
            spikes.append(spike)
        below = torch.stack(spikes)
    return below


def spikingjelly_steps(net, x):
    """Step by step, without the container: the linear map of (current, last spikes), then the node."""
    from spikingjelly.activation_based import neuron, surrogate

    below = x
    for layer in net.layers:
        node = neuron.LIFNode(
            tau=1 / (1 - 0.8),
            decay_input=False,
            v_threshold=0.7,
            v_reset=None,
            surrogate_function=surrogate.PiecewiseQuadratic(alpha=1.0),
        )
        y, spikes = torch.zeros(x.shape[1], layer.linear.out_features, dtype=torch.float64), []
        for now in below:
            y = node(torch.cat((layer.linear(now), y), dim=-1) @ layer.container.rc.weight.T)
            spikes.append(y)
        below = torch.stack(spikes)
    return below


LOOPS = {"snntorch": snntorch_steps, "spikingjelly": spikingjelly_steps}


@kinds
def test_a_network_is_the_loop_over_the_librarys_steps(kind):
    net, x = network(kind), inputs()
    run = net(x)
    with quiet():
        spikes = LOOPS[kind.word](net, x)
    assert 0.02 < spikes.mean() < 0.8
    assert (run.layers[-1] != spikes).sum() == 0
    expected = spikes @ net.output.weight.T + net.output.bias
    assert_close(run.logits, expected.sum(dim=0), rtol=1e-12, atol=1e-12, why="a sum of 40 steps")
    run.logits.square().sum().backward()
    found = [p.grad.clone() for layer in net.layers for p in (layer.linear.weight, layer.linear.bias)]
    net.zero_grad()
    expected.sum(dim=0).square().sum().backward()
    for grad, layer_part in zip(
        found, [p for layer in net.layers for p in (layer.linear.weight, layer.linear.bias)], strict=True
    ):
        assert grad.abs().max() > 0
        assert_close(grad, layer_part.grad, rtol=1e-9, atol=1e-10, why="sums of 40 steps in another order")


def test_spikingjelly_has_the_spikes_of_the_vanilla_network_of_the_same_seed():
    # a decay and a threshold that both write without rounding: 0.75 = 1 − 1/4
    net = network(SpikingJelly, decay=0.75, threshold=0.5)
    own = spiking(SpikingJelly, net, decay=0.75, threshold=0.5)
    spikes = own(inputs(), engine=gf.engine.reference).layers[-1].s
    assert spikes.mean() > 0.02
    assert (net(inputs()).layers[-1] != spikes).sum() == 0


@kinds
def test_w_b_v_and_the_readout_are_those_of_the_vanilla_network_of_the_same_seed(kind):
    net = network(kind)
    own = spiking(kind, net)
    for layer, theirs in zip(own.recurrent_layers(), net.layers, strict=True):
        assert torch.equal(layer.linear.weight, theirs.linear.weight)
        assert torch.equal(layer.linear.bias, theirs.linear.bias)
        width = len(layer.V)
        recurrent = theirs.cell.recurrent if kind is SnnTorch else theirs.container.rc
        assert torch.equal(recurrent.weight[:, -width:], layer.V)
    assert torch.equal(net.output.weight, own.output.weight)


@kinds
def test_nothing_is_drawn_from_torch_and_nothing_is_left_behind(kind):
    pytest.importorskip(kind.library)
    drawn = torch.get_rng_state()
    net = network(kind)
    assert torch.equal(torch.get_rng_state(), drawn)
    before = {name: value.clone() for name, value in net.named_buffers()}
    x = inputs()
    first = net(x).logits
    net(torch.flip(x[:7, :2], [0]))  # another length and another number of sequences
    assert torch.equal(net(x).logits, first)
    after = dict(net.named_buffers())
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    copy.deepcopy(net)


@kinds
@pytest.mark.parametrize("bias", [True, False])
def test_parameters_are_counted(kind, bias):
    pytest.importorskip(kind.library)
    net = BaselineNetwork(SIZES, 7, kind(), bias=bias)
    layer = sum(p.numel() for p in net.layers.parameters())
    assert kind().parameters(2, 7, bias=bias) == layer
    assert hidden_for(kind(), SIZES, sum(p.numel() for p in net.parameters()), (1,), bias=bias) == (7,)


@kinds
def test_conventions_say_library_version_and_reset(kind):
    net = network(kind)
    found = baseline_conventions(net, net(inputs()))
    assert found.engine.startswith(f"{kind.library} ")
    assert f'"{kind.library}": ' in found.versions
    assert (found.decay, found.threshold, found.detach_reset) == (0.8, 0.7, "attached")
    assert found.reset.startswith("soft")
    assert found.surrogate == "triangle"


@kinds
def test_a_session_learns_and_comes_back_bit_for_bit(kind):
    pytest.importorskip(kind.library)
    pytest.importorskip("tomli_w")
    config = resolve(
        {
            "task": {"name": "psmnist", "options": {"pool": 4}},
            "network": {"model": kind.word, "hidden": [8, 6], "dropout": 0.2},
            "training": {"batch": 20},
        }
    )
    session, other = Session.start(config), Session.start(config)
    assert session.plan.every == 0
    assert session.plan.note.startswith(f"no looks: the steps of {kind.label}'s layers are not taken apart")
    batches = [session.task.sample(20, seed=seed) for seed in range(2)]
    train_step(session, batches[0])
    other.restore(session.checkpoint())
    train_step(session, batches[1])
    train_step(other, batches[1])
    for name, parameter in session.net.named_parameters():
        assert torch.equal(parameter, other.net.get_parameter(name))
        assert parameter.grad is not None


@kinds
def test_a_library_that_is_not_installed_is_named_with_its_extra(kind, monkeypatch):
    monkeypatch.setattr(peers_module, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=rf"{kind.label} is not installed: .*gradflow-snn\[interop\]"):
        BaselineNetwork(SIZES, 4, kind())
