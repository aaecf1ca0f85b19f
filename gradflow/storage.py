"""Datasets to netCDF and back, unchanged: written whole or not at all, refused clearly when damaged."""

import os
import secrets
import warnings
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from gradflow.results import Results

READ_AS_CODING = frozenset(
    {"_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned", "dtype", "coordinates"}
)
"""Names of variable attributes by which netCDF readers change the values they read."""


def save(data: xr.Dataset, path: str | os.PathLike[str]) -> Path:
    """Write a dataset to a netCDF file (h5netcdf), atomically: a file that exists is whole.

    Values, coordinates, names and attributes come back from `load` as they were, NaN, −inf and text beyond
    ASCII included. Two types change: an array of text objects comes back as one of fixed width, and a list as
    an attribute comes back as an array, or as its entry where it has one.

    Args:
        data: variables of numbers, truth values or text; attributes that are numbers, text or lists of them.
        path: of the file; its folder is made if need be, and a file that is there already is replaced.

    Returns:
        The path written.

    Raises:
        ValueError: for data that netCDF cannot hold unchanged, with the name of what is in the way.
        OSError: with the folder's name, where it cannot be written; an older file is then kept.
    """
    target = Path(path)
    _check_attributes("the dataset", data.attrs, reserved=frozenset({"coordinates"}))
    for name, variable in data.variables.items():
        _check_values(name, variable)
        _check_attributes(f"variable {name!r}", variable.attrs, reserved=READ_AS_CODING)
    if target.is_dir():
        raise IsADirectoryError(f"{target}: is a folder; name a file in it, as in {target / 'run.nc'}")
    # a link is followed, so that what it points to is replaced and not the link
    whole = target.resolve()
    draft = whole.with_name(f".gradflow-{secrets.token_hex(8)}.part")
    try:
        whole.parent.mkdir(parents=True, exist_ok=True)
        _write(data, draft)
        draft.replace(whole)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(
            error.errno,
            f"{target.parent}: cannot write {target.name} there ({reason}); choose another folder",
        ) from error
    finally:
        # an unwritable folder must not hide the error that said so
        if os.access(draft, os.F_OK):
            draft.unlink()
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
        data = xr.load_dataset(source, engine="h5netcdf", decode_times=False, decode_timedelta=False)
    except PermissionError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise ValueError(
            f"{source}: not a readable netCDF file ({type(error).__name__}: {reason}); it may be truncated "
            "or of another kind: write it again with gradflow.save"
        ) from error
    data.encoding.clear()
    data.attrs = {key: _plain(value) for key, value in data.attrs.items()}
    for variable in data.variables.values():
        variable.encoding.clear()
        variable.attrs = {key: _plain(value) for key, value in variable.attrs.items()}
    return Results.of(data) if "kind" in data.attrs else data


def _write(data: xr.Dataset, draft: Path) -> None:
    """Write the file and wait for the disk, so that a crash after the renaming finds a whole file.

    HDF5 makes it in memory: on a disk that fills up it would say so in words of its own, and then bring the
    whole process down when that ends.
    """
    encoding = {name: _encoding(variable) for name, variable in data.variables.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error", xr.SerializationWarning)
        try:
            content = data.to_netcdf(engine="h5netcdf", encoding=encoding)
        except (xr.SerializationWarning, NotImplementedError) as reason:
            raise ValueError(
                f"the dataset would not come back from a netCDF file as it is: {reason}"
            ) from None
    with draft.open("wb") as written:
        written.write(content)
        written.flush()
        os.fsync(written.fileno())


def _encoding(variable: xr.Variable) -> dict[str, Any]:
    """Compress large floating arrays, and let no fill value turn NaN or −inf into something else."""
    if variable.dtype.kind != "f":
        return {}
    compress = {"zlib": True, "complevel": 4} if variable.size > 1000 else {}
    return {"_FillValue": None, **compress}


def _check_values(name: Any, variable: xr.Variable) -> None:
    text = variable.dtype.kind == "O" and all(isinstance(item, str) for item in variable.values.flat)
    if not text and variable.dtype.kind not in "biufcU":
        raise ValueError(
            f"variable {name!r} holds {variable.dtype}, expected numbers, truth values or text; "
            "write times as numbers with their unit in the attributes"
        )


def _check_attributes(owner: str, attrs: Mapping[Any, Any], *, reserved: frozenset[str]) -> None:
    for name, value in attrs.items():
        if name in reserved:
            raise ValueError(
                f"{owner}: the attribute {name!r} tells netCDF readers how to decode values; rename it"
            )
        items = (
            np.asarray(value).ravel().tolist() if isinstance(value, list | tuple | np.ndarray) else [value]
        )
        if any(isinstance(item, bool | np.bool_) or not isinstance(item, str | Real) for item in items):
            raise ValueError(
                f"{owner}: the attribute {name!r} is {value!r}, expected a number, text or a list of them; "
                "write yes or no, none, or JSON as text"
            )


def _plain(value: Any) -> Any:
    """Return a Python number for a numpy scalar, so that attributes come back as they were given."""
    return value.item() if hasattr(value, "item") and getattr(value, "size", 1) == 1 else value
