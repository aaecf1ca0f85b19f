"""Features of many recordings, computed once and kept in files named after everything they depend on.

A file holds example frame band as float32 (npy); it is mapped into memory, so that a batch reads its rows
alone. Changing a parameter, a recording or the choice of examples changes the name, and so makes a new file.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from gradflow.tasks.bars import bar
from gradflow.tasks.download import write_whole
from gradflow.tasks.mel import LogMel
from gradflow.tasks.recordings import read_wave

EDITION = 1
"""To be raised with every change to what the features are, so that older files are no longer read."""
CHUNK = 1024

Stored = Float32[np.ndarray, "example frame band"]


class Clip(NamedTuple):
    """A second of a recording: the file within the folder, its first sample, and the class."""

    file: str
    start: int
    label: int


def features_file(folder: Path, clips: Sequence[Clip], mel: LogMel, cache: Path, name: str) -> Path:
    """Return the file with the features of these clips, computed first where it is not there or not whole."""
    path = cache / f"{name}-{_key(folder, clips, mel)}.npy"
    frames = mel(np.zeros(mel.rate)).shape
    shape = (len(clips), *frames)
    if not _is_whole(path, shape):
        write_whole(path, lambda draft: _compute(draft, folder, clips, mel, shape))
    return path


def read_features(path: Path) -> Stored:
    """Map the features of a file into memory, read-only."""
    return np.asarray(np.load(path, mmap_mode="r"))


def scale_of(path: Path) -> tuple[Float[np.ndarray, " band"], Float[np.ndarray, " band"]]:
    """Return mean and standard deviation of each band over all examples and frames; kept beside the file.

    A band that never changes has the deviation 1.
    """
    place = path.with_suffix(".scale.npy")
    features = read_features(path)
    bands = features.shape[2]
    if not _is_whole(place, (2, bands)):
        write_whole(place, lambda draft: _save(draft, _moments(features)))
    mean, deviation = np.load(place)
    return mean, deviation


def _moments(features: Stored) -> Float[np.ndarray, "2 band"]:
    """Take the mean first and the squares about it after, so that no digit is lost."""
    chunks = [features[at : at + CHUNK] for at in range(0, len(features), CHUNK)]
    count = features.shape[0] * features.shape[1]
    mean = sum(chunk.sum(axis=(0, 1), dtype=np.float64) for chunk in chunks) / count
    squares = sum(((chunk.astype(np.float64) - mean) ** 2).sum(axis=(0, 1)) for chunk in chunks)
    deviation = np.sqrt(squares / count)
    return np.stack([mean, np.where(deviation > 0, deviation, 1.0)])


def _key(folder: Path, clips: Sequence[Clip], mel: LogMel) -> str:
    """Return a name for everything the features depend on; files are told apart by size and date."""
    files = sorted({clip.file for clip in clips})
    facts = [(file, stat.st_size, stat.st_mtime_ns) for file in files for stat in [(folder / file).stat()]]
    text = json.dumps([EDITION, asdict(mel), facts, [(clip.file, clip.start) for clip in clips]])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _compute(draft: Path, folder: Path, clips: Sequence[Clip], mel: LogMel, shape: tuple[int, ...]) -> None:
    out = np.lib.format.open_memmap(draft, mode="w+", dtype=np.float32, shape=shape)
    with bar("log-mel features", len(clips)) as advance:
        for place, clip in zip(out, clips, strict=True):
            place[:] = mel(read_wave(folder / clip.file, clip.start))
            advance(1)
    out.flush()


def _save(draft: Path, array: np.ndarray) -> None:
    with draft.open("wb") as out:
        np.save(out, array)


def _is_whole(path: Path, shape: tuple[int, ...]) -> bool:
    """Return whether a file is there and holds an array of this shape, every byte of it."""
    try:
        return tuple(np.load(path, mmap_mode="r").shape) == shape
    except (OSError, ValueError, EOFError):
        return False
