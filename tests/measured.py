"""Small measured datasets for tests of what is made of them: real ones, and ones with known numbers."""

from functools import cache

import numpy as np
import torch
import xarray as xr

import gradflow as gf

STEPS, SAMPLES = 40, 3


def batch():
    """Sequences that keep neurons firing."""
    inputs = 2.0 * torch.rand(STEPS, SAMPLES, 2, generator=torch.Generator().manual_seed(0))
    return gf.Batch(inputs, torch.tensor([0, 1, 2]))


def network(span=2, decay=0.5, hidden=(8, 8), seed=0):
    recurrence = gf.Vanilla() if span == 1 else gf.Skip(span)
    return gf.RecurrentSNN(
        gf.Sizes(2, 3), hidden=hidden, recurrence=recurrence, neuron=gf.LIF(decay=decay), seed=seed
    )


@cache
def record(span=2, decay=0.5, loss="sum", hidden=(8, 8)):
    return gf.record(network(span, decay, hidden), batch(), loss_placement=loss)


@cache
def products(span=2, decay=0.5, hidden=(8, 8)):
    return gf.jacobian_products(network(span, decay, hidden), batch())


@cache
def paths(span=2):
    return gf.path_products(network(span), batch(), max_hops=30)


def constant_products(a=0.5, phi=0.0, span=1, steps=60, gain=1.0):
    """Return products of a layer whose factors never change: with φ = 0 their norm is √H aⁿ."""
    factors = np.ones((steps, SAMPLES, 4))
    layer = gf.LayerTransition(a * factors, phi * factors, gain * np.eye(4), (span,), (1.0,), leak=a)
    return gf.jacobian_products(gf.Transition((layer,)))


def training():
    """Return what a run of three epochs would have stored, two layers."""
    rate = np.array([[-0.5, -0.4], [-0.3, -0.2], [-0.2, -0.1]])
    found = {"rate": rate, "rate_low": rate - 0.01, "rate_high": rate + 0.01, "rate_mean_square": rate - 0.05}
    found |= {"half_life": -np.log(2) / rate, "horizon": np.log(1e-3) / rate}
    found |= {"firing_rate": np.full((3, 2), 0.1), "window": np.full((3, 2), 0.4)}
    found["lag_float32"] = np.array([[30.0, np.nan], [np.nan, np.nan], [np.nan, 35.0]])
    coords = {"epoch": [0.0, 1.0, 2.0], "layer": [0, 1], "lag": np.arange(STEPS)}
    attrs = {"kind": "gradient while training", "horizon_level": 1e-3, "recurrence": "skip:2"}
    data = xr.Dataset({k: (("epoch", "layer"), v) for k, v in found.items()}, coords, attrs)
    return data.assign(p=(("epoch", "layer", "span"), np.ones((3, 2, 1)))).assign_coords(span=[2])
