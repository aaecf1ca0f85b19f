"""The report without a browser: its numbers are the files', it loads nothing, nothing writes into it."""

import base64
import hashlib
import io
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import measured
import numpy as np
import pytest
import reported
from PIL import Image

import gradflow as gf
from gradflow.analysis import curve_band, zero_summary
from gradflow.analysis.steps import norm_band
from gradflow.findings import layers
from gradflow.report import charts, cures, page, sections, stills, write_report

FINDINGS = "".join(path.read_text() for path in Path(layers.__file__).parent.glob("*.py"))
PLOTLY_SCRIPT = page.plotly_script
EVIL = '</script><script>alert("1")</script><img src=x onerror=alert(1)>'


@pytest.fixture(autouse=True)
def short_script(whole, monkeypatch):
    """Leave plotly's 5 MB out of all pages but one."""
    monkeypatch.setattr(page, "plotly_script", lambda: "/* plotly */")


@pytest.fixture
def no_stills(monkeypatch):
    """Let still pictures be empty: drawing them takes longer than all the rest."""
    for module in (sections, stills):
        monkeypatch.setattr(module, "png", lambda picture: b"")


@pytest.fixture(scope="module")
def whole(report_page):
    """Return the page about all files."""
    return reported.Page(report_page.read_text())


def listed(values):
    """Return numbers as the page has them: null for what is not finite."""
    values = np.asarray(values)
    if values.ndim > 1:
        return [listed(part) for part in values]
    return [value if np.isfinite(value) else None for value in values.tolist()]


def test_decay_curves_are_the_files_to_the_last_digit(whole):
    for span in (2, 4):
        data = measured.products(span=span, hidden=(8,)).isel(layer=0)
        band = curve_band(data)
        curve = whole.curve("decay-0", f"λ = {span}")
        assert curve["x"] == data.lag.values.tolist()
        for name, of in (("values", "centre"), ("low", "low"), ("high", "high")):
            assert curve[name] == listed(band[of])
        # three samples: the median is one of them
        assert set(curve["values"]) - {None} <= set(data.log_frobenius.values.ravel().tolist())
        zeros = zero_summary(data.expand_dims("layer")).isel(layer=0)
        lost = whole.curve("zeros-0", f"λ = {span}: 0 in float32")["values"]
        assert lost == listed(zeros.share_structural + zeros.share_float32)
        theory = whole.curve("decay-0", f"λ = {span}: mean square")
        assert theory["values"] == listed(gf.theory.mean_square(data.expand_dims("layer")).log_frobenius[0])


def test_records_and_paths_are_the_files(whole):
    band = norm_band(measured.record(loss="last"))
    assert whole.charts["map-0"]["heat"]["values"] == listed(band.centre)
    for layer in (0, 1):
        curve = whole.curve("norms-0", f"layer {layer}")
        assert curve["values"] == listed(band.centre[layer])
        part = norm_band(measured.record(loss="last"), "grad_u_recurrent")
        assert whole.curve(f"gradient-paths-0-{layer}", "recurrent path")["values"] == listed(
            part.centre[layer]
        )
        fires = measured.record(loss="last").firing_rate.mean("sample")[layer]
        assert whole.curve("activity-0", f"layer {layer}: fire")["values"] == listed(fires)
        paths = measured.paths().sel(layer=layer)
        one = whole.curve(f"paths-0-{layer}", "1 hop")["values"]
        assert one == listed(np.median(paths.log_hops.sel(hop=1).transpose(..., "sample"), axis=-1))


