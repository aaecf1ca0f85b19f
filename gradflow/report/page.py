"""The page as a whole: what is read first stands first; styles, script and data are within it.

A content security policy lets the page load nothing and run its own two scripts alone, known by their hashes.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from gradflow.conventions import package_versions, source_commit
from gradflow.findings.findings import UNITS
from gradflow.report import tables
from gradflow.report.charts import Chart, viridis
from gradflow.report.cures import cure
from gradflow.report.html import Markup, escaped, joined, tag
from gradflow.report.products import paths, products
from gradflow.report.records import records
from gradflow.report.sections import Section
from gradflow.report.subjects import Subject, by_kind
from gradflow.report.training import training
from gradflow.views.drawn import conditions

PARTS: Mapping[str, Callable[[Sequence[Subject]], Section]] = {
    "gradient while training": training,
    "jacobian products": products,
    "record": records,
    "path products": paths,
}
"""By kind of file, what a report shows of it."""
STILL = (
    "Scripts are off, so the pictures below stand still: curves at some of the epochs, the map after the "
    "last one. What charts draw bold and thin stands in two panels. All epochs are in the table of all "
    "numbers."
)
PAGE = """<!doctype html>
<html lang="en">
<head>
{head}
</head>
<body>
{body}
{end}
</body>
</html>
"""
ABOUT = (
    "In a recurrent spiking network the gradient of the loss comes back along time step by step, and "
    "usually vanishes on the way. This page shows how fast, in the files named below: every number is "
    "theirs, and a hover says it in full."
)


def page(subjects: Sequence[Subject], *, title: str | None = None, command: str | None = None) -> str:
    """Return the page about some files.

    Raises ModuleNotFoundError without plotly; ValueError where a file cannot be drawn.
    """
    plotly = plotly_script()
    sections = [PARTS[kind](group) for kind, group in by_kind(subjects).items()]
    words = title or _title(subjects)
    charts = [chart for section in sections for chart in section.charts]
    data = _json({"charts": [chart.as_data() for chart in charts], "viridis": viridis()})
    scripts = [plotly, _read("page.js")]
    contents = _contents(subjects, sections)
    before = [_warnings(subjects), _conventions(subjects)]
    after = [*_tables(subjects), _provenance(subjects, command)]
    body = joined(
        [
            tag("a", "To the content", href="#content", cls="skip"),
            tag("header", joined([tag("h1", words), tag("p", ABOUT, cls="lead"), contents])),
            tag("main", joined([*before, *map(_section, sections), *after]), id="content"),
        ]
    )  # fmt: skip
    head = joined(
        [
            Markup('<meta charset="utf-8">'),
            Markup(f'<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">'),
            Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Markup('<meta name="color-scheme" content="light dark">'),
            Markup('<link rel="icon" href="data:,">'),
            tag("title", words),
            tag("style", Markup(_read("page.css"))),
            Markup("<noscript><style>.scripted { display: none }</style></noscript>"),
        ]
    )
    end = joined(
        [
            tag("script", Markup(data), type="application/json", id="report-data"),
            *(Markup(f"<script>{script}</script>") for script in scripts),
        ]
    )
    return PAGE.format(head=head, body=body, end=end)


def plotly_script() -> str:
    """Return plotly's script, which it carries with it.

    Raises ModuleNotFoundError, naming the extra, where it is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "a report needs plotly, which is not installed: pip install 'gradflow-snn[report]'"
        ) from None
    return str(get_plotlyjs())


def _title(subjects: Sequence[Subject]) -> str:
    common = conditions([one.source for one in subjects])
    return f"Gradients along time: {common}" if common else "Gradients along time"


def _contents(subjects: Sequence[Subject], sections: Sequence[Section]) -> Markup:
    entries = [("warnings", "Warnings"), ("conventions", "Conventions")]
    entries += [(section.key, section.title) for section in sections]
    entries += [("theory", "Theory beside measurement")] if tables.theory(subjects) else []
    entries += [("numbers", "Numbers"), ("provenance", "Provenance")]
    links = [tag("li", tag("a", title, href=f"#{key}")) for key, title in entries]
    return tag("nav", tag("ul", joined(links)), aria_label="Contents")


def _warnings(subjects: Sequence[Subject]) -> Markup:
    """Return all warnings, those with one cure together, and notes after them; none is said too."""
    parts: list[str] = [tag("h2", "Warnings")]
    told = [_warned(one, len(subjects) > 1) for one in subjects if one.found.warnings]
    parts.append(tag("ul", joined(told), cls="warnings") if told else tag("p", "None."))
    notes = dict.fromkeys(line for one in subjects for line in one.found.notes)
    if notes:
        parts.append(tag("ul", joined([tag("li", f"Note: {line}.") for line in notes]), cls="notes"))
    return tag("section", joined(parts), id="warnings")


