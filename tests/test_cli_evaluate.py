"""`gradflow evaluate`: what it takes, what it prints and writes, and how it ends."""

import json
import re
import shutil

import pandas as pd
import pytest
from compare import assert_close

import gradflow as gf
from gradflow.cli.evaluate import evaluate as command
from gradflow.evaluation import accuracy_band
from gradflow.train import resolve, train

SMALL = {
    "task": {"name": "smnist", "options": {"pool": 7}},
    "network": {"hidden": [6]},
    "optimiser": {"lr": 0.02},
    "schedule": {"name": "constant"},
    "training": {"epochs": 1, "batch": 250},
    "watch": {"every": 0},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Train three tiny runs, once."""
    place = tmp_path_factory.mktemp("made")
    for name, network in {
        "one": {},
        "two": {"seed": 1},
        "skip": {"recurrence": "skip:2"},
    }.items():
        train(resolve(SMALL, {"network": network}), place / name)
    return place


@pytest.fixture
def runs(made, tmp_path):
    """Return an empty folder with a copy of each."""
    return shutil.copytree(made, tmp_path, dirs_exist_ok=True)


def test_runs_stand_side_by_side_with_all_that_was_asked(cli, runs, tmp_path):
    disturbed = ["--disturb", "delete=0,.5", "--disturb", "span-shift=-1,0,1", "--repetitions", "2"]
    code, out, err = cli("evaluate", "one", "two", "skip", *disturbed, "-o", "all.nc", "--csv", "all.csv")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "evaluation on the validation split, 500 examples"
    data = gf.load(tmp_path / "all.nc")
    for line, run in zip(lines[2:5], data.run.values, strict=True):
        assert line.lstrip().startswith(run)
        assert f"{data.accuracy.sel(run=run).item():.2%}" in line
    assert lines[5] == "groups of runs that differ by seeds alone"
    (title,) = [line for line in lines if line.startswith("delete: ")]
    assert "accuracy (%) against probability that a spike is lost; [interval]: Student" in title
    row = lines[lines.index(title) + 2]
    centre = accuracy_band(data, "delete").centre.isel(group=0).values
    said = [float(number) for number in re.findall(r"([\d.]+) \[", row)]
    assert said == [pytest.approx(100 * share, abs=0.05) for share in centre]
    assert any(line.startswith("span-shift: ") for line in lines)
    assert "0.9 pJ an addition, 4.6 pJ a multiply-add" in out
    assert lines[-2:] == ["wrote all.nc", "wrote all.csv"]
    assert "confusion" not in out
    assert data.attrs["command"].startswith("gradflow evaluate one two skip --disturb delete=0,.5")
    table = pd.read_csv(tmp_path / "all.csv")
    drawn = table[(table.quantity == "accuracy_delete") & (table.run == data.run[2].item())]
    expected = data.accuracy_delete[2].values.ravel()
    assert_close(drawn.value.to_numpy(), expected, rtol=1e-8, why="nine digits")


def test_json_is_the_result_and_nothing_else(cli, runs, tmp_path):
    code, out, err = cli("evaluate", "skip", "--json", "--split", "test", "--ac", "1", "-o", "test.nc")
    assert (code, err) == (0, "")
    said, data = json.loads(out), gf.load(tmp_path / "test.nc")
    assert (said["attributes"]["split"], said["attributes"]["joules_per_ac"]) == ("test", 1e-12)
    assert said["runs"]["skip"]["accuracy"] == data.accuracy.item()
    assert said["runs"]["skip"]["confusion"] == data.confusion[0].values.tolist()
    assert said["runs"]["skip"]["conventions"]["recurrence"] == "skip:2"
    assert said["axes"]["layer"] == [0]


def test_the_confusion_is_printed_where_it_is_asked_for(cli, runs):
    code, out, _ = cli("evaluate", "one", "--confusion")
    assert code == 0
    lines = out.splitlines()
    start = lines.index("confusion of one, in answers")
    counts = [[int(cell) for cell in line.split()[1:]] for line in lines[start + 2 : start + 12]]
    assert sum(map(sum, counts)) == 500
    assert "groups" not in out


def test_the_seed_of_the_disturbance_is_passed_on(cli, runs):
    def accuracies(*options):
        disturb = ("--disturb", "input-noise=1", "--repetitions", "1", "--json")
        said = json.loads(cli("evaluate", "one", *disturb, *options)[1])
        return said["runs"]["one"]["accuracy_input_noise"]

    assert accuracies() == accuracies("--seed", "0", "--batch", "333")
    assert accuracies() != accuracies("--seed", "1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("evaluate", "Missing argument 'RUN…'"),
        ("evaluate one --split all", "'--split': got 'all', expected one of train, validation, test"),
        ("evaluate one --disturb delete", "--disturb: 'delete': expected KIND=STRENGTH,…"),
        ("evaluate one --disturb loss=1", "--disturb: 'loss': expected one of delete, membrane-noise"),
        ("evaluate one --disturb delete=2", "SpikeDeletion(2.0): expected a number from 0 to 1"),
        ("evaluate one --repetitions 0", "'--repetitions': got '0', expected a whole number of at least 1"),
        ("evaluate one --mac 0", "'--mac': got '0', expected picojoules, above 0"),
        ("evaluate one --ac x", "'--ac': got 'x', expected picojoules, above 0"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_code_2(cli, arguments, message):
    code, out, err = cli(*arguments.split())
    assert (code, out) == (2, "")
    assert message in err
    assert err.endswith("(see gradflow evaluate --help)\n")
    assert err.count("\n") == 1


def test_what_cannot_be_done_is_one_line_and_exit_code_1(cli, runs, tmp_path):
    (tmp_path / "going").mkdir()
    shutil.copy(tmp_path / "one" / "config.toml", tmp_path / "going")
    for arguments, message in {
        "missing": "gradflow: missing: no such folder; expected the folder of a run, as `gradflow",
        ".": "gradflow: .: holds no config.toml, so no run",
        "going": "going: the run is not finished; go on with `gradflow train --resume --out going`",
        "one one": "runs: got one, one, expected folders, each once",
        "one --disturb event-jitter=1": "one: EventJitter: the inputs (from 0 to 0.",
        "one -o .": "is a folder; name a file in it",
    }.items():
        code, out, err = cli("evaluate", *arguments.split())
        assert (code, out) == (1, ""), arguments
        assert message in err
        assert err.count("\n") == 1


def test_help_explains_disturbances_and_has_an_example(cli):
    code, out, _ = cli("evaluate", "--help")
    assert code == 0
    assert "gradflow evaluate run-1 run-8 --disturb delete=0,0.1,0.2" in " ".join(out.split())
    assert "who chooses by it" in " ".join(out.replace("│", "").split())
    assert "loses each spike with probability Q" in " ".join(out.split())
    assert command.__doc__
