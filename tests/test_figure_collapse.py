"""The figure collapse: its curves against the library, its claims both ways, and its picture."""

import numpy as np
import pytest
from compare import assert_close

import gradflow as gf
from gradflow.figures.collapse import CollapseConfig, claims, compute, draw, shared_lag, summary, table
from gradflow.plots.curves import LOG10

SMALL = CollapseConfig(spans=(1, 3, 6), pool=4, hidden=8, seeds=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return gf.load(gf.save(compute(SMALL), tmp_path_factory.mktemp("collapse") / "data.nc"))


def test_a_curve_is_the_envelope_of_the_products_relative_to_lag_0(data):
    task = gf.tasks.psmnist(pool=4)
    parts = []
    for seed in (0, 1):
        net = gf.RecurrentSNN(task, hidden=8, recurrence=gf.Skip(3), neuron=gf.LIF(decay=0.9), seed=seed)
        parts.append(
            gf.jacobian_products(net, task.sample(1, seed=seed)).isel(layer=0).log_frobenius.values[0]
        )
    values = np.median(parts, axis=0)
    above = np.maximum.accumulate(values[::-1])[::-1]
    found = data.relative.sel(decay=0.9, span=3).values
    assert_close(found, above - above[0], rtol=1e-9, atol=1e-9, why="the same products")


def test_time_is_measured_in_spans(data):
    assert data.lag_in_spans.sel(span=6, lag=9).item() == 1.5
    assert shared_lag(data) == 48 / 6 - 1


def test_rates_are_multiplied_by_their_span(data):
    task = gf.tasks.psmnist(pool=4)
    parts = []
    for seed in (0, 1):
        net = gf.RecurrentSNN(task, hidden=8, recurrence=gf.Skip(6), neuron=gf.LIF(decay=0.5), seed=seed)
        parts.append(float(gf.fit_decay(gf.jacobian_products(net, task.sample(1, seed=seed))).rate.item()))
    found = data.span_rate.sel(decay=0.5, span=6).item()
    assert_close(found, 6.0 * np.mean(parts), rtol=1e-9, why="the mean over networks of the same fits")
    assert_close(
        data.span_neuron_rate.sel(decay=0.5, span=6).item(), 6.0 * np.log(0.5), rtol=1e-12, why="log"
    )


def test_claims_are_made_of_the_data_and_can_fail(data):
    span = data.span
    flat = data.assign(
        span_rate=(-0.6 + 0.0 * span).expand_dims(decay=data.decay),
        relative=-0.6 * data.lag_in_spans.expand_dims(decay=data.decay),
    )
    flat = flat.assign(span_neuron_rate=-2.0 + 0.0 * flat.span_rate)
    assert [claim.holds for claim in claims(flat)] == [True] * 4  # one wide span: no pair of curves
    wide = flat.assign_coords(span=[4, 8, 16])
    wide = wide.assign(lag_in_spans=flat.lag / wide.span, relative=-0.2 * (flat.lag / wide.span))
    wide = wide.assign(relative=wide.relative.expand_dims(decay=data.decay)).transpose("decay", "span", "lag")
    assert [claim.holds for claim in claims(wide)] == [True] * 6
    apart = wide.assign(relative=wide.relative.where(wide.span != 8, 3.0 * wide.relative))
    assert [claim.holds for claim in claims(apart)] == [True, False, True] * 2
    steep = flat.assign(span_rate=flat.span_rate.where(span != 6, -1.5))
    assert [claim.holds for claim in claims(steep)] == [False, True] * 2
    alone = flat.assign(span_neuron_rate=flat.span_neuron_rate.where(span != 1, -0.6))
    assert [claim.holds for claim in claims(alone)] == [False, True] * 2  # in the neuron path, and yet alike
    mixed = alone.assign(span_rate=alone.span_rate.where(span == 1, -1.5))
    assert [claim.holds for claim in claims(mixed)] == [True, True] * 2
    fast = mixed.assign(span_neuron_rate=mixed.span_neuron_rate.where(span == 1, -1.0))
    assert [claim.holds for claim in claims(fast)] == [True, False] * 2


def test_the_picture_shows_the_data(data):
    picture = draw(data)
    left, right, below = picture.axes
    for ax, decay in ((left, 0.5), (right, 0.9)):
        lines = {line.get_label(): line.get_data() for line in ax.lines}
        one = data.sel(decay=decay, span=3)
        shown = one.lag_in_spans <= shared_lag(data)
        x, y = lines["λ = 3"]
        assert_close(x[shown.values], one.lag_in_spans.values[shown.values], rtol=1e-12, why="the same")
        assert_close(y[shown.values], one.relative.values[shown.values] * LOG10, rtol=1e-12, why="the same")
    lines = {line.get_label(): line.get_ydata() for line in below.lines}
    assert_close(lines["α = 0.9"], -data.span_rate.sel(decay=0.9).values, rtol=1e-12, why="the same numbers")
    assert {"α = 0.5", "α = 0.9"} <= {text.get_text() for text in below.texts}
    assert "nats per span" in below.get_ylabel()


def test_rows_and_conventions(data):
    rows = table(data)
    assert rows.lag_in_spans.max() == shared_lag(data)
    assert len(summary(data)) == 6
    assert data.attrs["decay"] == "0.5,0.9"
    assert data.attrs["recurrence"] == "vanilla,skip:3,skip:6"


def test_decays_without_a_neuron_path_or_without_decay_are_refused():
    with pytest.raises(ValueError, match="expected decays between 0 and 1"):
        CollapseConfig(decay=(0.0, 0.5))
    assert CollapseConfig(decay=0.9).decay == (0.9,)
