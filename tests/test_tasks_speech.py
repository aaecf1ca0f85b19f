"""Speech Commands: a folder in exactly the published format, good and bad, written here."""

import hashlib
import json
import pickle
import sys

import numpy as np
import pytest
import torch
from published import write_commands, write_wave

from gradflow import tasks
from gradflow.tasks import InvalidFileError, LogMel, Split, feature_files
from gradflow.tasks.recordings import KEYWORDS, NOISE, RATE, list_recordings, read_wave
from gradflow.tasks.speech_commands import CLASSES

soundfile = pytest.importorskip("soundfile", reason="needs soundfile: pip install -e '.[speech]'")


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    return write_commands(tmp_path_factory.mktemp("speech") / "commands")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="module")
def task(commands, cache):
    return tasks.gsc(commands, cache=cache)


def files(task, split, label=None):
    return [clip.file for clip in task.part(split).clips if label is None or clip.label == label]


def test_sizes_are_the_published_ones(task):
    assert (task.steps, task.inputs, task.classes, task.source) == (101, 40, 12, "commands")
    assert task.class_names == ("_silence_", "_unknown_", *KEYWORDS) == CLASSES
    # ten words of 3, 1 and 1 recordings; a tenth as many, rounded up, of silence and of unknown words
    assert [len(task.part(split)) for split in Split] == [30 + 3 + 3, 10 + 1 + 1, 10 + 1 + 1]
    assert np.bincount(task.train.labels).tolist() == [3] * 12


def test_recordings_are_in_the_splits_of_the_published_lists(task, commands):
    lists = {
        split: (commands / name).read_text().split()
        for split, name in ((Split.VALIDATION, "validation_list.txt"), (Split.TEST, "testing_list.txt"))
    }
    for split, listed in lists.items():
        for file in files(task, split):
            assert file in listed or file.startswith(NOISE)
        wanted = {file for file in listed if file.split("/")[0] in KEYWORDS}
        assert wanted <= set(files(task, split))
    held_out = {file for listed in lists.values() for file in listed}
    assert not held_out & set(files(task, Split.TRAIN))
    for split in Split:
        for clip in task.part(split).clips:
            word = clip.file.split("/")[0]
            assert CLASSES[clip.label] == {NOISE: "_silence_", "bed": "_unknown_", "zero": "_unknown_"}.get(
                word, word
            )


def test_unknown_words_and_silence_follow_from_the_seed_and_are_settable(task, commands, cache):
    again = tasks.gsc(commands, cache=cache)
    other = tasks.gsc(commands, cache=cache, data_seed=1)
    for split in Split:
        assert again.part(split).clips == task.part(split).clips
    assert files(other, Split.TRAIN, 1) != files(task, Split.TRAIN, 1)
    assert other.train.clips[:30] == task.train.clips[:30]
    everything = tasks.gsc(commands, cache=cache, unknown_share=float("inf"), silence_share=0.0)
    assert np.bincount(everything.train.labels, minlength=12).tolist() == [0, 6] + [3] * 10
    assert len(set(files(everything, Split.TRAIN, 1))) == 6


def test_no_noise_is_heard_in_two_splits(commands, cache):
    task = tasks.gsc(commands, cache=cache, silence_share=2.0)
    tenth = 12 * RATE // 10
    for split, (first, last) in {
        Split.TRAIN: (0, 8),
        Split.VALIDATION: (8, 9),
        Split.TEST: (9, 10),
    }.items():
        starts = np.array([clip.start for clip in task.part(split).clips if clip.label == 0])
        assert len(starts) == 2 * (30 if split is Split.TRAIN else 10)
        assert (starts >= first * tenth).all()
        assert (starts + RATE <= last * tenth).all()
        assert len(set(starts.tolist())) > 5
    assert {clip.file for clip in task.train.clips if clip.label == 0} == {
        f"{NOISE}/running_tap.wav",
        f"{NOISE}/white_noise.wav",
    }


def test_batches_are_scaled_features_of_the_sound(task, commands):
    """Oracle: the wave read by Python's own module, LogMel of it, standardised over the training examples."""
    mel = LogMel()
    train = np.stack([mel(sound(commands / clip.file, clip.start)) for clip in task.train.clips])
    mean, deviation = train.mean(axis=(0, 1)), train.std(axis=(0, 1))
    batch = task.train.batch(range(len(task.train)))
    expected = (train - mean) / deviation
    # features are kept as float32: 24 bits of numbers up to 23, divided by deviations above 1
    np.testing.assert_allclose(batch.inputs.numpy().transpose(1, 0, 2), expected, rtol=0, atol=1e-5)
    test = task.test.batch([0, 11])
    clip = task.test.clips[11]
    assert clip.start > 0
    expected = (mel(sound(commands / clip.file, clip.start)) - mean) / deviation
    np.testing.assert_allclose(test.inputs[:, 1].numpy(), expected, rtol=0, atol=1e-5)
    assert (batch.inputs.dtype, batch.targets.tolist()) == (torch.float32, task.train.labels.tolist())


