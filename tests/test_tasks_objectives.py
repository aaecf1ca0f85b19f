"""What an error costs, where the answer is read and when it is right: each written out again by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from jaxtyping import config

import gradflow as gf
from gradflow.readout import Readout
from gradflow.tasks import Classification, Regression, StepClassification


@pytest.fixture
def run():
    outputs = torch.randn(6, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return SimpleNamespace(outputs=outputs, logits=outputs.sum(dim=0))


@pytest.fixture
def number():
    outputs = torch.tensor([[[0.5]], [[0.25]], [[1.0]]], dtype=torch.float64)
    return SimpleNamespace(outputs=outputs, logits=outputs.sum(dim=0))


def surprise(scores, target):
    """Return −log softmax(scores)[target] in numpy."""
    scores = np.asarray(scores)
    return np.log(np.exp(scores).sum()) - scores[target]


@pytest.mark.parametrize("readout", [None, *Readout])
def test_classes_are_read_where_the_objective_says(run, readout):
    targets = torch.tensor([0, 2, 1, 1])
    where = {None: run.outputs.sum(0), Readout.SUM: run.outputs.sum(0), Readout.MEAN: run.outputs.mean(0)}
    scores = where.get(readout, run.outputs[-1])
    losses = Classification(readout).losses(run, targets)
    expected = [surprise(row, target) for row, target in zip(scores, targets, strict=True)]
    np.testing.assert_allclose(losses, expected, rtol=1e-13, atol=0)  # a few roundings of float64
    right = [float(row.argmax() == target) for row, target in zip(scores, targets, strict=True)]
    assert Classification(readout).correct(run, targets).tolist() == right


def test_each_of_the_last_steps_has_its_own_class(run):
    targets = torch.tensor([[0, 1, 2, 0], [2, 2, 1, 1]])
    objective = StepClassification(2)
    each = [[surprise(run.outputs[4 + i, b], targets[i, b]) for i in range(2)] for b in range(4)]
    # a few roundings of float64
    np.testing.assert_allclose(objective.losses(run, targets), np.mean(each, axis=1), rtol=1e-13, atol=0)
    right = [[run.outputs[4 + i, b].argmax() == targets[i, b] for i in range(2)] for b in range(4)]
    np.testing.assert_array_equal(objective.correct(run, targets), np.mean(right, axis=1))


def test_a_number_is_right_within_the_tolerance(number):
    objective = Regression(0.25, Readout.LAST)
    for target, loss, right in (
        (1.0, 0.0, 1.0),
        (1.125, 0.015625, 1.0),
        (0.75, 0.0625, 0.0),
        (3.0, 4.0, 0.0),
    ):
        targets = torch.tensor([target])
        assert objective.losses(number, targets).tolist() == [loss]
        assert objective.correct(number, targets).tolist() == [right]
    assert Regression(0.25).losses(number, torch.tensor([1.75])).tolist() == [0.0]


def test_losses_have_gradients_and_scores_have_none(run):
    run.outputs.requires_grad_()
    targets = torch.tensor([[0, 1, 2, 0]])
    losses = StepClassification(1).losses(run, targets)
    grad = torch.autograd.grad(losses.sum(), run.outputs)[0]
    expected = run.outputs[-1].softmax(dim=1) - torch.nn.functional.one_hot(targets[0], 3)
    torch.testing.assert_close(grad[-1], expected.detach(), rtol=1e-13, atol=1e-15)
    assert not grad[:-1].any()
    assert not StepClassification(1).correct(run, targets).requires_grad


def test_what_does_not_fit_is_refused(run, number):
    with pytest.raises(ValueError, match="sample 2 has class 3, the network knows 0 … 2"):
        Classification().losses(run, torch.tensor([0, 1, 3, 1]))
    with pytest.raises(ValueError, match="outputs: got 6 steps, expected at least 7, one for each target"):
        StepClassification(7).losses(run, torch.zeros(7, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match="outputs: got 3 per step, expected 1, as the target is a number"):
        Regression(0.1).losses(run, torch.zeros(4))
    with pytest.raises(
        ValueError, match="loss placement: got sum, expected none, as each of the last 2 steps"
    ):
        StepClassification(2).at(Readout.SUM)


@pytest.mark.parametrize(
    ("objective", "targets", "message"),
    [
        (Classification(), torch.zeros(4), r"got torch.float32 of shape \(4,\), expected torch.int64"),
        (
            StepClassification(2),
            torch.zeros(4).long(),
            r"of shape \(4,\), expected torch.int64 of shape \(2, 4\)",
        ),
        (Regression(0.1), torch.zeros(4).long(), r"got torch.int64 .*expected torch.float32 of shape \(4,\)"),
        (Regression(0.1), torch.zeros(3), r"of shape \(3,\), expected torch.float32 of shape \(4,\)"),
    ],
)
def test_targets_that_do_not_fit_their_objective_are_refused(monkeypatch, objective, targets, message):
    monkeypatch.setattr(config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        gf.Batch(torch.zeros(5, 4, 1), targets, objective=objective)


def test_numbers_follow_the_dtype_of_the_inputs_and_classes_do_not():
    numbers = gf.Batch(torch.zeros(5, 4, 1), torch.rand(4), objective=Regression(0.1)).to(dtype=torch.float64)
    assert (numbers.targets.dtype, numbers.objective) == (torch.float64, Regression(0.1))
    classes = gf.Batch(torch.zeros(5, 4, 1), torch.zeros(4).long()).to(dtype=torch.float64)
    assert classes.targets.dtype == torch.int64


def test_a_record_places_the_loss_where_the_objective_says_unless_told_otherwise():
    task = gf.tasks.delayed_recall(6)
    net = gf.RecurrentSNN(task, hidden=8, recurrence=gf.Skip(2), dtype=torch.float64)
    batch = task.sample(4)
    outputs = net(batch.inputs.double()).outputs.detach()
    for options, scores, placement in (
        ({}, outputs[-1], "last"),
        ({"loss_placement": "sum"}, outputs.sum(dim=0), "sum"),
        ({"criterion": gf.tasks.objectives.cross_entropy}, outputs[-1], "last"),
    ):
        record = gf.record(net, batch, **options)
        expected = torch.nn.functional.cross_entropy(scores, batch.targets, reduction="none")
        # the same numbers in another order of sums
        np.testing.assert_allclose(record.loss, expected, rtol=1e-12, atol=0)
        assert (record.attrs["loss_placement"], record.loss.attrs["units"]) == (placement, "nats")
