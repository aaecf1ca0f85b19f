"""`gradflow record`: what it writes is what the library returns, with all conventions; how it fails."""

import errno
import json
import os
import subprocess
import sys

import pytest
import torch

import gradflow as gf

TINY = ["psmnist", "--pool", "7", "--hidden", "6,6", "--samples", "3"]


def network(**options):
    task = gf.tasks.psmnist(pool=7)
    return gf.RecurrentSNN(task, hidden=(6, 6), **options), task.sample(3)


def test_a_record_is_the_librarys_with_its_command(cli, tmp_path):
    code, out, err = cli("record", *TINY, "--recurrence", "skip:4", "-o", "run.nc")
    assert (code, out, err) == (0, "wrote run.nc\n", "")
    data = gf.load(tmp_path / "run.nc")
    assert data.attrs.pop("command").startswith("gradflow record psmnist --pool 7")
    net, batch = network(recurrence=gf.Skip(4))
    assert data.identical(gf.record(net, batch))
    assert data.attrs["recurrence"] == "skip:4"
    assert [path.name for path in tmp_path.iterdir()] == ["run.nc"]


def test_every_option_reaches_the_network(cli, tmp_path):
    words = "--neuron lif --decay 0.8 --threshold 0.7 --reset hard --detach-reset --surrogate sigmoid"
    more = "--recurrent-gain 1.5 --seed 3 --sample-seed 2 --dtype float64 --loss last"
    code, _, err = cli(
        "record", *TINY, "--recurrence", "vanilla,skip:2", *words.split(), *more.split(), "-o", "x.nc"
    )
    assert (code, err) == (0, "")
    attrs = gf.load(tmp_path / "x.nc").attrs
    expected = {
        "neuron": "LIF",
        "decay": 0.8,
        "threshold": 0.7,
        "reset": "hard",
        "detach_reset": "detached",
        "surrogate": "sigmoid",
        "recurrence": "vanilla | skip:2",
        "recurrent_gain": 1.5,
        "network_seed": 3,
        "sample_seed": 2,
        "dtype": "float64",
        "loss_placement": "last",
        "hidden": "6,6",
        "pool": 7,
        "batch": 3,
    }
    assert {name: attrs[name] for name in expected} == expected


def test_several_kinds_are_a_file_each_of_the_same_network(cli, tmp_path):
    code, out, _ = cli(
        "record", *TINY, "--kind", "record,products,paths", "-o", "run.nc", "--recurrence", "skip:2"
    )
    assert code == 0
    assert out.splitlines() == [f"wrote run.{kind}.nc" for kind in ("record", "products", "paths")]
    net, batch = network(recurrence=gf.Skip(2))
    made = {"record": gf.record, "products": gf.jacobian_products, "paths": gf.path_products}
    for kind, function in made.items():
        data = gf.load(tmp_path / f"run.{kind}.nc")
        del data.attrs["command"]
        assert data.identical(function(net, batch)), kind


def test_with_theory_products_hold_the_transfer_operators_prediction(cli, tmp_path):
    code, _, err = cli("record", *TINY, "--kind", "products", "--theory", "-o", "run.nc")
    assert (code, err) == (0, "")
    data = gf.load(tmp_path / "run.nc")
    net, batch = network()
    predicted = gf.theory.transfer_operator(gf.local_jacobians(net, batch))
    assert data.rate_transfer.equals(predicted.rate)
    assert data.log_frobenius_transfer.equals(predicted.log_frobenius)
    code, out, _ = cli("analyze", "run.nc")
    assert code == 0
    assert "transfer" in out.splitlines()[1].split()


def test_what_a_record_holds_can_be_chosen(cli, tmp_path):
    assert cli("record", *TINY, "--keep", "activity,weights", "-o", "run.nc")[0] == 0
    held = set(gf.load(tmp_path / "run.nc").data_vars)
    assert held == {"loss", "firing_rate", "window", "grad_V_step", "grad_W_step"}


def test_a_file_that_is_replaced_is_said_to_be(cli, tmp_path):
    arguments = ("record", *TINY, "-o", "run.nc")
    assert cli(*arguments)[1] == "wrote run.nc\n"
    assert cli(*arguments)[1] == "replaced run.nc\n"
    code, out, _ = cli(*arguments, "--json")
    assert (code, json.loads(out)) == (0, {"files": {"record": "run.nc"}})


