"""What makes no network, and inputs that no network takes: one error that says what came and what to do."""

import math

import numpy as np
import pytest
import torch

import gradflow as gf


def build(task=gf.Sizes(2, 3), **options):  # noqa: B008
    return gf.RecurrentSNN(task, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": 3}, r"task=3\): expected a task, or its sizes as in Sizes\(inputs=1, classes=10\)"),
        ({"hidden": ()}, r"hidden=\(\)\): expected neurons per layer, as in \(64, 128, 128\)"),
        ({"hidden": (4, 0)}, r"hidden=\(4, 0\)\)"),
        ({"hidden": 4.0}, r"hidden=4.0\)"),
        ({"hidden": None}, r"hidden=None\)"),
        ({"hidden": "64"}, r"hidden='64'\)"),
        ({"hidden": True}, r"hidden=True\)"),
        (
            {"recurrence": 16},
            r"recurrence=16\): expected one Recurrence, as Vanilla\(\), or one for each of the 3",
        ),
        ({"recurrence": "skip:16"}, r"recurrence='skip:16'\): expected one Recurrence"),
        ({"recurrence": [gf.Skip(2)] * 2}, "or one for each of the 3 layers"),
        ({"neuron": gf.LIF}, r"expected one Neuron, as LIF\(\)"),
        ({"neuron": [gf.LIF(), gf.LIF(), 3]}, "expected one Neuron"),
        ({"neuron": gf.GLIF()}, r"GLIF: the number of steps is unknown; give GLIF\(steps=T\)"),
        ({"norm": gf.LayerNorm}, r"norm=.*: expected LayerNorm\(\), BatchNorm\(\) or None"),
        ({"dropout": 1.0}, r"dropout=1.0\): expected a probability from 0 to below 1"),
        ({"dropout": -0.1}, r"dropout=-0.1\)"),
        ({"dropout": math.nan}, r"dropout=nan\)"),
        ({"dropout": "0.1"}, r"dropout='0.1'\)"),
        ({"recurrent_gain": math.inf}, r"recurrent_gain=inf\): expected a finite number"),
        ({"readout": "first"}, "readout 'first': expected sum, mean or last"),
        ({"seed": -1}, "seed: got -1, expected an integer from 0"),
        ({"seed": 0.5}, "seed: got 0.5"),
        ({"dtype": torch.float16}, "dtype=torch.float16.: expected torch.float32 or torch.float64"),
    ],
)
def test_what_makes_no_network_is_refused(options, message, no_shape_checks):
    with pytest.raises(ValueError, match=message):
        build(**options)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (None, r"inputs: got NoneType, expected a tensor \(time, batch, 2\)"),
        (np.zeros((5, 1, 2)), "inputs: got ndarray, expected a tensor"),
        (torch.zeros(5, 2), r"inputs: got \(5, 2\), expected a tensor \(time, batch, 2\)"),
        (torch.zeros(5, 1, 3), r"inputs: got \(5, 1, 3\)"),
        (torch.zeros(0, 1, 2), "at least one step and one sample"),
        (torch.zeros(5, 0, 2), "at least one step and one sample"),
        (
            torch.zeros(5, 1, 2).double(),
            r"torch.float64, the network is torch.float32: use inputs.to\(torch.float32",
        ),
        (torch.zeros(5, 1, 2).long(), "inputs are torch.int64, the network is torch.float32"),
        (
            torch.zeros(5, 1, 2, device="meta"),
            r"inputs are on meta, the network is on cpu: use inputs.to\('cpu'\)",
        ),
        (
            torch.full((5, 1, 2), math.nan),
            "10 of 10 values are NaN or infinite, the first at time 0, sample 0",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_refused(x, message, no_shape_checks):
    with pytest.raises(ValueError, match=message):
        build(hidden=3)(x)
