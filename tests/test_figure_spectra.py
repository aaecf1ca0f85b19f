"""The figure spectra: its identities recomputed by numpy, its claims both ways, and its picture."""

import numpy as np
import pytest
import xarray as xr
from compare import assert_close
from matplotlib.figure import Figure

import gradflow as gf
from gradflow.analysis.spectra import spectrum_band
from gradflow.figures.spectra import SpectraConfig, claims, compute, draw, summary, table
from gradflow.plots import lyapunov_exponents, name_ends, participation, singular_values
from gradflow.plots.curves import LOG10

SMALL = SpectraConfig(spans=(1, 3), pool=4, hidden=6, seeds=2, reach=9, exponents=4)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return gf.load(gf.save(compute(SMALL), tmp_path_factory.mktemp("spectra") / "data.nc"))


def products(span, seed=0):
    """P(T,t) of one network at lags 0 … 9, by the recursion itself in float64."""
    task = gf.tasks.psmnist(pool=4)
    recurrence = gf.Vanilla() if span == 1 else gf.Skip(span)
    net = gf.RecurrentSNN(task, hidden=6, recurrence=recurrence, neuron=gf.LIF(decay=0.5), seed=seed)
    (layer,) = gf.local_jacobians(net, task.sample(1, seed=seed)).layers
    found, last = [np.eye(6)], len(layer.a) - 1
    for lag in range(1, 10):
        t = last - lag
        P = found[lag - 1] * layer.a[t, 0]
        if lag >= span:
            P = P + found[lag - span] @ (layer.V * layer.phi[t, 0])
        found.append(P)
    return np.array(found), layer


@pytest.mark.parametrize("span", [1, 3])
def test_singular_values_and_norms_are_those_of_the_products(data, span):
    P, _ = products(span)
    expected = np.linalg.svd(P, compute_uv=False)
    one = data.sel(span=span).isel(seed=0, sample=0)
    found = np.exp(one.log_singular.transpose("lag", "index").values)
    large = expected > 1e-10 * expected[:, :1]  # numpy's own digits end near 1e-16 of the largest
    assert_close(found[large], expected[large], rtol=1e-4, why="1e-16 / 1e-10 in numpy, 1e-4 nats here")
    assert_close(
        np.exp(one.log_frobenius.values), np.linalg.norm(P, axis=(1, 2)), rtol=1e-10, why="the same products"
    )


def test_determinants_are_those_of_the_products_and_steps(data):
    P, layer = products(1)
    one = data.sel(span=1).isel(seed=0, sample=0)
    assert_close(
        one.log_determinant.values[:6], np.linalg.slogdet(P[:6])[1], rtol=1e-7, atol=1e-7,
        why="the determinant of a product of six, conditioned up to 1e9",
    )  # fmt: skip
    assert data.log_determinant.sel(span=3, lag=slice(1, None)).isnull().all()
    counted = int(gf.lyapunov_exponents(gf.Transition((layer,)), leading=1).steps.item())
    steps = [
        np.linalg.slogdet(np.diag(layer.a[t, 0]) + layer.V * layer.phi[t, 0])[1]
        for t in range(len(layer.a) - 1 - counted, len(layer.a) - 1)
    ]
    assert_close(one.mean_log_determinant.item(), np.mean(steps), rtol=1e-12, why="the same steps")


def test_neurons_outside_of_their_window_are_counted(data):
    _, layer = products(3)
    last = len(layer.phi) - 1
    for lag in range(1, 10):
        away = (layer.phi[last - lag : last, 0] == 0).all(axis=0).sum()
        assert data.outside.sel(span=3, lag=lag).isel(seed=0, sample=0).item() == away
    assert (data.outside.sel(lag=0) == 6).all()
    assert 0 < data.outside.isel(lag=-1).min() < 6  # else the claim on the neuron path says nothing


def test_exponents_are_the_librarys_in_descending_order(data):
    _, layer = products(3)
    found = gf.lyapunov_exponents(gf.Transition((layer,)), leading=4).exponent.isel(layer=0, sample=0).values
    one = data.exponent.sel(span=3).isel(seed=0, sample=0).values
    assert_close(one[:4], np.sort(found)[::-1], rtol=1e-12, why="the same run")
    assert np.isnan(one[4:]).all()  # vanilla has six