def test_a_generated_task_is_recorded_with_its_own_options(cli, tmp_path):
    arguments = ("--hidden", "4", "--samples", "2", "--set", "delay=11", "-o", "x.nc")
    code, _, err = cli("record", "delayed-recall", *arguments)
    assert (code, err) == (0, "")
    attrs = gf.load(tmp_path / "x.nc").attrs
    assert attrs["task"] == "delayed-recall"
    assert attrs["memory_demand"] >= 11


def test_the_names_that_are_completed_are_those_of_the_tasks():
    from gradflow.cli.completing import TASK_NAMES

    assert set(TASK_NAMES) == set(gf.tasks.TASKS)


def test_soft_and_hard_spans_of_asrc(cli, tmp_path):
    for mode in ("soft", "hard"):
        assert cli("record", *TINY, "--recurrence", "asrc:4", "--span-mode", mode, "-o", f"{mode}.nc")[0] == 0
        assert gf.load(tmp_path / f"{mode}.nc").attrs["span_mode"] == mode


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("record psmnist", "Missing option '--out'"),
        ("record -o x.nc", "name a task, as in `gradflow record psmnist`, or a training run with --run"),
        ("record mnist -o x.nc", "task: got 'mnist', expected one of smnist, psmnist"),
        ("record psmnist -o x.nc --recurrence loop", "recurrence 'loop': expected none, vanilla, skip:SPAN"),
        ("record psmnist -o x.nc --recurrence skip:1,skip:2", "or one for each of the 3 layers"),
        ("record psmnist -o x.nc --neuron lifo", "neuron 'lifo' is not known; the nearest is lif"),
        ("record psmnist -o x.nc --surrogate triangel", "'triangel' is not known; the nearest is triangle"),
        ("record psmnist -o x.nc --neuron glif --reset hard", "glif has no 'reset'"),
        ("record psmnist -o x.nc --reset medium", "expected soft or hard"),
        ("record psmnist -o x.nc --decay 1.5", "'--decay': got '1.5', expected a number from 0 to 1"),
        ("record psmnist -o x.nc --threshold 0", "'--threshold': got '0', expected a number above 0"),
        ("record psmnist -o x.nc --hidden 8,,8", "'--hidden': got '8,,8', expected neurons of each layer"),
        ("record psmnist -o x.nc --dtype float16", "--dtype: got 'float16', expected float32 or float64"),
        ("record psmnist -o x.nc --kind curves", "'--kind': got 'curves', expected some of record,products"),
        ("record psmnist -o x.nc --keep all", "'--keep': got 'all', expected some of norms,paths,activity"),
        ("record psmnist -o x.nc --loss first", "'--loss': got 'first', expected one of sum, mean, last"),
        ("record psmnist -o x.nc --theory", "--theory predicts products; add --kind products"),
        ("record psmnist -o x.nc --kind paths --keep norms", "--keep says what a record holds"),
        (
            "record psmnist -o x.nc --set delay=3",
            "psmnist has no delay, only permutation_seed, split_seed, pool",
        ),
        ("record psmnist -o x.nc --set 3", "--set: got '3', expected KEY=VALUE, as in delay=40"),
        ("record copy -o x.nc --pool 2", "copy has no pool, only"),
        ("record psmnist -o x.nc --step 3", "--step is a checkpoint of --run"),
        ("record psmnist -o x.nc --run folder", "--run brings its own network and task; leave out TASK"),
        ("record -o x.nc --run folder --decay 0.9", "leave out --decay"),
        ("record -o x.nc --run folder --pool 2", "leave out --data, --pool and --set"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_code_2(cli, arguments, message, tmp_path):
    code, out, err = cli(*arguments.split())
    assert (code, out) == (2, "")
    assert message in err
    assert err.endswith("(see gradflow record --help)\n")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--samples 5000", "--samples: got 5000, expected at most 4000, the training examples of psmnist"),
        ("--pool 3", "pool: got 3, expected a divisor of both sides"),
        ("--data missing", "missing: does not exist"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_1(cli, arguments, message, tmp_path):
    code, out, err = cli("record", "psmnist", "--hidden", "4", *arguments.split(), "-o", "x.nc")
    assert (code, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_files_place_is_found_out_before_anything_is_computed(cli, tmp_path, monkeypatch):
    monkeypatch.setattr("gradflow.tasks.by_name", None)
    (tmp_path / "run.nc").mkdir()
    code, _, err = cli("record", "psmnist", "-o", "run.nc")
    assert (code, err) == (1, "gradflow: run.nc: is a folder; name a file in it, as in run.nc/run.nc\n")
    (tmp_path / "file").write_text("text")
    code, _, err = cli("record", "psmnist", "-o", "file/run.nc")
    assert code == 1
    assert err.startswith("gradflow: file: cannot write run.nc there (")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(cli, tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    code, _, err = cli("record", *TINY, "-o", "closed/run.nc")
    assert (code, err) == (
        1,
        "gradflow: closed: cannot write run.nc there (Permission denied); choose another folder\n",
    )


def test_a_disk_that_fills_up_keeps_the_old_file(cli, tmp_path, monkeypatch):
    assert cli("record", *TINY, "-o", "run.nc")[0] == 0
    before = (tmp_path / "run.nc").read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, out, err = cli("record", *TINY, "-o", "run.nc")
    assert (code, out) == (1, "")
    assert err == "gradflow: .: cannot write run.nc there (No space left on device); choose another folder\n"
    assert (tmp_path / "run.nc").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["run.nc"]


def test_a_mistake_of_ours_is_said_to_be_one(cli, monkeypatch):
    monkeypatch.setattr(gf.RecurrentSNN, "forward", lambda *a, **k: {}["missing"])
    code, _, err = cli("record", *TINY, "-o", "run.nc")
    assert (code, err) == (
        1,
        "gradflow: a mistake of gradflow's own, KeyError: 'missing' (--verbose shows where)\n",
    )


def test_the_network_of_a_training_run_is_recorded(cli, tmp_path):
    pytest.importorskip("safetensors", reason="training needs the extra train")
    pytest.importorskip("tomli_w", reason="training needs the extra train")
    from gradflow.train import TrainConfig, load_run, train

    config = TrainConfig.model_validate(
        {
            "task": {"name": "smnist", "options": {"pool": 7}},
            "network": {"hidden": (6,), "recurrence": "asrc:3"},
            "training": {"epochs": 1, "batch": 2000},
            "watch": {"every": 0},
            "logging": {"tensorboard": False},
        }
    )
    train(config, tmp_path / "run")
    code, out, err = cli("record", "--run", "run", "--samples", "2", "-o", "best.nc")
    assert (code, out, err) == (0, "wrote best.nc\n", "")
    data = gf.load(tmp_path / "best.nc")
    assert data.attrs["mode"] == "evaluation"
    session = load_run(tmp_path / "run")
    session.net.eval()
    with torch.no_grad():
        expected = gf.record(session.net, session.task.sample(2))
    del data.attrs["command"]
    assert data.identical(expected)
    assert cli("record", "--run", "run", "--step", "999", "-o", "x.nc")[0] == 1


def test_shells_complete_the_names_of_tasks(cli, monkeypatch):
    words = {"_GRADFLOW_COMPLETE": "complete_bash", "COMP_WORDS": "gradflow record ps", "COMP_CWORD": "2"}
    for name, value in words.items():
        monkeypatch.setenv(name, value)
    code, out, _ = cli()
    assert (code, out.split()) == (0, ["psmnist"])


def test_nothing_is_written_but_what_was_asked_for_and_python_m_works(tmp_path):
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    arguments = ["record", "smnist", "--pool", "7", "--hidden", "4", "--samples", "1", "-o", "out/run.nc"]
    kept = {
        name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH") if name in os.environ
    }
    done = subprocess.run(
        [sys.executable, "-m", "gradflow", *arguments],
        cwd=work,
        env={**kept, "HOME": str(home), "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "wrote out/run.nc\n", "")
    written = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    inside = {path for path in written if path.parts[:2] != ("home", ".cache")}
    assert {str(path) for path in inside} == {"work/out/run.nc"}
