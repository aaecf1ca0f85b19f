"""Who computes the runs of a sweep: this process, several of this machine, or a Dask cluster, by joblib."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeAlias

from gradflow.progress import Progress
from gradflow.sweep.cell import DEATHS, Outcome, run_cell
from gradflow.train import TrainConfig
from gradflow.train.devices import device_type

log = logging.getLogger("gradflow")
PATIENCE = 30.0
"""Seconds to wait for a scheduler, and for the first of its workers."""
Runs: TypeAlias = dict[str, TrainConfig]


def compute(
    pending: Runs,
    folder: Path,
    *,
    jobs: int | None,
    threads: int | None,
    scheduler: str | None,
    progress: Progress,
) -> list[Outcome]:
    """Run all that is pending in folders of its own, again where workers died, until each has come to an end.

    Raises OSError where there is no scheduler, RuntimeError where workers die before any run ends, and do so
    again and again.
    """
    left, found, barren = dict(pending), list[Outcome](), 0
    progress(0, len(pending), "")
    while left:
        before = len(left)
        outcomes = _outcomes(left, folder, jobs, threads, scheduler)
        while (outcome := _next(outcomes)) is not None:
            if isinstance(outcome, Exception):
                barren = barren + 1 if len(left) == before else 0
                if barren > DEATHS:
                    raise RuntimeError(f"sweep: the workers die whatever they do ({outcome})") from outcome
                log.warning("a worker died (%s); going on with the %d runs left", outcome, len(left))
                break
            del left[outcome.name]
            found.append(outcome)
            progress(len(found), len(pending), said(outcome))
    return found


def _next(outcomes: Iterator[Outcome]) -> Outcome | Exception | None:
    """Return the next outcome, what the workers died of, or None after the last."""
    try:
        return next(outcomes, None)
    except (OSError, ImportError):
        raise
    except Exception as error:  # joblib's and Dask's errors have no class in common
        return error


def _outcomes(
    runs: Runs, folder: Path, jobs: int | None, threads: int | None, scheduler: str | None
) -> Iterator[Outcome]:
    """Give each run's outcome as it comes."""
    import joblib

    if scheduler is None:
        jobs, threads = share_of_machine(runs, jobs, threads)
    if jobs == 1 and scheduler is None:
        for name, config in list(runs.items()):
            yield run_cell(name, config, folder / name, threads)
        return
    with nullcontext() if scheduler is None else _client(scheduler) as client:
        # runs wait here, where an interrupt leaves nothing in a queue; or there, where new workers take them
        backend: dict[str, Any] = {"backend": "loky", "inner_max_num_threads": threads, "n_jobs": jobs}
        waiting = "n_jobs"
        if client is not None:
            backend, waiting = {"backend": _cluster(client)}, "all"
        with joblib.parallel_config(**backend), nullcontext() if client is not None else _dismissed():
            every = joblib.Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch=waiting)
            yield from every(
                joblib.delayed(run_cell)(name, config, folder / name, threads or 1)
                for name, config in list(runs.items())
            )


@contextmanager
def _dismissed() -> Iterator[None]:
    """Send joblib's workers home at the end.

    They would wait for more to do for five minutes, and a process that is itself a child waits for them.
    """
    from joblib.externals.loky import get_reusable_executor

    done = False
    try:
        yield
        done = True
    finally:
        get_reusable_executor().shutdown(wait=True, kill_workers=not done)


def share_of_machine(runs: Runs, jobs: int | None, threads: int | None) -> tuple[int, int]:
    """Return how many runs are computed at a time, and with how many threads each."""
    import joblib

    processors = int(joblib.cpu_count())
    if jobs is None:
        auto = device_type("auto")
        devices = {config.training.device.replace("auto", auto) for config in runs.values()}
        jobs = 1 if "cuda" in devices else processors
    jobs = min(jobs, len(runs))
    return jobs, threads or max(1, processors // jobs)


def _client(address: str) -> Any:
    """Return a client of the scheduler at an address, once it has a worker."""
    from distributed import Client

    start = f"`dask worker {address} --nthreads 1`"
    try:
        client: Any = Client(address, timeout=PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError) as error:
        raise OSError(
            f"{address}: no Dask scheduler answers there ({error}); start one with `dask scheduler`, and "
            f"workers with {start}"
        ) from None
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError:
        client.close()
        raise OSError(f"{address}: the scheduler has no workers; start some with {start}") from None
    return client


def _cluster(client: Any) -> Any:
    """Return joblib's backend for the workers of a client."""
    from joblib._dask import DaskDistributedBackend

    class Cluster(DaskDistributedBackend):  # type: ignore[misc]
        """Dask, which computes on its workers even where there is one alone."""

        def effective_n_jobs(self, n_jobs: int) -> int:
            # of one job joblib thinks that it need not leave this process
            return max(2, int(super().effective_n_jobs(n_jobs)))

    return Cluster(client=client, wait_for_workers_timeout=PATIENCE)


def said(outcome: Outcome) -> str:
    """Return an outcome in words.

    >>> said(Outcome("span=4,seed=0", 0.5)), said(Outcome("span=8,seed=0", None, "training diverged"))
    ('span=4,seed=0: test 50.0%', 'span=8,seed=0: failed')
    """
    return f"{outcome.name}: {'failed' if outcome.accuracy is None else f'test {outcome.accuracy:.1%}'}"
