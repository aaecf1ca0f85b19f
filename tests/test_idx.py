"""IDX files, good and bad: all are written here, byte by byte, from the published description."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from gradflow.tasks.idx import NAMES, InvalidFileError, read_folder, read_images, read_labels

IMAGES = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
LABELS = np.array([0, 9, 3, 3, 1], dtype=np.uint8)


def pack(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def fill(folder, images=IMAGES, labels=LABELS, test_images=IMAGES[:2], test_labels=LABELS[:2]):
    for name, array in zip(NAMES, (images, labels, test_images, test_labels), strict=True):
        (folder / name).write_bytes(pack(array))
    return folder


@settings(deadline=None)
@given(arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, max_side=6)), st.booleans())
def test_what_was_written_is_read(tmp_path_factory, images, zipped):
    path = tmp_path_factory.mktemp("idx") / "images"
    path.write_bytes(gzip.compress(pack(images)) if zipped else pack(images))
    read = read_images(path)
    np.testing.assert_array_equal(read, images)
    assert read.dtype == np.uint8
    assert not read.flags.writeable


@pytest.mark.parametrize("zipped", [False, True])
@settings(deadline=None)
@given(st.integers(0, len(pack(IMAGES)) - 1))
def test_no_beginning_of_a_file_is_taken_for_the_file(tmp_path_factory, zipped, kept):
    path = tmp_path_factory.mktemp("idx") / "images"
    content = gzip.compress(pack(IMAGES)) if zipped else pack(IMAGES)
    path.write_bytes(content[: kept % len(content)])
    with pytest.raises(InvalidFileError, match="images: "):
        read_images(path)


@settings(deadline=None, max_examples=300)
@given(st.data(), st.booleans())
def test_a_changed_byte_is_refused_or_harmless(tmp_path_factory, data, zipped):
    """Whatever byte is damaged: the file is refused by name, or an array of the same size comes back."""
    path = tmp_path_factory.mktemp("idx") / "images"
    content = bytearray(gzip.compress(pack(IMAGES)) if zipped else pack(IMAGES))
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        assert read_images(path).size == IMAGES.size
    except InvalidFileError as error:
        assert str(path) in str(error)  # noqa: PT017 (refusal is one of two right answers)


def test_content_and_not_the_name_decides_about_gzip(tmp_path):
    (tmp_path / "plain.gz").write_bytes(pack(LABELS))
    (tmp_path / "zipped").write_bytes(gzip.compress(pack(LABELS)))
    np.testing.assert_array_equal(read_labels(tmp_path / "plain.gz"), LABELS)
    np.testing.assert_array_equal(read_labels(tmp_path / "zipped"), LABELS)


GOOD = pack(IMAGES)
BAD_IMAGES = {
    "empty": (b"", "found an empty file; expected images"),
    "header cut": (GOOD[:9], "truncated: 9 bytes, expected a header of 16"),
    "data cut": (GOOD[:-1], r"truncated: 75 bytes .*expected 76 .*5 × 4 × 3"),
    "too long": (GOOD + b"\0", r"too long: 77 bytes .*expected 76"),
    "labels": (pack(LABELS), r"found labels \(1 dimension, magic 0x00000801\); expected images"),
    "matrix": (pack(IMAGES[0]), "found 2 dimensions; expected images"),
    "little-endian": (GOOD[3::-1] + GOOD[4:], "little-endian"),
    "sizes little-endian": (GOOD[:4] + struct.pack("<3I", 5, 4, 3) + GOOD[16:], "truncated"),
    "floats": (b"\0\0\x0d\x03" + GOOD[4:], "elements of type 0x0d, not unsigned bytes"),
    "web page": (b"<!DOCTYPE html>", "not an IDX file: it opens with b'<!DO'"),
    "no images": (pack(IMAGES[:0]), "0 × 4 × 3 elements, expected at least one"),
    "no pixels": (pack(IMAGES[:, :0]), "5 × 0 × 3 elements, expected at least one"),
    "astronomical": (GOOD[:4] + b"\xff" * 12, "truncated"),
    "gzip cut": (gzip.compress(GOOD)[:-9], "corrupt gzip"),
    "gzip opening only": (b"\x1f\x8b", "corrupt gzip"),
    "gzip check sum": (gzip.compress(GOOD)[:-8] + bytes(8), "corrupt gzip .*CRC"),
    "gzip tail": (gzip.compress(GOOD) + b"tail", "corrupt gzip"),
    "too long when unpacked": (gzip.compress(GOOD + b"\0"), "too long: 77 bytes"),
}


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_bad_image_files_are_refused(tmp_path, case):
    content, message = BAD_IMAGES[case]
    (tmp_path / "digits").write_bytes(content)
    with pytest.raises(InvalidFileError, match=rf"digits: .*{message}"):
        read_images(tmp_path / "digits")


def test_images_in_place_of_labels_are_refused(tmp_path):
    (tmp_path / "digits").write_bytes(pack(IMAGES))
    with pytest.raises(ValueError, match=r"digits: found images .*; expected labels .*bears its own name"):
        read_labels(tmp_path / "digits")


def test_labels_above_nine_are_refused(tmp_path):
    (tmp_path / "digits").write_bytes(pack(np.array([3, 9, 10, 26], dtype=np.uint8)))
    with pytest.raises(InvalidFileError, match=r"label 10 at position 2 \(2 such labels\), expected 0 to 9"):
        read_labels(tmp_path / "digits")


@pytest.mark.parametrize("spelling", ["{}", "{}.gz", "dotted", "dotted.gz"])
def test_published_names_in_every_spelling(tmp_path, spelling):
    fill(tmp_path)
    for name in NAMES:
        path = tmp_path / name
        content = path.read_bytes()
        path.unlink()
        path.mkdir()  # some archives unpack into a folder that bears the file's name
        new = spelling.replace("dotted", name.replace("-idx", ".idx")).format(name)
        if new == name:
            path.rmdir()
        (tmp_path / new).write_bytes(gzip.compress(content) if new.endswith("gz") else content)
    for array, expected in zip(read_folder(tmp_path), (IMAGES, LABELS, IMAGES[:2], LABELS[:2]), strict=True):
        np.testing.assert_array_equal(array, expected)


def test_plain_comes_before_gzipped(tmp_path):
    fill(tmp_path)
    (tmp_path / f"{NAMES[0]}.gz").write_bytes(b"not looked at")
    np.testing.assert_array_equal(read_folder(str(tmp_path)).train_images, IMAGES)


def test_missing_files_are_named(tmp_path):
    fill(tmp_path)
    (tmp_path / NAMES[1]).unlink()
    (tmp_path / NAMES[2]).unlink()
    with pytest.raises(
        FileNotFoundError, match=f"has no {NAMES[1]}, {NAMES[2]}; expected a folder with"
    ) as caught:
        read_folder(tmp_path)
    assert all(name in str(caught.value) for name in NAMES)


def test_missing_folder_and_file_in_its_place(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="nowhere: does not exist; expected a folder with train-images"
    ):
        read_folder(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match="file: is a file; expected a folder with train-images"):
        read_folder(tmp_path / "file")


@pytest.mark.parametrize(("part", "name"), [("labels", NAMES[0]), ("test_labels", NAMES[2])])
def test_different_numbers_of_images_and_labels(tmp_path, part, name):
    fill(tmp_path, **{part: LABELS[:1]})
    with pytest.raises(InvalidFileError, match=f"{name}: . images, but 1 labels in {name[:5].rstrip('-')}"):
        read_folder(tmp_path)


def test_training_and_test_images_of_different_size(tmp_path):
    fill(tmp_path, test_images=IMAGES[:2, :, :2])
    with pytest.raises(
        InvalidFileError, match=f"{NAMES[2]}: images of 4 × 2 pixels, expected 4 × 3 as in {NAMES[0]}"
    ):
        read_folder(tmp_path)
