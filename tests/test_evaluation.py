"""Plain evaluation: answers known beforehand, spikes and operations counted by hand."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from compare import assert_close, assert_equal

import gradflow as gf
from gradflow import seeds
from gradflow.evaluation import EnergyModel, evaluate, wilson_interval
from gradflow.tasks import Batch, Classification, Examples, Regression, StepClassification

ROUNDING = "sums of float32 or float64 in another order"


class Given(Examples):
    """Examples given as tensors."""

    def __init__(self, inputs, targets, objective=None):
        self.inputs, self.targets, self.asked = inputs, targets, objective or Classification()

    @property
    def objective(self):
        return self.asked

    def __len__(self):
        return self.inputs.shape[1]

    def batch(self, indices):
        rows = torch.from_numpy(self.rows(indices))
        return Batch(self.inputs[:, rows], self.targets[..., rows], {}, self.asked)


def task_of(inputs, targets, classes, objective=None, **options):
    part = Given(inputs, targets, objective)
    return gf.Task("given", len(inputs), inputs.shape[2], classes, part, part, part, "a test", **options)


class Echo(torch.nn.Module):
    """Gives its inputs as outputs, the last step's as logits."""

    def __init__(self, *names):
        super().__init__()
        self.names, self.noise = names or ("logits", "outputs"), torch.nn.Dropout(0.9)

    def forward(self, x):
        outputs = self.noise(x)
        found = {"logits": outputs[-1], "outputs": outputs}
        return SimpleNamespace(**{name: found[name] for name in self.names})


def logits_of(named, classes=3, steps=2):
    """Return inputs whose last step says these classes."""
    x = torch.zeros(steps, len(named), classes)
    x[-1, range(len(named)), named] = 2.0
    return x


@pytest.fixture
def known():
    """Five examples: 0 0 1 1 2 shown, 0 1 1 1 0 named: three of five right."""
    names = ("cat", "dog", "elk")
    return task_of(logits_of([0, 1, 1, 1, 0]), torch.tensor([0, 0, 1, 1, 2]), 3, class_names=names)


def test_accuracy_loss_and_confusion_of_known_answers(known):
    model = Echo("logits").train()
    found = evaluate(model, known, batch=2)
    assert (found.accuracy.item(), found.examples.item()) == (pytest.approx(0.6), 5)
    ends = [found.accuracy_low.item(), found.accuracy_high.item()]
    assert_close(ends, wilson_interval(0.6, 5), rtol=1e-12, why="the same function")
    right, wrong = np.log(1 + 2 * np.exp(-2.0)), np.log(2 + np.exp(2.0))
    assert_close(found.loss.item(), (3 * right + 2 * wrong) / 5, rtol=1e-6, why="float32")
    assert found.confusion.values.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert found.confusion.sel(actual="elk", predicted="cat") == 1
    assert found.confusion.dims == ("actual", "predicted")
    assert "firing_rate" not in found
    told = [found.attrs[name] for name in ("task", "split", "model")]
    assert told == ["given", "validation", "Echo"]
    assert model.training
    assert model.noise.training


def test_the_split_is_validation_unless_another_is_asked_for(known):
    parts = {
        name: Given(logits_of([0] * count), torch.zeros(count, dtype=torch.int64))
        for name, count in (("train", 2), ("validation", 3), ("test", 4))
    }
    task = replace(known, **parts)
    assert evaluate(Echo(), task).examples == 3
    for split in gf.Split:
        found = evaluate(Echo(), task, split=split)
        assert found.examples == len(task.part(split))
        assert found.attrs["split"] == split.value


def test_a_class_a_step_is_scored_by_items():
    x = torch.cat([logits_of([0, 1], steps=1), logits_of([1, 1], steps=1)])
    targets = torch.tensor([[0, 2], [1, 1]])
    found = evaluate(Echo(), task_of(x, targets, 3, StepClassification(2)), batch=1)
    assert found.accuracy == 0.75
    assert found.confusion.values.tolist() == [[1, 0, 0], [0, 2, 0], [0, 1, 0]]


