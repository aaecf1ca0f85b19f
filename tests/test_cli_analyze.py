"""`gradflow analyze`: the numbers of the findings, printed for people, JSON and CSV for machines."""

import json
import re
import shutil
import sys

import measured
import numpy as np
import pandas as pd
import pytest
from compare import assert_close

import gradflow as gf
from gradflow.cli import tables
from gradflow.findings import findings


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Save one file of each kind, once; return the folder."""
    folder = tmp_path_factory.mktemp("saved")
    gf.save(measured.record(), folder / "record.nc")
    gf.save(measured.products(span=2), folder / "two.nc")
    gf.save(measured.products(span=4), folder / "four.nc")
    gf.save(measured.paths(), folder / "paths.nc")
    gf.save(measured.training(), folder / "run" / "gradients.nc")
    return folder


@pytest.fixture
def files(saved, tmp_path):
    """Return an empty folder with a copy of each file."""
    return shutil.copytree(saved, tmp_path, dirs_exist_ok=True)


def test_rates_are_printed_with_their_intervals(cli, files):
    code, out, err = cli("analyze", "two.nc")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "jacobian products"
    assert lines[1].split()[:3] == ["layer", "rate", "half_life"]
    assert {"mean_square", "bound", "neuron_path"} <= set(lines[1].split())
    assert "(rates in nats per step, lags and spans in steps" in out
    rows = findings(measured.products(span=2)).rows
    for line, row in zip(lines[2:4], rows.itertuples(), strict=True):
        assert f"{row.rate:.4g} ± {row.rate_high - row.rate:.2g}" in line
    assert "note: rate_transfer needs the run itself" in out
    assert "\x1b" not in out


def test_several_files_are_labelled_by_what_differs(cli, files):
    code, out, _ = cli("analyze", "two.nc", "four.nc")
    assert code == 0
    assert out.count("λ = 2") >= 2
    assert out.count("λ = 4") >= 2


def test_kinds_have_a_table_each(cli, files):
    code, out, _ = cli("analyze", "record.nc", "two.nc", "paths.nc", "run")
    assert code == 0
    lines = out.splitlines()
    for kind in ("record", "jacobian products", "path products", "gradient while training"):
        assert kind in lines
    assert "λ" not in out.splitlines()[1]


def test_of_a_run_the_first_and_the_last_epoch_are_printed_and_all_written(cli, files, tmp_path):
    code, out, _ = cli("analyze", "run", "--csv", "rows.csv")
    assert code == 0
    rows = [line.split() for line in out.splitlines() if line.split()[:1] in (["0"], ["1"], ["2"])]
    assert [row[:2] for row in rows] == [["0", "0"], ["0", "1"], ["2", "0"], ["2", "1"]]
    assert out.splitlines()[-1] == "wrote rows.csv"
    assert len(pd.read_csv(tmp_path / "rows.csv")) == 6


def test_json_says_the_same(cli, files):
    code, out, err = cli("analyze", "two.nc", "record.nc", "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    rows = findings(measured.products(span=2)).rows
    assert_close([row["rate"] for row in said["two.nc"]["rows"]], rows.rate, rtol=1e-9, why="12 decimals")
    assert said["record.nc"]["kind"] == "record"
    assert said["record.nc"]["notes"]
    assert all(row["horizon"] is None or np.isfinite(row["horizon"]) for row in said["two.nc"]["rows"])


def test_csv_holds_every_number(cli, files, tmp_path):
    assert cli("analyze", "two.nc", "four.nc", "--csv", "rows.csv")[0] == 0
    table = pd.read_csv(tmp_path / "rows.csv")
    assert table.label.tolist() == ["λ = 2"] * 2 + ["λ = 4"] * 2
    expected = np.concatenate([findings(measured.products(span=span)).rows.rate for span in (2, 4)])
    assert_close(table.rate.to_numpy(), expected, rtol=1e-8, why="nine digits")
    assert cli("analyze", "two.nc", "--csv", "rows.csv")[1].endswith("replaced rows.csv\n")


def test_the_level_is_passed_on(cli, files):
    said = {}
    for level in ("1e-1", "1e-3"):
        rows = json.loads(cli("analyze", "two.nc", "--level", level, "--json")[1])["two.nc"]["rows"]
        said[level] = rows[0]["horizon"]
    expected = findings(measured.products(span=2), 0.1).rows.horizon[0]
    assert_close(said["1e-1"], expected, rtol=1e-9, why="12 decimals")
    assert said["1e-3"] is None or said["1e-3"] > said["1e-1"]


def test_a_horizon_beyond_the_record_says_so(cli, tmp_path):
    gf.save(measured.constant_products(a=0.999, steps=30), tmp_path / "slow.nc")
    code, out, _ = cli("analyze", "slow.nc")
    assert code == 0
    assert ">29" in out


def test_warnings_are_printed(cli, tmp_path):
    gf.save(measured.constant_products(a=1.1), tmp_path / "grows.nc")
    code, out, _ = cli("analyze", "grows.nc")
    assert code == 0
    assert "warning: layer 0: grows by 0.0953 nats per step, the gradient explodes" in out.splitlines()


def test_a_terminal_gets_a_table_and_no_colour_where_none_is_wanted(monkeypatch, files, capsys):
    for wanted, coloured in ((None, True), ("1", False)):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("FORCE_COLOR", "1")
        if wanted:
            monkeypatch.setenv("NO_COLOR", wanted)
        tables.print_table("kind", ["layer", "rate [x]"], [["0", "-0.5 [-1, 0]"]])
        out = capsys.readouterr().out
        assert "rate [x]" in out
        assert "-0.5 [-1, 0]" in out
        assert "━" in out or "┃" in out
        if not coloured:
            assert "\x1b[3" not in out.replace("\x1b[3m", "")


def test_a_narrow_terminal_gets_columns_that_fit(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "30")
    heads, rows = ["layer", "rate", "horizon"], [[str(k), f"-0.1234567890{k}", "100"] for k in range(4)]
    tables.print_table("kind", heads, rows)
    lines = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= 30
    for layer, rate, _ in rows:
        assert sum(rate in line for line in lines) == 1
        assert any(line.count(layer) for line in lines if "layer" in line)
    assert sum("horizon" in line for line in lines) == 4, "one column of numbers fits beside the names"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("analyze", "Missing argument 'FILE…'"),
        ("analyze x.nc --level 0", "'--level': got '0', expected a share above 0 and up to 1"),
        ("analyze x.nc --level much", "'--level': got 'much', expected a share"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_code_2(cli, arguments, message):
    code, out, err = cli(*arguments.split())
    assert (code, out) == (2, "")
    assert message in err
    assert err.endswith("(see gradflow analyze --help)\n")
    assert err.count("\n") == 1


def test_what_is_no_file_of_ours_is_one_line_and_exit_code_1(cli, files, tmp_path):
    (tmp_path / "text.nc").write_text("text")
    whole = (tmp_path / "two.nc").read_bytes()
    (tmp_path / "cut.nc").write_bytes(whole[: len(whole) // 2])
    gf.save(measured.record()[["loss"]], tmp_path / "bare.nc")
    gf.save(measured.products().assign_attrs(kind="lag matrix"), tmp_path / "other.nc")
    for name, message in {
        "missing.nc": "missing.nc: no such file",
        "text.nc": "text.nc: not a readable netCDF file",
        "cut.nc": "cut.nc: not a readable netCDF file",
        "bare.nc": "bare.nc: the record holds neither norms nor activity; record them with",
        "other.nc": "other.nc: holds lag matrix; expected record or jacobian products",
        ".": ".: a folder without gradients.nc",
    }.items():
        code, out, err = cli("analyze", "two.nc", name)
        assert (code, out) == (1, ""), name
        assert message in err
        assert err.count("\n") == 1


def test_a_csv_that_cannot_be_written_is_said(cli, files, tmp_path, monkeypatch):
    def full(self, path, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    code, out, err = cli("analyze", "two.nc", "--csv", "rows.csv")
    assert (code, out) == (1, "")
    assert (
        err == "gradflow: .: cannot write rows.csv there (No space left on device); choose another folder\n"
    )
    assert not (tmp_path / "rows.csv").exists()
