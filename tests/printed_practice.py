"""What notebooks 4 to 6 print in their small size, computed anew from the library."""

import numpy as np
import pytest
import torch
from printed_numbers import numbers

import gradflow as gf


def adaptive(task, logits, temperature=1.0):
    """A fresh network of 16 neurons whose recurrence has these logits."""
    net = gf.RecurrentSNN(task, 16, gf.AdaptiveSkip(len(logits), temperature=temperature))
    with torch.no_grad():
        net.recurrent_layers()[0].spans.span_logits.copy_(torch.as_tensor(logits))
    return net


def learning(said):
    """Notebook 4: a softmax weight, horizons and rates of mixtures, the span that the task pulls."""
    task = gf.tasks.psmnist(pool=2)
    digits = task.sample(1)
    weight = np.exp(4) / (np.exp(4) + 7)
    assert numbers("leading span's weight.*it is #", said) == [pytest.approx(weight, abs=5e-4)]
    alone = gf.jacobian_products(gf.RecurrentSNN(task, 16, gf.Skip(8)), digits)
    horizon = gf.fit_decay(alone).horizon.item()  # the median over one sample is the sample's
    assert numbers(r"Span 8 alone reaches \*\*# steps", said) == [pytest.approx(horizon, abs=0.5)]
    even = gf.local_jacobians(adaptive(task, np.zeros(8)), digits, span_mode=gf.SpanMode.SOFT)
    products = gf.jacobian_products(even)
    rates = [gf.fit_decay(products), gf.theory.mean_square(products), gf.theory.transfer_operator(even)]
    shared, *printed = numbers(r"\| even \| # \| # \| # \| # \|", said)
    assert shared == 8.0
    # a temperature of 10⁶ leaves weights even within 1e-6
    assert printed == pytest.approx([rate.rate.item() for rate in rates], abs=1e-4)
    recall = gf.tasks.delayed_recall(20, shown=2, examples=100)
    net = gf.RecurrentSNN(recall, 32, gf.AdaptiveSkip(24), readout="last", dtype=torch.float64)
    batch = recall.sample(50)
    run = net(batch.inputs.double(), span_mode=gf.SpanMode.SOFT)
    loss = recall.objective.losses(run, batch.targets).mean()
    (gradient,) = torch.autograd.grad(loss, net.recurrent_layers()[0].spans.span_logits)
    strongest = 1 + gradient.abs().argmax().item()
    assert numbers("The strongest span is # in the 1 networks", said) == [strongest]
    pushed = int(gradient[strongest - 1] > 0)
    assert numbers(r"in # of 1 networks it is \*negative\*", said) == [pushed]
    assert numbers("the fresh network fires # spikes in 50 sequences", said) == [0]


def training(said):
    """Notebook 5: chance, horizons before training, what luck allows."""
    recall = gf.tasks.delayed_recall(32, shown=8, noise=0.05, examples=100)
    part = recall.part(gf.Split.TEST)
    test = part.batch(range(len(part)))
    net = gf.RecurrentSNN(recall, 32, readout="last")
    right = recall.objective.correct(net(test.inputs), test.targets).double().mean().item()
    assert numbers("right answers of a fresh network.*it is # %", said) == [pytest.approx(100 * right)]
    far = gf.tasks.delayed_recall(96, shown=8, noise=0.05, examples=100)
    horizons = []
    for span in (1, 4, 8):
        fresh = gf.RecurrentSNN(far, 32, gf.Skip(span), readout="last")
        theory = gf.theory.transfer_operator(gf.local_jacobians(fresh, far.sample(4)))
        horizons.append(gf.horizon_at(theory).horizon.item())
    printed = numbers("horizons of λ = 1, 4, 8.*it is #, #, # steps", said)
    assert printed == pytest.approx(horizons, rel=5e-3)  # three digits
    told = numbers("λ = 1: #, learned #; λ = 4: #, learned #; λ = 8: #, learned # ", said)
    assert told[::2] == [round(value) for value in horizons]
    assert set(told[1::2]) <= {0, 8, 16}
    mean, low, high = numbers("λ 7 − 4: # points, # … #", said)
    assert low <= mean <= high
    assert numbers("all 2 pairs agree #%", said) == [50]


def network(said):
    """Notebook 6: PyTorch's networks, a cell from scratch, the chart of a patient and its rules."""
    task = gf.tasks.psmnist(pool=2)
    digits = task.sample(2)
    rates = []
    for kind in (torch.nn.RNN, torch.nn.GRU, torch.nn.LSTM):
        torch.manual_seed(0)
        local = gf.adapters.torch_transition(kind(1, 16), digits.inputs, last=48)
        rates.append(gf.fit_decay(gf.jacobian_products(local)).rate.item())
    assert numbers("RNN #, GRU #, LSTM # nats", said) == pytest.approx(rates, abs=5e-4)
    scratch, ours = numbers("from scratch decays at #, gradflow's own at # nats", said)
    assert scratch == pytest.approx(ours, rel=5e-3)  # the states differ, and 48 lags are fitted
    net = gf.RecurrentSNN(task, (24, 24, 24), dtype=torch.float64)
    products = gf.jacobian_products(net, digits)
    fit, rule = gf.fit_decay(products), gf.theory.critical_initialisation(products)
    phi, a = products.phi_square.mean("sample").values, products.a_square.mean("sample").values
    spans = []
    for k in range(3):
        row = numbers(rf"\| {k} \| # \| # \| # \| # \| # \| # \| # \|", said)
        expected = [a[k], phi[k], 1.0, fit.rate.values[k]]
        assert row[2:6] == pytest.approx(expected, abs=5.1e-3)  # the gain has two digits
        spans.append(gf.theory.smallest_span(60, a[k], phi[k]))
    assert numbers("spans of layers 0, 1, 2.*it is #, #, # steps", said) == spans
    factors = numbers("V was multiplied by #, #, #;", said)
    assert factors == pytest.approx(rule.factor.values, abs=0.05)
    assert numbers("attributes in the file.*it is #", said) == [len(products.attrs)]
