"""Tables on standard output: lines and colours on a terminal, aligned plain text when piped."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.table import Table


def print_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table under its title, numbers to the right."""
    if sys.stdout.isatty():
        _print_rich(title, heads, rows)
        return
    typer.echo(title)
    for line in plain_lines(heads, rows):
        typer.echo(line)


def plain_lines(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the table as aligned lines, two blanks between columns.

    >>> plain_lines(["layer", "rate"], [["0", "-0.5"], ["1", "-1"]])
    ['layer  rate', '    0  -0.5', '    1    -1']
    """
    table = [list(heads), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in table)
    return [line.rstrip() for line in lines]


def _print_rich(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print with lines: a row a layer where the terminal is wide enough, else a column a layer."""
    from rich.console import Console

    console = Console()  # which reads NO_COLOR
    if drawn_width(list(zip(heads, *rows, strict=True))) <= console.width:
        console.print(_rich(title, heads, rows))
        return
    for part in fitting([list(heads), *map(list, rows)], console.width):
        console.print(_rich(title, [cells[0] for cells in part], list(zip(*part, strict=True))[1:]))


def drawn_width(columns: Sequence[Sequence[str]]) -> int:
    """Return the width of a table with lines and a blank at each side of a cell.

    >>> drawn_width([["layer", "0"], ["rate", "-0.5"]])
    16
    """
    return 1 + sum(3 + max(map(len, cells)) for cells in columns)


def fitting(columns: Sequence[Sequence[str]], width: int) -> list[list[Sequence[str]]]:
    """Return columns in parts that fit a width, the first column (the names) in each.

    >>> fitting([["layer"], ["0"], ["1"]], width=13)
    [[['layer'], ['0']], [['layer'], ['1']]]
    """
    names, *others = columns
    parts: list[list[Sequence[str]]] = []
    for cells in others:
        if parts and drawn_width([*parts[-1], cells]) <= width:
            parts[-1].append(cells)
        else:
            parts.append([names, cells])
    return parts


def _rich(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left")
    for head in heads:
        table.add_column(escape(head), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*map(escape, row))
    return table
