"""The browser's helper keeps its word: console, requests, screens, colours, scripts, and no network."""

import pytest
from browser import console_errors, needs_chromium, page, requests, screenshot
from PIL import Image

pytestmark = needs_chromium

PAGE = """<!doctype html><html><head><meta charset="utf-8"><link rel="icon" href="data:,">
<style>body {{ margin: 0; height: 2000px; background: white }} p {{ margin: 0 }}
@media (prefers-color-scheme: dark) {{ body {{ background: black }} }}</style></head>
<body><p id="said">off</p><noscript>no scripts</noscript>
<script>document.getElementById("said").textContent = "on"; {script}</script></body></html>"""


@pytest.fixture(scope="module")
def open_page(chromium, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")

    def opened(script="", **options):
        path = folder / "page.html"
        path.write_text(PAGE.format(script=script))
        return page(path, driver=chromium, **options)

    return opened


def test_a_quiet_page_asks_for_itself_and_says_nothing(open_page):
    with open_page() as driver:
        assert driver.find_element("id", "said").text == "on"
        assert console_errors(driver) == []
        files = [url for url in requests(driver) if not url.startswith("data:")]
        assert [url.rsplit("/", 1)[-1] for url in files] == ["page.html"]


def test_an_error_and_a_request_are_seen_and_nothing_is_reached(open_page):
    with open_page("fetch('https://example.org/x.js').catch(() => {}); throw Error('broken')") as driver:
        errors = console_errors(driver)
        assert any("broken" in error for error in errors)
        assert any("ERR_NAME_NOT_RESOLVED" in error for error in errors)
        assert "https://example.org/x.js" in requests(driver)


@pytest.mark.parametrize(("dark", "colour"), [(False, 255), (True, 0)])
def test_colours_and_sizes_are_those_asked_for(open_page, tmp_path, dark, colour):
    with open_page(width=390, height=800, dark=dark) as driver:
        assert driver.execute_script("return [innerWidth, innerHeight]") == [390, 800]
        with Image.open(screenshot(driver, tmp_path / "seen.png")) as seen:
            assert seen.size == (390, 800)
            assert seen.convert("L").getpixel((300, 400)) == colour
        with Image.open(screenshot(driver, tmp_path / "whole.png", whole=True)) as whole:
            assert whole.size == (390, 2000)


def test_scripts_can_be_off_and_on_again(open_page):
    with open_page(scripts=False) as driver:
        assert driver.find_element("id", "said").text == "off"
        # selenium takes what is in <noscript> for unseen
        assert "no scripts" in driver.execute_script("return document.body.innerText")
    with open_page() as driver:
        assert "no scripts" not in driver.execute_script("return document.body.innerText")
        assert driver.find_element("id", "said").text == "on"
