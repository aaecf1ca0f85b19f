"""The gradient while a network learns: records and Jacobian curves of a few sequences, epoch after epoch.

A look is taken in evaluation mode (no dropout, running averages) with the soft spans that training uses, on
training sequences that stay the same. Each is a file of its own, so that a run that is killed loses none;
`read_watch` puts them together. Axes: epoch layer (sample) (lag | time | span).
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from gradflow.analysis import fit_decay, zero_summary
from gradflow.baselines import BaselineNetwork, baseline_conventions, baseline_products
from gradflow.jacobian import MatrixNorm, jacobian_products
from gradflow.network import RecurrentSNN
from gradflow.readout import Readout
from gradflow.recording import Keep, record
from gradflow.recurrence import AdaptiveSpanParameters, SpanMode
from gradflow.results import Results
from gradflow.tasks import Batch
from gradflow.theory.mean_square import mean_square
from gradflow.train.files import write_whole
from gradflow.transition import LayerTransition, Transition, local_jacobians

FITTED = ("rate", "rate_low", "rate_high", "half_life", "horizon", "comb_depth")
ZEROS = ("share_structural", "share_float16", "share_float32", "lag_structural", "lag_float32")
"""Of both kinds of zero what training meets: its own format, and that of mixed precision."""
CURVES = ("log_frobenius", "a_square", "phi_square", "V_spectral", "p")
KIND = "gradient while training"
RECORD = Keep.NORMS | Keep.ACTIVITY


def look(net: RecurrentSNN | BaselineNetwork, batch: Batch, *, lags: int | None = None) -> xr.Dataset:
    """Return what there is to see of the gradient in a network as it is now.

    Args:
        net: the network; nothing in it changes.
        batch: a few sequences with their targets.
        lags: longest lag of the Jacobian curves (default: the whole sequence).

    Returns:
        A Dataset. Of the Jacobian products from the last step back: `log_frobenius` (layer, sample, lag), in
        nats, `rate` with its interval, `half_life`, `horizon`, `comb_depth` (layer) as in `fit_decay`,
        `rate_mean_square` (theory), shares and lags of zeros as in `zero_summary`, the moments `a_square` and
        `phi_square` (layer, sample) and `V_spectral` (layer). Of the loss gradient: `grad_u`, the root mean
        square over samples of ‖∂L/∂u[t]‖, and `zero_share` (layer, time); with the ending `_last` the same
        with the loss on the last step alone, where the task lets it be placed there. Of the network:
        `firing_rate`, `window` (layer), `p` (layer, span), `span_mean`, `span_hard`, `temperature` (layer).
        Of a baseline of torch's the curves of ∂h[T]/∂h[t], their fit and their zeros alone.

    Raises:
        ValueError: for potentials or losses that are no longer finite, or a baseline of another library.

    Cost: 2 H³ multiplications per layer, sample and lag, and two forward and backward passes.

    >>> import torch
    >>> import gradflow as gf
    >>> net = gf.RecurrentSNN(gf.Sizes(2, 3), hidden=5, recurrence=gf.Skip(2))
    >>> seen = look(net, gf.Batch(torch.ones(12, 4, 2), torch.tensor([0, 1, 2, 0])))
    >>> dict(seen.log_frobenius.sizes), seen.span_hard.values.tolist()
    ({'layer': 1, 'sample': 4, 'lag': 12}, [2])
    """
    training = net.training
    net.eval()
    try:
        if isinstance(net, BaselineNetwork):
            seen = _look_at_baseline(net, batch, lags)
        else:
            seen = _look(net, batch, lags)
    finally:
        net.train(training)
    return seen


def _look(net: RecurrentSNN, batch: Batch, lags: int | None) -> xr.Dataset:
    transition = shortened(local_jacobians(net, batch, span_mode=SpanMode.SOFT), lags)
    products = jacobian_products(transition, norms=(MatrixNorm.FROBENIUS,))
    fit = fit_decay(products)
    parts = {name: products[name] for name in CURVES}
    parts |= {name: fit[name] for name in FITTED}
    parts["rate_mean_square"] = mean_square(products).rate
    zeros = zero_summary(products)
    parts |= {name: zeros[name] for name in ZEROS}
    parts |= _loss_gradient(net, batch)
    parts |= _spans(net, products)
    placement = parts["grad_u"].attrs["loss_placement"]
    return xr.Dataset(parts, attrs={**fit.attrs, "kind": KIND, "loss_placement": placement})


def _look_at_baseline(net: BaselineNetwork, batch: Batch, lags: int | None) -> xr.Dataset:
    products = baseline_products(net, batch.inputs, lags=lags)
    fit, zeros = fit_decay(products), zero_summary(products)
    parts = {"log_frobenius": products.log_frobenius}
    parts |= {name: fit[name] for name in FITTED}
    parts |= {name: zeros[name] for name in ZEROS}
    with torch.no_grad():
        run = net(batch.inputs.to(net.output.weight))
    told = {**batch.provenance, **baseline_conventions(net, run, provenance=batch.provenance).attrs()}
    # the products are taken in float64, whatever the network's own numbers
    return xr.Dataset(parts, attrs={**fit.attrs, **told, "dtype": "float64", "kind": KIND})


def _loss_gradient(net: RecurrentSNN, batch: Batch) -> dict[str, xr.DataArray]:
    """Return norms of the loss gradient with the loss where the task has it, and on the last step."""
    own = record(net, batch, keep=RECORD, span_mode=SpanMode.SOFT)
    found = {name: own[name].mean(["time", "sample"]) for name in ("firing_rate", "window")}
    records = {"": own}
    if batch.objective.placement(net.readout) in (Readout.SUM.value, Readout.MEAN.value):
        last = record(net, batch, keep=RECORD, span_mode=SpanMode.SOFT, loss_placement=Readout.LAST)
        records["_last"] = last
    for ending, data in records.items():
        where = {"loss_placement": data.attrs["loss_placement"], "units": "1"}
        found[f"grad_u{ending}"] = np.sqrt((data.grad_u**2).mean("sample")).assign_attrs(where)
        found[f"zero_share{ending}"] = data.zero_share.mean("sample").assign_attrs(where)
    return found


def _spans(net: RecurrentSNN, products: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return the mean span, the span that evaluation uses (0 for none) and the temperature of each layer."""
    hard, temperature = [], []
    for layer in net.recurrent_layers():
        spans = layer.spans.taps(SpanMode.HARD, net.output.weight).spans
        hard.append(spans[0] if spans else 0)
        owner = layer.spans
        temperature.append(float(owner.temperature) if isinstance(owner, AdaptiveSpanParameters) else np.nan)
    return {
        "span_mean": (products.p * products.span).sum("span").assign_attrs(units="steps"),
        "span_hard": xr.DataArray(np.array(hard), dims="layer", attrs={"units": "steps"}),
        "temperature": xr.DataArray(np.array(temperature), dims="layer", attrs={"units": "1"}),
    }


