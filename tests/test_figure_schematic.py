"""The figure schematic: its routes against all of them written out, its claims both ways, and its drawing."""

import numpy as np
import pytest
import xarray as xr
from compare import assert_close

import gradflow as gf
from gradflow.figures.schematic import SchematicConfig, claims, compute, draw, summary, table
from gradflow.plots import unrolled
from gradflow.plots.unrolled import THINNEST, WIDEST


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return gf.load(gf.save(compute(SchematicConfig()), tmp_path_factory.mktemp("schematic") / "data.nc"))


def walked(lag, spans, hops=0, edges=0):
    """Every route of a lag, written out: its hops and its edges."""
    if lag == 0:
        return [(hops, edges)]
    found = walked(lag - 1, spans, hops, edges + 1)
    for span in spans:
        if span <= lag:
            found += walked(lag - span, spans, hops + 1, edges + 1)
    return found


@pytest.mark.parametrize(("network", "spans"), [("vanilla", [1]), ("SRC", [3]), ("ASRC", [1, 2, 3, 4])])
def test_routes_are_those_that_can_be_walked(data, network, spans):
    for lag in data.lag.values:
        hops = [hops for hops, _ in walked(int(lag), spans)]
        found = data.routes.sel(network=network, lag=lag).values
        assert found.tolist() == [hops.count(k) for k in data.hop.values]
    rows = summary(data).set_index("network")
    assert rows.routes[network] == len(hops)
    assert rows.fewest_edges[network] == min(edges for _, edges in walked(6, spans))


def test_weights_are_the_softmax_of_the_scores(data):
    scores = np.exp([0.2, 0.9, 1.8, 0.6])
    assert_close(data.weight.sel(network="ASRC").values, scores / scores.sum(), rtol=1e-12, why="softmax")
    assert data.weight_evaluated.sel(network="ASRC").values.tolist() == [0.0, 0.0, 1.0, 0.0]
    assert data.weight.sel(network="SRC").values.tolist() == [0.0, 0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    "config", [SchematicConfig(), SchematicConfig(span=8, scores=(1.0, -1.0), steps=12, temperature=0.1)]
)
def test_claims_hold_of_the_counts_and_can_fail(config):
    good = compute(config)
    assert [claim.holds for claim in claims(good)] == [True] * 6

    def broken(**changes):
        return [place for place, claim in enumerate(claims(good.assign(changes))) if not claim.holds]

    one_more = good.routes.where(~((good.lag == 2) & (good.hop == 1)), good.routes + 1.0)
    one_more = one_more.transpose(*good.routes.dims)
    assert broken(routes=one_more) == [0, 1, 2, 3]
    assert broken(counted=good.counted + 1.0) == [2]
    assert broken(weight=0.9 * good.weight) == [4]
    assert broken(weight_evaluated=good.weight) == [5]


def test_the_drawing_shows_the_weights_and_the_counts(data):
    panels = draw(data).axes
    for row, network in enumerate(("vanilla", "SRC", "ASRC")):
        counts = panels[2 * row + 1]
        one = data.longest.sel(network=network)
        (line,) = [line for line in counts.lines if line.get_label() == "routes"]
        assert_close(np.nan_to_num(line.get_ydata()), one.values, rtol=1e-12, why="the same numbers")
        assert [text.get_text() for text in counts.texts] == [f"{n:.0f}" for n in one.values if n]
        assert counts.get_title(loc="left") == f"{int(one.sum())} routes"
        artists = unrolled(data.sel(network=network))
        for span, weight in zip(data.span.values, data.weight.sel(network=network).values, strict=True):
            if weight == 0.0:
                assert f"span {span}" not in artists.edges
                continue
            edge = artists.edges[f"span {span}"]
            assert_close(
                edge.get_linewidth(), THINNEST + (WIDEST - THINNEST) * weight, rtol=1e-12, why="line"
            )
            ends = np.array(edge.get_xdata()).reshape(-1, 3)
            assert (ends[:, 1] - ends[:, 0] == span).all()
            assert len(ends) == 7 - span
        assert panels[2 * row].get_aspect() == 1.0  # else heads of arrows would not lie along their edges


def test_what_is_drawn_is_handed_back(data):
    rows = gf.plots.data(unrolled(data.sel(network="ASRC")))
    assert {"neuron path", "spikes", "span 1", "span 4"} <= set(rows.label)
    with pytest.raises(ValueError, match="expected span and at least 1"):
        unrolled(data)
    with pytest.raises(ValueError, match="expected span and at least 1"):
        unrolled(data.sel(network="SRC").isel(lag=[0]))
    beyond = xr.Dataset({"weight": ("span", [0.0, 0.0, 1.0])}, {"span": [1, 2, 3], "lag": [0, 1, 2]})
    assert set(unrolled(beyond).edges) == {"neuron path", "spikes"}


def test_rows_and_conventions(data):
    rows = table(data)
    assert rows[(rows.network == "ASRC") & (rows.lag == 6)].routes.sum() == 228
    assert data.attrs["recurrence"] == "vanilla,skip:3,asrc:4"
    assert "commit" in data.attrs
    for wrong in ({"scores": ()}, {"scores": (np.nan,)}, {"span": 1}, {"steps": 99}, {"temperature": 0.0}):
        with pytest.raises(ValueError, match="validation error"):
            SchematicConfig(**wrong)
