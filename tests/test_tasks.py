"""The parts every task is made of, on examples that carry their own number, and the registry."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import config

import gradflow as gf
from gradflow import tasks
from gradflow.tasks import Batch, Examples, Sizes, Split, Task


@pytest.fixture
def without_shape_checks(monkeypatch):
    """Call the library as its users do: the shape checks of the test run would refuse the call first."""
    monkeypatch.setattr(config, "jaxtyping_disable", True)


class Numbered(Examples):
    """Example i has the inputs i at each of three steps, two features: nothing like a digit."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def batch(self, indices):
        rows = torch.from_numpy(self.rows(indices))
        return Batch(rows.float().expand(3, 2, -1).transpose(1, 2), rows % 4)


def numbered(train=20, validation=5, test=7, **options):
    parts = {"train": Numbered(train), "validation": Numbered(validation), "test": Numbered(test)}
    return Task(
        **{"name": "numbered", "steps": 3, "inputs": 2, "classes": 4, **parts, "source": "here"} | options
    )


def drawn(batch):
    return batch.inputs[0, :, 0].int().tolist()


@settings(deadline=None)
@given(st.sampled_from(Split), st.integers(1, 5), st.integers(0, 2**63 - 1))
def test_a_sample_has_different_examples_and_begins_every_larger_one(split, n, seed):
    task = numbered()
    batch = task.sample(n, split=split, seed=seed)
    assert tuple(batch.inputs.shape) == (3, n, 2)
    assert len(set(drawn(batch))) == n
    assert drawn(task.sample(5, split=split, seed=seed))[:n] == drawn(batch)
    everything = drawn(task.sample(len(task.part(split)), split=split, seed=seed))
    assert sorted(everything) == list(range(len(task.part(split))))


def test_every_ordered_pair_is_equally_likely():
    task = numbered(train=5)
    counts = Counter(tuple(drawn(task.sample(2, seed=seed))) for seed in range(2000))
    assert set(counts) == set(itertools.permutations(range(5), 2))
    # 2000 draws over 20 pairs: 100 each, standard deviation 9.7; the largest of 20 stays under four of them
    assert max(abs(count - 100) for count in counts.values()) < 4 * 9.7


def test_samples_depend_on_seed_and_split_and_on_nothing_else():
    task = numbered(20, 20, 20)
    torch.manual_seed(0)
    first = drawn(task.sample(8))
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 (the global state is what must not matter)
    assert drawn(numbered(20, 3, 4, name="other").sample(8)) == first
    assert drawn(task.sample(8, seed=1)) != first
    assert len({tuple(drawn(task.sample(8, split=split))) for split in Split}) == 3


@pytest.mark.parametrize("n", [0, -1])
def test_a_sample_has_at_least_one_example(n):
    with pytest.raises(ValueError, match=f"n: got {n}, expected an integer of at least 1"):
        numbered().sample(n)


def test_a_sample_is_at_most_the_split():
    message = r"n: got 6, expected at most 5, the number of validation examples of numbered \(here\)"
    with pytest.raises(ValueError, match=message):
        numbered().sample(6, split=Split.VALIDATION)


def test_a_bad_sampling_seed_is_refused():
    with pytest.raises(ValueError, match="seed: got -1"):
        numbered().sample(1, seed=-1)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([-1], r"indices: got -1, expected 0 to 19"),
        ([3, 20], r"indices: got 20, expected 0 to 19"),
        ([], r"of shape \(0,\), expected a non-empty list of whole numbers"),
        (np.zeros((2, 2), dtype=int), r"of shape \(2, 2\), expected a non-empty list"),
        (np.array([0.5]), r"got float64 of shape \(1,\)"),
        (np.ones(20, dtype=bool), r"got bool of shape \(20,\)"),
    ],
)
def test_bad_indices_are_refused(indices, message):
    with pytest.raises(ValueError, match=message):
        numbered().train.batch(indices)


