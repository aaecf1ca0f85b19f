"""Pages in Debian's Chromium without a network: opened, resized, darkened, with scripts off, and looked at.

`started` starts one browser for a module's tests (the fixture `chromium`); `page` opens a page in it.
"""

import base64
import contextlib
import json
import os
import shutil
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
MISSING = [name for name, path in (("chromium", CHROMIUM), ("chromedriver", DRIVER)) if path is None]

needs_chromium = pytest.mark.skipif(
    bool(MISSING),
    reason=f"no {' and no '.join(MISSING)}; Debian: apt-get install chromium chromium-driver",
)

ARGUMENTS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # containers have a small one
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-proxy-server",
    # a name other than this machine's is not found, whatever the network
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
    "--hide-scrollbars",  # a phone's are drawn over the page
    "--force-color-profile=srgb",
)


@contextlib.contextmanager
def started():
    """Start one browser; it logs its console and its requests."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (*ARGUMENTS, *(("--no-sandbox",) if os.geteuid() == 0 else ())):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "localhost,127.0.0.1")  # the driver is asked directly
        # its path is given: selenium looks for none, and fetches none
        driver = Chrome(options=options, service=Service(DRIVER))
    try:
        driver.set_page_load_timeout(30)
        yield driver
    finally:
        driver.quit()


@contextlib.contextmanager
def page(path_or_url, *, width=1200, height=900, dark=False, scripts=True, driver=None):
    """Open a file or an address in a browser, one of its own where none is given; yield its driver.

    `scripts=False` is a reader who has switched them off; selenium can still ask for elements.
    """
    with contextlib.ExitStack() as stack:
        browser = stack.enter_context(started()) if driver is None else driver
        colours = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        for command, parameters in (
            ("Emulation.setDeviceMetricsOverride", screen),
            ("Emulation.setEmulatedMedia", {"features": colours}),
            ("Emulation.setScriptExecutionDisabled", {"value": not scripts}),
        ):
            browser.execute_cdp_cmd(command, parameters)
        for log in ("browser", "performance"):  # of the page before
            browser.get_log(log)
        address = str(path_or_url)
        browser.get(address if "://" in address else Path(address).resolve().as_uri())
        yield browser


def console_errors(driver):
    """Return what the console says that is worse than a warning; each is said once."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]


def requests(driver):
    """Return the addresses that the page asked for since it was opened; each is said once."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


def screenshot(driver, path, *, whole=False):
    """Write what is seen as PNG; `whole` is the page from its top to its end."""
    seen = driver.execute_cdp_cmd(
        "Page.captureScreenshot", {"captureBeyondViewport": whole, **_clip(driver, whole)}
    )
    Path(path).write_bytes(base64.b64decode(seen["data"]))
    return Path(path)


def _clip(driver, whole):
    if not whole:
        return {}
    size = driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}
