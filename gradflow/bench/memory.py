"""Peak memory of one training step: the whole process, started anew for it."""

import json
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from gradflow.bench.workload import Workload

STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Peak:
    """Bytes of memory a process held at most: before the step (imports, network, data), and after it."""

    before: int
    after: int


def resident_peak() -> int:
    """Return the most memory this process has held since it was started, in bytes.

    Linux says so as VmHWM. `getrusage` says the same elsewhere; on Linux it may count the memory of the
    process that started this one, because ru_maxrss is kept when a child becomes another program.
    """
    if STATUS.exists():
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def peak_memory(subject: str, workload: Workload, *, threads: int, steps: int = 2) -> Peak:
    """Run `steps` training steps of one subject in a fresh process and return its peak.

    Raises RuntimeError with the last line the process wrote where it failed.
    """
    request = {"subject": subject, "workload": workload.as_dict(), "threads": threads, "steps": steps}
    command = [sys.executable, "-m", "gradflow.bench.memory", json.dumps(request)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise RuntimeError(f"{subject}, {workload.label}: {said[-1]}")
    return Peak(**json.loads(done.stdout.splitlines()[-1]))


def _serve(request: str) -> str:
    """Do in the fresh process what `peak_memory` asked for."""
    import torch

    from gradflow.bench.subjects import build

    asked = json.loads(request)
    torch.set_num_threads(asked["threads"])
    step = build(asked["subject"], Workload.from_dict(asked["workload"]))
    before = resident_peak()
    for _ in range(asked["steps"]):
        step()
    return json.dumps({"before": before, "after": resident_peak()})


if __name__ == "__main__":
    sys.stdout.write(_serve(sys.argv[1]) + "\n")
