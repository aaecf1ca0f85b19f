"""Reads a folder of Speech Commands: which recording belongs to which split and word, and its sound.

The format (Warden 2018, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition",
arXiv:1804.03209): a folder of wav files for each word (16 kHz, one channel, up to 1 s), the folder
`_background_noise_` with longer ones, and `validation_list.txt` and `testing_list.txt`, which name the
recordings of their splits, word/file.wav, a line each; all others are for training. Axis: sample.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from gradflow.tasks.base import Split
from gradflow.tasks.folders import state_of
from gradflow.tasks.idx import InvalidFileError

RATE = 16_000
"""Samples a second, and so the length of every clip."""
KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
NOISE = "_background_noise_"
LISTS = MappingProxyType({Split.VALIDATION: "validation_list.txt", Split.TEST: "testing_list.txt"})
AGAIN = "Fetch or unpack the data set again"
EXTRA = "pip install 'gradflow-snn[speech]'"

ByWord: TypeAlias = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Recordings:
    """The recordings of a folder, as word/file.wav, by split and word; and those of noise."""

    folder: Path
    words: Mapping[Split, ByWord]
    noise: tuple[str, ...]


def list_recordings(folder: Path) -> Recordings:
    """Look through a folder, and put each recording into its split; no sound is read.

    Raises FileNotFoundError for a folder without the lists, noise or one of the ten keywords;
    InvalidFileError for a folder without recordings, or a list that names what is not there.
    """
    needed = [*LISTS.values(), NOISE, *KEYWORDS]
    missing = [name for name in needed if not (folder / name).exists()]
    if missing:
        raise FileNotFoundError(
            f"{folder}: {state_of(folder, missing)}; expected the folder of Speech Commands with "
            f"{', '.join(LISTS.values())}, {NOISE} and a folder for each word. Name the folder that holds "
            "them, or have it fetched (2.4 GB): gradflow tasks --download gsc, or download=True"
        )
    named = {split: _read_list(folder / name) for split, name in LISTS.items()}
    twice = named[Split.VALIDATION] & named[Split.TEST]
    if twice:
        raise InvalidFileError(
            f"{folder / LISTS[Split.TEST]}: {min(twice)} is in {LISTS[Split.VALIDATION]} too, expected each "
            f"recording in one split. {AGAIN}"
        )
    found = {entry.name: _waves(entry) for entry in sorted(folder.iterdir()) if entry.is_dir()}
    noise = found.pop(NOISE)
    words = {word: names for word, names in found.items() if not word.startswith((".", "_"))}
    present = {name for names in words.values() for name in names}
    for split, names in named.items():
        if names - present:
            raise InvalidFileError(
                f"{folder / LISTS[split]}: names {min(names - present)} ({len(names - present)} such), which "
                f"is not in {folder}; expected recordings that are there. {AGAIN}"
            )
    return Recordings(folder, MappingProxyType(_by_split(words, named)), noise)


def _by_split(words: ByWord, named: Mapping[Split, frozenset[str]]) -> dict[Split, ByWord]:
    held_out = named[Split.VALIDATION] | named[Split.TEST]
    found: dict[Split, ByWord] = {}
    for split in Split:
        chosen = named.get(split)
        found[split] = {
            word: tuple(
                name for name in names if (name in chosen if chosen is not None else name not in held_out)
            )
            for word, names in words.items()
        }
    return found


def _waves(folder: Path) -> tuple[str, ...]:
    """Return a folder's wav files in order, as folder/file; the hidden ones some systems add do not count."""
    names = sorted(path.name for path in folder.iterdir() if path.suffix.lower() == ".wav")
    found = tuple(f"{folder.name}/{name}" for name in names if not name.startswith("."))
    if not found and not folder.name.startswith("."):
        raise InvalidFileError(f"{folder}: holds no wav file, expected at least one. {AGAIN}")
    return found


def _read_list(path: Path) -> frozenset[str]:
    """Return the recordings a list names.

    Raises InvalidFileError for what is no list of word/file.wav.
    """
    try:
        lines = path.read_text(encoding="utf-8").split()
    except UnicodeDecodeError as error:
        raise InvalidFileError(
            f"{path}: not text ({error}), expected lines of word/file.wav. {AGAIN}"
        ) from error
    wrong = [line for line in lines if line.count("/") != 1 or not line.endswith(".wav")]
    if wrong or not lines:
        what = f"found {wrong[0]!r}" if wrong else "found nothing"
        raise InvalidFileError(f"{path}: {what}, expected lines of word/file.wav. {AGAIN}")
    return frozenset(lines)


def length_of(path: Path) -> int:
    """Return the number of samples of a recording, checked as `read_wave` does, without reading its sound."""
    soundfile = _soundfile()
    _require_whole(path)
    try:
        info = soundfile.info(str(path))
    except soundfile.LibsndfileError as error:
        raise _no_sound(path, error) from error
    _require_kind(path, info.samplerate, info.channels, info.frames)
    return int(info.frames)


def read_wave(path: Path, start: int = 0) -> Float[np.ndarray, " sample"]:
    """Return one second of a recording from `start` on, in −1 … 1; zeros follow where it ends earlier.

    Raises InvalidFileError for a file that is no sound, cut off, empty, of another rate or of several
    channels; ImportError without soundfile.
    """
    soundfile = _soundfile()
    _require_whole(path)
    try:
        with soundfile.SoundFile(str(path)) as sound:
            _require_kind(path, sound.samplerate, sound.channels, sound.frames)
            sound.seek(start)
            heard = sound.read(RATE, dtype="float64")
    except soundfile.LibsndfileError as error:
        raise _no_sound(path, error) from error
    wave = np.zeros(RATE)
    wave[: len(heard)] = heard
    return wave


def _soundfile() -> ModuleType:
    try:
        import soundfile
    except ImportError as error:
        raise ImportError(f"reading wav files needs soundfile, which is not installed: {EXTRA}") from error
    module: ModuleType = soundfile
    return module


def _require_whole(path: Path) -> None:
    """Raise InvalidFileError where a wav file is shorter than it says; libsndfile would read what is left."""
    with path.open("rb") as content:
        head = content.read(12)
    size = path.stat().st_size
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        what = f"it opens with {head!r}" if head else "an empty file"
        raise InvalidFileError(f"{path}: not a wav file: {what}; expected RIFF … WAVE. {AGAIN}")
    said = int.from_bytes(head[4:8], "little") + 8
    # 0 and the largest number are written where a recorder did not know the length
    if said > size and said not in (8, 0xFFFFFFFF + 8):
        raise InvalidFileError(
            f"{path}: truncated: {size} bytes, expected {said} as its header says. {AGAIN}"
        )


def _require_kind(path: Path, rate: int, channels: int, frames: int) -> None:
    if rate != RATE or channels != 1:
        raise InvalidFileError(
            f"{path}: {channels} channel(s) of {rate} Hz, expected one of {RATE} Hz, as published. Convert "
            f"it, or {AGAIN[0].lower()}{AGAIN[1:]}"
        )
    if frames < 1:
        raise InvalidFileError(f"{path}: holds no sound, expected at least one sample. {AGAIN}")


def _no_sound(path: Path, error: Exception) -> InvalidFileError:
    return InvalidFileError(f"{path}: cannot be read as sound ({error}), expected a wav file. {AGAIN}")