def test_a_run_is_there_epoch_by_epoch(whole, reportable):
    data = gf.load(reportable[-1] / "gradients.nc")
    assert data.sizes["epoch"] == 3
    for layer in (0, 1):
        moving = whole.curve("epoch-decay-0", f"layer {layer}")
        assert moving["epochs"] == [0.0, 1.0, 2.0]
        for k in range(3):
            seen = data.log_frobenius[k].sel(layer=layer)
            assert moving["values"][k] == listed(np.median(seen, axis=seen.get_axis_num("sample")))
        rates = whole.curve("rates-0", f"layer {layer}")
        assert rates["values"] == listed(data.rate.sel(layer=layer))
        weights = whole.charts[f"spans-0-{layer}"]["heat"]
        assert weights["values"] == listed(data.p.sel(layer=layer).transpose("span", "epoch"))
    heat = whole.charts["epoch-map-0"]["heat"]
    assert heat["values"] == listed(data.grad_u_last.transpose("epoch", "layer", "time"))
    rows = (reportable[-1] / "log.csv").read_text().splitlines()
    column = rows[0].split(",").index("validation_accuracy")
    told = [float(row.split(",")[column]) for row in rows[1:]]
    assert whole.curve("learning", "run: validation")["values"] == told


def test_tables_are_those_of_analyze(whole, reportable, cli):
    for kind in ("jacobian products", "path products", "record"):
        files = [path for path in reportable if path.suffix and gf.load(path).attrs["kind"] == kind]
        code, out, _ = cli("analyze", *files)
        assert code == 0
        lines = [line for line in out.splitlines() if re.match(r" *(\d|λ)", line)]
        assert lines
        for line in lines:
            assert " ".join(line.split()) in whole.section("numbers"), line


def test_theory_stands_beside_measurement_with_its_ratio(whole):
    from gradflow.findings import findings

    said = whole.section("theory")
    for span in (2, 4):
        row = findings(measured.products(span=span, hidden=(8,))).rows.iloc[0]
        assert f"{row.rate_mean_square:.4g} {row.rate_mean_square / row.rate:.3f}" in said


def test_every_chart_has_a_still_picture_and_words(whole):
    pictures = [attrs for tag, attrs, within in whole.elements if tag == "img" and within]
    assert len(pictures) == len(whole.charts)
    assert all(attrs["alt"] for attrs in pictures)
    for attrs in pictures:
        content = base64.b64decode(attrs["src"].removeprefix("data:image/png;base64,"))
        assert Image.open(io.BytesIO(content)).width > 900
    plots = [attrs for tag, attrs, _ in whole.elements if attrs.get("class") == "plot scripted"]
    assert all(attrs["aria-label"] and attrs["tabindex"] == "0" for attrs in plots)


def test_conventions_that_differ_stand_apart_and_provenance_is_whole(whole, reportable):
    differing, shared = whole.section("conventions").split("Conventions that all files share")
    assert "recurrence skip:2 skip:4 skip:2 skip:2 asrc:4" in differing
    assert "decay 0.5" in shared
    for path in reportable[:-1]:
        assert hashlib.sha256(path.read_bytes()).hexdigest() in whole.section("provenance")


def test_warnings_stand_first_with_what_to_do(tmp_path, no_stills):
    for name, data in {
        "grows.nc": measured.constant_products(a=1.1),
        "vanishes.nc": measured.constant_products(a=0.01),
    }.items():
        gf.save(data, tmp_path / name)
    out = write_report([tmp_path / "grows.nc", tmp_path / "vanishes.nc"], tmp_path / "report.html")
    found = reported.Page(out.read_text())
    said = found.section("warnings")
    assert "the gradient explodes. Take a smaller --recurrent-gain" in said
    assert "float32 backpropagation returns 0" in said
    assert "window is empty, no gradient passes a spike. Bring potentials nearer" in said
    assert found.html.index('id="warnings"') < found.html.index('id="conventions"')


def test_every_warning_has_a_cure():
    rates, shares = np.array([0.0, 0.005, 0.95]), np.array([0.0, 0.005, 0.5])
    warned = [
        *layers.activity_warnings(rates, shares),
        *layers.growth_warnings(np.array([0.1]), np.array([0.05])),
        *layers.zero_warnings(np.array([3.0]), "exactly zero by structure"),
    ]
    assert len(warned) == 7
    assert all(cures.cure(line) for line in warned)
    # no cure of a warning that nobody gives
    assert all(words in FINDINGS for words in cures.CURES)


