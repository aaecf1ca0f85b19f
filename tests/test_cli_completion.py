"""What shells complete, asked as they ask: by the variables that the installed script sets."""

import os
import subprocess
import sys

import pytest

from gradflow.cli import completing
from gradflow.cli.completing import among
from gradflow.figures import registry
from gradflow.views.names import VIEWS

HEAVY = "torch matplotlib numpy scipy pandas xarray numba h5netcdf mlxtend"
CODE = (
    "import sys; from gradflow.cli import main; sys.argv[0] = 'gradflow'\n"
    "try: main()\n"
    f"finally: print('heavy:', *set('{HEAVY}'.split()) & set(sys.modules), file=sys.stderr)"
)


def asked(*arguments, **variables):
    """Run the command in a process of its own, and return what it says and its exit code."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stderr.strip() == "heavy:"  # a key that waits for torch is no completion
    return done.stdout, done.returncode


def bash(words):
    """Return what bash is told at the end of these words."""
    said, code = asked(
        _GRADFLOW_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(len(words.split(" ")) - 1)
    )
    assert code == 0
    return said.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("gradflow fig", ["figures"]),
        ("gradflow figures decay", ["decay-curves", "decay-rate"]),
        ("gradflow train ps", ["psmnist"]),
        ("gradflow plot gradient", ["gradient-norms", "gradient-map", "gradient-paths"]),
        ("gradflow figures zeros --format png,s", ["png,svg"]),
    ],
)
def test_bash_is_told_commands_figures_tasks_and_kinds(words, expected):
    assert bash(words) == expected


def test_every_completion_with_its_help_is_one_line_of_fish():
    said, code = asked(
        _GRADFLOW_COMPLETE="complete_fish",
        _TYPER_COMPLETE_FISH_ACTION="get-args",
        _TYPER_COMPLETE_ARGS="gradflow figures --",
    )
    assert code == 0
    lines = said.splitlines()
    assert len(lines) > 15
    assert all(line.startswith("--") and "\t" in line for line in lines)  # a second line would be a word


def test_zsh_is_told_names_with_their_help():
    said, code = asked(_GRADFLOW_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="gradflow plot decay")
    assert code == 0
    assert said == f"""_arguments '*: :(("decay-curves":"{VIEWS["decay-curves"].title}"))'\n"""


@pytest.mark.parametrize(
    ("shell", "file", "marker"),
    [
        ("bash", ".bash_completions/gradflow.sh", "complete -o default -F _gradflow_completion gradflow"),
        ("zsh", ".zfunc/_gradflow", "#compdef gradflow"),
        ("fish", ".config/fish/completions/gradflow.fish", "complete --command gradflow"),
    ],
)
def test_scripts_are_shown_and_installed_in_the_home_folder(tmp_path, shell, file, marker):
    told = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "HOME": str(tmp_path)}
    shown, code = asked("--show-completion", shell, **told)
    assert code == 0
    assert marker in shown
    assert not list(tmp_path.iterdir())
    said, code = asked("--install-completion", shell, **told)
    assert code == 0
    assert f"{shell} completion installed in {tmp_path / file}" in said
    assert (tmp_path / file).read_text().strip() == shown.strip()


def test_every_figure_is_completed():
    assert completing.figure_names("") == registry.names()
    for name in registry.names():
        assert name in completing.figure_names(name[:3])


def test_of_several_words_none_is_offered_twice():
    assert among(("png", "pdf"), separator=",")("png,p") == ["png,pdf"]
    assert among(("png", "pdf"), separator=",")("png,pdf,") == []
