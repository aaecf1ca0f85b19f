"""Datasets to netCDF and back, unchanged: written whole or not at all, refused clearly when damaged."""

import os
import tempfile
from pathlib import Path
from typing import Any

import xarray as xr

FORMAT = "gradflow 1"


def save(data: xr.Dataset, path: str | os.PathLike[str]) -> Path:
    """Write a dataset to a netCDF file (h5netcdf), atomically: a file that exists is whole.

    Returns:
        The path written.

    Raises:
        OSError: with the folder's name, where it cannot be written; an older file is then kept.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    os.close(handle)
    try:
        data.to_netcdf(
            draft, engine="h5netcdf", encoding={name: _encoding(data, name) for name in data.variables}
        )
        mask = os.umask(0)
        os.umask(mask)
        Path(draft).chmod(0o666 & ~mask)
        Path(draft).replace(target)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    return target


def load(path: str | os.PathLike[str]) -> xr.Dataset:
    """Read a dataset that `save` wrote, whole, into memory.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: where the file is not netCDF, or is damaged.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"{source}: no such file; `gradflow figures` and gradflow.save write them")
    try:
        data = xr.load_dataset(source, engine="h5netcdf")
    except Exception as error:
        raise ValueError(
            f"{source}: not a readable netCDF file ({type(error).__name__}: {str(error).splitlines()[0]}); "
            "it may be truncated or of another kind: write it again with gradflow.save"
        ) from error
    for variable in data.variables.values():
        variable.encoding.clear()
    data.encoding.clear()
    data.attrs = {key: _plain(value) for key, value in data.attrs.items()}
    for variable in data.variables.values():
        variable.attrs = {key: _plain(value) for key, value in variable.attrs.items()}
    return data


def _encoding(data: xr.Dataset, name: Any) -> dict[str, Any]:
    """Compress floating arrays, and let no fill value turn NaN or −inf into something else."""
    if data[name].dtype.kind != "f":
        return {}
    compress = {"zlib": True, "complevel": 4} if data[name].size > 1000 else {}
    return {"_FillValue": None, **compress}


def _plain(value: Any) -> Any:
    """Return a Python number for a numpy scalar, so that attributes come back as they were given."""
    return value.item() if hasattr(value, "item") and getattr(value, "size", 1) == 1 else value