def test_the_page_loads_nothing_and_runs_its_own_scripts_alone(whole):
    allowed = ("data:", "#")
    for tag, attrs, _ in whole.elements:
        for name in ("src", "href", "srcset", "action", "poster", "data"):
            assert attrs.get(name, "#").startswith(allowed), (tag, attrs)
        assert not [name for name in attrs if name.startswith("on")], (tag, attrs)
    assert "url(" not in whole.html.partition("</style>")[0]
    assert "@import" not in whole.html.partition("</style>")[0]
    policy = next(attrs["content"] for tag, attrs, _ in whole.elements if "http-equiv" in attrs)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    scripts = [text for kind, text in whole.scripts if kind == "text/javascript"]
    for text in scripts:
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy
    assert len(scripts) == policy.count("sha256-") == 2


def test_nothing_in_a_file_writes_into_the_page(tmp_path, no_stills):
    data = measured.products(span=2, hidden=(8,)).assign_attrs(
        recurrence=EVIL, task=EVIL, commit=EVIL, versions=EVIL, p=EVIL
    )
    evil = tmp_path / '<img src=x onerror="alert(1)">&.nc'
    gf.save(data, evil)
    gf.save(data.assign_attrs(recurrence="skip:2"), tmp_path / "tame.nc")
    out = write_report([evil, tmp_path / "tame.nc"], tmp_path / "report.html", f"a title {EVIL}")
    found = reported.Page(out.read_text())
    assert [tag for tag, _, _ in found.elements].count("script") == 3
    assert not [attrs for _, attrs, _ in found.elements if "onerror" in attrs]
    assert found.text.count(EVIL) >= 5
    assert EVIL in next(curve["label"] for curve in found.charts["decay-0"]["curves"])


def test_the_same_files_give_the_same_page(reportable, tmp_path):
    pages = [write_report(reportable[:1], tmp_path / name).read_bytes() for name in ("a.html", "b.html")]
    assert pages[0] == pages[1]


def test_a_run_that_goes_on_a_layer_alone_and_a_short_file_are_reported(reportable, tmp_path, no_stills):
    unfinished = shutil.copytree(reportable[-1], tmp_path / "on")
    (unfinished / "gradients.nc").unlink()
    (unfinished / "summary.json").unlink()
    gf.save(measured.products().sel(layer=1), tmp_path / "layer.nc")
    gf.save(measured.training(), tmp_path / "rates.nc")
    out = write_report([unfinished, tmp_path / "layer.nc", tmp_path / "rates.nc"], tmp_path / "report.html")
    found = reported.Page(out.read_text())
    assert "a run that goes on" in found.section("provenance")
    assert "Results of training" not in found.text
    band = curve_band(measured.products().sel(layer=[1]))
    assert found.curve("decay-0", "layer")["values"] == listed(band.centre[0])
    # rates alone have no curve to move, and are drawn beside those of the run
    assert [curve["label"] for curve in found.charts["epoch-decay-0"]["curves"]] == ["layer 0", "layer 1"]
    assert any("λ = 2" in curve["label"] for curve in found.charts["rates-0"]["curves"])


def test_the_command_says_what_it_wrote_and_stands_in_the_page(reportable, cli, tmp_path, no_stills):
    words = ("report", reportable[0], "-o", "new/report.html", "--title", "Two & one")
    assert cli(*words) == (0, "wrote new/report.html\n", "")
    assert cli(*words)[1] == "replaced new/report.html\n"
    found = reported.Page((tmp_path / "new" / "report.html").read_text())
    assert "gradflow report" in found.section("provenance")
    assert "Two & one" in found.text


