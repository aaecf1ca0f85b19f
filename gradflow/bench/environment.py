"""On what the numbers were measured: processor, threads, versions, commit."""

import platform
from pathlib import Path
from typing import Any

import torch

from gradflow.bench.subjects import peer_versions
from gradflow.conventions import package_versions, source_commit


def environment() -> dict[str, Any]:
    """Return what must be said beside every measurement."""
    return {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "dtype": "float32",
        "python": platform.python_version(),
        "system": platform.system(),
        "versions": {**package_versions(), **peer_versions()},
        "commit": source_commit(),
    }


def processor() -> str:
    """Return the processor's model name, as the system says it."""
    cpus = Path("/proc/cpuinfo")
    if cpus.exists():
        for line in cpus.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