@pytest.mark.parametrize(
    "indices", [[4, 0, 4], (4, 0, 4), np.array([4, 0, 4], dtype=np.uint8), torch.tensor([4, 0, 4])]
)
def test_indices_of_any_kind_keep_their_order_and_may_repeat(indices):
    assert drawn(numbered().train.batch(indices)) == [4, 0, 4]


def test_a_range_is_a_batch():
    assert drawn(numbered().test.batch(range(7))) == list(range(7))


def test_a_batch_changes_dtype_and_device_of_inputs_and_only_device_of_targets():
    batch = numbered().sample(4)
    double = batch.to(dtype=torch.float64, device="meta")
    assert (double.inputs.dtype, double.targets.dtype) == (torch.float64, torch.int64)
    assert (double.inputs.device.type, double.targets.device.type) == ("meta", "meta")
    assert batch.inputs.dtype == torch.float32
    assert torch.equal(batch.to(dtype=torch.float64).inputs, batch.inputs.double())


def test_a_batch_of_integers_is_refused(without_shape_checks):
    with pytest.raises(ValueError, match=r"inputs: got torch.int64 of shape .3, 4, 2., expected floating"):
        numbered().sample(4).to(dtype=torch.int64)


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (
            torch.zeros(3, 4),
            torch.zeros(4).long(),
            r"inputs: .*shape \(3, 4\), expected .*\(time, batch, input\)",
        ),
        (
            torch.zeros(3, 4, 1),
            torch.zeros(3).long(),
            r"targets: .*shape \(3,\), expected torch.int64 of shape \(4,\)",
        ),
        (torch.zeros(3, 4, 1), torch.zeros(4), "targets: got torch.float32"),
        (torch.zeros(3, 4, 1), torch.zeros(4, 10).long(), r"targets: .*of shape \(4, 10\)"),
    ],
)
def test_a_batch_whose_parts_do_not_fit_is_refused(without_shape_checks, inputs, targets, message):
    with pytest.raises(ValueError, match=message):
        Batch(inputs, targets)


@pytest.mark.parametrize("size", [{"inputs": 0, "classes": 2}, {"inputs": 1, "classes": 0}])
def test_sizes_are_at_least_one(size):
    with pytest.raises(ValueError, match=r"(inputs|classes): got 0, expected an integer of at least 1"):
        Sizes(**size)
    with pytest.raises(ValueError, match="steps: got 0, expected"):
        Sizes(1, 2, steps=0)
    assert Sizes(1, 2) == Sizes(inputs=1, classes=2, steps=None)


def test_a_task_is_checked():
    with pytest.raises(ValueError, match="steps: got 0"):
        numbered(steps=0)
    with pytest.raises(ValueError, match="numbered: got an empty test split"):
        numbered(test=0)
    with pytest.raises(ValueError, match="permutation: got 3 entries, expected each of 0 … 2 once"):
        numbered(permutation=(0, 2, 2))
    with pytest.raises(ValueError, match="permutation: got 4 entries"):
        numbered(permutation=(0, 1, 2, 3))


def test_objects_are_frozen():
    for thing, name in ((numbered(), "steps"), (numbered().sample(1), "inputs"), (Sizes(1, 2), "inputs")):
        with pytest.raises(AttributeError, match="cannot assign"):
            setattr(thing, name, 1)


def test_provenance_is_flat():
    expected = {"task": "numbered", "task_source": "here", "steps": 3}
    nothing = dict.fromkeys(["permutation_seed", "split_seed", "pool"], "none")
    assert numbered().provenance() == expected | nothing
    assert numbered(pool=2, split_seed=5, permutation_seed=0).provenance() == expected | {
        "permutation_seed": 0,
        "split_seed": 5,
        "pool": 2,
    }


def test_what_is_no_split_is_refused(without_shape_checks):
    with pytest.raises(
        ValueError, match=r"split: got 'test', expected Split.TRAIN, Split.VALIDATION or Split.TEST"
    ):
        numbered().part("test")


