"""Reads the HDF5 files in which SHD and SSC are published, and counts their events in bins.

The format (Cramer, Stradmann, Schemmel & Zenke 2020, arXiv:1910.07407): `spikes/times` holds for each example
a list of times in seconds, `spikes/units` a list of as many channels, 0 … 699, and `labels` its class;
`extra/keys` the names of the classes. Stored: example event. Counted: time channel.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float, Int, Integer

from gradflow.tasks.idx import InvalidFileError

CHANNELS = 700
SIGNATURE = b"\x89HDF\r\n\x1a\n"
TIMES, UNITS, LABELS, KEYS = "spikes/times", "spikes/units", "labels", "extra/keys"
MICROSECONDS = 1_000_000
AGAIN = "Fetch or unpack the file again"


@dataclass(frozen=True)
class Binning:
    """Say how events become numbers: bins of equal length, and neighbouring channels taken together.

    An event of channel c at time t adds 1 to step ⌊t · bins / duration⌋ and input ⌊c / neighbours⌋; events at
    or after `duration` are dropped. Times count in whole microseconds, the rest cut off: where a bin is a
    whole number of them long, the counts are those of tonic's `ToFrame(time_window=duration/bins,
    start_time=0, end_time=duration)`, neighbouring channels then summed.
    """

    bins: int
    microseconds: int
    neighbours: int

    @property
    def inputs(self) -> int:
        """Return the number of inputs that the channels make."""
        return CHANNELS // self.neighbours

    def counts(
        self,
        times: Float[np.ndarray, " event"],
        units: Integer[np.ndarray, " event"],
        lengths: Int[np.ndarray, " batch"],
    ) -> Int[np.ndarray, "time batch input"]:
        """Return the number of events of each step, example and input; times in seconds, not negative.

        The events of the examples follow one another, `lengths[i]` of them for example i.

        >>> Binning(bins=2, microseconds=100, neighbours=350).counts(
        ...     np.array([0.0, 49e-6, 60e-6, 1e-4]), np.array([0, 349, 350, 0]), np.array([2, 2])
        ... ).tolist()
        [[[2, 0], [0, 0]], [[0, 0], [0, 1]]]
        """
        at = (np.asarray(times, dtype=np.float64) * MICROSECONDS).astype(np.int64)
        kept = at < self.microseconds
        example = np.repeat(np.arange(len(lengths)), lengths)[kept]
        step = at[kept] * self.bins // self.microseconds
        unit = units[kept].astype(np.int64) // self.neighbours
        cell = (step * len(lengths) + example) * self.inputs + unit
        shape = (self.bins, len(lengths), self.inputs)
        return np.bincount(cell, minlength=int(np.prod(shape))).reshape(shape)


@dataclass(frozen=True)
class Header:
    """What a file says without its events: the class of each example, and the classes' names where given."""

    labels: Int[np.ndarray, " example"]
    names: tuple[str, ...] | None


def read_header(path: Path, classes: int) -> Header:
    """Check a file's structure and labels, and return them; its events are checked when they are read.

    Raises FileNotFoundError for no file, InvalidFileError for one that is no HDF5 or cut off, that lacks a
    part, has parts of other types or lengths, or a label that is no class.
    """
    with _opened(path) as file:
        times, units, labels = (_dataset(path, file, name) for name in (TIMES, UNITS, LABELS))
        _require(path, TIMES, h5py.check_vlen_dtype(times.dtype), np.floating, "lists of seconds")
        _require(path, UNITS, h5py.check_vlen_dtype(units.dtype), np.integer, "lists of channels")
        _require(path, LABELS, labels.dtype, np.integer, "class numbers")
        if not len(times) == len(units) == len(labels) or not len(labels):
            raise InvalidFileError(
                f"{path}: {len(times)} lists of times, {len(units)} of units and {len(labels)} labels, "
                f"expected as many of each, and at least one. {AGAIN}"
            )
        found = np.asarray(_read(path, LABELS, labels, ())).astype(np.int64)
        names = _names(file, classes)
    wrong = np.flatnonzero((found < 0) | (found >= classes))
    if wrong.size:
        raise InvalidFileError(
            f"{path}: label {found[wrong[0]]} of example {wrong[0]} ({wrong.size} such labels), expected 0 "
            f"to {classes - 1}. Check that the file is the published one and bears its own name"
        )
    found.flags.writeable = False
    return Header(found, names)


def read_counts(
    path: Path, examples: Int[np.ndarray, " batch"], binning: Binning
) -> Int[np.ndarray, "time batch input"]:
    """Return the counts of these examples, in this order, from one opening of the file.

    Raises InvalidFileError for events of an example that cannot be read, are not as many times as units, at
    a time below 0, or of a channel that is not 0 … 699.
    """
    # each example once and in the order of the file: many times faster than one by one
    once, place = np.unique(examples, return_inverse=True)
    with _opened(path) as file:
        times, units = (_read(path, name, file[name], once) for name in (TIMES, UNITS))
    for example, at, of in zip(once.tolist(), times, units, strict=True):
        if len(at) != len(of):
            raise InvalidFileError(
                f"{path}: example {example} has {len(at)} times and {len(of)} units, expected as many. "
                f"{AGAIN}"
            )
    lengths = np.array([len(times[i]) for i in place], dtype=np.int64)
    of_event = np.repeat(examples, lengths)
    at = np.concatenate([times[i] for i in place]).astype(np.float64)
    channel = np.concatenate([units[i] for i in place])
    _require_all(path, np.isfinite(at) & (at >= 0), of_event, at, "at {} s, expected times from 0 on")
    within = (channel >= 0) & (channel < CHANNELS)
    _require_all(path, within, of_event, channel, f"of channel {{}}, expected 0 to {CHANNELS - 1}")
    return binning.counts(at, channel, lengths)


def _require_all(path: Path, right: np.ndarray, of_event: np.ndarray, values: np.ndarray, what: str) -> None:
    wrong = np.flatnonzero(~right)
    if wrong.size:
        found = what.format(values[wrong[0]])
        raise InvalidFileError(f"{path}: example {of_event[wrong[0]]} has an event {found}. {AGAIN}")


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Open a file, and say what it is instead where it is no whole HDF5 file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected the published HDF5 file")
    try:
        file = h5py.File(path, "r")
    except PermissionError:
        raise
    except OSError as error:
        with path.open("rb") as content:
            start = content.read(len(SIGNATURE))
        if start == SIGNATURE:
            what = f"truncated or damaged HDF5 ({error})"
        else:
            what = f"not an HDF5 file: it opens with {start!r}" if start else "an empty file"
        raise InvalidFileError(f"{path}: {what}; expected the published HDF5 file, whole. {AGAIN}") from error
    with file:
        yield file


def _dataset(path: Path, file: h5py.File, name: str) -> Any:
    try:
        found = file.get(name)
    except (OSError, RuntimeError, KeyError) as error:
        raise InvalidFileError(f"{path}: {name} cannot be read ({error}). {AGAIN}") from error
    if not isinstance(found, h5py.Dataset) or found.ndim != 1:
        held = ", ".join(sorted(file)) or "nothing"
        raise InvalidFileError(
            f"{path}: no list {name}, but {held}; expected {TIMES}, {UNITS} and {LABELS}. Check that the "
            "file is the published one and bears its own name"
        )
    return found


def _require(path: Path, name: str, dtype: Any, kind: Any, what: str) -> None:
    if dtype is None or not np.issubdtype(dtype, kind):
        raise InvalidFileError(
            f"{path}: {name} holds {dtype or 'no lists'}, expected {what} ({kind.__name__}). {AGAIN}"
        )


def _read(path: Path, name: str, dataset: Any, place: Any) -> Any:
    try:
        return dataset[place]
    except (OSError, RuntimeError) as error:
        raise InvalidFileError(f"{path}: {name} cannot be read ({error}). {AGAIN}") from error


def _names(file: h5py.File, classes: int) -> tuple[str, ...] | None:
    """Return the names of the classes; None where the file has not one for each."""
    keys = file.get(KEYS)
    if not isinstance(keys, h5py.Dataset) or keys.shape != (classes,):
        return None
    return tuple(key.decode(errors="replace") if isinstance(key, bytes) else str(key) for key in keys[()])
