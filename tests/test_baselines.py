"""torch's cells as baselines: against loops over torch's single steps; their start, sizes and curves."""

import numpy as np
import pytest
import torch
from compare import assert_close
from torch import nn

import gradflow as gf
from gradflow.baselines import (
    GRU,
    LSTM,
    BaselineNetwork,
    SpikingJelly,
    TanhRNN,
    baseline_conventions,
    baseline_products,
    hidden_for,
    nearest_hidden,
)
from gradflow.neurons import PLIF

CELLS = [TanhRNN(), GRU(), LSTM()]
STEPS = {"rnn": nn.RNNCell, "gru": nn.GRUCell, "lstm": nn.LSTMCell}
SIZES = gf.Sizes(2, 3)
cells = pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.word)


def network(cell, hidden=(5, 4), **options):
    return BaselineNetwork(SIZES, hidden, cell, dtype=torch.float64, **options)


def inputs(steps=11, samples=3):
    return torch.from_numpy(gf.seeds.normal(0, "x", shape=(steps, samples, 2)))


def by_steps(net, x, bias=True):
    """Return the outputs of every step by a loop over torch's cells, the readout by hand."""
    below = x
    for layer, width in zip(net.layers, net.hidden, strict=True):
        own = dict(layer.module.named_parameters())
        step = STEPS[net.cell.word](below.shape[2], width, bias=bias, dtype=torch.float64)
        step.load_state_dict({name: own[f"{name}_l0"] for name, _ in step.named_parameters()})
        state, states = None, []
        for now in below:
            state = step(now, state)
            states.append(state[0] if isinstance(state, tuple) else state)
        below = torch.stack(states)
    outputs = below @ net.output.weight.T
    return outputs + net.output.bias if bias else outputs


@cells
@pytest.mark.parametrize("bias", [True, False])
def test_a_network_is_the_loop_over_torchs_single_steps(cell, bias):
    net = network(cell, bias=bias)
    for readout, taken in (("sum", torch.sum), ("mean", torch.mean), ("last", lambda o, dim: o[-1])):
        run = net(inputs(), readout=readout)
        expected = by_steps(net, inputs(), bias)
        assert_close(run.outputs, expected, rtol=1e-12, atol=1e-14, why="the same products in another order")
        assert_close(run.logits, taken(expected, dim=0), rtol=1e-12, atol=1e-13, why="a sum of 11 steps")


@cells
def test_gradients_are_those_of_the_loop(cell):
    net = network(cell)
    net(inputs()).logits.square().sum().backward()
    found = {name: p.grad.clone() for name, p in net.named_parameters()}
    # the loop's cells own copies, so finite differences of the loop are the second opinion
    for name, parameter in net.named_parameters():
        direction = torch.from_numpy(gf.seeds.normal(1, name, shape=tuple(parameter.shape)))
        start, h = parameter.detach().clone(), 1e-5
        values = []
        for sign in (1, -1):
            parameter.data.copy_(start + sign * h * direction)
            values.append(float(by_steps(net, inputs()).sum(dim=0).square().sum().detach()))
        parameter.data.copy_(start)
        # h² of the third derivative, and 1e-16 / h of rounding
        assert (found[name] * direction).sum().item() == pytest.approx(
            (values[0] - values[1]) / (2 * h), rel=1e-6, abs=1e-7
        ), name


@cells
def test_the_start_is_orthogonal_gate_by_gate_and_the_forget_gate_open(cell):
    net = network(cell, recurrent_gain=0.9)
    for layer, width in zip(net.layers, net.hidden, strict=True):
        module = layer.module
        for block in module.weight_hh_l0.detach().chunk(cell.gates):
            # QR's rounding
            assert torch.allclose(block @ block.T, 0.81 * torch.eye(width, dtype=torch.float64), atol=1e-14)
        assert not module.bias_hh_l0.any()
        assert module.weight_ih_l0.abs().max() <= width**-0.5
        forget = module.bias_ih_l0.detach()[width : 2 * width]
        if cell.word == "lstm":
            assert (forget == 1.0).all()
            assert (
                LSTM(forget_bias=0.5).build(2, width, bias=True, seed=0, layer=0, gain=1.0)
            ).module.bias_ih_l0[width : 2 * width].tolist() == [0.5] * width
        assert module.bias_ih_l0[:width].abs().max() <= width**-0.5
    blocks = network(GRU()).layers[0].module.weight_hh_l0.detach().chunk(3)
    assert not torch.equal(blocks[0], blocks[1])


@cells
def test_one_seed_one_network_in_both_dtypes_and_nothing_drawn_from_torch(cell):
    drawn = torch.get_rng_state()
    first, again, other = network(cell, seed=3), network(cell, seed=3), network(cell, seed=4)
    single = BaselineNetwork(SIZES, (5, 4), cell, seed=3)
    assert torch.equal(torch.get_rng_state(), drawn)
    for name, parameter in first.named_parameters():
        assert torch.equal(parameter, again.get_parameter(name))
        assert torch.equal(parameter.float(), single.get_parameter(name))
        if "bias_hh" not in name:
            assert not torch.equal(parameter, other.get_parameter(name)), name
    assert not torch.equal(
        first.layers[0].module.weight_hh_l0[:4, :4], first.layers[1].module.weight_hh_l0[:4]
    )


def test_dropout_has_one_mask_a_sequence_and_none_in_evaluation():
    net = network(LSTM(), dropout=0.5)
    one, two = (net(inputs(), generator=torch.Generator().manual_seed(seed)) for seed in (0, 0))
    assert torch.equal(one.logits, two.logits)
    dropped = one.layers[0] == 0
    assert 0 < dropped.double().mean() < 1
    assert (dropped == dropped[:1]).all()  # at every step the same
    whole = net.eval()(inputs())
    assert torch.equal(whole.outputs, network(LSTM())(inputs()).outputs)
    kept = ~dropped
    # 1 / (1 − 0.5)
    assert torch.equal(one.layers[0][kept], 2.0 * whole.layers[0][kept])


