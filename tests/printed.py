"""What the notebooks print in their small size, computed anew from the library: one function a notebook."""

import numpy as np
import pytest
import torch
from printed_numbers import numbers
from printed_practice import learning, network, training

import gradflow as gf
from gradflow import course

LOG10 = np.log(10)


def neuron(said):
    """Notebook 1: settled potential, spikes, what is left of gradients, slopes."""
    steps = 60
    assert numbers("settles.*it is # θ", said) == [pytest.approx(0.4 / (1 - 0.5), abs=1e-3)]  # three digits
    spikes = course.run_neuron(np.full(30, 0.6), gf.LIF()).s.sum()
    assert numbers("spikes in 30 steps.*it is # spikes", said) == [spikes]
    # the grid of 61 currents has a step of 0.02
    assert numbers("smallest current that makes it fire.*it is # θ", said) == [pytest.approx(0.5, abs=0.021)]
    bump = gf.Triangle().derivative(torch.tensor([-0.75, -0.25, 0.25, 1.5])).tolist()
    assert numbers(r"φ at u = .*it is #, #, #, #", said) == bump
    assert numbers("silent neuron.*it is # powers", said) == [pytest.approx(steps * np.log10(0.5), abs=0.05)]
    busy = np.log10(np.abs(course.run_neuron(np.full(steps, 0.6), gf.LIF()).a)).sum()
    left, share = numbers(r"keeps far less, \$10\^\{#\}\$.*\(geometric mean\) # instead", said)
    assert (left, share) == (round(busy), pytest.approx(10 ** (busy / steps), abs=5e-4))
    assert numbers("a at the threshold.*it is #, #, #", said) == [0.0, -0.5, 0.5]
    kept = [course.run_neuron(np.full(3, 0.6), gf.LIF()).a[:-1].prod(), 0.5**2]
    differences, surrogate = numbers("finite differences give #, its surrogate gradient #", said)
    assert [surrogate, differences] == pytest.approx(kept, abs=5e-5)
    twin = gf.LIF(surrogate=gf.SmoothTwin(gf.Triangle()))
    slope = course.run_neuron(np.full(3, 0.6), twin).a[:-1].prod()
    assert numbers("On the smooth twin both give # and #", said) == pytest.approx([slope, slope], abs=2e-6)


def product(said):
    """Notebook 2: the product's power of ten, its rate, zeros, the two losses, the mean square."""
    task = gf.tasks.psmnist(pool=4)
    net = gf.RecurrentSNN(task, hidden=32)
    batch = task.sample(4)
    products = gf.jacobian_products(net, batch)
    assert numbers("# steps, # digits, # neurons", said) == [49, 4, 32]
    last = gf.curve_band(products).centre.values[0, -1] / LOG10
    assert numbers("over the whole digit.*it is # powers", said) == [pytest.approx(last, rel=5e-3)]
    fit = gf.fit_decay(products).isel(layer=0)
    rate, factor, half = numbers(
        "Rate # nats per step: a factor of # each step, a half-life of # steps", said
    )
    assert [rate, factor] == pytest.approx([fit.rate.item(), np.exp(fit.rate.item())], abs=5e-4)
    assert half == pytest.approx(fit.half_life.item(), abs=0.05)
    zeros = gf.zero_summary(products).share_structural.values[0, 20]
    assert numbers("structural zeros after 20 steps.*it is # %", said) == [
        pytest.approx(100 * zeros, rel=5e-3)
    ]
    lost = (gf.record(net, batch, loss_placement="last").grad_u == 0).all("sample").sum().item()
    assert numbers("the first # of 49 steps get a gradient of exactly 0", said) == [lost]
    theory = gf.theory.mean_square(products).rate.item()
    upper = gf.theory.bound(products).rate.median().item()
    assert numbers("Measured #, mean square #, bound # nats", said) == pytest.approx(
        [fit.rate.item(), theory, upper], abs=5e-4
    )


def spans(said):
    """Notebook 3: hops, roots, teeth, the table of rates, the collapse, the crossing."""
    task = gf.tasks.psmnist(pool=2)
    batch = task.sample(2)
    root = [gf.theory.characteristic_root(0.2, 0.5, [span], [1.0]).item() for span in (4, 16)]
    assert numbers("largest root.*it is #, #", said) == pytest.approx(root, rel=5e-3)
    assert numbers("first three teeth.*it is #, #, # steps", said) == [16, 32, 48]
    for span in (1, 4, 16):
        net = gf.RecurrentSNN(task, hidden=32, recurrence=gf.Skip(span))
        fit = gf.fit_decay(gf.jacobian_products(net, batch))
        theory = gf.theory.transfer_operator(gf.local_jacobians(net, batch)).rate.item()
        rate, operator, horizon = numbers(rf"\| {span} \| # \| # \| # \|", said)
        assert [rate, operator] == pytest.approx([fit.rate.item(), theory], abs=5e-5)
        assert horizon == round(fit.horizon.item())
        assert numbers(rf"λ · rate: .*?# at λ = {span}\b", said)[-1] == pytest.approx(span * rate, abs=2e-3)
    hops = 48 // 8
    one, eight = numbers("mean number of hops over 48 steps.*it is #, # hops", said)
    assert eight <= hops < one <= 48


PRINTED = {
    "1-neuron": neuron,
    "2-product": product,
    "3-spans": spans,
    "4-learning-the-span": learning,
    "5-training": training,
    "6-your-network": network,
}
