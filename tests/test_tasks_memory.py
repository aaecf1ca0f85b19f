"""Generated tasks: their rules written out again, and their demand measured by the best possible answers."""

from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gradflow as gf
from gradflow import tasks
from gradflow.engine import reference
from gradflow.tasks import Split

BUILD = {
    "delayed-recall": lambda delay, **options: tasks.delayed_recall(delay, classes=3, shown=2, **options),
    "delayed-xor": lambda delay, **options: tasks.delayed_xor(delay, shown=2, **options),
    "copy": lambda delay, **options: tasks.copy(delay, items=2, symbols=3, **options),
}


def everything(task, split=Split.TRAIN):
    part = task.part(split)
    return part.batch(range(len(part)))


def best_accuracy(batch, window, items):
    """Return how many answers the best of all functions of the last `window` steps before each gets right."""
    steps = len(batch.inputs)
    targets = batch.targets.reshape(items, -1)
    right = 0
    for item in range(items):
        end = steps - items + item + 1
        seen = defaultdict(Counter)
        for column in range(batch.inputs.shape[1]):
            key = batch.inputs[max(0, end - window) : end, column].numpy().tobytes()
            seen[key][int(targets[item, column])] += 1
        right += sum(counts.most_common(1)[0][1] for counts in seen.values())
    return right / targets.numel()


@pytest.mark.parametrize("name", BUILD)
@pytest.mark.parametrize("delay", [2, 5, 9])
def test_the_demand_is_exact(name, delay):
    """Whoever knows the last `delay` steps answers at chance, whoever knows one more, always."""
    task = BUILD[name](delay, examples=1500)
    assert task.memory_demand == delay
    batch = everything(task)
    items = 2 if name == "copy" else 1
    chance = 1 / (2 if name == "delayed-xor" else 3)
    # a window that ends with the answer's step holds the inputs at lags 0 … window − 1
    assert best_accuracy(batch, delay + 1, items) == 1
    # of 1500 guesses 0.025 is twice the standard deviation; the best of a few functions gains as much again
    assert chance - 0.03 < best_accuracy(batch, delay, items) < chance + 0.06


def test_the_demand_is_exact_with_noise_between():
    """Noise says nothing of the class: among equal beginnings it is as likely for any."""
    batch = everything(tasks.delayed_recall(4, classes=2, shown=1, noise=0.3, examples=4000))
    between = batch.inputs[1:-1, :, :-1]
    assert abs(between.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / between.numel())
    for chosen in range(2):
        rates = between[:, batch.targets == chosen].mean(dim=1)
        # 2000 draws each: standard deviation 0.0102; the largest of 12 stays under four of them
        assert (rates - 0.3).abs().max() < 4 * 0.0103
    assert not batch.inputs[:-1, :, -1].any()
    assert not batch.inputs[-1, :, :-1].any()


def test_the_adding_problem_needs_both_numbers():
    """Squared errors of the best answers: knowing nothing 1/6, the second number alone 1/12, both 0."""
    task = tasks.adding(30, examples=2000)
    batch = everything(task)
    values, marks = batch.inputs[..., 0].double(), batch.inputs[..., 1]
    assert (task.memory_demand, task.steps, task.classes) == (30, 31, 1)
    assert torch.equal(marks.sum(dim=0), torch.full((2000,), 2.0))
    assert (marks[0] == 1).all()
    target = batch.targets.double()
    # sums of two float32 numbers, rounded once
    torch.testing.assert_close((values * marks).sum(dim=0), target, rtol=2**-23, atol=0)
    second = (values[1:] * marks[1:]).sum(dim=0)
    # means of 2000: standard deviations √(7/180/2000) = 0.0044 and √(1/180/2000) = 0.0017, four of them
    assert abs(((target - 1) ** 2).mean() - 1 / 6) < 4 * 0.0044
    assert abs(((target - second - 0.5) ** 2).mean() - 1 / 12) < 4 * 0.0017
    places = marks[1:].argmax(dim=0).bincount(minlength=30)
    # 67 for each of 30 places, standard deviation 8.0; the largest of 30 stays under four of them
    assert (places - 2000 / 30).abs().max() < 4 * 8.0


def test_delayed_recall_written_out():
    task = tasks.delayed_recall(3, classes=2, shown=2)
    batch = task.sample(20)
    for column, chosen in enumerate(batch.targets.tolist()):
        expected = torch.zeros(5, 3)
        expected[0, chosen] = expected[1, chosen] = expected[4, 2] = 1
        assert torch.equal(batch.inputs[:, column], expected)
    assert set(batch.targets.tolist()) == {0, 1}


def test_delayed_xor_written_out():
    batch = tasks.delayed_xor(3, shown=2).sample(20)
    for column, target in enumerate(batch.targets.tolist()):
        first, second = (int(batch.inputs[step, column].argmax()) for step in (0, 4))
        expected = torch.zeros(5, 2)
        expected[:2, first] = expected[3:, second] = 1
        assert torch.equal(batch.inputs[:, column], expected)
        assert target == (first != second)


def test_copy_written_out():
    task = tasks.copy(6, items=4, symbols=3)
    batch = task.sample(20)
    assert tuple(batch.targets.shape) == (4, 20)
    for column in range(20):
        expected = torch.zeros(10, 4)
        for item, symbol in enumerate(batch.targets[:, column].tolist()):
            expected[item, symbol] = 1
        expected[6:, 3] = 1
        assert torch.equal(batch.inputs[:, column], expected)


