"""Small data sets in exactly the published formats: HDF5 files of events, a folder of wav files."""

import wave

import h5py
import numpy as np

from gradflow.tasks.recordings import KEYWORDS, NOISE, RATE


def events(count, classes, seed=0, most=60):
    """Return sorted times (float16, seconds), units (uint16) and labels of `count` examples; one is empty."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, most, count)
    lengths[count // 2] = 0
    times = [np.sort(draw.uniform(0, 1.5, n)).astype(np.float16) for n in lengths]
    units = [draw.integers(0, 700, n).astype(np.uint16) for n in lengths]
    labels = draw.integers(0, classes, count).astype(np.uint16)
    labels[-1] = classes - 1
    return times, units, labels


def write_events(path, times, units, labels, *, classes=20, times_dtype=np.float16, units_dtype=np.uint16):
    """Write an HDF5 file as Cramer et al. (2020) publish it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, dtype, lists in (("times", times_dtype, times), ("units", units_dtype, units)):
            stored = file.create_dataset(f"spikes/{name}", (len(lists),), dtype=h5py.vlen_dtype(dtype))
            for place, values in enumerate(lists):
                stored[place] = np.asarray(values, dtype=dtype)
        file["labels"] = labels
        file["extra/keys"] = np.array([f"word {c}".encode() for c in range(classes)])
        file["extra/speaker"] = np.zeros(len(labels), dtype=np.uint16)
    return path


def write_shd(folder, train=24, test=6):
    for name, count, seed in (("train", train, 1), ("test", test, 2)):
        write_events(folder / f"shd_{name}.h5", *events(count, 20, seed))
    return folder


def write_ssc(folder, counts=(8, 4, 5)):
    for seed, (name, count) in enumerate(zip(("train", "valid", "test"), counts, strict=True)):
        write_events(folder / f"ssc_{name}.h5", *events(count, 35, seed), classes=35)
    return folder


def write_wave(path, samples, *, rate=RATE, channels=1):
    """Write 16-bit PCM, as Speech Commands is published; samples in −1 … 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.round(np.asarray(samples) * 32767).astype("<i2").tobytes())
    return path


def write_commands(folder, train=3, held_out=1, others=("bed", "zero")):
    """Write a folder of Speech Commands: a tone of its own for each word, one clip shorter than a second."""
    draw = np.random.default_rng(5)
    lists = {"validation_list.txt": [], "testing_list.txt": []}
    for place, word in enumerate((*KEYWORDS, *others)):
        for number in range(train + 2 * held_out):
            length = RATE if number else RATE - 1234
            tone = 0.3 * np.sin(2 * np.pi * (200 + 300 * place) * np.arange(length) / RATE)
            name = f"{word}/{number:08x}_nohash_0.wav"
            write_wave(folder / name, tone + 0.01 * draw.standard_normal(length))
            if number >= train:
                lists[list(lists)[(number - train) % 2]].append(name)
    for name in ("white_noise", "running_tap"):
        write_wave(folder / NOISE / f"{name}.wav", 0.1 * draw.uniform(-1, 1, 12 * RATE))
    (folder / NOISE / "README.md").write_text("not a recording")
    for name, lines in lists.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    (folder / "LICENSE").write_text("not a folder")
    return folder
