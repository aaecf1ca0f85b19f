"""Time of the whole picture book in its quick size, from empty caches, and what of it each figure takes.

    python benchmarks/book.py --out pictures --report benchmarks/book.md

Runs `gradflow figures --all --quick --jobs 2` as a process of its own with empty folders for data, trained
networks and compiled kernels; then every figure alone, in the order of the book and on one thread, with other
empty folders: figures of learning share what they train, so the first of them pays. Times of the processor
(of all processes together) hardly depend on what else the machine does; those of the clock do.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradflow.conventions import source_commit
from gradflow.figures.registry import names

WHOLE = ("figures", "--all", "--quick", "--jobs", "2")
MIB = 1024.0


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds of the clock and of the processor, and the largest process in MiB."""

    clock: float
    processor: float
    memory: float
    results: Mapping[str, Any]


def measured(words: tuple[str, ...], out: Path, caches: Path, *, threads: int | None = None) -> Cost:
    """Run the command with its caches in a folder of their own, and return its cost and results."""
    own = {"XDG_CACHE_HOME": str(caches), "NUMBA_CACHE_DIR": str(caches / "numba")}
    own |= {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "gradflow", *words, "--json", "--out", str(out)]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, env={**os.environ, **own})
        _, status, usage = os.wait4(process.pid, 0)
        said.seek(0)
        results = json.loads(said.read() or "{}")
    process.returncode = os.waitstatus_to_exitcode(status)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return Cost(time.perf_counter() - begin, processor, usage.ru_maxrss / MIB, results)


def borne_out(results: Mapping[str, Any]) -> str:
    """Return how many of the claims hold."""
    claims = [holds for result in results.values() for holds in result["claims"].values()]
    return f"{sum(claims)} of {len(claims)}"


def report(whole: Cost, alone: Mapping[str, Cost]) -> str:
    """Return the page: the command, the whole, and a row for each figure."""
    rows = [
        f"| {name} | {cost.processor:.0f} | {cost.clock:.0f} | {cost.memory:.0f} | "
        f"{borne_out(cost.results)} |"
        for name, cost in alone.items()
    ]
    total = sum(cost.processor for cost in alone.values())
    return f"""# The picture book, quick

Written by [book.py](book.py): every figure of the book in its quick size, from empty caches (data, trained
networks, compiled kernels).

```bash
gradflow {" ".join(WHOLE)}
```

{len(whole.results)} figures, {borne_out(whole.results)} claims hold: \
{whole.processor:.0f} s of the processor, \
{whole.clock:.0f} s by the clock, on {os.cpu_count()} cores of {processor_name()}
(load of the machine at the end {os.getloadavg()[1]:.1f}, this command's own included; Python \
{platform.python_version()}, commit {source_commit()[:12]}).

Each figure alone, in this order, on one thread. Those of learning share what the first of them trains; the
first of each kind compiles the kernels. Seconds, and MiB of the largest process:

| figure | processor | clock | memory | claims that hold |
|---|---|---|---|---|
{chr(10).join(rows)}
| together | {total:.0f} | | | |
"""


def processor_name() -> str:
    """Return the processor's name, where the system tells it."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "an unknown processor"


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("gradflow-figures"), help="folder of the pictures")
    parser.add_argument("--report", type=Path, help="page to write (default: print it)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        whole = measured(WHOLE, options.out, Path(one))
        print(f"all: {whole.processor:.0f} s of the processor, {whole.clock:.0f} s", flush=True)
        alone = {}
        for name in names():
            alone[name] = measured(("figures", name, "--quick"), Path(other) / "out", Path(other), threads=1)
            print(f"{name}: {alone[name].processor:.0f} s, {alone[name].clock:.0f} s", flush=True)
    page = report(whole, alone)
    if options.report:
        options.report.write_text(page)
    else:
        print(page)


if __name__ == "__main__":
    main()
