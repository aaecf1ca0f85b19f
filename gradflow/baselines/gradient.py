"""Jacobian products of torch's recurrent layers as they stand in a network, one layer and sequence at a time.

Axes: layer sample lag; lags in steps.
"""

import copy
from collections.abc import Sequence

import torch
import xarray as xr

from gradflow.adapters import torch_transition
from gradflow.baselines.cells import TorchLayer
from gradflow.baselines.network import BaselineNetwork
from gradflow.jacobian import MatrixNorm, jacobian_products
from gradflow.shapes import Inputs


def baseline_products(net: BaselineNetwork, x: Inputs, *, lags: int | None = None) -> xr.Dataset:
    """Return the log-norms of ∂h[T]/∂h[t] of every layer and sample, as `jacobian_products` does.

    In float64, whatever the network's dtype, without dropout; the state of an LSTM is (h, k).

    Args:
        net: a network of TanhRNN, GRU or LSTM; nothing in it changes.
        x: inputs, (time, sample, input), at least two steps.
        lags: longest lag (default: the whole sequence).

    Raises:
        ValueError: for the layers of another library, whose steps are not taken apart here, for inputs that
            do not fit, or parameters that are not finite.

    Cost: (lags + 1) · state² numbers of memory, for one layer and sample at a time; for each lag and sample
    one backward pass of a step for every state, and 2 state³ operations.

    >>> import gradflow as gf
    >>> net = BaselineNetwork(gf.Sizes(2, 3), hidden=(4, 5))
    >>> dict(baseline_products(net, torch.rand(9, 2, 2), lags=6).log_frobenius.sizes)
    {'layer': 2, 'sample': 2, 'lag': 7}
    """
    below = x.detach().cpu().double()
    layers = []
    for layer in net.layers:
        if not isinstance(layer, TorchLayer):
            raise ValueError(
                f"{net.cell.label}: got another library's layers, expected torch's RNN, GRU or LSTM, whose "
                "steps can be taken apart"
            )
        module = copy.deepcopy(layer.module).cpu().double()
        parts = [
            jacobian_products(torch_transition(module, one, last=lags), norms=(MatrixNorm.FROBENIUS,))
            for one in below.unsqueeze(2).unbind(1)
        ]
        layers.append(joined(parts, "sample"))
        with torch.no_grad():
            below = module(below)[0]
    return joined(layers, "layer").assign_coords(layer=range(len(layers)), sample=range(x.shape[1]))


def joined(parts: Sequence[xr.Dataset], dim: str) -> xr.Dataset:
    """Return datasets one after the other along a dimension they have."""
    return xr.concat(
        parts,
        dim,
        data_vars="minimal",
        coords="minimal",
        compat="equals",
        join="exact",
        combine_attrs="drop_conflicts",
    )
