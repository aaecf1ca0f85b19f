"""Run sections of the benchmark one after another, and write what each found as soon as it is there."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradflow.bench.environment import environment
from gradflow.bench.grid import QUICK, Grid, run_grid
from gradflow.bench.picture import draw
from gradflow.bench.report import JSON_NAME, PICTURE_NAME, TABLE_NAME, grid_table, target_lines, write_results
from gradflow.bench.targets import run_targets
from gradflow.figures.registry import Progress, silent


@dataclass(frozen=True)
class Benchmark:
    """What was written, as data, as text and as files."""

    results: dict[str, Any]
    text: str
    files: tuple[Path, ...]


def run_sections(
    sections: Sequence[str],
    out: Path,
    *,
    command: str,
    quick: bool = False,
    grid: Grid | None = None,
    progress: Progress = silent,
) -> Benchmark:
    """Measure `targets`, `grid` or both, and write results.json, results.md and (of a grid) results.png.

    A section that is not asked for stays as it is in the folder. `quick` takes the small grid; `grid`
    another one.
    """
    # before anything is measured: a folder that cannot be written is told at once
    out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {}
    texts: list[str] = []
    files = [out / JSON_NAME, out / TABLE_NAME]
    if "targets" in sections:
        found = run_targets(progress=progress)
        rows = [target.as_dict() for target in found]
        results = write_results(out, "targets", rows, environment(), command)
        texts.append(target_lines(found))
    if "grid" in sections:
        chosen = grid or (QUICK if quick else Grid())
        points = run_grid(chosen, progress=progress)
        results = write_results(out, "grid", points, environment(), command)
        draw(points, chosen.base).savefig(out / PICTURE_NAME)
        texts.append(grid_table(points))
        files.append(out / PICTURE_NAME)
    return Benchmark(results, "\n".join(texts), tuple(files))
