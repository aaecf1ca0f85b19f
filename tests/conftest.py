"""One deterministic hypothesis profile, one torch thread, a switch for the shape checks, and the command."""

import gc
import sys

import jaxtyping
import pytest
import threadpoolctl
import torch
from hypothesis import HealthCheck, settings

# derandomised: a failure seen once is seen by everyone; few examples, because every one runs networks
settings.register_profile(
    "gradflow",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
settings.load_profile("gradflow")
# the matrices here are tiny: a second thread only waits for the first
torch.set_num_threads(1)
threadpoolctl.threadpool_limits(1, user_api="blas")


def pytest_collection_finish():
    """Leave what was collected out of the garbage collector's rounds: each would go through all of it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def empty_cache(tmp_path_factory):
    """Let no test find what was computed before, nor leave anything in the user's caches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def no_shape_checks():
    """Switch jaxtyping off, so that wrong input reaches the library's own messages, as it does for users."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def chromium():
    """Start one browser for all tests of a module."""
    from browser import started

    with started() as driver:
        yield driver


@pytest.fixture(scope="session")
def reportable(tmp_path_factory):
    """Save small files of every kind and train a small run, once; return their paths, the run's last."""
    import reported

    folder = tmp_path_factory.mktemp("saved")
    return [*reported.save_files(folder), reported.train_run(folder)]


@pytest.fixture(scope="session")
def report_page(reportable, tmp_path_factory):
    """Write the page about all of them, once."""
    from gradflow.report import write_report

    return write_report(reportable, tmp_path_factory.mktemp("page") / "report.html", "All there is")


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    """Run the command in this process, in an empty folder; return exit code, output and errors."""
    from gradflow.cli import main

    monkeypatch.chdir(tmp_path)

    def called(*arguments):
        monkeypatch.setattr(sys, "argv", ["gradflow", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, *capsys.readouterr()

    return called