@pytest.mark.parametrize("n", [True, 2.0, None, "3"])
def test_a_number_of_another_kind_is_refused(without_shape_checks, n):
    with pytest.raises(ValueError, match=f"n: got {n!r}, expected an integer of at least 1"):
        numbered().sample(n)


def test_tasks_by_name():
    task = tasks.by_name("psmnist", permutation_seed=3, pool=4)
    assert task.provenance() == tasks.psmnist(permutation_seed=3, pool=4).provenance()
    assert tasks.by_name("smnist").name == "smnist"
    with pytest.raises(ValueError, match="task: got 'mnist', expected one of smnist, psmnist"):
        tasks.by_name("mnist")
    with pytest.raises(
        ValueError, match="smnist: got the option permutation_seed, expected only split_seed, pool"
    ):
        tasks.by_name("smnist", permutation_seed=1)
    with pytest.raises(FileNotFoundError, match="nowhere: does not exist"):
        tasks.by_name("smnist", "nowhere")


def test_an_epoch_is_each_example_once_in_an_order_of_its_own():
    task = numbered(20, 5, 7)
    orders = [task.order(seed=seed, epoch=epoch).tolist() for seed in range(3) for epoch in range(3)]
    assert all(sorted(order) == list(range(20)) for order in orders)
    assert len({tuple(order) for order in orders}) == 9
    assert task.order(split=Split.TEST, seed=1, epoch=2).tolist() == list(range(7))
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002 (the global state is what must not matter)
    assert numbered(20, 2, 2, name="other").order(seed=1, epoch=1).tolist() == orders[4]


@settings(deadline=None)
@given(st.integers(1, 25), st.sampled_from(Split), st.integers(0, 50), st.data())
def test_batches_can_be_resumed_anywhere(size, split, epoch, data):
    task = numbered(20, 5, 7)
    whole = [drawn(batch) for batch in task.batches(size, split=split, epoch=epoch, seed=4)]
    assert list(itertools.chain(*whole)) == task.order(split=split, epoch=epoch, seed=4).tolist()
    assert all(len(batch) == size for batch in whole[:-1])
    start = data.draw(st.integers(0, len(whole)))
    rest = [drawn(batch) for batch in task.batches(size, split=split, epoch=epoch, seed=4, start=start)]
    assert rest == whole[start:]


def test_batches_are_read_when_they_are_asked_for():
    task = numbered()
    asked = []
    task.train.batch = lambda indices: asked.append(len(indices)) or Numbered(20).batch(indices)
    batches = task.batches(8, start=1)
    assert asked == []
    assert next(batches).provenance == {
        **task.provenance(),
        "split": "train",
        "order_seed": 0,
        "epoch": 0,
    }
    assert asked == [8]


@pytest.mark.parametrize("start", [-1, 4, 1.0, True])
def test_a_bad_start_is_refused_at_once(without_shape_checks, start):
    message = rf"start: got {start!r}, expected 0 to 3, the number of batches of 8 in the 20 train examples"
    with pytest.raises(ValueError, match=message):
        numbered().batches(8, start=start)


def test_a_bad_batch_size_is_refused_at_once():
    with pytest.raises(ValueError, match="size: got 0, expected an integer of at least 1"):
        numbered().batches(0)


def test_the_splits_of_a_task_have_one_objective():
    class Other(Numbered):
        @property
        def objective(self):
            return tasks.Classification(gf.readout.Readout.LAST)

    with pytest.raises(ValueError, match=r"numbered: got Classification\(readout=<Readout.LAST.* for test"):
        numbered().__class__(
            "numbered", 3, 2, 4, train=Numbered(4), validation=Numbered(2), test=Other(2), source="here"
        )


def test_there_is_a_name_for_every_class():
    with pytest.raises(ValueError, match="class_names: got 2, expected 4, one per class"):
        numbered(class_names=("a", "b"))


def test_settings_and_demand_are_provenance_where_there_are_any():
    facts = numbered(settings={"width": 2.5}, memory_demand=3).provenance()
    assert (facts["width"], facts["memory_demand"]) == (2.5, 3)
    assert numbered().memory_demand is None
