"""The report in a real browser: quiet, offline, moved by its slider, read by mouse, keys, without scripts."""

import pytest
import reported
from browser import console_errors, needs_chromium, page, requests
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

import gradflow as gf
from gradflow.analysis import curve_band
from gradflow.report.charts import colours

pytestmark = needs_chromium

DRAWN = "return document.documentElement.dataset.drawn === 'yes'"
LINE = """
const [key, name] = arguments;
const found = document.getElementById(key).data.find(trace => trace.meta === "curve" && trace.name === name);
return [found.x, found.y, found.customdata, found.line.color];
"""
AT = """
const [key, name, k] = arguments;
const div = document.getElementById(key), at = div.getBoundingClientRect();
const trace = div.data.find(trace => trace.meta === "curve" && trace.name === name);
const {xaxis, yaxis} = div._fullLayout;
const x = xaxis._offset + xaxis.d2p(trace.x[k]), y = yaxis._offset + yaxis.d2p(trace.y[k]);
return [x - at.width / 2, y - at.height / 2];
"""


@pytest.fixture
def opened(chromium, report_page):
    """Open the page as asked, wait until it is drawn."""

    def opening(**options):
        return page(report_page, driver=chromium, **options)

    return opening


@pytest.fixture(scope="module")
def run(reportable):
    return gf.load(reportable[-1] / "gradients.nc")


def test_it_opens_without_errors_and_asks_for_nothing(opened, report_page):
    with opened() as driver:
        assert driver.execute_script(DRAWN)
        assert console_errors(driver) == []
        assert {url for url in requests(driver) if not url.startswith("data:")} == {report_page.as_uri()}
        found = reported.Page(report_page.read_text())
        drawn = driver.execute_script(
            "return [...document.querySelectorAll('.js-plotly-plot')].map(e => e.id)"
        )
        assert set(drawn) == set(found.charts)


def test_the_slider_moves_the_curve_to_that_epochs(opened, run):
    band = curve_band(run.sel(layer=0))
    with opened() as driver:
        slider = driver.find_element("id", "epoch")
        seen = []
        for k in (2, 1, 0):
            told = driver.execute_async_script(
                "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))"
            )
            assert told is not None
            x, _, values, _ = driver.execute_script(LINE, "epoch-decay-0", "layer 0")
            assert x == run.lag.values.tolist()
            assert values == band.centre[k].values.tolist()
            assert driver.find_element("id", "epoch-said").text == f"{k} of 2"
            marked = driver.execute_script("return document.getElementById('rates-0').layout.shapes[0].x0")
            assert marked == run.epoch[k].item()
            heat = driver.execute_script("return document.getElementById('epoch-map-0').data[0].customdata")
            assert heat == run.grad_u_last[k].values.tolist()
            seen.append(values)
            slider.send_keys(Keys.ARROW_LEFT)
        assert seen[0] != seen[1] != seen[2]


def test_a_hover_says_the_number_in_the_file(opened, run):
    with opened() as driver:
        plot = driver.find_element("id", "rates-0")
        driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", plot)
        across, down = driver.execute_script(AT, "rates-0", "layer 0", 1)
        ActionChains(driver).move_to_element_with_offset(plot, round(across), round(down)).perform()
        said = driver.execute_async_script(
            "const done = arguments[0]; setTimeout(() => done("
            "document.querySelector('#rates-0 .hoverlayer').textContent), 300)"
        )
        assert f"epoch 1: {run.rate.sel(layer=0)[1].item():.7g} nats per step" in said


def test_keys_say_the_same_in_full(opened, run):
    with opened() as driver:
        plot = driver.find_element("id", "rates-0")
        plot.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
        said = driver.find_element("id", "rates-0-said").text
        assert said == f"layer 0, training 1: {run.rate.sel(layer=0)[1].item()!r}"
        plot.send_keys(Keys.ARROW_DOWN)
        assert driver.find_element("id", "rates-0-said").text.startswith("layer 0: mean square, training 1:")


def test_the_legend_takes_curves_away_and_the_numbers_can_be_taken_along(opened, run):
    with opened() as driver:
        button = driver.find_element("css selector", "#epoch-decay-0-legend button")
        assert (button.text, button.get_attribute("aria-pressed")) == ("layer 0", "true")
        button.send_keys(Keys.ENTER)
        assert button.get_attribute("aria-pressed") == "false"
        names = driver.execute_script("return document.getElementById('epoch-decay-0').data.map(t => t.name)")
        assert set(names) == {"layer 1"}
        driver.execute_script(
            "URL.createObjectURL = blob => { blob.text().then(t => window.kept = t); return '#' }"
        )
        driver.find_element("css selector", "#rates-0-tools button").send_keys(Keys.ENTER)
        rows = driver.execute_async_script("setTimeout(() => arguments[0](window.kept), 100)").splitlines()
        assert rows[0] == "curve,epoch,x,y,value,low,high"
        rate, low, high = (run[name].sel(layer=0)[0].item() for name in ("rate", "rate_low", "rate_high"))
        name, _, x, _, *numbers = rows[1].split(",")
        assert (name, x, [float(number) for number in numbers]) == ('"layer 0"', "0", [rate, low, high])


def test_without_scripts_pictures_and_tables_are_there(opened):
    with opened(scripts=False) as driver:
        pictures = driver.execute_script(
            "return [...document.images].map(i => [i.naturalWidth, i.clientWidth])"
        )
        assert len(pictures) > 8
        assert all(natural > 900 and shown > 300 for natural, shown in pictures)
        text = driver.execute_script("return document.body.innerText")
        for words in (
            "Theory beside measurement",
            "gradient while training: first and last epoch",
            "SHA-256",
        ):
            assert words in text
        tall = "return [...document.querySelectorAll('.scripted')].map(e => e.clientHeight)"
        assert set(driver.execute_script(tall)) == {0}


@pytest.mark.parametrize("scripts", [True, False])
def test_a_phone_shows_it_without_scrolling_sideways(opened, scripts):
    with opened(width=390, height=800, scripts=scripts) as driver:
        assert driver.execute_script("return document.documentElement.scrollWidth") == 390
        if scripts:
            sizes = driver.execute_script(
                "return [...document.querySelectorAll('.plot')].map(e => [e.clientWidth, e.clientHeight])"
            )
            assert all(300 < width <= 390 and height > 200 for width, height in sizes)


@pytest.mark.parametrize("dark", [False, True])
def test_colours_follow_the_readers_choice(opened, dark):
    with opened(dark=dark) as driver:
        for k, name in enumerate(("λ = 2", "λ = 4")):
            assert driver.execute_script(LINE, "decay-0", name)[3] == colours((k, 2))[dark]
        paper = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert paper == ("rgb(21, 22, 26)" if dark else "rgb(255, 255, 255)")
