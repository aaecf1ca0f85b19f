"""`gradflow sweep`: what it takes, what it prints, and how it ends."""

import json
import os
from multiprocessing import active_children

import numpy as np
import pytest

import gradflow as gf
from gradflow.sweep import read_grid

TINY = ["delayed-recall", "--set", "task.options.delay=6", "--set", "task.options.examples=60"]
TINY += ["--set", "network.hidden=[4]", "--set", "training.batch=60", "--set", "watch.every=0"]
TINY += ["--set", "logging.tensorboard=false", "--epochs", "1"]


def test_two_runs_at_a_time_are_swept_and_averaged_over_seeds(cli, tmp_path):
    """The only test whose runs have processes of their own."""
    code, out, err = cli("sweep", *TINY, "--spans", "1", "--seeds", "0,1", "--jobs", 2, "--out", "out")
    # a process that is a child itself would wait for workers that wait for more, minutes long
    assert [child.name for child in active_children() if "Loky" in child.name] == []
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "sweep: mean ± standard deviation over seeds"
    assert lines[1].split() == ["span", "test", "validation", "done"]
    data = gf.load(tmp_path / "out" / "sweep.nc")
    tested = 100 * data.test_accuracy.values.ravel()
    spread = f"{tested.mean():.1f} ± {np.std(tested, ddof=1):.1f} %"
    assert lines[2].split() == ["1", *spread.split(), *lines[2].split()[5:9], "2/2"]
    assert lines[-1] == "wrote out/sweep.nc and out/sweep.csv"
    claims = [(run / "claim").read_text().split()[1] for run in (tmp_path / "out" / "runs").iterdir()]
    assert str(os.getpid()) not in claims

    # the folder alone goes on, here with nothing left to do
    code, again, err = cli("sweep", "--out", "out", "--json")
    assert (code, err) == (0, "")
    rows = json.loads(again)
    assert [row["seed"] for row in rows] == [0, 1]
    assert [100 * row["test_accuracy"] for row in rows] == pytest.approx(tested.tolist())


def test_a_run_that_fails_is_said_on_standard_error_and_the_exit_code_is_1(cli):
    code, out, err = cli("sweep", *TINY, "--set", "optimiser.lr=0.01,-1", "--out", "out", "--jobs", 1)
    assert code == 1
    said = err.splitlines()
    assert said[0].startswith("failed optimiser.lr=-1: optimiser.lr: got -1")
    assert said[1:] == ["gradflow: 1 of 2 runs failed; the others are whole"]
    assert [line.split()[-1] for line in out.splitlines()[2:4]] == ["1/1", "0/1"]


@pytest.fixture
def asked(cli, monkeypatch):
    """The grid and options that a command comes to, without running it."""

    def called(*arguments):
        seen = []

        def kept(grid, out, **options):
            seen.append((grid, str(out), options))
            raise ValueError("enough")

        monkeypatch.setattr("gradflow.sweep.run_sweep", kept)
        code, _, err = cli("sweep", *arguments)
        assert (code, err) == (1, "gradflow: enough\n")
        return seen[0]

    return called


def test_options_make_the_grid(asked, tmp_path):
    (tmp_path / "own.toml").write_text("[training]\nbatch = 7\n[network]\nhidden = [3]\n")
    grid, out, options = asked(
        *("psmnist", "--recurrence", "vanilla,skip:8", "--neuron", "lif,plif", "--seeds", "0,2"),
        *(
            "--set",
            "optimiser.lr=0.001,3e-3",
            "--set",
            "network.hidden=[8, 8],[16]",
            "--set",
            "optimiser.clip=1,none",
        ),
        *("--set", "training.batch=9", "--config", "own.toml", "--preset", "quick", "--epochs", 4),
        *("--set", "schedule.name=cosine,", "--jobs", 3, "--threads", 2, "--scheduler", "tcp://here:1"),
    )
    assert dict(grid.axes) == {
        "recurrence": ("vanilla", "skip:8"),
        "neuron": ("lif", "plif"),
        "seed": (0, 2),
        "optimiser.lr": (0.001, 0.003),
        "network.hidden": ([8, 8], [16]),
        "optimiser.clip": (1, None),
        "schedule.name": ("cosine",),
    }
    assert grid.preset == "quick"
    assert grid.base["training"] == {"batch": 9, "epochs": 4}
    assert out == "gradflow-runs/sweep-psmnist"
    assert {key: options[key] for key in ("jobs", "threads", "scheduler")} == {
        "jobs": 3,
        "threads": 2,
        "scheduler": "tcp://here:1",
    }
    config = grid.config({key: values[-1] for key, values in grid.axes.items()})
    assert (config.network.hidden, config.task.options) == ((16,), {"pool": 2})


def test_a_folder_of_data_is_found_from_anywhere(asked, tmp_path):
    grid, *_ = asked("smnist", "--data", "mnist", "--spans", "2,4", "--out", "out")
    assert grid.base["task"]["folder"] == str(tmp_path / "mnist")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--seeds 1", "name a task (smnist, psmnist"),
        ("mnist --seeds 1", "task 'mnist': expected one of smnist, psmnist"),
        ("smnist", "got nothing to vary"),
        ("smnist --spans 1,x", "expected whole numbers with commas"),
        ("smnist --seeds -1", "expected whole numbers with commas, as in 0,1,2"),
        ("smnist --spans 1,2 --recurrence vanilla", "span and recurrence both say network.recurrence"),
        ("smnist --set optimiser.lrr=1,2", "optimiser.lrr: unknown key; the nearest is optimiser.lr"),
        ("smnist --spans 1 --set lr=1", "lr: expected part.key=value; the nearest is optimiser.lr"),
        ("smnist --spans 1 --jobs 0", "expected a whole number of at least 1"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_code_2(cli, arguments, message):
    code, out, err = cli("sweep", *arguments.split())
    assert (code, out) == (2, "")
    assert message in err
    assert err.endswith("(see gradflow sweep --help)\n")
    assert err.count("\n") == 1


def test_a_folder_without_a_sweep_is_said(cli):
    code, out, err = cli("sweep", "--out", "nowhere")
    assert (code, out) == (1, "")
    assert err == "gradflow: nowhere/grid.json: no such file; `gradflow sweep … --out FOLDER` makes one\n"


def test_help_has_examples(cli):
    code, out, _ = cli("sweep", "--help")
    assert code == 0
    assert "gradflow sweep psmnist --spans 1,2,4,8 --seeds 0,1,2 --preset quick" in " ".join(out.split())
    assert "dask worker" in out


def test_the_grid_is_kept_as_it_was_said(cli, tmp_path):
    cli("sweep", *TINY, "--seeds", "3", "--jobs", 1, "--out", "out")
    grid = read_grid(tmp_path / "out")
    assert dict(grid.axes) == {"seed": (3,)}
    assert grid.base["network"] == {"hidden": [4]}
