"""Sweeps: a grid of training runs, here or on a cluster, and all they found in one labelled dataset.

`run_sweep(Grid({"span": (1, 4), "seed": (0, 1)}, tables), folder)` does it all; `read_sweep(folder)` gives
back what there is.
"""

from gradflow.sweep.cell import Outcome, run_cell
from gradflow.sweep.grid import Cell, Grid
from gradflow.sweep.results import Status, read_grid, read_sweep, table_of
from gradflow.sweep.runner import run_sweep

__all__ = [
    "Cell",
    "Grid",
    "Outcome",
    "Status",
    "read_grid",
    "read_sweep",
    "run_cell",
    "run_sweep",
    "table_of",
]
