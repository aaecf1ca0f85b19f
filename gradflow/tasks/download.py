"""Fetches published files: resumed where the server allows it, checked, and there whole or not at all.

A transfer goes to NAME.part beside its place, which stays when it is cut off: the next one asks the server
for the rest. Only a file with the published checksum gets its own name.
"""

import errno
import hashlib
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Literal

from gradflow.tasks.bars import bar
from gradflow.tasks.idx import InvalidFileError

CHUNK = 1 << 20
TIMEOUT = 60.0
"""Seconds without a byte before a transfer counts as cut off."""
TRIES = 3
"""Transfers of one file before a connection that breaks is given up; each goes on where the last ended."""
BY_HAND = "fetch it by other means and name the folder it is in"


@dataclass(frozen=True)
class Published:
    """Name a published file: its address, the name it gets, and its checksum with the algorithm of that."""

    url: str
    name: str
    algorithm: Literal["md5", "sha256"]
    checksum: str


class CutOffError(OSError):
    """A transfer that ended before the file did; what came is kept."""


def fetch(file: Published, folder: Path) -> Path:
    """Put a published file into a folder and return its path; a file that is there and right is kept.

    Raises ConnectionError where the server cannot be reached or has no such file, CutOffError where the
    connection broke three times, InvalidFileError for a wrong checksum, OSError where the folder is full or
    cannot be written. After each of them, the same call goes on where this one stopped, or begins again.
    """
    target, part = folder / file.name, folder / f"{file.name}.part"
    if target.is_file() and checksum(target, file.algorithm) == file.checksum:
        return target
    _writable(folder)
    resumed = _transfer_whole(file, part)
    found = checksum(part, file.algorithm)
    if found != file.checksum and resumed:
        # the beginning may be of another edition, or of a transfer that ran beside this one
        part.unlink()
        _transfer_whole(file, part)
        found = checksum(part, file.algorithm)
    if found != file.checksum:
        size = part.stat().st_size
        part.unlink()
        raise InvalidFileError(
            f"{file.url}: got {size} bytes with {file.algorithm} {found}, expected {file.checksum}; nothing "
            f"was kept. Try again, or {BY_HAND}"
        )
    part.replace(target)
    return target


def checksum(path: Path, algorithm: str) -> str:
    """Return a file's checksum in hexadecimal digits."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, algorithm).hexdigest()


def write_whole(target: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a draft beside `target`, and give it that name once it is safely on the disk.

    The draft bears the process's number, so that two processes may write the same file: the last one wins.
    """
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write(draft)
        with draft.open("rb") as content:
            os.fsync(content.fileno())
        draft.replace(target)
    except OSError as error:
        if error.filename not in (None, str(draft), str(target.parent)):
            raise  # of another file, which `write` reads
        raise about_disk(error, target) from error
    finally:
        # an unwritable folder must not hide the error that said so
        if os.access(draft, os.F_OK):
            draft.unlink()


def about_disk(error: OSError, target: Path) -> OSError:
    """Return an error of the file system with the folder's name and what to do."""
    reason = error.strerror or str(error)
    return OSError(
        error.errno,
        f"{target.parent}: cannot write {target.name} there ({reason}); make room, or name another folder",
    )


def _transfer_whole(file: Published, part: Path) -> bool:
    """Transfer until the server has no more, and return whether some of it was there before."""
    resumed = part.is_file() and part.stat().st_size > 0
    for left in reversed(range(TRIES)):
        try:
            _transfer(file, part)
            break
        except CutOffError:
            if not left:
                raise
    return resumed


def _transfer(file: Published, part: Path) -> None:
    """Ask for what is missing and append it; begin again where the server sends everything."""
    have = part.stat().st_size if part.is_file() else 0
    response = _open(file.url, have)
    if response is None:
        return
    with response:
        if response.status != 206 or not _starts_at(response, have):
            have = 0
        length = response.headers.get("Content-Length", "")
        more = int(length) if length.isdigit() else None
        _require_space(part, more)
        came = _receive(response, part, have, more, file.name)
    if more is not None and came < more:
        raise CutOffError(
            f"{file.url}: the connection ended after {have + came} of {have + more} bytes, which are kept in "
            f"{part}; run the same again to fetch the rest"
        )


def _open(url: str, have: int) -> HTTPResponse | None:
    """Open an address from byte `have` on; None where the server says that there is nothing beyond."""
    headers = {"User-Agent": "gradflow"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response: HTTPResponse = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=TIMEOUT
        )
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and have:
                return None
        raise ConnectionError(
            f"{url}: the server answers {error.code} ({error.reason}), expected the file; it may have moved: "
            f"{BY_HAND}"
        ) from error
    except (urllib.error.URLError, OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise ConnectionError(
            f"{url}: cannot be reached ({reason}). Look at the network connection and run the same again, or "
            f"{BY_HAND}"
        ) from error
    return response


def _starts_at(response: HTTPResponse, have: int) -> bool:
    return response.headers.get("Content-Range", "").startswith(f"bytes {have}-")


def _receive(response: HTTPResponse, part: Path, have: int, more: int | None, name: str) -> int:
    """Write what comes, and return how many bytes came; a broken connection ends it without an error."""
    came = 0
    total = None if more is None else have + more
    try:
        with part.open("ab" if have else "wb") as out, bar(name, total, done=have, in_bytes=True) as advance:
            while chunk := _next(response):
                out.write(chunk)
                came += len(chunk)
                advance(len(chunk))
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        raise about_disk(error, part) from error
    return came


def _next(response: HTTPResponse) -> bytes:
    """Return the next bytes, none where the connection broke."""
    try:
        return response.read(CHUNK)
    except (HTTPException, OSError):
        return b""


def _writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise about_disk(error, folder / "data") from error


def _require_space(part: Path, more: int | None) -> None:
    """Raise OSError before a transfer that cannot fit."""
    free = shutil.disk_usage(part.parent).free
    if more is not None and free < more:
        raise OSError(
            errno.ENOSPC,
            f"{part.parent}: {free / 1e6:.0f} MB are free, expected {more / 1e6:.0f} MB for "
            f"{part.name.removesuffix('.part')}; make room, or name a folder on another disk",
        )
