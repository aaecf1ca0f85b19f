"""Pages made of what lies elsewhere: the picture book, the course, measurements, the reference."""

import re
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path

import reference
from alternatives import described
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

DOCS = Path(__file__).parent.parent
ROOT = DOCS.parent
GENERATED = DOCS / "generated"
LINK = re.compile(r"(?<=\]\()([^)#:\s]+)(?=[)#])")
PAGES = {
    "README.md": "start.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "figures": "generated/gallery/index.md",
    "figures/README.md": "generated/gallery/index.md",
    "notebooks/README.md": "course.md",
    "benchmarks": "measurements.md",
}
"""Where a file of the repository is shown."""
TOPICS = {
    "results": "What a training step costs",
    "engine": "Speed: what was tried and what bounds it",
    "baselines": "Spiking networks beside LSTM, GRU and tanh RNN",
    "theory": "How near the theory comes",
    "dataless": "The theory without data",
    "learned": "Networks that have learned",
}


def write(pages: Iterator[tuple[str, str]]) -> None:
    """Write the generated pages that are not there already: Sphinx reads again what has a new date."""
    there = {path for path in GENERATED.rglob("*") if path.is_file()}
    for name, text in pages:
        path = GENERATED / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path not in there or path.read_text() != text:
            path.write_text(text)
        there.discard(path)
    for path in there:
        path.unlink()  # of a module or a picture that is no more


def moved(text: str, home: Path, page: str) -> str:
    """Return Markdown of the folder `home` with its links as seen from a generated page."""
    up = "../" * page.count("/") + "../"

    def target(match: re.Match[str]) -> str:
        path = (home / match[1]).resolve()
        if not path.is_relative_to(ROOT):
            return match[1]
        inside = str(path.relative_to(ROOT))
        if inside in PAGES:
            return up + PAGES[inside]
        if re.fullmatch(r"benchmarks/\w+\.md", inside):
            return f"{up}generated/{inside}"
        if re.fullmatch(r"notebooks/[\w-]+\.(ipynb|md)", inside):  # the list, for one that is not there yet
            return f"{up}generated/course/{path.name}" if path.exists() else f"{up}course.md"
        return f"{up}../{inside}"

    return LINK.sub(target, text)


def gallery() -> Iterator[tuple[str, str]]:
    """Yield the pages of the picture book: one a picture, and the index with all of them."""
    intro, *sections = re.split(r"^## ", (ROOT / "figures" / "README.md").read_text(), flags=re.MULTILINE)
    page = "gallery/index.md"
    cards, names = [], []
    for section in sections:
        name, _, body = section.partition("\n")
        name = name.strip()
        names.append(name)
        picture = re.search(r"!\[([^]]*)\]\(([^)]+)\)", body)
        assert picture is not None, f"figures/README.md: section {name} has no picture"
        yield f"gallery/{name}.md", moved(f"# {name}\n{body}", ROOT / "figures", f"gallery/{name}.md")
        cards.append(
            f":::{{grid-item-card}} {name}\n:link: {name}\n:link-type: doc\n:img-bottom: "
            f"../../../figures/{picture[2]}\n:img-alt: {picture[1]}\n\n{picture[1]}\n:::\n"
        )
    grid = "::::{grid} 1 1 2 3\n:gutter: 3\n\n" + "\n".join(cards) + "::::\n"
    toc = "```{toctree}\n:hidden:\n\n" + "\n".join(names) + "\n```\n"
    yield page, f"{moved(intro, ROOT / 'figures', page)}\n{grid}\n{toc}"


def measurements() -> Iterator[tuple[str, str]]:
    """Yield the reports of `benchmarks/` as pages."""
    for path in sorted((ROOT / "benchmarks").glob("*.md")):
        page = f"benchmarks/{path.name}"
        yield page, moved(path.read_text(), path.parent, page)
    known = [stem for stem in TOPICS if (ROOT / "benchmarks" / f"{stem}.md").exists()]
    others = sorted({path.stem for path in (ROOT / "benchmarks").glob("*.md")} - set(known))
    entries = [f"{TOPICS[stem]} </generated/benchmarks/{stem}>" for stem in known]
    yield (
        "benchmarks/contents.md",
        _contents([*entries, *(f"/generated/benchmarks/{stem}" for stem in others)]),
    )


def course() -> Iterator[tuple[str, str]]:
    """Yield the notebooks that exist, executed as they are committed, and the list of them."""
    folder = ROOT / "notebooks"
    names = sorted(path.stem for path in folder.glob("[0-9]*.ipynb"))
    for name in names:
        page = f"course/{name}.ipynb"
        yield page, described((folder / f"{name}.ipynb").read_text(), partial(moved, home=folder, page=page))
    sheet = folder / "crib-sheet.md"
    if sheet.exists():
        yield "course/crib-sheet.md", moved(sheet.read_text(), folder, "course/crib-sheet.md")
        names.append("crib-sheet")
    yield "course/contents.md", _contents([f"/generated/course/{name}" for name in names])


def _contents(entries: list[str]) -> str:
    """Return a list of pages for another page to include."""
    return "```{toctree}\n:maxdepth: 1\n\n" + "\n".join(entries) + "\n```\n"


def _generate(_app: Sphinx, _config: object) -> None:
    write(chain(gallery(), measurements(), course(), reference.pages()))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Write the pages before Sphinx looks for them."""
    app.connect("config-inited", _generate)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
