"""The documentation site: built once without a warning, whole, and opened in a browser without a network."""

import ast
import doctest
import fcntl
import functools
import http.server
import importlib
import os
import re
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path

import matplotlib as mpl
import pytest
from browser import console_errors, needs_chromium, page, requests

ROOT = Path(__file__).parent.parent
PAGES = (
    "index",
    "start",
    "guides/measure",
    "theory/index",
    "libraries",
    "adding",
    "changelog",
    "generated/course/1-neuron",
    "generated/gallery/index",
    "generated/gallery/decay-rate",
    "generated/reference/gradflow",
)
FONTS = mpl.get_cachedir()
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="session")
def site(tmp_path_factory, worker_id):
    """Build the site once a test session, whichever process comes first."""
    shared = tmp_path_factory.getbasetemp()
    folder = (shared if worker_id == "master" else shared.parent) / "site"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
            done = subprocess.run(
                [*command, ROOT / "docs", folder],
                # matplotlib would list the machine's fonts again for each page that is computed
                env={**os.environ, "PYTHONPATH": str(ROOT), "MPLCONFIGDIR": FONTS, "OMP_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
                check=False,
                timeout=500,
            )
            (folder / "built").write_text(f"{done.returncode}\n{done.stderr}")
    return folder


class Marks(HTMLParser):
    """What a page refers to, what can be referred to in it, and its pictures."""

    def __init__(self, path):
        super().__init__()
        self.path, self.ids, self.links, self.loaded, self.pictures = path, set(), [], [], []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        has = dict(attributes)
        self.ids |= {has[key] for key in ("id", "name") if has.get(key)}
        if tag == "a" and has.get("href"):
            self.links.append(has["href"])
        elif tag in ("script", "img", "source", "iframe") and has.get("src"):
            self.loaded.append(has["src"])
        elif tag == "link" and has.get("rel") in ("stylesheet", "icon", "preload") and has.get("href"):
            self.loaded.append(has["href"])
        if tag == "img":
            self.pictures.append(has)


@pytest.fixture(scope="session")
def marks(site):
    """Read every page."""
    return {
        str(path.relative_to(site)): Marks(path)
        for path in sorted(site.rglob("*.html"))
        if "_static" not in path.parts
    }


def test_the_site_is_built_without_a_warning(site):
    code, _, said = (site / "built").read_text().partition("\n")
    assert code == "0", said
    assert (site / "index.html").exists()


@pytest.mark.parametrize("name", ["alternatives", "docstrings", "mathml"])
def test_the_examples_of_the_extensions_hold(name, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs" / "ext")
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    failed, tried = doctest.testmod(importlib.import_module(name), optionflags=flags)
    assert (failed, tried > 0) == (0, True)


def public_names():
    """Yield package and name of every public name, read from the sources: importing all of it takes long."""
    for path in [ROOT / "gradflow" / "__init__.py", *sorted(ROOT.glob("gradflow/*/__init__.py"))]:
        package = ".".join(path.parent.relative_to(ROOT).parts)
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and node.targets[0].id == "__all__" and package != "gradflow.cli":
                yield from ((package, name) for name in ast.literal_eval(node.value))


def test_the_reference_has_every_public_name(marks):
    found = set().union(*(one.ids for path, one in marks.items() if "reference" in path))
    names = list(public_names())
    assert len(names) > 250
    lacking = [f"{package}.{name}" for package, name in names if f"{package}.{name}" not in found]
    assert [name for name in lacking if f"module-{name}" not in found] == []


def test_every_picture_has_a_text_alternative(marks):
    pictures = [(path, one) for path, page in marks.items() for one in page.pictures]
    assert len(pictures) > 30
    for path, one in pictures:
        alternative = one.get("alt") or ""
        # where there is none, Sphinx writes the name of the file
        assert len(alternative.split()) > 1, (path, one)
        assert ".png" not in alternative, (path, one)


def test_no_formula_is_left_as_it_was_typed(site):
    for page_file in site.rglob("*.html"):
        text = re.sub(r"<(pre|script|code).*?</\1>", "", page_file.read_text(), flags=re.DOTALL)
        assert not re.search(r"\$\\?\w[^$<>]*\^[^$<>]*\$", text), page_file.name


def test_links_lead_somewhere_and_nothing_is_loaded_from_elsewhere(site, marks):
    assert all(re.match(r"(?!\w+:|//)", source) for one in marks.values() for source in one.loaded)
    for path, one in marks.items():
        for link in [*one.links, *one.loaded]:
            target, _, anchor = link.partition("#")
            target = target.partition("?")[0]
            if re.match(r"\w+:|//", target) or path in ("search.html", "genindex.html"):
                continue
            there = (site / path).parent / target if target else site / path
            there = there / "index.html" if there.is_dir() else there
            assert there.exists(), f"{path} refers to {link}"
            name = str(there.resolve().relative_to(site.resolve()))
            assert not anchor or name not in marks or anchor in marks[name].ids, f"{path} refers to {link}"


def scripts_done(driver):
    """Wait for the theme's scripts: they set the theme and the buttons."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, 10).until(lambda d: d.execute_script("return document.readyState") == "complete")


@needs_chromium
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_readable_on_a_desk_and_on_a_phone(name, site, chromium):
    for dark, size in ((False, {"width": 1280, "height": 900}), (True, PHONE)):
        with page(site / f"{name}.html", dark=dark, driver=chromium, **size) as driver:
            scripts_done(driver)
            assert console_errors(driver) == []
            assert all(address.startswith(("file:", "data:")) for address in requests(driver))
            assert driver.execute_script("return document.documentElement.scrollWidth") <= size["width"]
            broken = driver.execute_script(
                "return [...document.images].filter(i => i.loading != 'lazy' && !i.naturalWidth)"
                ".map(i => i.src)"
            )
            assert broken == []
            colours = driver.execute_script(
                "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
            )
            ground, ink = (sum(map(int, re.findall(r"\d+", colour)[:3])) / 765 for colour in colours)
            assert (ground < ink - 0.5) if dark else (ink < ground - 0.5)


@needs_chromium
def test_the_menu_is_reached_on_a_phone(site, chromium):
    from selenium.webdriver.common.by import By

    with page(site / "theory" / "index.html", driver=chromium, **PHONE) as driver:
        scripts_done(driver)
        link = driver.find_element(By.CSS_SELECTOR, "#pst-primary-sidebar a[href$='start.html']")
        assert not link.is_displayed()
        driver.find_element(By.CSS_SELECTOR, "button.primary-toggle").click()
        assert driver.find_element(
            By.CSS_SELECTOR, "#pst-primary-sidebar-modal a[href$='start.html']"
        ).is_displayed()


@needs_chromium
def test_the_keyboard_reaches_the_text_the_menu_and_wide_formulas(site, chromium):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    with page(site / "theory" / "index.html", driver=chromium, width=1280) as driver:
        scripts_done(driver)
        body = driver.find_element(By.TAG_NAME, "body")
        body.send_keys(Keys.TAB)
        # it slides into the page when it is reached
        WebDriverWait(driver, 5).until(lambda d: d.switch_to.active_element.text == "Skip to main content")
        seen = []
        for _ in range(12):
            driver.switch_to.active_element.send_keys(Keys.TAB)
            seen.append(driver.switch_to.active_element.text)
        assert "Getting started" in seen
        assert "Reference" in seen
        formulas = driver.find_elements(By.CLASS_NAME, "formula")
        assert formulas
        assert all(formula.get_attribute("tabindex") == "0" for formula in formulas)
        assert driver.execute_script("return document.querySelectorAll('math').length") > 30


@pytest.fixture
def served(site):
    """Serve the site: search reads pages, which browsers refuse for files."""
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing."""


@needs_chromium
def test_search_finds_pages_and_names(served, chromium):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    for words, wanted in (("horizon", "span"), ("transfer_operator", "transfer_operator")):
        with page(f"{served}/search.html?q={words}", driver=chromium) as driver:
            WebDriverWait(driver, 20).until(
                lambda d: "finished" in d.find_element(By.ID, "search-results").text.lower()
            )
            found = [link.text for link in driver.find_elements(By.CSS_SELECTOR, "#search-results li > a")]
            assert any(wanted in text.lower() for text in found), found
            assert console_errors(driver) == []
