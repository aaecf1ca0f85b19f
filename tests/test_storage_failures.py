"""Files that cannot be written or read: nothing is lost, nothing half is left, and the message says why."""

import os
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import gradflow as gf


def files(folder):
    return [path.name for path in folder.iterdir()]


OLD = xr.Dataset({"x": ("t", [1.0, 2.0])}, attrs={"made": "before"})


@pytest.fixture
def old(tmp_path):
    return gf.save(OLD, tmp_path / "old.nc")


def assert_kept(old):
    assert gf.load(old).identical(OLD)
    assert files(old.parent) == [old.name]


def test_a_file_is_replaced_as_a_whole(old):
    gf.save(xr.Dataset({"y": 3.0}), old)
    assert gf.load(old).identical(xr.Dataset({"y": 3.0}))
    assert files(old.parent) == [old.name]


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
def test_the_old_file_is_replaced_and_never_written_into(old, tmp_path_factory):
    """Whoever holds the old file open, or linked, goes on reading it whole."""
    held = tmp_path_factory.mktemp("held") / "held.nc"
    held.hardlink_to(old)
    gf.save(xr.Dataset({"y": 3.0}), old)
    assert gf.load(held).identical(OLD)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, RuntimeError("no space left")])
@pytest.mark.parametrize("moment", ["begun", "written"])
def test_an_interrupted_save_keeps_the_old_file(old, monkeypatch, error, moment):
    def interrupted(*arguments, **options):
        raise error

    where = (xr.Dataset, "to_netcdf") if moment == "begun" else (os, "fsync")
    monkeypatch.setattr(*where, interrupted)
    with pytest.raises(error if isinstance(error, type) else type(error)):
        gf.save(xr.Dataset({"y": 3.0}), old)
    monkeypatch.undo()
    assert_kept(old)


def test_a_full_disk_keeps_the_old_file_and_names_the_folder(old, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        OSError, match=rf"{old.parent}: cannot write old.nc there \(No space left on device\)"
    ):
        gf.save(xr.Dataset({"y": 3.0}), old)
    monkeypatch.undo()
    assert_kept(old)


def test_a_file_that_may_not_grow_so_large_leaves_the_process_alive(old):
    """The system refuses the bytes, as a full disk does; HDF5 would crash the process when it ends."""
    resource = pytest.importorskip("resource", reason="limits of POSIX")
    code = (
        "import resource, sys, numpy as np, xarray as xr, gradflow as gf\n"
        "data = xr.Dataset({'x': ('t', np.random.default_rng(0).normal(size=9000))})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))\n"
        "try: gf.save(data, sys.argv[1])\n"
        "except OSError as error: print(error.strerror)"
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    done = subprocess.run([sys.executable, "-c", code, str(old)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{old.parent}: cannot write old.nc there (File too large); choose another folder\n"
    assert_kept(old)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_named(old):
    old.parent.chmod(0o500)
    with pytest.raises(PermissionError, match=r"cannot write old.nc there .*choose another folder"):
        gf.save(xr.Dataset({"y": 3.0}), old)
    old.parent.chmod(0o700)
    assert_kept(old)


def test_a_path_that_can_hold_no_file_is_named(old):
    with pytest.raises(OSError, match=rf"{old}: cannot write a.nc there .*choose another folder"):
        gf.save(OLD, old / "a.nc")
    with pytest.raises(IsADirectoryError, match=f"{old.parent}: is a folder; name a file in it"):
        gf.save(OLD, old.parent)
    assert_kept(old)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_file_may_be_read_by_whom_the_user_lets_read(tmp_path):
    before = os.umask(0o027)
    try:
        assert gf.save(OLD, tmp_path / "a.nc").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


def test_a_link_is_followed(old, tmp_path_factory):
    link = tmp_path_factory.mktemp("elsewhere") / "link.nc"
    link.symlink_to(old)
    gf.save(xr.Dataset({"y": 3.0}), link)
    assert link.is_symlink()
    assert gf.load(old).identical(xr.Dataset({"y": 3.0}))


TIMES = np.array(["2020-01-01"], dtype="datetime64[ns]")
REFUSED = {
    "truth as attribute": (xr.Dataset(attrs={"a": True}), r"attribute 'a' is True, expected a number, text"),
    "none as attribute": (xr.Dataset(attrs={"a": None}), "attribute 'a' is None, expected"),
    "table as attribute": (xr.Dataset(attrs={"a": {"b": 1}}), "attribute 'a' is {'b': 1}, expected"),
    "fill value": (
        xr.Dataset({"x": ((), 1.0, {"_FillValue": 1.0})}),
        "variable 'x': the attribute '_FillValue'",
    ),
    "missing value": (xr.Dataset({"x": ((), 1.0, {"missing_value": 1.0})}), "'missing_value' tells netCDF"),
    "scale": (xr.Dataset({"x": ((), 1.0, {"scale_factor": 2.0})}), "'scale_factor' tells netCDF readers"),
    "times": (xr.Dataset({"x": ("t", TIMES)}), "variable 'x' holds datetime64.*write times as numbers"),
    "durations": (xr.Dataset({"x": ("t", TIMES - TIMES)}), "variable 'x' holds timedelta64"),
    "objects": (xr.Dataset({"x": ("t", np.array([None], dtype=object))}), "variable 'x' holds object"),
    "slash": (xr.Dataset({"a/b": 1.0}), "Forward slashes '/' are not allowed"),
    "space": (
        xr.Dataset({"x": ("t", [1.0])}, {"a b": ("t", [1])}),
        "would not come back .* 'a b' has a space",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_not_come_back_is_refused_and_nothing_is_lost(what, old):
    data, message = REFUSED[what]
    with pytest.raises(ValueError, match=message):
        gf.save(data, old)
    assert_kept(old)


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    for path in (tmp_path / "no.nc", tmp_path):
        with pytest.raises(FileNotFoundError, match=f"{path}: no such file"):
            gf.load(path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path, share):
    noise = gf.seeds.normal(0, "noise", shape=(50, 100))
    path = gf.save(xr.Dataset({"x": (("t", "n"), noise)}, {"t": np.arange(50)}), tmp_path / "a.nc")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"a.nc: not a readable netCDF file .*truncated"):
        gf.load(path)


def test_damaged_data_are_refused(tmp_path):
    noise = gf.seeds.normal(0, "noise", shape=(50, 100))
    path = gf.save(xr.Dataset({"x": (("t", "n"), noise)}), tmp_path / "a.nc")
    whole = bytearray(path.read_bytes())
    middle = len(whole) - 20_000
    whole[middle : middle + 64] = bytes(64)
    path.write_bytes(whole)
    with pytest.raises(ValueError, match=r"a.nc: not a readable netCDF file"):
        gf.load(path)


@pytest.mark.parametrize(
    "content", [b"", b"lag,log_norm\n0,0.0\n", b"\x89PNG\r\n\x1a\n" + bytes(99), b"CDF\x01"]
)
def test_a_file_of_another_kind_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "other.nc"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"other.nc: not a readable netCDF file .*gradflow.save"):
        gf.load(path)
    assert path.read_bytes() == content
