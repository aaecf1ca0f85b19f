"""Take the picture of a report: as a desk sees it, and a phone in the dark, side by side, with its numbers.

    python figures/screenshot.py report.html figures/report.png

Needs Chromium (Debian: apt-get install chromium chromium-driver) and selenium. What the metadata and the JSON
file beside the picture say is read from the page: its command, and the numbers that the book quotes.
"""

import hashlib
import json
import re
import sys
import tempfile
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from browser import page, screenshot, started
from reported import Page

HEIGHT, GAP = 1560, 24
DESK, PHONE = 1100, 390
SCROLL = """
const top = document.getElementById("training").getBoundingClientRect().top + scrollY - 24;
scrollTo({top, behavior: "instant"});
"""
CHOOSE = """
const slider = document.getElementById("epoch");
slider.value = arguments[0];
slider.dispatchEvent(new Event("input"));
setTimeout(arguments[1], 500);
"""


def main(report, out):
    """Write the picture and the JSON file beside it."""
    with tempfile.TemporaryDirectory() as folder, started() as driver:
        shots = []
        for width, dark, epoch in ((DESK, False, "3"), (PHONE, True, "99")):
            with page(report, width=width, height=HEIGHT, dark=dark, driver=driver):
                driver.execute_async_script(CHOOSE, epoch)
                driver.execute_script(SCROLL)
                shots.append(Image.open(screenshot(driver, Path(folder) / f"{width}.png")).convert("RGB"))
    both = Image.new("RGB", (DESK + GAP + PHONE, HEIGHT), "white")
    both.paste(shots[0], (0, 0))
    both.paste(shots[1], (DESK + GAP, 0))
    told = {"title": "A report in a browser", **numbers(report)}
    info = PngInfo()
    info.add_text("Title", told["title"])
    info.add_itxt("Description", json.dumps(told, indent=2, ensure_ascii=False))
    # 255 colours are enough for a page, and a quarter of the bytes
    both.quantize(255, dither=Image.Dither.NONE).save(out, pnginfo=info, optimize=True)
    beside = json.dumps(told, indent=2, ensure_ascii=False)
    out.with_suffix(".json").write_text(beside + "\n", encoding="utf-8")


def numbers(report):
    """Return where the page comes from, and the rates of its charts at their first and last epoch."""
    content = report.read_bytes()
    found = Page(content.decode())
    provenance = found.section("provenance")
    rates = {
        curve["label"]: [curve["values"][0], curve["values"][-1]]
        for curve in found.charts["rates-0"]["curves"]
    }
    return {
        "command": re.search(r"Command: *(gradflow report .*?) +The page", provenance)[1],
        "made by": re.findall(r"gradflow (?:train|record) [^<]*?-o \S+", provenance),
        "commit": re.search(r"commit (\w+\+?\w*)\.", provenance)[1],
        "report_sha256": hashlib.sha256(content).hexdigest(),
        "rates": rates,
        "right answers": found.charts["learning"]["curves"][0]["values"],
    }


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
