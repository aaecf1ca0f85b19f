"""SHD and SSC: files in exactly the published format, good and bad, written here; tonic where it is there."""

import pickle

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from published import events, write_events, write_shd, write_ssc

from gradflow import seeds, tasks
from gradflow.tasks import InvalidFileError, Split
from gradflow.tasks.event_files import Binning


def counted(times, units, bins, microseconds, neighbours):
    """Count in plain Python integers, one event at a time."""
    counts = np.zeros((bins, 700 // neighbours), dtype=int)
    for time, unit in zip(times, units, strict=True):
        at = int(float(time) * 1e6)
        if at < microseconds:
            counts[(at * bins) // microseconds, int(unit) // neighbours] += 1
    return counts


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0, 3, width=16), st.integers(0, 699)), max_size=40),
    st.integers(1, 40),
    st.integers(1, 2_000_000),
    st.sampled_from([1, 2, 5, 7, 700]),
)
def test_counts_are_those_of_a_plain_loop(found, bins, microseconds, neighbours):
    times = np.array([time for time, _ in found], dtype=np.float16)
    units = np.array([unit for _, unit in found], dtype=np.uint16)
    binning = Binning(bins, microseconds, neighbours)
    first = len(found) // 3
    counts = binning.counts(times, units, np.array([first, 0, len(found) - first]))
    for column, part in enumerate((slice(first), slice(0), slice(first, None))):
        expected = counted(times[part], units[part], bins, microseconds, neighbours)
        np.testing.assert_array_equal(counts[:, column], expected)


def test_edges_belong_to_the_later_bin_and_the_end_is_dropped():
    counts = Binning(250, 1_400_000, 5).counts(
        np.array([0.0, 0.005599, 0.0056, 1.399999, 1.4, 1.9]), np.array([4, 5, 5, 699, 0, 0]), np.array([6])
    )
    assert np.argwhere(counts[:, 0]).tolist() == [[0, 0], [0, 1], [1, 1], [249, 139]]
    assert counts.sum() == 4


@pytest.mark.parametrize("name", ["shd", "ssc"])
def test_every_example_is_the_events_of_its_file(tmp_path, name):
    write = {"shd": write_shd, "ssc": write_ssc}[name]
    task = tasks.by_name(name, write(tmp_path / "data"))
    assert (task.steps, task.inputs, task.source) == (250, 140, "data")
    files = {
        "shd": {Split.TRAIN: "train", Split.VALIDATION: "train", Split.TEST: "test"},
        "ssc": {Split.TRAIN: "train", Split.VALIDATION: "valid", Split.TEST: "test"},
    }[name]
    for split, file in files.items():
        part = task.part(split)
        batch = part.batch(range(len(part)))
        assert batch.inputs.dtype == torch.float32
        backwards = part.batch([*reversed(range(len(part))), 0])  # any order, and repeats
        assert torch.equal(backwards.inputs[:, :-1], batch.inputs.flip(1))
        assert torch.equal(backwards.inputs[:, -1], batch.inputs[:, 0])
        with h5py.File(tmp_path / "data" / f"{name}_{file}.h5") as stored:
            for column, place in enumerate(part.index.tolist()):
                assert batch.targets[column] == stored["labels"][place]
                expected = counted(
                    stored["spikes/times"][place], stored["spikes/units"][place], 250, 1_400_000, 5
                )
                np.testing.assert_array_equal(batch.inputs[:, column].numpy(), expected)


def test_the_splits_of_ssc_are_the_published_ones(tmp_path):
    task = tasks.ssc(write_ssc(tmp_path))
    assert [len(task.part(split)) for split in Split] == [8, 4, 5]
    assert (task.classes, task.split_seed, task.class_names[34]) == (35, None, "word 34")
    assert task.validation.index.tolist() == [0, 1, 2, 3]


def test_a_tenth_of_the_training_file_of_shd_is_for_validation(tmp_path):
    write_shd(tmp_path)
    task = tasks.shd(tmp_path, split_seed=3)
    assert [len(task.part(split)) for split in Split] == [22, 2, 6]
    assert (task.classes, task.split_seed) == (20, 3)
    order = seeds.permutation(3, "split", size=24)
    assert task.validation.index.tolist() == order[:2].tolist()
    assert sorted([*task.train.index, *task.validation.index]) == list(range(24))
    assert tasks.shd(tmp_path, split_seed=4).validation.index.tolist() != task.validation.index.tolist()