@pytest.mark.parametrize("name", ["delayed-recall", "delayed-xor", "copy"])
def test_every_class_is_equally_likely(name):
    task = tasks.by_name(name)
    counts = everything(task).targets.flatten().bincount(minlength=task.classes)
    mean = counts.sum() / task.classes
    # the largest of at most eight counts stays under four standard deviations
    assert (counts - mean).abs().max() < 4 * mean.sqrt()


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from(["delayed-recall", "delayed-xor", "copy", "adding"]),
    st.lists(st.integers(0, 39), min_size=1, max_size=8),
    st.sampled_from(Split),
    st.integers(0, 2**63 - 1),
)
def test_an_example_depends_on_its_number_and_nothing_else(name, indices, split, seed):
    task = tasks.by_name(name, examples=200, data_seed=seed)
    together = task.part(split).batch(indices)
    torch.manual_seed(seed % 7)
    for column, index in enumerate(indices):
        alone = task.part(split).batch([index])
        assert torch.equal(alone.inputs[:, 0], together.inputs[:, column])
        assert torch.equal(alone.targets[..., 0], together.targets[..., column])


@pytest.mark.parametrize("name", ["delayed-recall", "delayed-xor", "copy", "adding"])
def test_splits_and_seeds_give_other_examples(name):
    task = tasks.by_name(name, examples=100)
    assert [len(task.part(split)) for split in Split] == [100, 20, 20]
    first = [task.part(split).batch(range(20)).targets for split in Split]
    first.append(tasks.by_name(name, examples=100, data_seed=1).train.batch(range(20)).targets)
    for place, one in enumerate(first):
        assert not any(torch.equal(one, other) for other in first[:place])
    longer = tasks.by_name(name, examples=300).train.batch(range(20))
    assert torch.equal(longer.targets, first[0])


def test_the_examples_are_the_same_on_every_machine():
    recall = tasks.delayed_recall().train.batch(range(12)).targets.tolist()
    assert recall == RECALL
    assert tasks.copy(items=3).train.batch(range(3)).targets.tolist() == COPY
    sums = tasks.adding(5).train.batch(range(3)).targets.tolist()
    np.testing.assert_allclose(sums, SUMS, rtol=0, atol=5e-8)  # written with seven digits


RECALL = [1, 3, 2, 1, 1, 2, 3, 3, 2, 1, 1, 3]
COPY = [[5, 1, 7], [7, 5, 1], [2, 2, 5]]
SUMS = [0.7743476, 0.9119374, 1.8198745]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: tasks.delayed_recall(0), "delay: got 0, expected an integer of at least 1"),
        (lambda: tasks.delayed_recall(classes=1), "classes: got 1, expected at least 2"),
        (lambda: tasks.delayed_recall(shown=0), "shown: got 0"),
        (
            lambda: tasks.delayed_recall(noise=1.0),
            "noise: got 1.0, expected a probability from 0 to less than",
        ),
        (lambda: tasks.delayed_xor(3), "delay: got 3, expected at least 5, so that bits shown for 5 steps"),
        (lambda: tasks.copy(9), "delay: got 9, expected at least 10, so that 10 items do not overlap"),
        (lambda: tasks.copy(symbols=1), "symbols: got 1, expected at least 2"),
        (lambda: tasks.adding(examples=0), "examples: got 0, expected an integer of at least 1"),
        (lambda: tasks.adding(data_seed=-1), "data_seed, as seed: got -1"),
        (
            lambda: tasks.by_name("adding", "here"),
            "adding: got the folder here, expected none, as its data are",
        ),
    ],
)
def test_what_cannot_be_generated_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_provenance_names_the_demand_and_the_options():
    facts = tasks.delayed_recall(7, noise=0.25, data_seed=4).provenance()
    assert {name: facts[name] for name in ("memory_demand", "shown", "noise", "data_seed")} == {
        "memory_demand": 7,
        "shown": 5,
        "noise": 0.25,
        "data_seed": 4,
    }
    assert (facts["task"], facts["task_source"]) == ("delayed-recall", "generated")


@pytest.mark.parametrize("name", ["delayed-recall", "delayed-xor", "copy", "adding"])
def test_a_network_learns_and_is_recorded_on_every_task(name):
    """One loop for all: classes, classes of steps and numbers; the loss falls, records say where it lies."""
    options = {"items": 2, "symbols": 2} if name == "copy" else {"shown": 1} if name == "delayed-xor" else {}
    task = tasks.by_name(name, delay=2, examples=200, **options)
    net = gf.RecurrentSNN(task, hidden=24, recurrence=gf.Skip(2))
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    losses = []
    for epoch in range(25 if name in ("copy", "delayed-xor") else 8):
        for batch in task.batches(100, epoch=epoch):
            loss = task.objective.losses(net(batch.inputs, engine=reference), batch.targets).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:2])
    batch = task.sample(5)
    record = gf.record(net, batch, engine=reference)
    own = task.objective.losses(net(batch.inputs, engine=reference), batch.targets)
    # the same pass in the same dtype
    np.testing.assert_allclose(record.loss.values, own.detach().numpy(), rtol=1e-6, atol=1e-9)
    expected = {
        "copy": ("cross_entropy_per_step", "each of the last 2 steps"),
        "adding": ("squared_error", "last"),
    }
    assert (record.attrs["criterion"], record.attrs["loss_placement"]) == expected.get(
        name, ("cross_entropy", "last")
    )
