"""One self-contained page about saved records, products and training runs, for a browser without a network.

Above findings, views and plots: they say what is in it. Nothing is loaded before a page is asked for.
"""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["write_report"]


def write_report(
    paths: "Sequence[str | PathLike[str]]",
    out: str | PathLike[str],
    title: str | None = None,
    *,
    command: str | None = None,
) -> Path:
    """Write one HTML page about saved files: warnings, conventions, curves, maps, theory, provenance.

    Args:
        paths: of netCDF files (`gradflow record`) and folders of training runs, 1 to 12 of a kind.
        out: of the page; its folder is made if need be, and a file that is there already is replaced.
        title: of the page (default: what is common to the files).
        command: that made the page, said in its provenance.

    Returns:
        The path written.

    Raises:
        ModuleNotFoundError: without plotly, whose script draws the curves.
        FileNotFoundError, ValueError: as `read_source` and `findings` raise them, with what to do.
        OSError: where the page cannot be written; an older one is then kept.

    The page is of 5 MB, nearly all of it plotly's script: plotly ships no smaller one.

    >>> import tempfile, torch
    >>> import gradflow as gf
    >>> net = gf.RecurrentSNN(gf.Sizes(2, 3), hidden=8, recurrence=gf.Skip(2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = gf.save(gf.jacobian_products(net, torch.ones(40, 2, 2)), f"{folder}/run.nc")
    ...     page = write_report([file], f"{folder}/report.html").read_text()
    >>> page.count("</table>"), "https://" in page.partition("<script>")[0]
    (4, False)
    """
    from gradflow.plots.writing import write_text
    from gradflow.report.page import page
    from gradflow.report.subjects import read_subjects

    return write_text(Path(out), page(read_subjects(paths), title=title, command=command))
