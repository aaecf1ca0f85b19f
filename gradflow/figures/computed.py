"""Data of figures, computed once: kept in the platform's cache folder under the key of `data_key`.

figures/NAME-KEY.nc     the dataset, as `compute` returned it
figures/NAME-KEY.json   what the key is made of, and the SHA-256 of the dataset's file
"""

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

import xarray as xr

from gradflow.caches import cache_folder
from gradflow.figures.data_key import key_of, key_parts
from gradflow.figures.registry import Config, FigureSpec
from gradflow.plots.writing import write_text
from gradflow.storage import load, save

log = logging.getLogger("gradflow")
LETTERS = 16
"""Letters of the key in a file's name."""


def computed(
    spec: FigureSpec, config: Config, compute: Callable[[], xr.Dataset], *, force: bool = False
) -> xr.Dataset:
    """Return a figure's data: from the cache, or computed and kept there.

    A file that is damaged is computed anew, and a cache that cannot be written is done without; a line says
    so. Data have the attribute `data_key`, but where `compute` is not a function of a module: then
    nothing is kept.

    Args:
        spec: the figure.
        config: its options.
        compute: returns its data.
        force: compute although the data are there.

    Raises:
        What `compute` raises.
    """
    parts = key_parts(spec, config)
    if parts is None:
        return compute()
    key = key_of(parts)
    path = cache_folder() / "figures" / f"{spec.name}-{key[:LETTERS]}.nc"
    found = None if force else _kept(path, key)
    if found is not None:
        return found
    data = compute().assign_attrs(data_key=key)
    try:
        digest = hashlib.sha256(save(data, path).read_bytes()).hexdigest()
        told = json.dumps({**parts, "data_key": key, "data_sha256": digest}, indent=1)
        write_text(path.with_suffix(".json"), told)
    except OSError as error:
        log.warning("%s: its data are not kept for another time: %s", spec.name, error.strerror or error)
        return data
    return load(path)  # so that data just computed and data kept give the same bytes


def _kept(path: Path, key: str) -> xr.Dataset | None:
    """Return the data in the cache; None, with a line that says why, where they are damaged."""
    about = path.with_suffix(".json")
    if not path.is_file() or not about.is_file():
        return None
    try:
        if json.loads(about.read_bytes())["data_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest():
            data = load(path)
            if data.attrs.get("data_key") == key:
                return data
        reason = "its content is not what was written"
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
    log.warning("%s: damaged in the cache, computed anew (%s)", path.name, reason)
    return None
