"""Tables on standard output: lines and colours on a terminal, aligned plain text when piped."""

import sys
from collections.abc import Sequence

import typer


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
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left")
    for head in heads:
        table.add_column(escape(head), justify="right")
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)  # which reads NO_COLOR
