"""Spoken words as events of 700 channels: the Spiking Heidelberg Digits and the Spiking Speech Commands.

shd and ssc as in Cramer, Stradmann, Schemmel & Zenke (2020), "The Heidelberg spiking data sets for the
systematic evaluation of spiking neural networks" (arXiv:1910.07407). In a batch: time batch input, float32
counts of events; an example is read and binned when its batch is asked for, in about 0.5 ms (8,000 events).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from gradflow import seeds
from gradflow.tasks.archives import unzip_member
from gradflow.tasks.base import Batch, Examples, Task, check_seed, require_count
from gradflow.tasks.download import Published, fetch
from gradflow.tasks.event_files import CHANNELS, MICROSECONDS, Binning, Header, read_counts, read_header
from gradflow.tasks.folders import data_folder, state_of
from gradflow.tasks.idx import InvalidFileError

FolderName: TypeAlias = str | PathLike[str]

SITE = "https://zenkelab.org/datasets/"
SHD_FILES = ("shd_train.h5", "shd_test.h5")
SSC_FILES = ("ssc_train.h5", "ssc_valid.h5", "ssc_test.h5")
SHD_CLASSES, SSC_CLASSES = 20, 35
CHECKSUMS = {
    "shd_train.h5": "f3252aeb598ac776c1b526422d90eecb",
    "shd_test.h5": "1503a5064faa34311c398fb0a1ed0a6f",
    "ssc_train.h5": "d102be95e7144fcc0553d1f45ba94170",
    "ssc_valid.h5": "b4eee3516a4a90dd0c71a6ac23a8ae43",
    "ssc_test.h5": "a35ff1e9cffdd02a20eb850c17c37748",
}
"""MD5 of each file's zip, as tonic and SpikingJelly check it too."""
VALIDATION_SHARE = 10  # of shd's training file one part in 10, as it has no published validation set


@dataclass(frozen=True, eq=False, repr=False)
class Events(Examples):
    """Hold the places of a split's examples in an HDF5 file; read and bin them when a batch is made."""

    path: Path
    labels: Int[np.ndarray, " example"]
    index: Int[np.ndarray, " example"]
    binning: Binning

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor) -> Batch:
        """Return these examples as inputs (time, batch, input), float32 counts, and targets (batch,), int64.

        Raises ValueError for indices outside 0 … len−1, or none; InvalidFileError for events that cannot be.
        """
        rows = self.rows(indices)
        counts = read_counts(self.path, self.index[rows], self.binning)
        return Batch(torch.from_numpy(counts.astype(np.float32)), torch.from_numpy(self.labels[rows]))


