"""Small files and a small training run to report on, and a page read back: its data, elements and texts."""

import json
import re
from html.parser import HTMLParser

import measured

import gradflow as gf
from gradflow.train import resolve, train

SMALL = {
    "task": {"name": "smnist", "options": {"pool": 7}},
    "network": {"hidden": [6, 5], "recurrence": "asrc:4"},
    "optimiser": {"lr": 0.02},
    "training": {"epochs": 2, "batch": 1500},
    "watch": {"budget": 1e6, "samples": 3},
}


def save_files(folder):
    """Save products of two spans, a record with the loss on the last step, and paths; return their paths."""
    made = {
        "two.nc": measured.products(span=2, hidden=(8,)),
        "four.nc": measured.products(span=4, hidden=(8,)),
        "record.nc": measured.record(loss="last"),
        "paths.nc": measured.paths(),
    }
    return [gf.save(data, folder / name) for name, data in made.items()]


def train_run(folder):
    """Train for two epochs; return the folder of the run."""
    train(resolve(SMALL), folder / "run")
    return folder / "run"


class Page(HTMLParser):
    """A page read back.

    `elements` holds (name, attributes, whether within noscript), `texts` what is read, `scripts` the sources.
    """

    def __init__(self, html):
        super().__init__()
        self.html, self.elements, self.texts, self.scripts, self.open = html, [], [], [], []
        self.feed(html)
        self.data = json.loads(next(text for kind, text in self.scripts if kind == "application/json"))
        self.charts = {chart["key"]: chart for chart in self.data["charts"]}
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.elements.append((tag, found, "noscript" in self.open))
        if tag == "script":
            self.scripts.append((found.get("type", "text/javascript"), ""))
        if tag not in ("meta", "link", "img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            kind, before = self.scripts[-1]
            self.scripts[-1] = (kind, before + data)
        elif self.open and self.open[-1] != "style":
            self.texts.append(data)

    def curve(self, key, label):
        """Return a chart's curve by its label."""
        return next(curve for curve in self.charts[key]["curves"] if curve["label"] == label)

    def section(self, key):
        """Return the text of a section."""
        found = re.search(rf'<section id="{key}">(.*?)</section>', self.html, re.DOTALL)[1]
        return " ".join(re.sub(r"<[^>]*>", " ", found).split())