def test_claims_are_made_of_the_data_and_can_fail(data):
    assert [claim.holds for claim in claims(data)][:4] == [True] * 4  # what is exact holds at any size
    rate = data.fitted.expand_dims(seed=data.seed, sample=data.sample)
    first = data.exponent.place == 1
    met = data.exponent.where(~first, rate).transpose(*data.exponent.dims)
    good = data.assign(exponent=met)
    good["exponent_centre"] = data.exponent_centre.where(data.exponent_centre.place != 1, 0.0 * data.fitted)
    good["exponent_centre"] = good.exponent_centre.where(good.exponent_centre.place != 1, -1.0 / good.span)
    good["participation_centre"] = (1.0 * good.span + 0.0 * good.lag).transpose("span", "lag")
    # vanilla's sum moved with its first exponent
    moved = (met - data.exponent).sel(span=1).isel(place=0)
    good["mean_log_determinant"] = good.mean_log_determinant + moved.where(good.span == 1, 0.0)
    assert [claim.holds for claim in claims(good)] == [True] * 7

    def broken(**changes):
        return [place for place, claim in enumerate(claims(good.assign(changes))) if not claim.holds]

    assert broken(log_frobenius=good.log_frobenius + 2e-6) == [0]
    assert broken(outside=good.outside + 6) == [1]
    assert broken(log_determinant=good.log_determinant * 1.001) == [2]
    assert broken(mean_log_determinant=good.mean_log_determinant * 1.00001) == [3]
    assert broken(fitted=good.fitted * 1.06) == [4]
    assert broken(exponent_centre=-1.0 * good.span + 0.0 * good.exponent_centre) == [5]
    assert broken(participation_centre=-good.participation_centre) == [6]


def test_values_that_are_not_known_are_not_drawn_and_are_counted(data):
    logs = data.log_singular.copy(deep=True)
    logs.loc[{"span": 3, "seed": 0, "lag": 9, "index": 5}] = np.nan
    band = spectrum_band(data.assign(log_singular=logs).sel(span=3), [1, 6])
    assert np.isnan(band.centre.sel(rank=6, lag=9))
    assert np.isfinite(band.centre.sel(rank=6, lag=8))
    assert np.isnan(singular_values(band).curves["i = 6"].get_ydata()[9])
    with pytest.raises(ValueError, match=r"got the ranks \[7\], expected some of 1 … 6"):
        spectrum_band(data.sel(span=3), [7])
    with pytest.raises(ValueError, match="expected log_singular along lag and index"):
        spectrum_band(xr.Dataset())


def test_the_picture_shows_the_data(data):
    vanilla, skip, left, right = draw(data).axes
    for ax, span in ((vanilla, 1), (skip, 3)):
        lines = {line.get_label(): line.get_ydata() for line in ax.lines}
        for rank in data["rank"].values:
            drawn = data.centre.sel(span=span, rank=rank).values * LOG10
            assert_close(lines[f"i = {rank}"], drawn, rtol=1e-12, why="the same numbers")
        assert_close(lines["neuron path"], np.arange(10) * np.log10(0.5), rtol=1e-12, why="αⁿ")
    lines = {line.get_label(): line.get_ydata() for line in left.lines}
    assert_close(lines["λ = 3"], data.participation_centre.sel(span=3).values, rtol=1e-12, why="the same")
    lines = {line.get_label(): line.get_ydata() for line in right.lines}
    drawn = -data.exponent_centre.sel(span=3).values[:4]
    assert_close(lines["λ = 3"], np.where(drawn > 0, drawn, np.nan), rtol=1e-12, why="the same numbers")
    assert {text.get_text() for text in right.texts} == {"λ = 1", "λ = 3"}
    assert right.yaxis_inverted()


def test_names_keep_their_distance_on_a_logarithmic_axis_that_is_turned_over():
    ax = Figure().subplots()
    lines = {str(height): ax.plot([0, 1], [1.0, height])[0] for height in (0.0100, 0.0101, 0.5)}
    ax.set(yscale="log", ylim=(1.0, 0.001))
    names = name_ends(ax, lines)
    places = {text: np.log10(name.xy[1]) for text, name in names.items()}
    assert_close(places["0.01"], -2.0, atol=1e-12, why="the uppermost stays")
    assert_close(places["0.0101"], -2.0 + 0.05 * 3.0, atol=1e-12, why="a share of the axes' three decades")
    assert_close(places["0.5"], np.log10(0.5), atol=1e-12, why="there is room")


def test_panels_take_what_the_library_returns():
    _, layer = products(3)
    run = gf.Transition((layer,))
    found = gf.singular_values(run, every=20).isel(layer=0)
    drawn = singular_values(found).curves["i = 1"].get_ydata()
    assert_close(drawn, found.log_singular.values[0, :, 0] * LOG10, rtol=1e-12, why="the same numbers")
    with pytest.raises(ValueError, match="singular_values: got the dimensions"):
        singular_values(spectrum_band(found).expand_dims(span=[1]))
    table = gf.plots.data(
        participation(xr.Dataset({n: ("lag", [2.0, 1.0]) for n in ("centre", "low", "high")}))
    )
    assert set(table.part) == {"curves", "bands"}
    grows = xr.Dataset({name: ("rank", [0.1, -1.0]) for name in ("centre", "low", "high")}, {"rank": [1, 2]})
    assert np.isnan(lyapunov_exponents(grows, label="x").curves["x"].get_ydata()[0])


def test_rows_and_conventions(data):
    rows = table(data)
    assert set(rows.quantity) == {"log10_singular_value", "participation", "exponent"}
    assert len(rows[(rows.quantity == "exponent") & (rows.span == 3)]) == 4
    assert list(summary(data).state) == [6.0, 18.0]
    assert data.attrs["recurrence"] == "vanilla,skip:3"
    assert data.attrs["tolerance"] == 1e-4