def broken(folder, reportable):
    """Return files that cannot be reported on, and what is said of each."""
    whole = reportable[0].read_bytes()
    (folder / "half.nc").write_bytes(whole[: len(whole) // 2])
    (folder / "text.nc").write_text("lag,norm\n0,1\n")
    (folder / "empty").mkdir()
    gf.save(measured.products().drop_vars("log_frobenius"), folder / "lacks.nc")
    gf.save(measured.paths().drop_vars("log_hops"), folder / "lacks-hops.nc")
    gf.save(measured.record()[["zero_share"]].drop_vars("zero_share"), folder / "nothing.nc")
    gf.save(measured.products().assign_attrs(kind="lag matrix"), folder / "other.nc")
    log = shutil.copytree(reportable[-1], folder / "log")
    (log / "log.csv").write_text("epoch\n1\n")
    return {
        "half.nc": "half.nc: not a readable netCDF file",
        "text.nc": "text.nc: not a readable netCDF file",
        "missing.nc": "missing.nc: no such file",
        "empty": "empty: a folder without gradients.nc",
        "lacks.nc": "lacks.nc: lacks log_frobenius (it holds",
        "lacks-hops.nc": "lacks-hops.nc: lacks log_hops (it holds",
        "nothing.nc": "nothing.nc: the record holds neither norms nor activity",
        "other.nc": "other.nc: holds lag matrix; expected",
        "log": "log.csv: not the log of a training run",
    }


def test_what_cannot_be_reported_is_one_line_and_the_old_page_is_kept(reportable, cli, tmp_path, no_stills):
    (tmp_path / "report.html").write_text("old")
    for name, said in broken(tmp_path, reportable).items():
        code, out, err = cli("report", name)
        assert (code, out, err.count("\n")) == (1, "", 1), name
        assert said in err
    assert f"{reportable[0]}: named more than once" in cli("report", reportable[0], reportable[0])[2]
    assert cli("report", reportable[0], "-o", "empty")[2].startswith(
        "gradflow: empty: is a folder; name a file in it"
    )
    code, _, err = cli("report", reportable[0], "-o", "text.nc/report.html")
    assert (code, err.count("\n")) == (1, 1)
    assert "text.nc: cannot write report.html there" in err
    assert (tmp_path / "report.html").read_text() == "old"


def test_files_without_end_and_none_at_all_are_refused(reportable):
    with pytest.raises(ValueError, match="got no files"):
        write_report([], "report.html")
    many = [shutil.copy(reportable[0], reportable[0].with_name(f"copy{k}.nc")) for k in range(13)]
    with pytest.raises(ValueError, match="got 13 files of the kind 'jacobian products', expected at most 12"):
        write_report(many, "report.html")


def test_a_disk_that_fills_up_keeps_the_old_page(reportable, cli, tmp_path, no_stills):
    resource = pytest.importorskip("resource", reason="limits of POSIX")
    (tmp_path / "report.html").write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        code, _, err = cli("report", reportable[0])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 1
    assert "cannot write report.html there (File too large); choose another folder" in err
    assert (tmp_path / "report.html").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_without_plotly_the_extra_is_named(reportable, cli, monkeypatch, no_stills):
    monkeypatch.setattr(page, "plotly_script", PLOTLY_SCRIPT)
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    code, _, err = cli("report", reportable[0])
    assert (code, err.count("\n")) == (1, 1)
    assert "a report needs plotly, which is not installed: pip install 'gradflow-snn[report]'" in err


def test_nothing_heavy_is_imported_before_a_page_is_asked_for():
    code = "import sys, gradflow.report; print({'torch', 'plotly', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_chart_that_goes_without_its_bands_says_so():
    x = np.arange(50_001.0)
    few = charts.Curve("few", x[:10], x[:10], low=x[:10], high=x[:10])
    many = [charts.Curve(str(k), x, x, (k, 4), low=x, high=x) for k in range(4)]
    bare = charts.Chart("c", "Title", "Line and band.", "x", "y", "", b"", "", curves=(few,))
    heavy = replace(bare, curves=(few, *many))
    assert bare.said() == "Line and band."
    assert heavy.said().startswith("Line and band. So many numbers")
    assert "low" in bare.as_data()["curves"][0]
    assert not any("low" in curve for curve in heavy.as_data()["curves"])
