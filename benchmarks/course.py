"""What the course costs a reader: time per notebook, run from scratch, and per move of a slider.

Command: `python benchmarks/course.py > benchmarks/course.md`; `--quick` measures the panels alone.
"""

import argparse
import os
import platform
import statistics
import time

from gradflow import course
from gradflow.course import building, explore

MOVES = 6
TARGET_MOVE, TARGET_NOTEBOOK = 0.3, 120.0
"""Seconds: a move that feels immediate, and a notebook that runs while one fetches a coffee."""


def notebooks() -> list[str]:
    """Run every notebook in a kernel of its own; return a line of the table for each."""
    lines = ["| notebook | from scratch (s) | small size (s) | file (kB) |", "|---|---|---|---|"]
    for name in [found.name for found in course.lessons()]:
        taken = {}
        for small in (False, True):
            start = time.perf_counter()
            ran = building.execute(building.teacher(building.build(name)), small=small)
            taken[small] = time.perf_counter() - start
            if not small:
                size = len(building.as_text(ran).encode()) / 1000
        mark = "" if taken[False] < TARGET_NOTEBOOK else " (too long)"
        lines.append(f"| {name} | {taken[False]:.0f}{mark} | {taken[True]:.0f} | {size:.0f} |")
    return lines


def moves() -> list[str]:
    """Move every slider of every panel; return a line of the table for each panel."""
    head = "| panel | sliders | processor time, median (ms) | wall time, median (ms) | slowest (ms) |"
    lines = [head, "|---|---|---|---|---|"]
    names = [name for name in course.__all__ if name.startswith("explore_")]
    for name in names:
        panel = getattr(course, name)()
        panel.live()  # the first picture reads data and compiles
        taken, busy = [], []
        for slider in panel.sliders:
            step = max(len(slider.values) // MOVES, 1)
            for value in slider.values[::step]:
                start, worked = time.perf_counter(), time.process_time()
                explore.png(panel.figure(**{slider.name: value}))
                taken.append(1000 * (time.perf_counter() - start))
                busy.append(1000 * (time.process_time() - worked))
        mark = "" if statistics.median(busy) < 1000 * TARGET_MOVE else " (too slow)"
        medians = f"{statistics.median(busy):.0f}{mark} | {statistics.median(taken):.0f}"
        lines.append(f"| {name} | {len(panel.sliders)} | {medians} | {max(taken):.0f} |")
    return lines


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the panels alone")
    quick = parser.parse_args().quick
    load = os.getloadavg()[0]
    print("# What the course costs a reader\n")
    print("Command: `python benchmarks/course.py > benchmarks/course.md`.\n")
    print(
        f"{os.cpu_count()} cores ({platform.machine()}), load {load:.1f} when it began: wall time on a busy"
    )
    print("machine is longer than on one of its own.\n")
    print("\n".join(moves()))
    if not quick:
        print()
        print("\n".join(notebooks()))


if __name__ == "__main__":
    main()
