"""Figure relatives: the spiking layer's decay curve beside those of a tanh RNN, a GRU and an LSTM.

Axes: network seed sample lag.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
import xarray as xr
from torch import nn

from gradflow.adapters import torch_transition
from gradflow.analysis import curve_band, fit_decay
from gradflow.figures.cells import CellConfig, blas_threads, network, over_seeds, settings, task_of
from gradflow.figures.registry import FigureSpec, Progress, silent
from gradflow.figures.relatives_picture import CAPTION, claims, draw, summary, table
from gradflow.jacobian import jacobian_products
from gradflow.seeds import rotation, uniform
from gradflow.tasks import Task
from gradflow.theory import mean_recurrent_length, recurrent_skip_coefficient
from gradflow.transition import Transition, local_jacobians

ORTHOGONAL = "tanh RNN, orthogonal"
MODULES: dict[str, Callable[..., nn.RNNBase]] = {
    "tanh RNN": nn.RNN,
    ORTHOGONAL: nn.RNN,
    "GRU": nn.GRU,
    "LSTM": nn.LSTM,
}
"""The relatives, in torch's default initialisation: all parameters uniform on ±1/√H."""


class RelativesConfig(CellConfig):
    """Options of the figure; the defaults draw the picture of the book."""

    spans: tuple[int, ...] = (1, 16)
    decay: float = 0.5
    samples: int = 1
    seeds: int = 4


def compute(config: RelativesConfig, progress: Progress = silent) -> xr.Dataset:
    """Measure the decay curve of every network and seed on the same digits.

    Returns:
        A Dataset over network, seed, sample and lag: log-norms in nats of ∂u[T]/∂u[t] for spiking layers and
        of ∂h[T]/∂h[t] for the others (of the state (h, k) for the LSTM), each less its value at lag 0 (½ log
        of the state's size); their band and rate, and the path lengths of each wiring over all lags. The
        conventions among its attributes are those of the spiking layers.

    Raises:
        ValueError: for more samples than the task has training examples, or a pool that leaves one step.
    """
    task = task_of(config)
    names = [*MODULES, *(spiking_word(span) for span in config.spans)]
    parts: dict[str, list[xr.Dataset]] = {name: [] for name in names}
    with blas_threads(config):
        for done, (name, found) in enumerate(runs(config, task)):
            progress(done, len(names) * config.seeds, name)
            parts[name].append(relative(found))
    progress(len(names) * config.seeds, len(names) * config.seeds, "fit")
    curves = {name: curve_of(over_seeds(found)) for name, found in parts.items()}
    data = xr.concat(curves.values(), dim="network", combine_attrs="drop")
    spiking = [curves[spiking_word(span)].isel(lag=0) for span in config.spans]
    conventions = xr.concat(spiking, dim="network", combine_attrs="drop_conflicts").attrs
    data = data.assign_coords(network=names, seed=np.arange(config.seeds))
    wiring = [[1]] * len(MODULES) + [sorted({1, span}) for span in config.spans]
    cycle = task.steps - 1
    data["skip_coefficient"] = ("network", [recurrent_skip_coefficient(edges) for edges in wiring])
    lengths = [mean_recurrent_length(edges, cycle) for edges in wiring]
    data["mean_recurrent_length"] = ("network", lengths, {"units": "edges", "cycle": cycle})
    told = {"kind": "figure relatives", "figure": "relatives", "loss_placement": "none"}
    return data.assign_attrs(
        {**conventions, **settings(config), **told, "decay": config.decay, "cycle": cycle}
    )


def runs(config: RelativesConfig, task: Task) -> Iterator[tuple[str, Transition]]:
    """Yield the transition of every network and seed, all of a seed on the same sequences."""
    for seed in range(config.seeds):
        batch = task.sample(config.samples, seed=seed)
        for name in MODULES:
            yield name, torch_transition(module(name, task.inputs, config.hidden, seed), batch.inputs)
        for span in config.spans:
            net = network(config, task, span=span, decay=config.decay, seed=seed)
            yield spiking_word(span), local_jacobians(net, batch)


def spiking_word(span: int) -> str:
    """Return the label of a spiking layer."""
    return "LIF, vanilla" if span == 1 else f"LIF, skip λ = {span}"


def module(name: str, inputs: int, hidden: int, seed: int) -> nn.RNNBase:
    """Return a torch module in float64, its parameters drawn from named streams.

    Uniform on ±1/√H, as torch's own; the orthogonal one's recurrent matrix is a random rotation, as that of
    the spiking layers is.
    """
    made = MODULES[name](inputs, hidden, dtype=torch.float64)
    with torch.no_grad():
        for part, parameter in made.named_parameters():
            draw = uniform(seed, name, part, shape=tuple(parameter.shape))
            parameter.copy_(torch.from_numpy((2.0 * draw - 1.0) / np.sqrt(hidden)))
        if name == ORTHOGONAL:
            turned = rotation(seed, name, "rotation", size=hidden)
            made.get_parameter("weight_hh_l0").copy_(torch.from_numpy(turned))
    return made


def relative(found: Transition) -> xr.Dataset:
    """Return the products of one run, relative to their norm at lag 0."""
    products = jacobian_products(found, norms=("frobenius",)).isel(layer=0, drop=True)
    return products.assign(log_frobenius=products.log_frobenius - products.log_frobenius.sel(lag=0))


def curve_of(products: xr.Dataset) -> xr.Dataset:
    """Return band and fit of one network over seeds and samples."""
    fit, band = fit_decay(products), curve_band(products)
    return xr.Dataset(
        {
            "log_frobenius": products.log_frobenius.assign_attrs(units="nats"),
            **{name: band[name] for name in ("centre", "low", "high", "envelope")},
            **{name: fit[name] for name in ("rate", "rate_low", "rate_high", "horizon")},
        },
        attrs=fit.attrs,
    ).reset_coords(drop=True)


FIGURE = FigureSpec(
    name="relatives",
    title="Decay curves of spiking layers beside a tanh RNN, a GRU and an LSTM",
    caption=CAPTION,
    config=RelativesConfig,
    quick={"seeds": 2, "pool": 2},
    full={"samples": 4, "seeds": 10},
    compute=compute,
    draw=draw,
    claims=claims,
    table=table,
    summary=summary,
)