def test_bins_duration_and_neighbours_are_settable(tmp_path):
    write_shd(tmp_path)
    task = tasks.by_name("shd", tmp_path, bins=7, duration=0.5, neighbours=100)
    assert (task.steps, task.inputs) == (7, 7)
    assert task.provenance()["duration"] == 0.5
    assert task.provenance()["neighbours"] == 100
    whole = tasks.shd(tmp_path, bins=1, duration=2.0, neighbours=700)
    with h5py.File(tmp_path / "shd_test.h5") as stored:
        lengths = [len(times) for times in stored["spikes/times"]]
    assert whole.test.batch(range(6)).inputs.flatten().tolist() == lengths


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neighbours": 3}, "neighbours: got 3, expected a divisor of 700"),
        ({"bins": 0}, "bins: got 0, expected an integer of at least 1"),
        ({"duration": 0.0}, "duration: got 0.0, expected seconds"),
        ({"duration": float("nan")}, "duration: got nan, expected seconds"),
        ({"split_seed": -1}, "split_seed, as seed: got -1"),
    ],
)
def test_bad_options_are_refused_before_any_file_is_looked_for(options, message):
    with pytest.raises(ValueError, match=message):
        tasks.shd("nowhere", **options)


def test_tonics_layout_of_folders_is_found(tmp_path):
    write_shd(tmp_path / "SHD")
    assert len(tasks.shd(tmp_path).test) == 6


def test_missing_files_are_named_with_what_to_do(tmp_path, monkeypatch):
    write_ssc(tmp_path)
    (tmp_path / "ssc_valid.h5").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no ssc_valid.h5; .*gradflow tasks --download ssc"):
        tasks.ssc(tmp_path)
    (tmp_path / "ssc_valid.h5.zip").write_bytes(b"PK")
    with pytest.raises(FileNotFoundError, match=r"has no ssc_valid.h5; .*Unpack ssc_valid.h5"):
        tasks.ssc(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"nowhere: does not exist; expected a folder with shd_train"):
        tasks.shd(tmp_path / "nowhere")
    monkeypatch.setenv("GRADFLOW_DATA", str(tmp_path / "own"))
    with pytest.raises(FileNotFoundError, match=r"own/shd: does not exist"):
        tasks.shd()


def damaged(folder, damage):
    """Write SHD with one file damaged, build the task, and read all of its test set."""
    write_shd(folder)
    damage(folder / "shd_test.h5")
    task = tasks.shd(folder)
    return task.test.batch(range(len(task.test)))


def cut(path):
    path.write_bytes(path.read_bytes()[:-700])


def change(name, value):
    def damage(path):
        with h5py.File(path, "r+") as file:
            del file[name]
            if value is not None:
                file[name] = value

    return damage


def rewrite(**options):
    def damage(path):
        times, units, labels = events(6, 20, 2)
        write_events(path, *options.pop("lists", lambda *lists: lists)(times, units, labels), **options)

    return damage


