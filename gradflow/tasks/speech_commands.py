"""Spoken commands as log-mel features: ten words, any other word, and silence (Google Speech Commands v2).

gsc as in Warden (2018, arXiv:1804.03209): 12 classes, the published validation and test lists. In a batch:
time batch input, float32; step t is the piece of sound centred on 10 t ms, input b a band.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gradflow import seeds
from gradflow.tasks.archives import untar
from gradflow.tasks.base import Batch, Examples, Split, Task, check_seed
from gradflow.tasks.download import Published, fetch
from gradflow.tasks.feature_files import Clip, features_file, read_features, scale_of
from gradflow.tasks.folders import data_folder
from gradflow.tasks.idx import InvalidFileError
from gradflow.tasks.mel import LogMel
from gradflow.tasks.recordings import AGAIN, KEYWORDS, LISTS, RATE, Recordings, length_of, list_recordings

FolderName: TypeAlias = str | PathLike[str]

ARCHIVE = Published(
    "https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
    "speech_commands_v0.02.tar.gz",
    "sha256",
    "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
)
CLASSES = ("_silence_", "_unknown_", *KEYWORDS)
"""In the published order."""
SILENCE, UNKNOWN = 0, 1
PLACES = {Split.TRAIN: (0, 8), Split.VALIDATION: (8, 9), Split.TEST: (9, 10)}
"""Which tenths of each recording of noise a split's silence is taken from."""


@dataclass(frozen=True, eq=False, repr=False)
class Spoken(Examples):
    """Hold the file with a split's features; read and scale the rows of a batch when it is made.

    In a batch: (features − mean) / deviation, both per band over the training examples.
    """

    path: Path
    labels: Int[np.ndarray, " example"]
    clips: tuple[Clip, ...] = field(repr=False)
    mean: Float[np.ndarray, " band"]
    deviation: Float[np.ndarray, " band"]

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Sequence[int] | np.ndarray | Tensor) -> Batch:
        """Return these examples as inputs (time, batch, input), float32, and targets (batch,), int64.

        Raises ValueError for indices outside 0 … len−1, or none.
        """
        rows = self.rows(indices)
        features = read_features(self.path)[rows]
        scaled = ((features - self.mean) / self.deviation).astype(np.float32)
        inputs = np.ascontiguousarray(scaled.transpose(1, 0, 2))
        return Batch(torch.from_numpy(inputs), torch.from_numpy(self.labels[rows]))


def gsc(
    folder: FolderName | None = None,
    *,
    download: bool = False,
    unknown_share: float = 0.1,
    silence_share: float = 0.1,
    data_seed: int = 0,
    mel: LogMel | None = None,
    cache: FolderName | None = None,
) -> Task:
    """Build the task of naming a spoken command: 101 × 40, 12 classes (silence, unknown and ten words).

    `folder` is the unpacked Speech Commands v2; the default is `gsc` in gradflow's own folder. With
    `download` it is fetched there first where it is missing, 2.4 GB, and checked. Clips shorter than a second
    are followed by zeros, as published.

    As published, each split has a tenth as many examples of silence and of unknown words as of the ten words
    together, rounded up: as many as of one word. `silence_share` and `unknown_share` change the tenth
    (unknown_share=inf: all other words). Unknown words are drawn among the split's recordings of other words;
    silence is a second of one of the recordings of noise at random, its first eight tenths for training, the
    ninth for validation, the last for test, so that no noise is heard in two splits (the published code draws
    all three from the whole of them). Both follow from `data_seed` (streams "unknown" and "silence", split).

    `mel` are the features (see `gradflow.tasks.mel`), computed at the first call (about 1 ms a clip) and kept
    in `cache` (default: `features` in gradflow's own folder), in files named after all they depend on. Each
    band is scaled by its mean and deviation over the training examples.

    Raises FileNotFoundError for missing files, InvalidFileError (a ValueError) for bad ones, ImportError
    without soundfile, ValueError for shares that are no numbers of at least 0.
    """
    check_seed("data_seed", data_seed)
    for name, share in (("unknown_share", unknown_share), ("silence_share", silence_share)):
        if isinstance(share, bool) or not isinstance(share, int | float) or not share >= 0:
            raise ValueError(f"{name}: got {share!r}, expected a number of at least 0, as in 0.1")
    if not np.isfinite(silence_share):
        raise ValueError(f"silence_share: got {silence_share!r}, expected a finite number, as in 0.1")
    features = mel or LogMel(rate=RATE)
    if features.rate != RATE:
        raise ValueError(f"mel: got a rate of {features.rate} Hz, expected {RATE}, that of the recordings")
    place = data_folder() / "gsc" if folder is None else Path(folder).expanduser()
    kept = data_folder() / "features" if cache is None else Path(cache).expanduser()
    if download and not all((place / name).is_file() for name in LISTS.values()):
        archive = fetch(ARCHIVE, place)
        untar(archive, place, last=tuple(LISTS.values()))
        archive.unlink()
    recordings = list_recordings(place)
    lengths = {name: length_of(place / name) for name in recordings.noise} if silence_share else {}
    clips = {
        split: clips_of(recordings, lengths, split, unknown_share, silence_share, data_seed)
        for split in Split
    }
    files = {
        split: features_file(place, clips[split], features, kept, f"gsc-{split.value}") for split in Split
    }
    mean, deviation = scale_of(files[Split.TRAIN])
    train, validation, test = (
        Spoken(files[split], _labels(clips[split]), clips[split], mean, deviation) for split in Split
    )
    steps, inputs = read_features(files[Split.TRAIN]).shape[1:]
    return Task(
        name="gsc",
        steps=steps,
        inputs=inputs,
        classes=len(CLASSES),
        train=train,
        validation=validation,
        test=test,
        source=place.resolve().name,
        settings={
            "unknown_share": unknown_share,
            "silence_share": silence_share,
            "data_seed": data_seed,
            "window": features.window,
            "hop": features.hop,
        },
        class_names=CLASSES,
    )