@cells
@pytest.mark.parametrize("wanted", [500, 5_000, 64_000])
@pytest.mark.parametrize("shape", [(64, 128, 128), (1,), (3, 1)])
def test_sizes_come_nearest_to_the_wanted_parameters(cell, wanted, shape):
    """Beside it, all widths there are are tried out."""
    task = gf.Sizes(3, 7)

    def count(hidden):
        return sum(p.numel() for p in BaselineNetwork(task, hidden, cell).parameters())

    found = hidden_for(cell, task, wanted, shape)
    widest = max(found)
    assert found == tuple(max(1, int(part * widest / max(shape) + 0.5)) for part in shape)
    for near in (widest - 1, widest + 1):
        other = tuple(max(1, int(part * near / max(shape) + 0.5)) for part in shape)
        if near and other != found:
            assert abs(count(other) - wanted) >= abs(count(found) - wanted)
    assert abs(count(found) - wanted) <= 0.25 * wanted


def test_too_few_parameters_and_no_layers_are_refused():
    with pytest.raises(ValueError, match="got 10, but 3 layers of this kind have at least 58 on this task"):
        hidden_for(LSTM(), SIZES, 10)
    with pytest.raises(ValueError, match=r"shape: got \(\), expected neurons per layer"):
        nearest_hidden(sum, 10, ())


def chain(net, x, layer):
    """Return ∂(state at the end)/∂(state at t) of one sample by autograd through single steps."""
    below = x
    for number, (own, width) in enumerate(zip(net.layers, net.hidden, strict=True)):
        parameters = dict(own.module.named_parameters())
        step = STEPS[net.cell.word](below.shape[2], width, dtype=torch.float64)
        step.load_state_dict({name: parameters[f"{name}_l0"] for name, _ in step.named_parameters()})
        states = []
        state = torch.zeros(net.cell.states, len(below[0]), width, dtype=torch.float64, requires_grad=True)
        for now in below:
            parts = step(now, tuple(state) if net.cell.states == 2 else state[0])
            state = torch.stack(parts if isinstance(parts, tuple) else (parts,))
            states.append(state)
        if number == layer:
            last = states[-1].transpose(0, 1).flatten(1)[0]
            return [
                torch.stack(
                    [
                        torch.autograd.grad(entry, earlier, retain_graph=True)[0][:, 0].flatten()
                        for entry in last
                    ]
                )
                for earlier in reversed(states)
            ]
        below = torch.stack([state[0] for state in states]).detach()
    return None


@cells
def test_curves_of_a_stack_are_autograds(cell):
    net, x = network(cell), inputs(9, 2)
    products = baseline_products(net, x)
    for layer in range(2):
        expected = [float(torch.linalg.norm(P).log()) for P in chain(net, x, layer)]
        assert_close(
            products.log_frobenius[layer, 0], np.array(expected), rtol=1e-9, atol=1e-11, why="nine steps"
        )
    short = baseline_products(net, x, lags=4)
    assert short.sizes["lag"] == 5
    assert np.array_equal(short.log_frobenius, products.log_frobenius[..., :5])
    assert products.neurons.values.tolist() == [cell.states * width for width in net.hidden]


def test_conventions_say_the_kind_the_library_and_the_start():
    net = network(LSTM(), dropout=0.25, readout="last", seed=2).eval()
    found = baseline_conventions(net, net(inputs()), loss_placement="last")
    assert (found.neuron, found.recurrence, found.neuron_parameters) == ("LSTM", "vanilla", "forget bias 1")
    assert (found.reset, found.surrogate, found.p, found.span_mode) == ("none",) * 4
    assert found.engine == f"torch {torch.__version__}"
    assert (found.hidden, found.dropout, found.network_seed) == ("5,4", 0.25, 2)
    assert (found.mode, found.dtype, found.steps, found.batch) == ("evaluation", "float64", 11, 3)
    assert "unknown" not in found.attrs().values()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": ()}, r"BaselineNetwork\(hidden=\(\)\): expected neurons per layer"),
        ({"cell": "lstm"}, r"BaselineNetwork\(cell='lstm'\): expected a cell, as LSTM\(\) or GRU\(\)"),
        ({"dropout": 1.0}, r"BaselineNetwork\(dropout=1.0\): expected a probability"),
        (
            {"recurrent_gain": float("nan")},
            r"BaselineNetwork\(recurrent_gain=nan\): expected a finite number",
        ),
        ({"dtype": torch.float16}, "expected torch.float32 or torch.float64"),
        ({"readout": "max"}, "readout 'max': expected sum, mean or last"),
    ],
)
def test_what_makes_no_network_is_refused(options, message, no_shape_checks):
    with pytest.raises(ValueError, match=message):
        BaselineNetwork(SIZES, **options)


def test_inputs_that_do_not_fit_are_refused(no_shape_checks):
    net = network(GRU())
    with pytest.raises(ValueError, match="inputs"):
        net(inputs()[..., :1])
    with pytest.raises(ValueError, match="the first at time 0, sample 0, input 0"):
        net(inputs() * torch.nan)


def test_a_neuron_that_other_libraries_lack_is_refused(no_shape_checks):
    for neuron in (gf.LIF(reset="hard"), gf.LIF(detach_reset=True), gf.LIF(decay=1.0), PLIF()):
        with pytest.raises(ValueError, match="expected LIF with soft attached reset"):
            SpikingJelly(neuron)
