"""The README keeps its word: the example prints what it says, and the picture is the command's."""

import contextlib
import io
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from compare import assert_close
from PIL import Image

import gradflow as gf
from gradflow.figures.registry import find, names

ROOT = Path(__file__).parent.parent
RUNGS = ("characteristic_root", "mean_square", "variance_propagation", "transfer_operator", "typical_product")
README = (ROOT / "README.md").read_text()
FIRST = "\n".join(README.splitlines()[:40])
BOOK = (ROOT / "figures" / "README.md").read_text()


def block(text, language, after=""):
    return re.search(rf"```{language}\n(.*?)```", text[text.index(after) :], re.DOTALL)[1]


def test_the_example_prints_the_numbers_beside_it():
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block(README, "python"), "README.md", "exec"), {})
    got, said = printed.getvalue(), block(README, "text")
    assert re.sub(r"-?\d+(\.\d+)?", "#", got) == re.sub(r"-?\d+(\.\d+)?", "#", said)
    numbers = [[float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", text)] for text in (got, said)]
    # a processor with other vectors adds float32 numbers in another order, and single spikes then differ
    assert_close(*numbers, rtol=0.03, atol=1e-3, why="rates of four samples with a few other spikes")


def test_the_first_forty_lines_hold_the_job_the_example_the_picture_and_the_tests():
    for part in ("<!-- main -->", "```python", "```text", "![", "<!-- test -->", "pytest"):
        assert part in FIRST


@pytest.mark.parametrize("name", ["main", "test"])
def test_the_commands_install_and_then_run_one_thing(name):
    command = block(README, "bash", f"<!-- {name} -->").strip()
    assert "\n" not in command
    install, _, job = command.rpartition("&&")
    assert install.startswith("python3 -m venv .venv && .venv/bin/pip install -c constraints.txt ")
    assert job.split()[0] in (".venv/bin/gradflow", ".venv/bin/pytest")


def test_links_lead_somewhere():
    for folder, text in (
        (ROOT, README),
        (ROOT / "figures", BOOK),
        (ROOT, (ROOT / "CONTRIBUTING.md").read_text()),
    ):
        links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
        assert links or folder is ROOT
        for link in links:
            assert (folder / link).exists(), link


@pytest.mark.parametrize("name", names())
def test_the_picture_was_made_by_the_command_beside_it(name):
    said = json.loads(Image.open(ROOT / "figures" / f"{name}.png").text["Description"])
    assert said["command"] in BOOK
    words = shlex.split(said["command"])
    assert words[:3] == ["gradflow", "figures", name]
    config = find(name).config
    assert config.model_validate_json(said["config"]) == config()
    assert "+changes" not in said["commit"]


@pytest.mark.parametrize("name", names())
def test_the_caption_is_the_figures_own(name):
    assert " ".join(find(name).caption.split()) in " ".join(BOOK.split())


def test_the_table_of_the_book_holds_the_numbers_of_the_committed_curves():
    n = r" (−[\d.]+) "
    row = rf"^\| (\d+) \|{n}\|{n}…{n}\|{n}\|{n}\|{n}\|.*\|{n}\|$"
    rows = [
        tuple(float(cell.replace("−", "-")) for cell in cells)
        for cells in re.findall(row, BOOK, re.MULTILINE)
    ]
    curves = pd.read_csv(ROOT / "figures" / "decay-curves.csv").set_index(["span", "lag"])
    assert [row[0] for row in rows] == [1, 4, 16, 41]
    for span, rate, low, high, operator, mean_square, product, last in rows:
        assert round(curves.log10_median[span, 783]) == last
        assert low < rate < high
        assert product == pytest.approx(span * rate, rel=0.01)  # of rounded numbers
        lags = np.arange(2 * span, 783, span)  # one step of the envelope
        drawn = {"": rate, "transfer_operator_": operator, "mean_square_": mean_square}
        for line, expected in drawn.items():
            heights = curves[f"log10_{line}envelope"][span].loc[lags]
            slope = np.polyfit(lags, heights * np.log(10), 1)[0]
            # one line through a median curve against the mean of the networks' own fits
            assert slope == pytest.approx(expected, rel=0.06)


def test_the_table_of_rates_is_the_committed_one():
    n = r" ([−+]?[\d.]+)(?: %)? "
    last = r" (–|[−+][\d.]+)(?: %)? "  # not computed beyond span 8
    row = rf"^\|{n}\|{n}\|{n}\|{n}…{n}\|{n}\|{n}\|{n}\|{n}\|{n}\|{last}\| (neuron|recurrent) \|$"
    rows = re.findall(row, BOOK, re.MULTILINE)
    curves = pd.read_csv(ROOT / "figures" / "decay-rate.csv").set_index(["decay", "span"])
    assert len(rows) == len(curves) == 18
    for *cells, path in rows:
        decay, span, *said = (float(cell.replace("−", "-").replace("–", "-99")) for cell in cells)
        there = curves.loc[decay, int(span)].fillna(-0.99)
        errors = [f"{rung}_error" for rung in RUNGS]
        expected = [*there[["rate", "rate_low", "rate_high", "bound"]], *(100.0 * there[errors])]
        assert_close(said, expected, atol=0.051, why="percent, to one digit after the point")
        assert_close(said[:4], expected[:4], atol=5.1e-4, why="nats per step, to the third digit or better")
        alone = abs(there.rate / there.neuron_path_rate - 1.0) <= 0.05
        assert path == ("neuron" if alone else "recurrent")


def test_the_table_of_learning_is_the_committed_one():
    row = r"^\| (p?smnist) \| (\w[^|]*) \| ([\d.]+) % \| ([\d.]+) … ([\d.]+) % \| ([\d.]+) \| [\d,]+ \|$"
    rows = re.findall(row, BOOK, re.MULTILINE)
    runs = pd.read_csv(ROOT / "figures" / "accuracy-vs-span.csv")
    runs["said"] = runs.recurrence.str.replace("skip:", "SRC λ = ").str.replace("asrc:", "ASRC, spans to ")
    shares = 100.0 * runs.groupby(["task", "said"]).test_accuracy.agg(["mean", "min", "max", "sem"])
    assert len(rows) == len(shares) == 10
    for task, word, *said in rows:
        expected = shares.loc[task, word]
        assert_close([float(value) for value in said], expected, atol=0.051, why="one digit after the point")


def test_the_picture_of_the_report_and_its_numbers_come_from_one_page():
    with Image.open(ROOT / "figures" / "report.png") as picture:
        said = {**json.loads(picture.text["Description"]), "title": picture.text["Title"]}
    assert json.loads((ROOT / "figures" / "report.json").read_text()) == said
    assert "+changes" not in said["commit"]
    section = BOOK[BOOK.index("## report") :].partition("\n## ")[0]
    for command in (said["command"], *said["made by"]):
        assert command in section
    rows = re.findall(r"^\| (\d) " + 4 * r"\| (−[\d.]+) " + r"\|$", section, re.MULTILINE)
    assert len(rows) == 3
    for layer, *cells in rows:
        names = (f"layer {layer}", f"layer {layer}: mean square")
        expected = [value for name in names for value in said["rates"][name]]
        told = [float(cell.replace("−", "-")) for cell in cells]
        assert_close(told, expected, atol=5.1e-5, why="four digits after the point")
    assert f"{max(said['right answers']):.1%}".replace("%", " %") in section


def test_every_name_in_the_readmes_table_exists():
    for name in re.findall(r"`gf\.([\w.]+)", README):
        found = gf
        for part in name.split("."):
            found = getattr(found, part)