def clips_of(
    recordings: Recordings,
    lengths: dict[str, int],
    split: Split,
    unknown_share: float,
    silence_share: float,
    data_seed: int,
) -> tuple[Clip, ...]:
    """Return a split's clips: those of the ten words, of other words, and of silence, in this order.

    Raises InvalidFileError for a split without any of the ten words, no other words where some are wanted, or
    noise of less than ten seconds.
    """
    words = recordings.words[split]
    known = [Clip(file, 0, CLASSES.index(word)) for word in KEYWORDS for file in words[word]]
    if not known:
        raise InvalidFileError(
            f"{recordings.folder}: no recording of {', '.join(KEYWORDS)} for {split.value}, expected some. "
            f"{AGAIN}"
        )
    others = [file for word in sorted(set(words) - set(KEYWORDS)) for file in words[word]]
    wanted = len(others) if unknown_share == np.inf else int(np.ceil(unknown_share * len(known) - 1e-9))
    if wanted and not others:
        raise InvalidFileError(
            f"{recordings.folder}: no recording of other words for {split.value}, expected some for the "
            f"class _unknown_. {AGAIN}, or choose unknown_share=0"
        )
    order = seeds.permutation(data_seed, "unknown", split.value, size=len(others))
    unknown = [Clip(others[place], 0, UNKNOWN) for place in order[:wanted]]
    count = int(np.ceil(silence_share * len(known) - 1e-9))
    return (*known, *unknown, *_silence(recordings, lengths, split, count, data_seed))


def _silence(
    recordings: Recordings, lengths: dict[str, int], split: Split, count: int, data_seed: int
) -> list[Clip]:
    first, last = PLACES[split]
    draws = seeds.uniform(data_seed, "silence", split.value, shape=(count, 2))
    found = []
    for which, where in draws:
        file = recordings.noise[int(which * len(recordings.noise))]
        length = lengths[file]
        begin, room = length * first // 10, length * last // 10 - length * first // 10 - RATE
        if room < 0:
            raise InvalidFileError(
                f"{recordings.folder / file}: {length / RATE:.1f} s of noise, expected at least 10, a tenth "
                f"of which is as long as a clip. {AGAIN}, or choose silence_share=0"
            )
        found.append(Clip(file, begin + int(where * (room + 1)), SILENCE))
    return found


def _labels(clips: tuple[Clip, ...]) -> Int[np.ndarray, " example"]:
    labels = np.array([clip.label for clip in clips], dtype=np.int64)
    labels.flags.writeable = False
    return labels
