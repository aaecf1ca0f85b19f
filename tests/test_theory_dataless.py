"""Predictions of networks without data: the engine's own run, and digits that the prediction never saw."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from cases import TABLE
from compare import assert_close

import gradflow as gf
from gradflow.predicting import layer_weights, predict_without_data
from gradflow.theory import bounded, input_statistics, sampled_closure, second_moments, transfer_curve


@dataclass(frozen=True)
class Fixed:
    """A law that hands out the sequences it was given."""

    x: np.ndarray

    @property
    def mean(self):
        return self.x.mean(axis=1)

    @property
    def factor(self):
        return np.zeros((0, *self.mean.shape))

    def sample(self, count, seed):
        return self.x


@pytest.mark.parametrize("name", TABLE)
def test_samples_pass_through_the_layers_as_through_the_engine(name):
    case = TABLE[name]
    net = case.net()
    if case.norm is not None and not (isinstance(case.norm, gf.BatchNorm) and not case.training):
        with pytest.raises(ValueError, match=r"got (LayerNorm|BatchNorm), whose statistics"):
            layer_weights(net)
        return
    if case.steps < 2:
        with pytest.raises(ValueError, match=r"got 1 step\(s\), expected two or more"):
            sampled_closure(Fixed(case.x().numpy()), layer_weights(net), samples=2, parts=2)
        return
    x = case.x().numpy()
    found = sampled_closure(Fixed(x), layer_weights(net), samples=2, parts=2)
    transition = gf.local_jacobians(net, torch.from_numpy(x))
    for closed, layer in zip(found, transition.layers, strict=True):
        wanted = second_moments(layer)
        for moment, value in vars(wanted).items():
            if value is None:
                assert getattr(closed.moments, moment) is None
            else:
                got = getattr(closed.moments, moment)
                assert_close(
                    got, value, rtol=1e-12, atol=1e-13, why="rounding of sums over steps and samples"
                )
        assert_close(
            closed.moments.a_a,
            np.mean([part.moments.a_a for part in closed.parts], axis=0),
            rtol=1e-13,
            why="the parts' mean",
        )


@pytest.fixture(scope="module")
def digits():
    """Pooled digits: the law of all training images, and a network on 64 of them."""
    task = gf.tasks.psmnist(pool=4)
    x = task.train.batch(range(len(task.train))).inputs.double().numpy()
    net = gf.RecurrentSNN(task, hidden=48, recurrence=gf.Skip(2), neuron=gf.LIF(), seed=1)
    found = gf.local_jacobians(net, task.sample(256))
    return net, input_statistics(x), second_moments(found.layers[0])


@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)])
def test_digits_are_predicted_without_them(digits, bounds):
    net, law, measured = digits
    law = law if bounds is None else bounded(law, *bounds)
    density = predict_without_data(net, law)
    assert density.attrs["theory"] == "transfer operator without data"
    assert (density.attrs["surrogate"], density.attrs["task"]) == ("triangle", "law of the input")
    assert np.isnan(density.rate_error.item()), "nothing was drawn"
    sampled = predict_without_data(net, law, closure=partial(sampled_closure, samples=64))
    for name, pairs in {"phi_square": measured.phi_phi, "a_square": measured.a_a}.items():
        value = np.diag(pairs).mean()
        error = sampled[f"{name}_error"].item()
        # 4 standard errors, and 1 % for a law that has the digits' mean and covariance alone
        assert abs(sampled[name].item() - value) < 4 * error + 0.01 * value
        assert 0 < error < 0.02 * value, "the comparison is sharp"
        assert abs(density[name].item() - value) < 0.02 * value, "as measured at 784 steps, and 48 neurons"
    taps, V = {2: 1.0}, layer_weights(net)[0].V
    with_data = transfer_curve(measured, V, taps, len(law.mean))
    wanted = with_data[-1] - with_data[9]
    for found in (density, sampled):
        curve = found.log_frobenius.values[0]
        assert_close(curve[-1] - curve[9], wanted, rtol=0.02, why="2 % in φ² is 1 % in the rate")
    assert_close(density.log_frobenius.values[0, 0], 0.5 * math.log(48), why="P(T,T) = 1")


def test_more_samples_leave_a_smaller_error(digits):
    net, law, _ = digits
    few, many = (
        predict_without_data(net, law, closure=partial(sampled_closure, samples=n)) for n in (16, 1024)
    )
    assert many.phi_square_error < 0.5 * few.phi_square_error, "expected ⅛, each known to 40 %"


def test_dropout_is_refused():
    with pytest.raises(ValueError, match="dropout draws a mask"):
        layer_weights(gf.RecurrentSNN(gf.Sizes(1, 2), hidden=3, dropout=0.5))
