"""What a dataset from gradflow shows in a notebook: the summary first, its numbers those of the dataset.

Axes: layer sample lag or time.
"""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
import xarray as xr

import gradflow as gf
from gradflow.results import Results
from gradflow.showing import html, number, power_of_ten, sparkline

LN10 = np.log(10.0)
NET = gf.RecurrentSNN(gf.Sizes(2, 3), hidden=(6, 5), recurrence=gf.Skip(2))
BATCH = gf.Batch(torch.rand(30, 4, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0]))


@pytest.fixture(scope="module")
def products():
    return gf.jacobian_products(NET, BATCH)


class Cells(HTMLParser):
    """Collects the text of the first table's cells, row by row, and checks that tags are closed."""

    VOID = frozenset({"br", "img", "polyline", "input", "use", "path", "circle", "meta", "ellipse"})

    def __init__(self, page):
        super().__init__()
        self.open, self.rows, self.tables = [], [], 0
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tables += tag == "table"
        if tag not in self.VOID:
            self.open.append(tag)
        if self.tables == 1 and tag == "tr":
            self.rows.append([])
        if self.tables == 1 and tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.tables == 1 and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def cells(data):
    return Cells(html(data)).rows


def test_every_measurement_fit_and_prediction_shows_itself(products):
    transition = gf.local_jacobians(NET, BATCH)
    everything = [
        gf.record(NET, BATCH),
        products,
        gf.path_products(NET, BATCH),
        gf.stack_products(NET, BATCH),
        gf.lag_matrix(NET, BATCH),
        gf.singular_values(NET, BATCH),
        gf.lyapunov_exponents(NET, BATCH),
        gf.logit_sensitivity(NET, BATCH),
        gf.stack_paths(NET, BATCH),
        gf.logit_paths(NET, BATCH),
        gf.fit_decay(products),
        gf.fit_models(products),
        gf.horizon_at(products),
        gf.curve_band(products),
        gf.zero_summary(products),
        gf.theory.bound(products),
        gf.theory.mean_square(products),
        gf.theory.transfer_operator(transition),
        gf.theory.residual(gf.fit_decay(products), gf.theory.mean_square(products)),
        gf.theory.temperature_horizons(np.zeros(3), [1.0], 0.2, 0.3),
    ]
    for data in everything:
        assert isinstance(data, Results)
        page = data._repr_html_()
        assert len(Cells(page).rows) > 1
        assert page.index("<table") < page.index("<details")  # the summary comes first
        missing = [name for name, values in data.data_vars.items() if "units" not in values.attrs]
        assert set(missing) <= {"reason", "chosen"}  # codes, which have meanings instead


def test_the_table_of_products_has_their_numbers(products):
    rows = cells(products)
    assert [row[0] for row in rows] == ["layer", "0", "1"]
    for layer, row in enumerate(rows[1:]):
        middle = np.sort(products.log_frobenius.sel(layer=layer).values[:, -1])[2] / LN10
        shown = float(row[2].removeprefix("10").replace("−", "-"))
        assert shown == pytest.approx(middle, abs=0.5 if abs(middle) >= 10 else 0.05)  # digits shown


def test_the_table_of_a_fit_has_its_rate_and_units(products):
    fit = gf.fit_decay(products)
    rows = cells(fit)
    heading = rows[0].index("rate (nats per step)")
    shown = [float(row[heading].replace("−", "-")) for row in rows[1:]]
    np.testing.assert_allclose(shown, fit.rate, rtol=5e-4)  # four digits are shown
    for name in ("hole_share", "finite_share", "r_squared", "is_comb", "curves_fitted"):
        assert fit[name].attrs == {"units": "1"}  # and not the nats of the curves they come from


def test_what_is_taken_of_a_result_shows_what_is_left(products):
    part = products.isel(layer=0).mean("sample")
    assert isinstance(part, Results)
    assert [row[0] for row in cells(part)] == ["layer", "all"]
    few = products[["at_risk"]]
    assert cells(few)[0] == ["variable", "unit", "median", "least", "greatest"]
    assert [row[0] for row in cells(few)[1:]] == ["at_risk"]
    assert cells(Results())[0][0] == "variable"


def test_a_saved_result_comes_back_as_one(products, tmp_path):
    path = gf.save(products, tmp_path / "run.nc")
    again = gf.load(path)
    assert type(again) is Results
    xr.testing.assert_identical(again, products)


def test_text_from_a_file_cannot_become_markup():
    wild = Results(
        {"<b>rate</b>": ("layer", [1.0])}, attrs={"kind": "<script>alert(1)</script>", "task": "<i>"}
    )
    page = html(wild)
    assert not re.search(r"<(script|b|i)>", page, re.IGNORECASE)
    assert "&lt;script&gt;" in page


def test_infinities_and_nan_are_told_apart():
    data = xr.Dataset(
        {"log_frobenius": (("layer", "lag"), [[0.0, -np.inf], [0.0, np.nan], [0.0, -230.2585]])},
        {"lag": [0, 1]},
    ).assign_coords(layer=[0, 1, 2])
    assert [row[1] for row in cells(data)[1:]] == ["0", "–", "10−100"]
    assert (number(np.inf), number(-np.inf), power_of_ten(np.inf)) == ("∞", "−∞", "∞")
    whole = sparkline([0.0, 1.0, np.nan, 2.0, 3.0], what="a gap")
    assert whole.count("<polyline") == 2


def test_a_text_says_what_it_is(products):
    assert repr(products).startswith("<gradflow.Results")