def test_the_objective_says_which_step_is_read(known):
    x = torch.cat([logits_of([2, 2, 1, 1, 0], steps=1), logits_of([0, 0, 1, 1, 2], steps=1)])
    for readout, accuracy in ((gf.Readout.LAST, 1.0), (gf.Readout.SUM, 0.4)):
        task = task_of(x * torch.tensor([2.0, 1.0])[:, None, None], torch.tensor([0, 0, 1, 1, 2]), 3,
                       Classification(readout))  # fmt: skip
        assert evaluate(Echo(), task).accuracy.item() == pytest.approx(accuracy)


def test_a_number_has_no_confusion():
    x = torch.tensor([[[0.5], [1.0], [2.0]]])
    found = evaluate(Echo(), task_of(x, torch.tensor([0.5, 1.05, 3.0]), 1, Regression(0.1)))
    assert found.accuracy.item() == pytest.approx(2 / 3)
    assert found.loss.item() == pytest.approx((0.05**2 + 1.0) / 3, rel=1e-5)
    assert "confusion" not in found


def test_a_network_without_what_the_task_reads_is_refused(known):
    with pytest.raises(ValueError, match="Echo: returned SimpleNamespace without `logits`; expected"):
        evaluate(Echo("outputs"), known)
    last = task_of(known.train.inputs, known.train.targets, 3, Classification(gf.Readout.LAST))
    with pytest.raises(ValueError, match=r"without `outputs`.*\(time, batch, classes\), as this task reads"):
        evaluate(Echo("logits"), last)


def spiking(steps=7, inputs=2, count=5, *, events=False, **options):
    """Return a network of 4 and 3 neurons that fires, and a task for it."""
    drawn = torch.from_numpy(seeds.uniform(0, "x", shape=(steps, count, inputs))).float()
    x = torch.floor(3.0 * drawn) if events else 3.0 * drawn
    task = task_of(x, torch.arange(count) % 3, 3)
    recurrence = (gf.Skip(2), gf.Vanilla())
    net = gf.RecurrentSNN(task, hidden=(4, 3), recurrence=recurrence, recurrent_gain=2.0, **options)
    return net, task, x


def test_firing_rates_are_those_of_the_run():
    net, task, x = spiking()
    with torch.no_grad():
        net.layers[1].linear.bias[2] = -50.0
    run = net.eval()(x)
    found = evaluate(net, task, batch=2)
    rates = [layer.s.mean().item() for layer in run.layers]
    assert min(rates) > 0.0
    assert_close(found.firing_rate, rates, rtol=1e-6, why=ROUNDING)
    quiet = [(layer.s.sum(dim=(0, 1)) == 0).double().mean().item() for layer in run.layers]
    assert quiet[1] > 0.0
    assert_equal(found.silent.values, np.array(quiet))
    assert found.attrs["recurrence"] == "skip:2 | vanilla"
    assert found.attrs["loss_placement"] == "sum"
    assert found.attrs["mode"] == "evaluation"
    for name in ("engine", "dtype", "network_seed", "versions", "commit", "decay", "surrogate"):
        assert name in found.attrs


def counted(net, x):
    """Walk over every spike and every weight it meets, and count one at a time."""
    run, steps = net.eval()(x), len(x)
    forward, recurrent = np.zeros(3), np.zeros(3)
    spans = (2, 1)
    for layer, span in enumerate(spans):
        later = net.layers[1].linear.weight if layer == 0 else net.output.weight
        for t, b, i in run.layers[layer].s.nonzero().tolist():
            assert b < x.shape[1]
            forward[layer + 1] += len(later[:, i])
            if t + span < steps:
                recurrent[layer] += len(net.layers[layer].V[:, i])
    return forward / x.shape[1], recurrent / x.shape[1]