def sound(path, start):
    import wave

    with wave.open(str(path)) as stored:
        whole = np.frombuffer(stored.readframes(stored.getnframes()), "<i2") / 32768
    piece = whole[start : start + RATE]
    return np.pad(piece, (0, RATE - len(piece)))


def test_short_recordings_are_followed_by_zeros(commands):
    heard = read_wave(commands / "yes" / "00000000_nohash_0.wav")
    assert len(heard) == RATE
    assert heard[RATE - 1234 - 50 : RATE - 1234].any()
    assert not heard[RATE - 1234 :].any()


def test_features_are_computed_once_and_again_for_other_parameters(commands, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(feature_files, "read_wave", lambda *args: read.append(args) or read_wave(*args))
    first = tasks.gsc(commands, cache=tmp_path)
    assert len(read) == 60
    second = tasks.gsc(commands, cache=tmp_path)
    assert len(read) == 60
    assert torch.equal(first.sample(4).inputs, second.sample(4).inputs)
    coarse = tasks.gsc(commands, cache=tmp_path, mel=LogMel(window=640, size=1024, hop=320))
    assert (len(read), coarse.steps, coarse.provenance()["hop"]) == (120, 51, 320)
    assert len(list(tmp_path.iterdir())) == 2 * (3 + 1)


def test_a_changed_recording_is_read_again(tmp_path):
    folder = write_commands(tmp_path / "commands")
    before = tasks.gsc(folder, cache=tmp_path).test.path
    write_wave(folder / "yes" / "00000004_nohash_0.wav", np.zeros(RATE - 1))
    assert tasks.gsc(folder, cache=tmp_path).test.path != before


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b"", lambda b: b"x" * len(b), lambda b: b + b"x"]
)
def test_damaged_features_are_computed_again(commands, tmp_path, damage):
    task = tasks.gsc(commands, cache=tmp_path)
    inputs = task.validation.batch([0, 1]).inputs
    whole = task.validation.path.read_bytes()
    task.validation.path.write_bytes(damage(whole))
    again = tasks.gsc(commands, cache=tmp_path)
    assert torch.equal(again.validation.batch([0, 1]).inputs, inputs)
    if damage(whole).startswith(whole):
        return  # what follows the array is not read
    assert again.validation.path.read_bytes() == whole


def test_nothing_is_written_into_the_folder_of_the_data(commands, task):
    assert sorted(path.name for path in commands.iterdir()) == sorted(
        [NOISE, *KEYWORDS, "bed", "zero", "validation_list.txt", "testing_list.txt", "LICENSE"]
    )


