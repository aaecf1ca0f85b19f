"""Files and folders that are whole or not there: written beside their place, synced to the disk, renamed."""

import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

DRAFT = ".part-"
"""How the name of what is not whole yet begins."""


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file so that, killed at any moment, it is the old one or the new one."""
    draft = path.with_name(f"{DRAFT}{secrets.token_hex(8)}")
    try:
        _write_synced(draft, content)
        draft.replace(path)
        _sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)
    return path


def write_folder(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write a folder of files so that, killed at any moment, it is whole or not there.

    A folder that is there already goes before the new one comes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{DRAFT}{secrets.token_hex(8)}")
    draft.mkdir()
    try:
        for name, content in files.items():
            _write_synced(draft / name, content)
        _sync_folder(draft)
        if path.exists():
            remove_folder(path)
        draft.rename(path)
        _sync_folder(path.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return path


def remove_folder(path: Path) -> None:
    """Take a folder away so that, killed at any moment, it is whole or no longer there under its name."""
    gone = path.with_name(f"{DRAFT}{secrets.token_hex(8)}")
    path.rename(gone)
    shutil.rmtree(gone)


def clear_drafts(folder: Path) -> None:
    """Remove what a killed process left unfinished in a folder."""
    for draft in folder.glob(f"{DRAFT}*"):
        if draft.is_dir():
            shutil.rmtree(draft)
        else:
            draft.unlink()


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