def shortened(transition: Transition, lags: int | None) -> Transition:
    """Return the local Jacobians of the last `lags` + 1 steps alone: all that products of those lags need."""
    if lags is None:
        return transition
    return replace(
        transition,
        layers=tuple(
            _tail(layer, lags + 1) for layer in transition.layers if isinstance(layer, LayerTransition)
        ),
        links=None,
        readout=None,
    )


def _tail(layer: LayerTransition, steps: int) -> LayerTransition:
    gate, window = layer.gate, layer.window
    return replace(
        layer,
        a=layer.a[-steps:],
        phi=layer.phi[-steps:],
        gate=None if gate is None else gate[: len(layer.a)][-steps:],
        window=None if window is None else window[-steps:],
    )


def write_look(folder: Path, seen: xr.Dataset, *, epoch: float, step: int) -> Path:
    """Write one look, after so many epochs and steps, as a file of its own; whole or not at all.

    A safetensors file, as netCDF with so many small variables takes longer to write than a look to take.
    """
    from safetensors.numpy import save

    dated = seen.expand_dims(epoch=[epoch]).assign_coords(step=("epoch", [step]))
    dated.epoch.attrs = {"long_name": "epochs of training", "units": "epochs"}
    values = {str(name): np.ascontiguousarray(variable.values) for name, variable in dated.variables.items()}
    folder.mkdir(parents=True, exist_ok=True)
    content = save(values, metadata={"dataset": json.dumps(dated.to_dict(data=False))})
    return write_whole(folder / f"step-{step:08d}.safetensors", content)


def read_watch(folder: Path, *, until: int | None = None) -> xr.Dataset:
    """Return all looks of a run in one dataset (epoch, layer, …), in order.

    Args:
        folder: of the looks, `gradients` in the folder of a run.
        until: the last step that counts (default: all).

    Raises:
        FileNotFoundError: where there is none.
        ValueError: where one is damaged.
    """
    paths = sorted(folder.glob("step-*.safetensors"))
    chosen = [path for path in paths if until is None or int(path.stem.removeprefix("step-")) <= until]
    if not chosen:
        raise FileNotFoundError(f"{folder}: no looks at the gradient there")
    looks = [_read_look(path) for path in chosen]
    data = xr.concat(looks, dim="epoch", join="exact", combine_attrs="drop_conflicts")
    for name in ("p", "lag"):
        if name in data.variables:
            data[name].attrs = looks[0][name].attrs
    return Results.of(data)


def _read_look(path: Path) -> xr.Dataset:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            described = json.loads(file.metadata()["dataset"])
            for name in file.keys():  # noqa: SIM118  it is no dictionary
                part = "coords" if name in described["coords"] else "data_vars"
                described[part][name]["data"] = file.get_tensor(name)
    except (SafetensorError, TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: not a look at the gradient, or damaged ({error})") from None
    return xr.Dataset.from_dict(described)