def test_features_go_to_gradflows_own_folder_by_default(commands, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADFLOW_DATA", str(tmp_path / "own"))
    task = tasks.by_name("gsc", commands)
    assert task.train.path.parent == tmp_path / "own" / "features"
    with pytest.raises(FileNotFoundError, match=r"own/gsc: does not exist; .*gradflow tasks --download gsc"):
        tasks.gsc()


def test_an_interrupted_computation_leaves_nothing(commands, tmp_path, monkeypatch):
    def interrupt(path, start):
        if path.parent.name == "go":
            raise KeyboardInterrupt
        return read_wave(path, start)

    monkeypatch.setattr(feature_files, "read_wave", interrupt)
    with pytest.raises(KeyboardInterrupt):
        tasks.gsc(commands, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_task_can_be_sent_to_another_process(task):
    sent = pickle.dumps(task)
    # what is sent is where the features are, not the features
    assert len(sent) < 20_000
    assert torch.equal(pickle.loads(sent).sample(3).inputs, task.sample(3).inputs)


def test_provenance_names_what_was_drawn(task):
    facts = task.provenance()
    assert (facts["unknown_share"], facts["silence_share"], facts["data_seed"]) == (0.1, 0.1, 0)
    assert (facts["window"], facts["hop"], facts["steps"]) == (400, 160, 101)
    json.dumps(facts)


WORD = "no/00000001_nohash_0.wav"
TEST_WORD = "no/00000004_nohash_0.wav"


def remove(name):
    return lambda folder: (folder / name).unlink()


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def truncate(folder):
    (folder / WORD).write_bytes((folder / WORD).read_bytes()[:-100])


def empty_word(folder):
    for path in (folder / "stop").iterdir():
        path.unlink()
    for name in ("validation_list.txt", "testing_list.txt"):
        lines = (folder / name).read_text().split()
        (folder / name).write_text("\n".join(line for line in lines if not line.startswith("stop/")))


def twice(folder):
    (folder / "validation_list.txt").write_text((folder / "testing_list.txt").read_text())


def no_others(folder):
    for word in ("bed", "zero"):
        (folder / word).rename(folder.parent / word)
    for name in ("validation_list.txt", "testing_list.txt"):
        lines = (folder / name).read_text().split()
        (folder / name).write_text("\n".join(line for line in lines if line.split("/")[0] in KEYWORDS))


BAD = {
    "no list": (remove("testing_list.txt"), FileNotFoundError, "commands: has no testing_list.txt; expected"),
    "no word": (
        lambda folder: (folder / "stop").rename(folder.parent / "stop"),
        FileNotFoundError,
        "commands: has no stop; expected the folder of Speech Commands",
    ),
    "no noise": (
        lambda folder: (folder / NOISE).rename(folder.parent / NOISE),
        FileNotFoundError,
        "commands: has no _background_noise_",
    ),
    "an empty word": (empty_word, InvalidFileError, "stop: holds no wav file, expected at least one"),
    "a recording listed and missing": (
        remove(TEST_WORD),
        InvalidFileError,
        rf"testing_list.txt: names {TEST_WORD} \(1 such\), which is not in",
    ),
    "a web page for a list": (
        write("testing_list.txt", b"<!DOCTYPE html>"),
        InvalidFileError,
        "testing_list.txt: found '<!DOCTYPE', expected lines of word/file.wav",
    ),
    "an empty list": (write("testing_list.txt", b""), InvalidFileError, "testing_list.txt: found nothing"),
    "a list that is no text": (
        write("testing_list.txt", b"\xff\xfe"),
        InvalidFileError,
        "list.txt: not text",
    ),
    "a recording in two splits": (twice, InvalidFileError, "is in validation_list.txt too"),
    "no other words": (no_others, InvalidFileError, "no recording of other words for train"),
    "a wav cut off": (truncate, InvalidFileError, f"{WORD}: truncated: 31944 bytes, expected 32044"),
    "an empty wav": (write(WORD, b""), InvalidFileError, f"{WORD}: not a wav file: an empty file"),
    "a web page for a wav": (
        write(WORD, b"<!DOCTYPE html>"),
        InvalidFileError,
        "not a wav file: it opens with",
    ),
    "a wav without sound": (
        write(WORD, b"RIFF\x04\x00\x00\x00WAVE"),
        InvalidFileError,
        f"{WORD}: cannot be read as sound",
    ),
    "another rate": (
        lambda folder: write_wave(folder / WORD, np.zeros(800), rate=8000),
        InvalidFileError,
        rf"{WORD}: 1 channel\(s\) of 8000 Hz, expected one of 16000 Hz",
    ),
    "two channels": (
        lambda folder: write_wave(folder / WORD, np.zeros(800), channels=2),
        InvalidFileError,
        r"2 channel\(s\) of 16000 Hz",
    ),
    "no samples": (lambda folder: write_wave(folder / WORD, []), InvalidFileError, f"{WORD}: holds no sound"),
    "short noise": (
        lambda folder: [write_wave(path, np.zeros(9 * RATE)) for path in (folder / NOISE).glob("*.wav")],
        InvalidFileError,
        "9.0 s of noise, expected at least 10",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_folders_are_refused_with_the_file_named(tmp_path, case):
    damage, error, message = BAD[case]
    folder = write_commands(tmp_path / "commands")
    damage(folder)
    with pytest.raises(error, match=message):
        tasks.gsc(folder, cache=tmp_path / "cache")


def test_a_split_without_any_keyword_is_refused(tmp_path):
    folder = write_commands(tmp_path / "commands")
    (folder / "testing_list.txt").write_text("bed/00000004_nohash_0.wav\n")
    with pytest.raises(InvalidFileError, match=r"no recording of yes, no, .* for test, expected some"):
        tasks.gsc(folder, cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unknown_share": -0.1}, "unknown_share: got -0.1, expected a number of at least 0"),
        ({"silence_share": float("inf")}, "silence_share: got inf, expected a finite number"),
        ({"unknown_share": float("nan")}, "unknown_share: got nan"),
        ({"data_seed": -3}, "data_seed, as seed: got -3"),
        ({"mel": LogMel(rate=32_000)}, "mel: got a rate of 32000 Hz, expected 16000"),
    ],
)
def test_bad_options_are_refused_before_any_file_is_looked_for(options, message):
    with pytest.raises(ValueError, match=message):
        tasks.gsc("nowhere", **options)


def test_hidden_files_of_other_systems_are_no_recordings(tmp_path):
    folder = write_commands(tmp_path / "commands")
    (folder / "yes" / "._00000000_nohash_0.wav").write_bytes(b"not sound")
    (folder / ".trash").mkdir()
    assert len(list_recordings(folder).words[Split.TRAIN]["yes"]) == 3


def test_without_soundfile_it_says_how_to_get_it(commands, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(
        ImportError, match=r"needs soundfile, which is not installed: pip install 'gradflow-snn"
    ):
        tasks.gsc(commands, cache=tmp_path)


def test_the_choice_is_the_same_on_every_machine(commands, cache):
    task = tasks.gsc(commands, cache=cache, silence_share=0.5)
    text = json.dumps([task.part(split).clips for split in Split])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == CHOICE


CHOICE = "2c05bf4cc8910a93"