def shd(
    folder: FolderName | None = None,
    *,
    download: bool = False,
    bins: int = 250,
    duration: float = 1.4,
    neighbours: int = 5,
    split_seed: int = 0,
) -> Task:
    """Build the task of naming a digit spoken in English or German from its events: 250 × 140, 20 classes.

    `folder` holds shd_train.h5 and shd_test.h5, unpacked, itself or in a folder SHD (as tonic keeps them);
    the default is `shd` in gradflow's own folder. With `download`, files that are missing are fetched there
    and checked. `duration` seconds (default 1.4) make `bins` steps, `neighbours` channels of 700 one input
    (see `gradflow.tasks.event_files.Binning`).

    No validation set is published: one tenth of the training file, at least one, is drawn for it at random
    by `split_seed` (stream "split"). Its speakers are heard in training too, while two of the test set's are
    not: validation accuracy lies above test accuracy.

    Raises ValueError for neighbours that do not divide 700, FileNotFoundError for missing files,
    InvalidFileError (a ValueError) for bad ones; errors of `download` as in `gradflow.tasks.download.fetch`.
    """
    check_seed("split_seed", split_seed)
    binning = _binning(bins, duration, neighbours)
    train, test = _files("SHD", folder, SHD_FILES, download=download)
    known, header = read_header(train, SHD_CLASSES), read_header(test, SHD_CLASSES)
    count = len(known.labels)
    if count < 2:
        raise InvalidFileError(
            f"{train}: {count} training example, expected at least 2, as one is set aside for validation. "
            "Fetch the file again"
        )
    order = seeds.permutation(split_seed, "split", size=count)
    held_out = max(1, count // VALIDATION_SHARE)
    parts = [
        _events(train, known, order[held_out:], binning),
        _events(train, known, order[:held_out], binning),
    ]
    return _task(
        "shd", SHD_CLASSES, [*parts, _events(test, header, None, binning)], known, split_seed=split_seed
    )


def ssc(
    folder: FolderName | None = None,
    *,
    download: bool = False,
    bins: int = 250,
    duration: float = 1.4,
    neighbours: int = 5,
) -> Task:
    """Build the task of naming one of 35 spoken words from its events: 250 × 140, 35 classes.

    `folder` holds ssc_train.h5, ssc_valid.h5 and ssc_test.h5, the published splits, itself or in a folder
    SSC; the rest is as in `shd`. Nothing is drawn at random.

    Raises as `shd` does.
    """
    binning = _binning(bins, duration, neighbours)
    paths = _files("SSC", folder, SSC_FILES, download=download)
    headers = [read_header(path, SSC_CLASSES) for path in paths]
    parts = [_events(path, header, None, binning) for path, header in zip(paths, headers, strict=True)]
    return _task("ssc", SSC_CLASSES, parts, headers[0])


def _binning(bins: int, duration: float, neighbours: int) -> Binning:
    require_count("bins", bins)
    require_count("neighbours", neighbours)
    if CHANNELS % neighbours:
        raise ValueError(f"neighbours: got {neighbours}, expected a divisor of {CHANNELS} channels")
    number = isinstance(duration, int | float) and np.isfinite(duration)
    if not number or round(duration * MICROSECONDS) < 1:
        raise ValueError(f"duration: got {duration!r}, expected seconds, at least 0.000001")
    return Binning(bins, round(duration * MICROSECONDS), neighbours)


def _events(
    path: Path, header: Header, index: Int[np.ndarray, " example"] | None, binning: Binning
) -> Events:
    chosen = np.arange(len(header.labels)) if index is None else index
    labels = header.labels[chosen]
    for array in (chosen, labels):
        array.flags.writeable = False
    return Events(path, labels, chosen, binning)


def _task(
    name: str, classes: int, parts: list[Events], header: Header, *, split_seed: int | None = None
) -> Task:
    train, validation, test = parts
    binning = train.binning
    return Task(
        name=name,
        steps=binning.bins,
        inputs=binning.inputs,
        classes=classes,
        train=train,
        validation=validation,
        test=test,
        source=train.path.parent.resolve().name,
        split_seed=split_seed,
        settings={"duration": binning.microseconds / MICROSECONDS, "neighbours": binning.neighbours},
        class_names=header.names,
    )


def _files(
    publication: str, folder: FolderName | None, names: tuple[str, ...], *, download: bool
) -> list[Path]:
    """Return the paths of the published files, fetched first where that is wanted."""
    named = data_folder() / publication.lower() if folder is None else Path(folder).expanduser()
    inner = named / publication
    place = inner if (inner / names[0]).is_file() else named
    missing = [name for name in names if not (place / name).is_file()]
    if missing and download:
        for name in missing:
            archive = fetch(Published(f"{SITE}{name}.zip", f"{name}.zip", "md5", CHECKSUMS[name]), place)
            unzip_member(archive, place / name)
            archive.unlink()
    elif missing:
        packed = [
            name for name in missing if (place / f"{name}.zip").is_file() or (place / f"{name}.gz").is_file()
        ]
        advice = (
            f"Unpack {', '.join(packed)}"
            if packed
            else f"Name the folder that holds them (published at {SITE}), or have them fetched: "
            f"gradflow tasks --download {publication.lower()}, or download=True"
        )
        raise FileNotFoundError(
            f"{place}: {state_of(place, missing)}; expected a folder with {', '.join(names)}. {advice}"
        )
    return [place / name for name in names]
