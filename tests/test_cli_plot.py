"""`gradflow plot`: pictures of saved files, what they carry, and how it fails."""

import hashlib
import json
import shutil

import measured
import numpy as np
import pandas as pd
import pytest
from compare import assert_close
from matplotlib.figure import Figure
from PIL import Image

import gradflow as gf
from gradflow.analysis import curve_band
from gradflow.views import VIEWS


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Save products and records of two spans, once; return the folder."""
    folder = tmp_path_factory.mktemp("saved")
    for span, name in ((2, "two"), (4, "four")):
        gf.save(measured.products(span=span), folder / f"{name}.nc")
        gf.save(measured.record(span=span), folder / f"{name}.record.nc")
    return folder


@pytest.fixture
def files(saved, tmp_path):
    """Return an empty folder with a copy of each file."""
    return shutil.copytree(saved, tmp_path, dirs_exist_ok=True)


def test_without_a_kind_they_are_listed(cli):
    code, out, err = cli("plot")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == list(VIEWS)
    assert lines[0].endswith("(jacobian products)")


def test_a_picture_says_what_it_was_made_from(cli, files, tmp_path):
    code, out, err = cli("plot", "decay-curves", "two.nc", "four.nc", "-o", "curves.png")
    assert (code, out, err) == (0, "wrote curves.png\n", "")
    said = json.loads(Image.open(tmp_path / "curves.png").text["Description"])
    assert said["command"] == "gradflow plot decay-curves two.nc four.nc -o curves.png"
    assert [read["file"] for read in said["read"]] == ["two.nc", "four.nc"]
    assert said["read"][1]["sha256"] == hashlib.sha256((files / "four.nc").read_bytes()).hexdigest()
    assert said["read"][1]["attributes"]["recurrence"] == "skip:4"


def test_formats_and_numbers_are_written_beside_each_other(cli, files, tmp_path):
    arguments = ("decay-curves", "two.nc", "four.nc", "--format", "pdf,svg", "--csv", "-o", "pictures/curves")
    code, out, _ = cli("plot", *arguments)
    assert code == 0
    names = [f"pictures/curves.{suffix}" for suffix in ("pdf", "svg", "csv")]
    assert out.splitlines() == [f"wrote {name}" for name in names]
    assert cli("plot", *arguments)[1].splitlines() == [f"replaced {name}" for name in names]
    table = pd.read_csv(tmp_path / "pictures" / "curves.csv")
    line = table[(table.part == "curves") & (table.label == "λ = 4") & (table.panel == 1)]
    expected = curve_band(measured.products(span=4)).centre.sel(layer=1).values / np.log(10)
    assert_close(line.y.to_numpy(), expected, rtol=1e-8, atol=1e-8, why="nine digits")


def test_the_file_is_named_after_the_kind_by_default(cli, files):
    assert cli("plot", "gradient-norms", "two.record.nc")[1] == "wrote gradient-norms.png\n"


@pytest.mark.parametrize(
    ("width", "inches"), [("3.5in", 3.5), ("89mm", 89 / 25.4), ("8.9cm", 8.9 / 2.54), ("5", 5.0)]
)
def test_widths_are_those_asked_for(cli, files, monkeypatch, width, inches):
    seen = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **options: seen.append(self) or path.touch())
    assert cli("plot", "activity", "two.record.nc", "--width", width)[0] == 0
    assert_close(seen[0].get_figwidth(), inches, rtol=1e-12, why="one product")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("plot pie x.nc", "got 'pie', expected one of decay-curves, zeros"),
        ("plot activity", "got no files; activity reads files of the kind 'record'"),
        (
            "plot activity x.nc -o x.gif",
            "--out: got 'x.gif', expected a name that ends in .png, .pdf or .svg",
        ),
        ("plot activity x.nc --format gif", "got 'gif', expected some of png,pdf,svg"),
        ("plot activity x.nc --width 3.5ft", "got '3.5ft', expected 1.5in to 40in"),
        ("plot activity x.nc --width nan", "got 'nan', expected 1.5in to 40in"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_code_2(cli, arguments, message, tmp_path):
    code, out, err = cli(*arguments.split())
    assert (code, out) == (2, "")
    assert message in err
    assert err.endswith("(see gradflow plot --help)\n")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_files_that_cannot_be_drawn_are_named_and_no_picture_is_made(cli, files, tmp_path):
    gf.save(measured.record().drop_vars("grad_u"), tmp_path / "bare.nc")
    (tmp_path / "text.nc").write_text("text")
    for arguments, message in {
        ("decay-curves", "two.record.nc"): "two.record.nc: holds record; expected jacobian products",
        ("gradient-norms", "two.nc"): "two.nc: holds jacobian products; expected record",
        ("gradient-norms", "bare.nc"): "bare.nc: lacks grad_u (it holds firing_rate, grad_s",
        ("decay-curves", "text.nc"): "text.nc: not a readable netCDF file",
        ("rates", "."): ".: a folder without gradients.nc",
        ("decay-curves", "missing.nc"): "missing.nc: no such file",
        ("activity", *["two.record.nc"] * 13): "activity: got 13 files, expected 1 to 12 in one picture",
    }.items():
        code, out, err = cli("plot", *arguments, "-o", "x.png")
        assert (code, out) == (1, "")
        assert message in err
        assert err.count("\n") == 1
    assert not list(tmp_path.glob("*.png"))


def test_a_disk_that_fills_up_keeps_the_old_picture(cli, files, tmp_path, monkeypatch):
    (tmp_path / "x.png").write_bytes(b"old")

    def full(self, path, **options):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    code, _, err = cli("plot", "activity", "two.record.nc", "-o", "x.png")
    assert (code, err) == (
        1,
        "gradflow: .: cannot write x.png there (No space left on device); choose another folder\n",
    )
    assert (tmp_path / "x.png").read_bytes() == b"old"


def test_a_training_run_is_drawn_from_its_folder(cli, tmp_path):
    gf.save(measured.training(), tmp_path / "run" / "gradients.nc")
    code, out, err = cli("plot", "rates", "run", "--theory", "-o", "rates.png")
    assert (code, out, err) == (0, "wrote rates.png\n", "")
    said = json.loads(Image.open(tmp_path / "rates.png").text["Description"])
    assert (
        said["read"][0]["sha256"] == hashlib.sha256((tmp_path / "run/gradients.nc").read_bytes()).hexdigest()
    )
