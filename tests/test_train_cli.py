"""`gradflow train`: what it takes, what it prints, and how it ends."""

import json
import sys

import pytest

from gradflow.cli import main as run
from gradflow.cli.train import train as train_command
from gradflow.train import stored_config

TINY = ["--set", "task.options.pool=7", "--set", "network.hidden=[6]", "--set", "training.batch=2000"]
TINY += ["--set", "watch.every=0", "--epochs", "1"]


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Run the command in this process, in an empty folder; return exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def called(*arguments):
        monkeypatch.setattr(sys, "argv", ["gradflow", "train", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            run()
        return end.value.code, *capsys.readouterr()

    return called


def test_a_run_is_made_and_its_result_printed(command, tmp_path):
    code, out, err = command("smnist", "--recurrence", "skip:2", *TINY)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("smnist, skip:2: ")
    assert lines[2].startswith("test ")
    assert lines[2].endswith("on 500 examples")
    assert lines[-1] == "wrote gradflow-runs/smnist-skip2-0"
    assert (tmp_path / "gradflow-runs" / "smnist-skip2-0" / "summary.json").is_file()


def test_json_is_the_summary_and_nothing_else(command, tmp_path):
    code, out, err = command("smnist", *TINY, "--out", "run", "--json", "--seed", "3", "--neuron", "plif")
    assert (code, err) == (0, "")
    assert json.loads(out) == json.loads((tmp_path / "run" / "summary.json").read_text())
    config = stored_config(tmp_path / "run")
    assert (config.network.seed, config.training.seed, config.network.neuron["kind"]) == (3, 3, "plif")


def test_the_stored_configuration_makes_the_same_run_again(command, tmp_path):
    _, first, _ = command("smnist", "--recurrence", "asrc:3", *TINY, "--out", "one", "--json")
    code, second, err = command("--config", "one/config.toml", "--out", "two", "--json")
    assert (code, err) == (0, "")
    timed = {"folder", "seconds", "watch_seconds", "watch_overhead"}
    one, two = ({k: v for k, v in json.loads(text).items() if k not in timed} for text in (first, second))
    assert one == two
    assert (tmp_path / "one" / "config.toml").read_text() == (tmp_path / "two" / "config.toml").read_text()


def test_a_run_goes_on_from_its_folder_alone(command):
    command("smnist", *TINY, "--out", "run")
    code, _, err = command("smnist", *TINY, "--out", "run")
    assert (code, err) == (
        1,
        "gradflow: run: holds a run; go on with --resume, or choose another folder\n",
    )
    code, out, err = command("--resume", "--out", "run")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "wrote run"
    code, _, err = command("--resume", "--out", "run", "--set", "optimiser.lr=0.5")
    assert code == 1
    assert "run is another run: optimiser.lr = 0.001 there, 0.5 here" in err


def test_what_is_said_later_goes_before_what_is_said_earlier(command, monkeypatch, tmp_path):
    seen = []

    def kept(config, out, **options):
        seen.append(config)
        raise ValueError("enough")

    monkeypatch.setattr("gradflow.train.train", kept)
    (tmp_path / "own.toml").write_text("[training]\nepochs = 7\nbatch = 10\n[optimiser]\nlr = 0.5\n")
    command("psmnist", "--recurrence", "asrc:51", "--preset", "paper")
    command("psmnist", "--preset", "quick", "--config", "own.toml", "--epochs", "8")
    command(
        "psmnist", "--preset", "quick", "--config", "own.toml", "--epochs", "8", "--set", "training.epochs=9"
    )
    command("psmnist", "--preset", "paper", "--set", "network.recurrence=skip:16")
    paper, option, setting, row = seen
    assert (paper.network.recurrences().label, paper.training.epochs) == ("asrc:51", 200)
    assert (option.training.epochs, option.training.batch, option.optimiser.lr) == (8, 10, 0.5)
    assert option.task.options == {"pool": 2}
    assert setting.training.epochs == 9
    assert row.network.hidden == (64, 212, 212)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "name a task (smnist, psmnist"),
        ("mnist", "task 'mnist': expected one of smnist, psmnist"),
        ("smnist --set optimiser.lrr=1", "optimiser.lrr: unknown key; the nearest is optimiser.lr"),
        ("smnist --set lr=1", "lr: expected part.key=value; the nearest is optimiser.lr"),
        ("smnist --recurrence jump:3", "network.recurrence: recurrence 'jump:3': expected none, vanilla"),
        ("smnist --preset fast", "preset 'fast': expected paper or quick"),
        ("smnist --epochs 0", "got '0', expected a whole number of at least 1"),
        ("smnist --seed -1", "Input should be greater than or equal to 0"),
        ("smnist --spans 3", "No such option: --spans"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_code_2(command, arguments, message):
    code, out, err = command(*arguments.split())
    assert (code, out) == (2, "")
    assert message in err
    assert err.endswith("(see gradflow train --help)\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("smnist --config missing.toml", "missing.toml: no such file"),
        ("smnist --data missing", "missing: does not exist"),
        ("smnist --set task.options.poool=2", "smnist: got the option poool, expected only"),
        ("smnist --out file", "file"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_1(command, arguments, message, tmp_path):
    (tmp_path / "file").write_text("text")
    code, out, err = command(*arguments.split())
    assert (code, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1


def test_help_has_an_example(command):
    code, out, _ = command("--help")
    assert code == 0
    assert "gradflow train psmnist --recurrence skip:8 --preset quick" in out
    assert train_command.__doc__