def test_operations_of_a_tiny_network_counted_by_hand():
    net, task, x = spiking()
    forward, recurrent = counted(net, x)
    assert forward[1:].min() > 0
    assert recurrent[:2].min() > 0
    found = evaluate(net, task, batch=2)
    assert list(found.stage.values) == ["layer 0", "layer 1", "readout"]
    assert found.attrs["first_layer"] == "analogue"
    assert_close(found.synops_forward, forward, rtol=1e-12, why=ROUNDING)
    assert_close(found.synops_recurrent, recurrent, rtol=1e-12, why=ROUNDING)
    assert found.macs.values.tolist() == [7 * 2 * 4, 0, 0]
    assert found.macs_dense.values.tolist() == [7 * (2 * 4 + 4 * 4), 7 * (4 * 3 + 3 * 3), 7 * 3 * 3]
    assert found.neuron_macs.values.tolist() == [7 * 4, 7 * 3, 0]
    additions = forward.sum() + recurrent.sum()
    assert_close(found.energy.item(), 0.9e-12 * additions + 4.6e-12 * 56, rtol=1e-12, why=ROUNDING)
    assert_close(found.energy_dense.item(), 4.6e-12 * (168 + 147 + 63), rtol=1e-12, why=ROUNDING)
    assert_close(found.energy_neurons.item(), 4.6e-12 * 49, rtol=1e-12, why=ROUNDING)
    assert found.energy.attrs["units"] == "J"
    assert found.attrs["energy_source"].startswith("Horowitz 2014")
    assert "memory traffic" in found.attrs["energy_not_counted"]


def test_events_at_the_input_add_and_multiply_nothing():
    net, task, x = spiking(events=True)
    found = evaluate(net, task, batch=2)
    assert found.attrs["first_layer"] == "events"
    assert found.macs.values.tolist() == [0, 0, 0]
    assert_close(found.synops_forward[0].item(), x.sum().item() * 4 / 5, rtol=1e-12, why=ROUNDING)
    assert_close(found.synops_forward[1:], counted(net, x)[0][1:], rtol=1e-12, why=ROUNDING)


def test_a_readout_of_the_last_step_needs_the_last_spikes_only():
    net, task, x = spiking(readout=gf.Readout.LAST)
    found = evaluate(net, task)
    last = net.eval()(x).layers[1].s[-1].sum().item() * 3 / 5
    assert_close(found.synops_forward[2].item(), last, rtol=1e-12, atol=1e-15, why=ROUNDING)
    assert found.macs_dense[2] == 3 * 3


def test_a_layer_without_recurrence_and_a_span_over_the_end_cost_nothing_there():
    task = spiking()[1]
    net = gf.RecurrentSNN(task, hidden=(4, 3), recurrence=(gf.NoRecurrence(), gf.Skip(7)))
    with torch.no_grad():
        net.layers[1].linear.bias.fill_(1.0)
    found = evaluate(net, task)
    assert found.firing_rate[1] > 0
    assert found.synops_recurrent.values.tolist() == [0, 0, 0]
    assert found.macs_dense.values.tolist() == [7 * 8, 7 * (12 + 9), 7 * 9]


def test_energies_can_be_set_and_must_be_energies():
    net, task, _ = spiking()
    found = evaluate(net, task, energy=EnergyModel(mac=2.0, ac=1.0))
    synops = (found.synops_forward + found.synops_recurrent).sum()
    assert_close(found.energy, 2.0 * 56 + synops, rtol=1e-12, why=ROUNDING)
    assert (found.attrs["joules_per_mac"], found.attrs["joules_per_ac"]) == (2.0, 1.0)
    assert EnergyModel().mac == pytest.approx(3.7e-12 + 0.9e-12)
    with pytest.raises(ValueError, match=r"EnergyModel\(ac=0.0\): expected joules, above 0"):
        EnergyModel(ac=0.0)


def test_an_evaluation_leaves_the_network_as_it_was_and_can_be_saved(tmp_path):
    net, task, _ = spiking(dropout=0.5)
    net.train().layers[0].eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    found = evaluate(net, task)
    assert (net.training, net.layers[0].training, net.layers[1].training) == (True, False, True)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert found.identical(evaluate(net, task)), "no dropout"
    assert gf.load(gf.save(found, tmp_path / "one.nc")).identical(found)
    with pytest.raises(ValueError, match="batch: got 0"):
        evaluate(net, task, batch=0)
