"""Unpacks downloaded archives: one file of a zip, or a whole tar, there whole or not at all."""

import secrets
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from gradflow.tasks.bars import bar
from gradflow.tasks.download import CHUNK, about_disk, write_whole
from gradflow.tasks.idx import InvalidFileError


def unzip_member(archive: Path, target: Path) -> Path:
    """Unpack the member of a zip that bears the name of `target`, and return its path.

    Raises InvalidFileError for an archive that is damaged or has no such member.
    """

    def write(draft: Path) -> None:
        with zipfile.ZipFile(archive) as members, draft.open("wb") as out:
            info = members.getinfo(target.name)
            with members.open(info) as content, bar(target.name, info.file_size, in_bytes=True) as advance:
                while chunk := content.read(CHUNK):
                    out.write(chunk)
                    advance(len(chunk))

    try:
        write_whole(target, write)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        raise InvalidFileError(
            f"{archive}: cannot unpack {target.name} ({error}), expected a zip that holds it. Remove the "
            "archive and fetch it again"
        ) from error
    return target


def untar(archive: Path, folder: Path, *, last: Sequence[str]) -> None:
    """Unpack a gzipped tar into a folder; the files named in `last` appear when everything else is there.

    What the folder holds already stays, but for files that the archive has too.

    Raises InvalidFileError for an archive that is damaged or reaches outside the folder, OSError where the
    folder cannot be written.
    """
    draft = folder / f".{secrets.token_hex(4)}.part"
    try:
        with archive.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:gz") as members:
            _extract(members, raw, archive, draft)
        for entry in sorted(draft.iterdir(), key=lambda entry: (entry.name in last, entry.name)):
            _move(entry, folder / entry.name)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise about_disk(error, folder / "the archive's files") from error
        raise InvalidFileError(
            f"{archive}: cannot be unpacked ({error}), expected a whole gzipped tar. Remove the archive and "
            "fetch it again"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _move(entry: Path, place: Path) -> None:
    """Move a file or a folder; into a folder that is there already, one by one."""
    if not (entry.is_dir() and place.is_dir()):
        entry.replace(place)
        return
    for inner in entry.iterdir():
        _move(inner, place / inner.name)


def _extract(members: tarfile.TarFile, raw: IO[bytes], archive: Path, draft: Path) -> None:
    with bar(f"unpack {archive.name}", archive.stat().st_size, in_bytes=True) as advance:
        place = 0
        for member in members:
            members.extract(member, draft, filter="data")
            advance(raw.tell() - place)
            place = raw.tell()
