"""Results on disk: one JSON file, and a Markdown page made from it alone; ratios first, seconds beside."""

import json
from pathlib import Path
from typing import Any

from gradflow.bench.subjects import FLOOR, FLOOR_WHOLE, FUSED
from gradflow.bench.targets import Target
from gradflow.bench.timing import Spread

JSON_NAME, TABLE_NAME, PICTURE_NAME = "results.json", "results.md", "results.png"
Results = dict[str, Any]
GIGABYTE = 1e9

ABOUT = """\
A training step is zero_grad, forward, cross-entropy and backward, in float32, on psmnist sequences (real
digits; other lengths by cutting or repeating them). All subjects of a line run in the same process on the
same network shape, batch and number of threads, one after another in every round; a ratio is taken of
neighbours in a round, and given as median (least–greatest). **floor**: the step's dense matrix products
alone, in the blocks of λ steps that the recurrence allows (`gradflow/bench/floor.py` lists them); **floor,
whole**: V ŝ and Vᵀ g of all steps in one product, which no engine can do. Peers run their own vanilla
network of the same shape (`gradflow/bench/peers.py` says with which settings). Peak memory is that of a
whole process, started anew.
"""


def load_results(folder: Path) -> Results:
    """Return what is stored in a folder, or nothing."""
    path = folder / JSON_NAME
    return json.loads(path.read_text()) if path.exists() else {}


def write_results(
    folder: Path, section: str, content: list[dict[str, Any]], environment: dict[str, Any], command: str
) -> Results:
    """Put one section (`targets` or `grid`) in place of the one stored, and write both files anew."""
    folder.mkdir(parents=True, exist_ok=True)
    results = load_results(folder)
    results[section] = {"command": command, "environment": environment, "rows": content}
    (folder / JSON_NAME).write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    (folder / TABLE_NAME).write_text(table(results))
    return results


def table(results: Results) -> str:
    """Return the Markdown page of these results."""
    parts = ["# What a training step costs", ABOUT]
    if "targets" in results:
        parts += ["## Targets", _header(results["targets"]), target_table(results["targets"]["rows"])]
    if "grid" in results:
        parts += ["## Grid", _header(results["grid"]), GRID_NOTE, grid_table(results["grid"]["rows"])]
        parts.append(f"![Cost of a training step]({PICTURE_NAME})\n")
    return "\n".join(parts)


GRID_NOTE = """\
All layers fire at the stated rate. Ratios are medians; `–` stands for what was left out, and why is in the
JSON.
"""


def _header(section: dict[str, Any]) -> str:
    where = section["environment"]
    versions = ", ".join(f"{name} {number}" for name, number in where["versions"].items())
    return (
        f"`{section['command']}`\n\n{where['processor']}, {where['threads']} threads, {where['dtype']}, "
        f"Python {where['python']}; {versions}; commit {where['commit']}.\n"
    )


def target_table(rows: list[dict[str, Any]]) -> str:
    """Return the table of targets."""
    lines = ["| what | network | target | measured | | context |", "|---|---|---|---|---|---|"]
    for row in rows:
        value = "–" if row["value"] is None else f"**{Spread(**row['value'])}**"
        unit = f" {row['unit']}" if row["unit"] else ""
        limit = f"{row['sense']} {row['limit']:g}{unit}"
        verdict = row["verdict"]
        lines.append(
            f"| {row['name']} | {row['network']} | {limit} | {value}{unit} | {verdict} | {row['note']} |"
        )
    return "\n".join(lines) + "\n"


def target_lines(targets: list[Target]) -> str:
    """Return the targets as plain text, one a line."""
    lines = []
    for target in targets:
        value = "–" if target.value is None else str(target.value)
        limit = f"{target.sense} {target.limit:g}"
        lines.append(f"{target.verdict:<12} {value:<24} {limit:<7} {target.name} ({target.network})")
    return "\n".join(lines)


def grid_table(rows: list[dict[str, Any]]) -> str:
    """Return the table of the grid, one line per point and subject."""
    lines = [
        "| recurrence | T | layers | batch | subject | / floor | / fused | peak GB | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=_order):
        point = (row["recurrence"], row["steps"], "-".join(map(str, row["hidden"])), row["batch"])
        cells = [*point, row["subject"], *_numbers(row)]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    kind, _, number = row["recurrence"].partition(":")
    return (
        ["vanilla", "skip", "asrc"].index(kind),
        int(number or 1),
        row["steps"],
        row["hidden"],
        row["batch"],
    )


def _numbers(row: dict[str, Any]) -> list[str]:
    """Return ratios, memory and seconds as they stand in the table."""
    if row["seconds"] is None:
        return ["–", "–", "–", row["left_out"]]
    to_floor, to_fused = f"{row['to_floor']['median']:.2f}", f"{row['to_fused']['median']:.2f}"
    peak = f"{row['peak_bytes'] / GIGABYTE:.2f}" if "peak_bytes" in row else ""
    spread = row["seconds"]
    seconds = f"{spread['median']:.3g} ({spread['least']:.3g}–{spread['greatest']:.3g})"
    return [
        "1" if row["subject"] == FLOOR else to_floor,
        "1" if row["subject"] == FUSED else "" if row["subject"] in (FLOOR, FLOOR_WHOLE) else to_fused,
        peak,
        seconds,
    ]
