"""torch's recurrent modules as transitions: the states are the module's, the products autograd's."""

import numpy as np
import pytest
import torch
from compare import assert_close
from torch import nn

import gradflow as gf
from gradflow.adapters import torch_transition
from gradflow.adapters.torch_rnn import _step

MODULES = {
    "tanh": lambda **o: nn.RNN(3, 4, **o),
    "relu": lambda **o: nn.RNN(3, 4, nonlinearity="relu", **o),
    "gru": lambda **o: nn.GRU(3, 4, **o),
    "lstm": lambda **o: nn.LSTM(3, 4, **o),
}
modules = pytest.mark.parametrize("name", MODULES)


def module_of(name, **options):
    torch.manual_seed(0)
    return MODULES[name](num_layers=2, **options).double()


def inputs(steps=9, samples=2):
    return torch.from_numpy(gf.seeds.normal(0, "x", shape=(steps, samples, 3)))


def states(module, x):
    """Return each layer's states with the graph kept, step by step."""
    below, found = x, []
    for layer in range(module.num_layers):
        step, state, layer_states = _step(module, layer), None, []
        for now in below:
            state = now.new_zeros(len(now), 4 * (1 + isinstance(module, nn.LSTM))) if state is None else state
            state = step(now, state)
            layer_states.append(state.requires_grad_())
        found.append(layer_states)
        below = torch.stack(layer_states)[..., :4]
    return found


@modules
@pytest.mark.parametrize("bias", [True, False])
def test_the_steps_are_the_modules(name, bias):
    module, x = module_of(name, bias=bias), inputs()
    top = torch.stack(states(module, x)[-1])[..., :4]
    assert_close(top, module(x)[0], rtol=1e-12, atol=1e-14, why="the same formulas in another order")


@modules
def test_products_are_autograds(name):
    module, x = module_of(name), inputs()
    products = gf.jacobian_products(torch_transition(module, x))
    for layer, trajectory in enumerate(states(module, x)):
        last = trajectory[-1]
        for lag, earlier in enumerate(reversed(trajectory)):
            rows = [
                torch.autograd.grad(last[:, i].sum(), earlier, retain_graph=True, allow_unused=True)[0]
                for i in range(last.shape[1])
            ]
            P = (
                torch.stack(rows).permute(1, 0, 2).numpy()
                if lag
                else np.eye(last.shape[1])[None].repeat(2, 0)
            )
            with np.errstate(divide="ignore"):
                expected = np.log(np.linalg.norm(P, axis=(1, 2)))
            assert_close(
                products.log_frobenius[layer, :, lag], expected, rtol=1e-9, atol=1e-11, why="nine steps"
            )


def test_a_float32_module_stays_as_it_is_and_gives_float64():
    module = nn.GRU(3, 4)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    found = torch_transition(module, inputs().float())
    assert found.layers[0].jacobians.dtype == np.float64
    assert found.conventions["neuron"] == "GRU"
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("module", "x", "message"),
    [
        (nn.Linear(3, 4), inputs(), "module: got Linear, expected torch.nn.RNN, GRU or LSTM"),
        (nn.GRU(3, 4, bidirectional=True), inputs(), "module: got two directions or projections"),
        (nn.LSTM(3, 4, proj_size=2), inputs(), "module: got two directions or projections"),
        (nn.GRU(3, 4, num_layers=2, dropout=0.5), inputs(), r"dropout .*; use module.eval\(\)"),
        (nn.GRU(2, 4), inputs(), r"x: got \(9, 2, 3\), expected finite inputs \(time, sample, 2\)"),
        (nn.GRU(3, 4), inputs(1), "at least two steps"),
        (nn.GRU(3, 4), inputs() * np.nan, "expected finite inputs"),
    ],
)
def test_what_has_no_one_step_jacobian_is_refused(module, x, message, no_shape_checks):
    with pytest.raises(ValueError, match=message):
        torch_transition(module, x)