BAD = {
    "empty": (lambda path: path.write_bytes(b""), "shd_test.h5: an empty file; expected the published HDF5"),
    "a web page": (
        lambda path: path.write_bytes(b"<!DOCTYPE html>"),
        "not an HDF5 file: it opens with b'<!DOC",
    ),
    "truncated": (cut, "truncated or damaged HDF5 .*Fetch or unpack"),
    "no units": (change("spikes/units", None), "no list spikes/units, but extra, labels, spikes; expected"),
    "no spikes": (change("spikes", None), "no list spikes/times, but extra, labels; expected"),
    "labels of floats": (change("labels", np.zeros(6)), "labels holds float64, expected class numbers"),
    "too few labels": (
        change("labels", [1, 2]),
        "6 lists of times, 6 of units and 2 labels, expected as many",
    ),
    "a label too large": (change("labels", [0, 1, 20, 3, 34, 5]), r"label 20 of example 2 \(2 such labels\)"),
    "a negative label": (change("labels", [0, 1, -2, 3, 4, 5]), "label -2 of example 2"),
    "times no lists": (change("spikes/times", np.zeros(6)), "spikes/times holds no lists, expected lists of"),
    "times of integers": (
        rewrite(times_dtype=np.int32),
        "spikes/times holds int32, expected lists of seconds",
    ),
    "units of floats": (
        rewrite(units_dtype=np.float32),
        "spikes/units holds float32, expected lists of chan",
    ),
    "a unit too large": (
        rewrite(lists=lambda t, u, c: (t, [*u[:-1], np.full(len(u[-1]), 700)], c)),
        "example 5 has an event of channel 700, expected 0 to 699",
    ),
    "fewer units": (
        rewrite(lists=lambda t, u, c: (t, [*u[:-1], u[-1][:-1]], c)),
        r"example 5 has \d+ times and \d+ units, expected as many",
    ),
    "a negative time": (
        rewrite(lists=lambda t, u, c: ([*t[:-1], np.full(len(t[-1]), -0.5)], u, c)),
        "example 5 has an event at -0.5 s, expected times from 0 on",
    ),
    "no number for a time": (
        rewrite(lists=lambda t, u, c: ([*t[:-1], np.full(len(t[-1]), np.nan)], u, c)),
        "example 5 has an event at nan s",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_by_name(tmp_path, case):
    damage, message = BAD[case]
    with pytest.raises(InvalidFileError, match=f"shd_test.h5: .*{message.removeprefix('shd_test.h5: ')}"):
        damaged(tmp_path, damage)


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_no_beginning_of_a_file_is_taken_for_the_file(tmp_path_factory, data):
    folder = write_shd(tmp_path_factory.mktemp("shd"))
    whole = (folder / "shd_train.h5").read_bytes()
    (folder / "shd_train.h5").write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(InvalidFileError, match=r"shd_train.h5: "):
        tasks.shd(folder)


def test_a_single_training_example_cannot_be_split(tmp_path):
    write_shd(tmp_path, train=1)
    with pytest.raises(InvalidFileError, match=r"shd_train.h5: 1 training example, expected at least 2"):
        tasks.shd(tmp_path)


def test_class_names_are_left_out_where_the_file_has_none(tmp_path):
    write_shd(tmp_path)
    change("extra", None)(tmp_path / "shd_train.h5")
    assert tasks.shd(tmp_path).class_names is None


def test_a_task_can_be_sent_to_another_process(tmp_path):
    task = tasks.shd(write_shd(tmp_path))
    sent = pickle.loads(pickle.dumps(task))
    assert torch.equal(sent.sample(3).inputs, task.sample(3).inputs)


def test_labels_cannot_be_changed(tmp_path):
    task = tasks.shd(write_shd(tmp_path))
    with pytest.raises(ValueError, match="read-only"):
        task.train.labels[0] = 1


@pytest.mark.parametrize("name", ["shd", "ssc"])
def test_inputs_are_those_of_tonic(tmp_path, name, monkeypatch):
    """Oracle: tonic's reader and ToFrame, neighbouring channels summed; the same to the last event."""
    tonic = pytest.importorskip("tonic", reason="needs tonic: pip install -c constraints.txt tonic")
    to_frame = tonic.transforms.ToFrame((700, 1, 1), time_window=5600, start_time=0, end_time=1_400_000)
    folder = tmp_path / name.upper()
    {"shd": write_shd, "ssc": write_ssc}[name](folder)
    for split in ("train", "valid", "test") if name == "ssc" else ("train", "test"):
        (folder / f"{name}_{split}.h5.zip").touch()  # tonic looks for the archive it came in
    theirs = (
        tonic.datasets.SHD(str(tmp_path), train=False, transform=to_frame)
        if name == "shd"
        else tonic.datasets.SSC(str(tmp_path), split="test", transform=to_frame)
    )
    test = tasks.by_name(name, tmp_path).test
    batch = test.batch(range(len(test)))
    assert len(theirs) == len(test)
    for column in range(len(test)):
        frames, label = theirs[column]
        if len(frames) != 250:  # tonic gives one frame, not 250, for an example without events
            assert not batch.inputs[:, column].any()
            assert not frames.any()
            continue
        np.testing.assert_array_equal(
            batch.inputs[:, column].numpy(), frames.reshape(250, 140, 5).sum(axis=2)
        )
        assert batch.targets[column] == label