def _warned(one: Subject, several: bool) -> Markup:
    """Return the warnings of one file: an entry for each cure, which is said after them."""
    cures: dict[str, list[str]] = {}
    for line in one.found.warnings:
        cures.setdefault(cure(line), []).append(line)
    whose = f"{one.name}: " if several else ""
    return joined(
        [
            tag("li", joined([tag("strong", f"{whose}{'; '.join(lines)}."), what]))
            for what, lines in cures.items()
        ]
    )


def _conventions(subjects: Sequence[Subject]) -> Markup:
    text = (
        "Libraries differ silently in these choices, and the “same” network then has another decay curve. "
        "Charts name each file by the choices in which it differs from the others of its kind."
    )
    parts = [
        tag("h2", "Files and conventions"),
        tables.files(subjects),
        tag("p", text),
        tables.conventions(subjects),
    ]
    return tag("section", joined(parts), id="conventions")


def _section(section: Section) -> Markup:
    parts: list[str] = [tag("h2", section.title), tag("p", section.text)]
    if section.slider:
        parts += [_slider(), tag("noscript", tag("p", STILL))]
    parts += map(_chart, section.charts)
    return tag("section", joined(parts), id=section.key)


def _slider() -> Markup:
    """Return the control of the epoch; the script fills in which there are."""
    inner = joined(
        [
            tag("label", "Epoch", for_="epoch"),
            Markup('<input type="range" id="epoch" min="0" max="0" value="0" step="1">'),
            Markup('<output id="epoch-said" for="epoch"></output>'),
            tag("button", "Play", type="button", id="play"),
        ]
    )
    return tag("div", inner, cls="slider scripted")


def _chart(chart: Chart) -> Markup:
    """Return a chart's place: for scripts an empty one, without them the still picture."""
    words = f"{chart.title}. {chart.alt}"
    parts: list[str] = [
        tag("h3", chart.title, id=f"{chart.key}-title"),
        tag("div", "", cls="legend scripted", id=f"{chart.key}-legend"),
        tag("div", "", cls="plot scripted", id=chart.key, role="img", tabindex="0", aria_label=words),
        tag("p", "", cls="said scripted", id=f"{chart.key}-said", aria_live="polite"),
    ]  # fmt: skip
    if chart.picture:
        source = f"data:image/png;base64,{base64.b64encode(chart.picture).decode()}"
        still = Markup(f'<img src="{source}" alt="{escaped(chart.alt)}">')
        parts.append(Markup(f"<noscript>{still}</noscript>"))
    parts.append(tag("figcaption", chart.said()))
    parts.append(tag("div", "", cls="tools scripted", id=f"{chart.key}-tools"))
    return tag("figure", joined(parts))


def _tables(subjects: Sequence[Subject]) -> list[Markup]:
    beside = tables.theory(subjects)
    found = []
    if beside:
        text = (
            "Rates in nats per step, the measured one with half its 95 % interval. A ratio of 1 is a theory"
            " that is right; the neuron path alone is what is left where the recurrence does nothing, and "
            "no product ever exceeds the bound."
        )
        found.append(
            tag(
                "section",
                joined([tag("h2", "Theory beside measurement"), tag("p", text), beside]),
                id="theory",
            )
        )
    parts = [
        tag("h2", "All numbers"),
        tag("p", f"As gradflow analyze prints them: {UNITS}."),
        tables.results(subjects),
    ]
    return [*found, tag("section", joined([*parts, *tables.numbers(subjects)]), id="numbers")]


def _provenance(subjects: Sequence[Subject], command: str | None) -> Markup:
    versions = ", ".join(f"{name} {told}" for name, told in package_versions().items())
    said = [
        tag("li", f"Made by {versions}, plotly {version('plotly')}; commit {source_commit()}."),
        tag("li", joined(["Command: ", tag("code", command or "gradflow.report.write_report")])),
        tag("li", "The page needs no network: styles, scripts, pictures and data are within it."),
    ]
    parts = [tag("h2", "Provenance"), tables.provenance(subjects), tag("ul", joined(said))]
    return tag("section", joined(parts), id="provenance")


def _policy(scripts: Sequence[str]) -> str:
    """Return what the page may do: run these scripts, show pictures that are within it, and nothing else."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    )
    return f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:"


def _json(data: object) -> str:
    """Return JSON that cannot end the element it stands in."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
