"""The figure conventions: its rates against fits of the library, its claims both ways, and its picture."""

import numpy as np
import pytest
from compare import assert_close

import gradflow as gf
from gradflow.figures.conventions import BASE, VARIANTS, ConventionsConfig, claims, compute, draw, table

SMALL = ConventionsConfig(spans=(1, 4), pool=4, hidden=5, seeds=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return gf.load(gf.save(compute(SMALL), tmp_path_factory.mktemp("conventions") / "data.nc"))


@pytest.mark.parametrize(
    ("name", "neuron"),
    [
        (BASE, gf.LIF(decay=0.5)),
        ("rectangle", gf.LIF(surrogate=gf.Rectangle())),
        ("hard, detached", gf.LIF(reset=gf.Reset.HARD, detach_reset=True)),
    ],
)
def test_a_rate_is_the_fit_of_that_neuron_times_the_span(data, name, neuron):
    task = gf.tasks.psmnist(pool=4)
    net = gf.RecurrentSNN(task, hidden=5, recurrence=gf.Skip(4), neuron=neuron, seed=0)
    fit = gf.fit_decay(gf.jacobian_products(net, task.sample(1, seed=0)))
    found = data.value.sel(span=4, variant=name).item()
    assert_close(found, 4.0 * fit.rate.item(), rtol=1e-9, why="the same fit")


def test_every_variant_changes_one_thing():
    base = vars(VARIANTS[BASE])
    changed = {name: [key for key in base if vars(one)[key] != base[key]] for name, one in VARIANTS.items()}
    assert sorted(changed.pop("hard, detached")) == ["detach_reset", "reset"]
    assert changed.pop(BASE) == []
    assert {len(keys) for keys in changed.values()} == {1}


def test_claims_are_made_of_the_data_and_can_fail(data):
    def with_rate(start, name, value):
        return start.assign(value=start.value.where(start.variant != name, value))

    good = data.assign(value=-0.5 + 0.0 * data.value)
    for name, value in (("soft, detached", -0.1), ("hard, detached", -0.3), ("α = 0.9", np.log(0.9))):
        good = with_rate(good, name, value)
    assert [claim.holds for claim in claims(good)] == [True] * 3
    assert [claim.holds for claim in claims(with_rate(good, "soft, detached", -0.3))] == [False, False, True]
    assert [claim.holds for claim in claims(with_rate(good, "hard, detached", -0.6))] == [False, False, True]
    assert [claim.holds for claim in claims(with_rate(good, "α = 0.9", -0.2))] == [True, True, False]


def test_the_picture_shows_the_data(data):
    (ax,) = draw(data).axes
    lines = {line.get_label(): line.get_xdata() for line in ax.lines}
    for span in (1, 4):
        expected = data.value.sel(span=span).values
        assert_close(lines[f"λ = {span}"], expected, rtol=1e-12, why="the same numbers")
    assert [text.get_text() for text in ax.get_yticklabels()] == list(VARIANTS)
    assert "nats per span" in ax.get_xlabel()


def test_rows(data):
    assert len(table(data)) == 2 * len(VARIANTS)
    assert data.attrs["recurrence"] == "vanilla,skip:4"
