"""Figures from end to end: computed once, several at a time, traceable, and whole whatever goes wrong."""

import errno
import json
import logging
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from compare import assert_close
from matplotlib.figure import Figure
from PIL import Image
from pydantic import create_model

import gradflow as gf
from gradflow.figures import computed as keeping
from gradflow.figures import data_key as keys
from gradflow.figures import decay_curves, registry, several
from gradflow.figures.data_key import data_key, key_of, key_parts, sources
from gradflow.figures.make import FORMATS, draw_from, make
from gradflow.figures.provenance import read
from gradflow.figures.registry import Claim, Config, FigureSpec
from gradflow.plots import style
from gradflow.plots.look import LEAST, OVERHANG, Look, dress, fit_texts

ROOT = Path(__file__).parent.parent
COMMAND = "gradflow figures tiny"
computations = []


class TinyConfig(Config):
    name: str = "tiny"
    points: int = 4
    folder: str | None = None


class ExplosionError(Exception):
    """Cannot travel between processes: it takes what its message does not hold."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def compute(config, progress=registry.silent):
    progress(0, 1, "points")
    computations.append(config.points)
    if config.points == 13:
        raise ExplosionError("bad", "luck")
    if config.points == 14:
        os._exit(9)
    values = xr.Dataset({"value": ("point", np.linspace(0.0, 1.0, config.points))})
    told = {
        "figure": config.name,
        "config": config.model_dump_json(),
        "network_seed": "0,1",
        "note": 'a (b) \\ "c"',
    }
    return values.assign_attrs(
        {**told, "versions": json.dumps({"numpy": "2"}), "commit": "abc", "decay": 0.5}
    )


def draw(data):
    with style():
        picture = Figure(figsize=(6.0, 4.0))
        ax = picture.subplots()
        ax.plot(data.value.values, label="λ = 1")
        ax.annotate("small", (0.0, 0.5), xytext=(10, 0), textcoords="offset points", fontsize=6)
        ax.legend()
        picture.suptitle("A title")
    return picture


def table(data):
    return data.value.to_dataframe().reset_index()


def claims(data):
    return [Claim("values rise", bool((data.value.diff("point") > 0).all()))]


def summary(data):
    return pd.DataFrame({"points": [data.point.size]})


TINY = FigureSpec(
    "tiny",
    "A tiny λ",
    "Caption.",
    TinyConfig,
    {"points": 3},
    {"points": 5},
    compute,
    draw,
    claims,
    table,
    summary,
)
SUFFIXES = [".nc", ".csv", ".png", ".pdf", ".svg", ".json"]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("own")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    computations.clear()
    return folder / "gradflow" / "figures"


@pytest.fixture
def book(monkeypatch):
    """Put figures into the registry: by name, what they compute with."""

    def registered(**figures):
        specs = {
            name: replace(
                TINY, name=name, config=create_model(name, __base__=TinyConfig, name=(str, name)), **changes
            )
            for name, changes in figures.items()
        }
        monkeypatch.setattr(registry, "names", lambda: list(specs))
        monkeypatch.setattr(registry, "find", specs.__getitem__)

    registered(tiny={})
    return registered


def tiny(out, points=4, formats=("png",), **options):
    return make(TINY, TinyConfig(points=points), out, command=COMMAND, formats=formats, **options)


# computed once


def test_data_are_computed_once_and_the_files_are_the_same_bytes(tmp_path, cache):
    first, again = (tiny(tmp_path / name, formats=FORMATS) for name in "ab")
    assert computations == [4]
    assert [path.suffix for path in first.files] == SUFFIXES
    for old, new in zip(first.files, again.files, strict=True):
        assert old.read_bytes() == new.read_bytes()
    key = data_key(TINY, TinyConfig())
    assert {path.name for path in cache.iterdir()} == {f"tiny-{key[:16]}.nc", f"tiny-{key[:16]}.json"}
    assert gf.load(first.files[0]).attrs["data_key"] == key


def test_other_options_other_data_and_force_computes_anew(tmp_path):
    tiny(tmp_path)
    tiny(tmp_path, points=5)
    tiny(tmp_path, points=5, force=True)
    tiny(tmp_path)
    assert computations == [4, 5, 5]


def test_the_key_holds_options_code_versions_and_the_files_of_the_folder(tmp_path, monkeypatch):
    before = key_parts(TINY, TinyConfig())
    assert key_of(before) == data_key(TINY, TinyConfig())
    seen = {data_key(TINY, TinyConfig()), data_key(TINY, TinyConfig(points=5))}
    idx = tmp_path / "train-images-idx3-ubyte"
    for content in (b"one", b"two"):
        idx.write_bytes(content)
        seen.add(data_key(TINY, TinyConfig(folder=str(tmp_path))))
    monkeypatch.setattr(keys, "package_versions", lambda: dict.fromkeys(keys.LIBRARIES, "other"))
    seen.add(data_key(TINY, TinyConfig()))
    monkeypatch.setattr(keys, "sources", lambda module: {"gradflow.theory.bound": "other"})
    seen.add(data_key(TINY, TinyConfig()))
    assert len(seen) == 6


def test_the_code_of_a_figure_is_what_it_computes_with_and_no_more():
    found = set(sources(decay_curves))
    assert {
        "gradflow.figures.decay_curves",
        "gradflow.figures.cells",
        "gradflow.analysis.fits",
        "gradflow.engine.fused",
        "gradflow.engine.kernels.forward",
        "gradflow.jacobian.products",
        "gradflow.theory.transfer",
        "gradflow.neurons.lif",
        "gradflow.network",
        "gradflow.tasks.digits",
    } <= found
    for name in found:
        assert not name.startswith(("gradflow.cli", "gradflow.plots", "gradflow.train", "gradflow.sweep")), (
            name
        )
        assert not name.endswith("_picture")


def test_a_source_that_changes_changes_the_hash(tmp_path):
    source = tmp_path / "module.py"
    source.write_text("from gradflow import seeds\nx = 1\n")
    digest, imported = keys._read.__wrapped__(source)
    assert imported == ("gradflow.seeds",)
    source.write_text("from gradflow import seeds\nx = 2\n")
    assert keys._read.__wrapped__(source)[0] != digest


def test_a_function_made_on_the_spot_is_never_kept(tmp_path, cache):
    spec = replace(TINY, compute=lambda config, progress: compute(config))
    for _ in range(2):
        make(spec, TinyConfig(), tmp_path, command=COMMAND)
    assert computations == [4, 4]
    assert not cache.exists()


@pytest.mark.parametrize("damage", [b"", b"short", "cut", "flip", "json"])
def test_a_damaged_cache_is_computed_anew_and_a_line_says_so(tmp_path, cache, caplog, damage):
    made = tiny(tmp_path)
    (kept,), (about,) = cache.glob("*.nc"), cache.glob("*.json")
    whole = bytearray(kept.read_bytes())
    if damage == "json":
        about.write_text("{")
    elif damage == "flip":
        place = whole.index(np.float64(1 / 3).tobytes())
        whole[place] ^= 1  # netCDF itself would not see it
        kept.write_bytes(whole)
    else:
        kept.write_bytes(whole[: len(whole) // 2] if damage == "cut" else damage)
    with caplog.at_level(logging.WARNING, "gradflow"):
        again = tiny(tmp_path / "again")
    (line,) = caplog.messages
    assert re.match(rf"{kept.name}: damaged in the cache, computed anew \(.+\)", line)
    assert computations == [4, 4]
    assert made.files[0].read_bytes() == again.files[0].read_bytes()
    tiny(tmp_path)
    assert computations == [4, 4]


def test_without_a_cache_that_can_be_written_figures_are_made_all_the_same(tmp_path, monkeypatch, caplog):
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert len(tiny(tmp_path / "out").files) == 4
    (line,) = caplog.messages
    assert line.startswith("tiny: its data are not kept for another time: ")


def test_a_disk_that_fills_up_is_one_line_and_the_data_are_not_lost(book, cli, tmp_path, monkeypatch):
    assert cli("figures", "tiny", "--out", "out")[0] == 0
    old = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    written = Path.write_text

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    for place in ("matplotlib.figure.Figure.savefig", "gradflow.storage._write"):
        if place.startswith("gradflow"):
            saved = keeping.save
            monkeypatch.setattr(keeping, "save", saved)
        with monkeypatch.context() as patch:
            patch.setattr(place, full)
            code, _, err = cli("figures", "tiny", "--out", "out")
        assert code == 1
        assert re.fullmatch(r"gradflow: out: cannot write \S+ there \(No space left on device\).*\n", err)
        assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == old
    assert Path.write_text is written
    assert computations == [4]
    assert cli("figures", "tiny", "--out", "out")[0] == 0


# several


def test_one_that_fails_stops_no_other(book, cli, tmp_path):
    book(good={}, bad={"quick": {"points": 13}}, best={})
    code, out, err = cli("figures", "--all", "--quick", "--out", "out")
    assert code == 1
    assert err.splitlines() == [
        "gradflow: bad: a mistake of gradflow's own, ExplosionError: bad and luck (--verbose shows where)",
        "gradflow: 1 of 3 figures failed: bad; the others are whole; the same command goes on from here",
    ]
    assert {path.stem for path in (tmp_path / "out").iterdir()} == {"good", "best"}
    assert computations == [3, 13, 3]
    code, out, _ = cli("figures", "--all", "--quick", "--out", "out", "--json")
    assert code == 1
    assert list(json.loads(out)) == ["good", "bad", "best"]
    assert "ExplosionError" in json.loads(out)["bad"]["error"]
    assert computations == [3, 13, 3, 13]  # it resumes: only what failed is computed


def test_verbose_shows_where_and_goes_on(book, cli):
    book(bad={"quick": {"points": 13}}, good={})
    code, _, err = cli("figures", "--all", "--quick", "--verbose")
    assert code == 1
    assert "Traceback" in err
    assert 'raise ExplosionError("bad", "luck")' in err


def test_processes_make_the_same_files_and_outlive_one_that_dies(tmp_path):
    specs = {"one": 4, "bad": 13, "dead": 14}
    orders = [
        several.Order(
            replace(TINY, name=name),
            TinyConfig(name=name, points=points),
            tmp_path / "many",
            COMMAND,
            ("png",),
        )
        for name, points in specs.items()
    ]
    heard = []

    def report(name):
        return lambda *said: heard.append((name, *said))

    found = {outcome.name: outcome for outcome in several.make_all(orders, report, jobs=2)}
    assert sorted(found) == sorted(specs)
    assert "ExplosionError: bad and luck" in str(found["bad"].error)
    assert re.match(r"its process died \(exit code 9\)", str(found["dead"].error))
    assert ("one", 0, 1, "points") in heard
    alone = make(
        replace(TINY, name="one"),
        TinyConfig(name="one"),
        tmp_path / "alone",
        command=COMMAND,
        formats=("png",),
        force=True,
    )
    for old, new in zip(alone.files, found["one"].made.files, strict=True):
        assert old.name == new.name
        assert old.read_bytes() == new.read_bytes()


def test_stale_makes_what_is_missing_other_or_damaged_and_nothing_else(book, cli, tmp_path, monkeypatch):
    book(one={}, two={})
    out = tmp_path / "gradflow-figures"

    def stale(*options):
        code, said, err = cli("figures", "--stale", *options)
        assert (code, err) == (0, "")
        return [line for line in said.splitlines() if re.match(r"(one|two): ", line)]

    assert stale() == ["one: one.nc is missing", "two: two.nc is missing"]
    assert stale() == ["one: up to date", "two: up to date"]
    (out / "two.png").write_bytes(b"\x89PNG short")
    assert stale() == ["one: up to date", "two: two.png is damaged"]
    (out / "one.pdf").unlink()
    assert stale() == ["one: one.pdf is missing", "two: up to date"]
    (out / "one.nc").write_bytes((out / "one.nc").read_bytes()[:1000])
    assert stale() == ["one: one.nc is damaged", "two: up to date"]
    assert stale("--quick") == [
        f"{name}: {name}.nc was computed with other options" for name in ("one", "two")
    ]
    assert stale("--quick", "--style", "slides")[0] == "one: one.png has another look"
    assert stale("--quick", "--style", "slides") == ["one: up to date", "two: up to date"]
    parts = keys.key_parts
    monkeypatch.setattr(
        keys, "key_parts", lambda *given: {**parts(*given), "code": {"gradflow.engine": "changed"}}
    )
    assert stale("--quick")[0] == "one: one.nc was computed with other code"


# where a picture comes from


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg", ".nc", ".json"])
def test_every_file_says_how_it_is_made_again(book, cli, tmp_path, suffix):
    cli("figures", "tiny", "--quick", "--out", "my out", "--format", "png,pdf,svg")
    file = tmp_path / "my out" / f"tiny{suffix}"
    told = read(file)
    assert told == json.loads((tmp_path / "my out" / "tiny.json").read_text())
    assert told["title"] == "A tiny λ"
    assert told["command"] == "gradflow figures tiny --quick --out 'my out'"
    assert told["configuration"] == {"name": "tiny", "points": 3, "folder": None}
    assert told["seeds"] == {"network_seed": "0,1"}
    assert told["conventions"] == {"note": 'a (b) \\ "c"', "decay": 0.5}
    assert told["data"]["key"] == data_key(TINY, TinyConfig(points=3))
    code, out, err = cli("figures", "--explain", file)
    assert (code, err) == (0, "")
    assert "make again     gradflow figures tiny --quick --out 'my out'\n" in out
    assert f"SHA-256 {told['data']['sha256']}: beside this file\n" in out
    (file.parent / "tiny.nc").write_bytes(b"other") if suffix != ".nc" else None
    assert ("lie other data" in cli("figures", "--explain", file)[1]) is (suffix != ".nc")
    assert suffix == ".nc" or json.loads(cli("figures", "--explain", file, "--json")[1]) == told


def test_the_command_it_tells_makes_the_same_picture_byte_for_byte(book, cli, tmp_path):
    cli(
        "figures", "tiny", "--quick", "--out", "out", "--style", "slides", "--width", "neurips", "--jobs", "2"
    )
    png = tmp_path / "out" / "tiny.png"
    first = png.read_bytes()
    command = read(png)["command"]
    assert command == "gradflow figures tiny --quick --out out --style slides --width 139.7mm"
    png.unlink()
    assert cli(*command.split()[1:])[0] == 0
    assert png.read_bytes() == first
    assert computations == [3]


def test_pictures_of_others_are_one_clear_line(cli, tmp_path):
    picture = Figure()
    for kind in ("png", "pdf", "svg"):
        picture.savefig(tmp_path / f"other.{kind}")
    picture.savefig(tmp_path / "described.png", metadata={"Description": '["no", "object"]'})
    (tmp_path / "text.png").write_text("text")
    (tmp_path / "cut.png").write_bytes((tmp_path / "other.png").read_bytes()[:20])
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "empty").touch()
    gf.save(xr.Dataset(attrs={"kind": "record"}), tmp_path / "record.nc")
    files = sorted(path for path in tmp_path.iterdir())
    assert len(files) == 9
    for file in files:
        code, out, err = cli("figures", "--explain", file)
        assert (code, out) == (1, "")
        assert err.startswith(
            f"gradflow: {file}: carries no provenance of gradflow, or is cut short; expected"
        )
        assert err.count("\n") == 1
    assert "no such file" in cli("figures", "--explain", "missing.png")[2]


def test_a_picture_of_plot_is_explained_too(cli, tmp_path):
    about = {"command": "gradflow plot x y.nc", "read": [{"file": "y.nc", "sha256": "12", "attributes": {}}]}
    Figure().savefig(tmp_path / "x.png", metadata={"Title": "X", "Description": json.dumps(about)})
    code, out, _ = cli("figures", "--explain", "x.png")
    assert code == 0
    assert out.splitlines() == [
        "x.png       X",
        "make again  gradflow plot x y.nc",
        "data        y.nc, SHA-256 12",
    ]


def test_the_json_of_the_committed_pictures_is_what_they_carry():
    found = sorted((ROOT / "figures").glob("*.json"))
    assert found
    for file in found:
        assert json.loads(file.read_text()) == read(file.with_suffix(".png"))


# looks


@pytest.mark.parametrize(
    ("look", "inches", "letters", "pixels"),
    [
        (Look(), (6.0, 4.0), 9.0, 1200),
        (Look("slides"), (9.6, 6.4), 15.5, 1536),
        (Look("notebook"), (6.6, 4.4), 10.0, 792),
        (Look(width=3.0), (3.0, 4.0 * 0.5**0.75), 6.48, 600),
        (Look(width=12.0), (12.0, 8.0), 9.0, 2400),
    ],
    ids=str,
)
def test_looks_change_sizes_and_nothing_else(tmp_path, look, inches, letters, pixels):
    data = gf.load(tiny(tmp_path).files[0])
    plain, dressed = draw(data), draw(data)
    dress(dressed, look)
    (before,), (after,) = plain.axes, dressed.axes
    assert_close(dressed.get_size_inches(), inches, rtol=1e-12, why="products")
    assert_close(after.xaxis.label.get_fontsize(), letters, rtol=1e-12, why="products")
    factor = letters / 9.0
    assert_close(after.texts[0].get_fontsize(), 6 * factor, rtol=1e-12, why="explicit sizes follow")
    assert_close(after.texts[0].xyann[0], 10 * factor, rtol=1e-12, why="and so does their distance")
    assert_close(
        after.get_xticklabels()[0].get_fontsize(), 8.0 * factor, rtol=0.2, why="the sheet's own size"
    )
    assert (before.lines[0].get_ydata() == after.lines[0].get_ydata()).all()
    made = draw_from(TINY, tmp_path / "tiny.nc", tmp_path, formats=("png",), look=look)
    with Image.open(made.files[2]) as picture:
        assert picture.width == pixels


def test_a_width_without_room_for_labels_is_drawn_and_said(cli, book, tmp_path):
    book(tiny={"narrowest": 3.4})
    code, _, err = cli("figures", "tiny", "--width", "3in", "--format", "png")
    assert code == 0
    assert err == "tiny: at 3 in its labels crowd; give it 3.4 in or more, or look at it first\n"
    assert (tmp_path / "gradflow-figures" / "tiny.png").exists()
    assert cli("figures", "tiny", "--width", "4in", "--format", "png")[2] == ""


def test_labels_longer_than_their_panel_are_made_to_fit():
    picture = Figure(figsize=(4, 3))
    left, right = picture.subplots(1, 2)
    left.set(title="too long for its panel", xlabel="short")
    right.set(ylabel="very much longer than its panel is high, " * 3)
    before = [text.get_fontsize() for text in (left.title, left.xaxis.label, right.yaxis.label)]
    assert left.title.get_window_extent().width > OVERHANG * left.get_window_extent().width
    fit_texts(picture)
    after = [text.get_fontsize() for text in (left.title, left.xaxis.label, right.yaxis.label)]
    assert left.title.get_window_extent().width <= 1.02 * OVERHANG * left.get_window_extent().width  # hinting
    assert after[0] < before[0]
    assert after[1:] == [before[1], LEAST * before[2]]


def test_hostile_files_and_folders_end_in_one_line(cli, book, tmp_path):
    whole = tiny(tmp_path).files[0].read_bytes()
    (tmp_path / "cut.nc").write_bytes(whole[: len(whole) // 2])
    gf.save(xr.Dataset({"x": ("time", [1.0])}, attrs={"kind": "record"}), tmp_path / "record.nc")
    kept = (tmp_path / "kept.png").write_bytes(b"mine") and tmp_path / "kept.png"
    for arguments, said in (
        (("--redraw", "cut.nc"), "cut.nc: not a readable netCDF file"),
        (("--redraw", "record.nc"), "record.nc: holds record, expected figure tiny"),
        (("--out", kept), "kept.png"),  # a file where a folder is needed
        (("--out", "/proc/figures"), "/proc/figures"),  # where nobody may write, root neither
    ):
        code, _, err = cli("figures", "tiny", *arguments)
        assert code == 1
        assert said in err
        assert err.count("\n") == 1
    assert kept.read_bytes() == b"mine"
    assert not list(tmp_path.glob("*.part"))


def test_unknown_looks_are_refused(cli, book):
    code, _, err = cli("figures", "tiny", "--style", "poster")
    assert code == 2
    assert "'--style': got 'poster', expected one of paper, slides, notebook" in err
    assert "nature-single" in cli("figures", "tiny", "--width", "nature")[2]
    assert "expected some of png,pdf,svg" in cli("figures", "tiny", "--format", "gif")[2]
    with pytest.raises(ValueError, match="style: got 'poster', expected one of paper"), style("poster"):
        pass


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--explain x.png tiny", "--explain takes a file and no figures or options"),
        ("tiny --redraw x.nc --stale", "--redraw takes one figure and no options"),
        ("--stale nope", "got nope, expected a figure"),
        ("tiny --jobs 0", "expected a whole number of at least 1"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(book, cli, arguments, message):
    code, _, err = cli("figures", *arguments.split())
    assert code == 2
    assert message in err


# a real one


def test_a_real_figure_is_computed_once(cli, tmp_path, monkeypatch):
    size = ["--spans", "1,2", "--pool", "7", "--hidden", "8", "--samples", "1", "--seeds", "2"]
    assert cli("figures", "decay-curves", *size, "--out", "a", "--format", "png")[0] == 0
    monkeypatch.setattr("gradflow.figures.cells.RecurrentSNN", None)
    assert cli("figures", "decay-curves", *size, "--out", "a", "--stale", "--format", "png")[
        1
    ].splitlines() == ["decay-curves: up to date"]
    code, out, err = cli("figures", "decay-curves", *size, "--out", "b", "--width", "plos", "--format", "svg")
    assert (code, err) == (0, "")
    assert "wrote b/decay-curves.svg" in out
    assert read(tmp_path / "b" / "decay-curves.svg")["look"] == {"style": "paper", "width": "7.5 in"}
