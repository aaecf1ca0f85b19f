"""Checkpoints on disk: folders of safetensors and JSON with a manifest of hashes; nothing is unpickled.

    checkpoints/step-00000160/
        manifest.json            format, step, size and SHA-256 of every file, SHA-256 of the manifest itself
        model.safetensors        parameters and buffers by name (the temperatures among them)
        best.safetensors         the same of the best epoch so far; empty before the first has ended
        optimiser.safetensors    moments by parameter and kind
        generators.safetensors   states of torch's, numpy's and Python's global generators
        data.safetensors         permutation, and the examples of each split where a task numbers them
        state.json               position, history, best epoch, optimiser groups, conventions
        config.toml              the run's configuration

A checkpoint is whole or not there: see `gradflow.train.files`.
"""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor

from gradflow.train.files import clear_drafts, remove_folder, write_folder

log = logging.getLogger("gradflow")
FORMAT, VERSION = "gradflow checkpoint", 1
MANIFEST = "manifest.json"
TENSORS = ("model", "best", "optimiser", "generators", "data")
FILES = (*(f"{name}.safetensors" for name in TENSORS), "state.json", "config.toml")
Tensors: TypeAlias = dict[str, Tensor]


class CheckpointError(ValueError):
    """A checkpoint is damaged, or is none."""


class ForeignCheckpointError(CheckpointError):
    """A checkpoint is whole, but not of this run."""


@dataclass(frozen=True)
class Checkpoint:
    """Everything a run needs to go on, in memory.

    Attributes:
        model, best, optimiser, generators, data: tensors by name.
        state: plain numbers and words, as JSON holds them.
        config: the configuration as TOML.
    """

    model: Tensors
    best: Tensors
    optimiser: Tensors
    generators: Tensors
    data: Tensors
    state: dict[str, Any]
    config: str

    @property
    def step(self) -> int:
        """Steps of the optimiser that were made."""
        return int(self.state["position"]["step"])


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint to `folder`, which is then whole, or as it was.

    Raises OSError where it cannot be written.
    """
    from safetensors.torch import save

    files = {f"{name}.safetensors": save(_own(getattr(checkpoint, name))) for name in TENSORS}
    files["state.json"] = json.dumps(checkpoint.state, indent=1, allow_nan=False).encode()
    files["config.toml"] = checkpoint.config.encode()
    listed = {name: {"bytes": len(content), "sha256": _hash(content)} for name, content in files.items()}
    manifest = {"format": FORMAT, "version": VERSION, "step": checkpoint.step, "files": listed}
    manifest["sha256"] = _hash(_canonical(manifest))
    files[MANIFEST] = json.dumps(manifest, indent=1).encode()
    return write_folder(folder, files)


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint, every byte of it checked against the manifest before it is looked at.

    Raises CheckpointError for a folder that is no checkpoint, is of another version or is damaged, naming the
    file; FileNotFoundError where there is no folder.
    """
    from safetensors.torch import load

    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such checkpoint")
    listed = _read_manifest(folder)["files"]
    content = {name: _read_checked(folder / name, listed[name]) for name in FILES}
    tensors = {name: load(content[f"{name}.safetensors"]) for name in TENSORS}
    return Checkpoint(
        **tensors, state=json.loads(content["state.json"]), config=content["config.toml"].decode()
    )


@dataclass(frozen=True)
class CheckpointStore:
    """The checkpoints of one run.

    Attributes:
        folder: that holds them.
        keep: how many of the latest are kept.
    """

    folder: Path
    keep: int = 2

    def path(self, step: int) -> Path:
        """Return the folder of the checkpoint after so many steps."""
        return self.folder / f"step-{step:08d}"

    def paths(self) -> list[Path]:
        """Return the folders there are, the latest last."""
        return sorted(self.folder.glob("step-*"))

    def write(self, checkpoint: Checkpoint) -> Path:
        """Write a checkpoint, then remove all but the latest `keep`."""
        path = write_checkpoint(self.path(checkpoint.step), checkpoint)
        for old in self.paths()[: -self.keep]:
            remove_folder(old)
        return path

    def read_latest(self) -> Checkpoint | None:
        """Return the latest checkpoint that is whole, or None where there is none at all.

        A damaged one is said and passed over for the one before.

        Raises CheckpointError where there are checkpoints and all are damaged.
        """
        clear_drafts(self.folder)
        reasons = []
        for path in reversed(self.paths()):
            try:
                found = read_checkpoint(path)
            except CheckpointError as error:
                reasons.append(str(error))
                continue
            for reason in reasons:
                log.warning("%s; going on from %s", reason, path)
            return found
        if reasons:
            raise CheckpointError(
                f"no checkpoint is whole, start anew in another folder: {'; '.join(reasons)}"
            )
        return None


def _own(tensors: Tensors) -> Tensors:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{folder}: not a checkpoint, it has no {MANIFEST}") from None
    except ValueError:
        raise CheckpointError(f"{folder}: damaged, {MANIFEST} is not JSON") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise CheckpointError(f"{folder}: not a checkpoint of gradflow, {MANIFEST} is of another format")
    if manifest.get("version") != VERSION:
        raise CheckpointError(
            f"{folder}: is of version {manifest.get('version')}, this gradflow reads version {VERSION}"
        )
    said = manifest.pop("sha256", None)
    if said != _hash(_canonical(manifest)) or sorted(manifest.get("files", {})) != sorted(FILES):
        raise CheckpointError(f"{folder}: damaged, {MANIFEST} was changed after it was written")
    return manifest


def _read_checked(path: Path, listed: dict[str, Any]) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{path.parent}: damaged, {path.name} cannot be read ({error.strerror})"
        ) from None
    if len(content) != listed["bytes"]:
        raise CheckpointError(
            f"{path.parent}: damaged, {path.name} has {len(content)} bytes instead of {listed['bytes']}"
        )
    if _hash(content) != listed["sha256"]:
        raise CheckpointError(f"{path.parent}: damaged, {path.name} has another hash than the manifest says")
    return content


def _canonical(manifest: dict[str, Any]) -> bytes:
    return json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
