"""The part of a report on training runs: what the gradient does while the network learns, epoch after epoch.

Axes: epoch layer (sample) (lag | time | span). Charts with epochs of their own follow the page's slider.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from gradflow.analysis import curve_band
from gradflow.plots.marks import FLOAT32_FLOOR
from gradflow.report import stills
from gradflow.report.charts import Chart, Curve, Heat
from gradflow.report.products import LAG, NORM, POWERS
from gradflow.report.records import GRADIENT, TIME
from gradflow.report.sections import Section, heading, still_panel
from gradflow.report.subjects import Line, Subject, panels
from gradflow.views.records import PLACES

EPOCHS = "training  (epochs)"
SHARES = {"firing_rate": "neurons that fire  (%)", "window": "neurons in the window  (%)"}
ON_MAP = "layer %{y}, step %{x}: 10<sup>%{z:.3f}</sup>  (norm %{customdata:.7g})<extra></extra>"


def training(subjects: Sequence[Subject]) -> Section:
    """Return the curves that move with the epoch, and what is drawn over the epochs."""
    charts = [*_decay(subjects), *_maps(subjects), *_rates(subjects), *_learning(subjects)]
    charts += [*_activity(subjects), *_spans(subjects)]
    return Section(
        "training",
        "While the network learns",
        "Measured on a few sequences of the training split, which stay the same, as the network was after "
        "so many epochs. Choose the epoch: the curve against the lag and the map are those of that epoch, "
        "and a line marks it in the charts over epochs.",
        tuple(charts),
        slider=True,
    )


def _decay(subjects: Sequence[Subject]) -> list[Chart]:
    charts = []
    seen = [one for one in subjects if "log_frobenius" in one.source.data]
    for number, (title, lines) in enumerate(panels(seen)):
        charts.append(
            Chart(
                key=f"epoch-decay-{number}",
                title=heading(["Norm of the Jacobian product at the chosen epoch", title]),
                caption="Line and band: median and 10th to 90th percentile over the sequences. Exact zeros "
                "are gaps.",
                x=LAG,
                y=NORM,
                hover=POWERS,
                curves=tuple(map(_moving, lines)),
                shown="powers",
                floor=FLOAT32_FLOOR,
                picture=stills.decay(lines),
                alt="Norm of the Jacobian product against the lag, at the first, the last and epochs "
                "between; the rates of each are in the table of all numbers.",
            )
        )
    return charts


def _moving(line: Line) -> Curve:
    band = curve_band(line.subject.source.data[["log_frobenius"]].sel(layer=line.layer))
    centre, low, high = (band[name].transpose("epoch", "lag").values for name in ("centre", "low", "high"))
    return Curve(line.label, band.lag.values, centre, line.place, low, high, epochs=band.epoch.values)


def _maps(subjects: Sequence[Subject]) -> list[Chart]:
    """Return the loss gradient, layer against time, of each run that recorded it; baselines did not."""
    charts = []
    seen = [(one, name) for one in subjects if (name := loss_gradient(one.source.data))]
    for number, (one, name) in enumerate(seen):
        norms = one.source.data[name].transpose("epoch", "layer", "time")
        placed = str(norms.attrs.get("loss_placement", "unknown"))
        charts.append(
            Chart(
                key=f"epoch-map-{number}",
                title=heading(["Loss gradient at the chosen epoch", one.label if len(seen) > 1 else ""]),
                caption=f"Root mean square over the sequences, the loss on {PLACES.get(placed, placed)}; the"
                " same colours at every epoch. Cells without colour are exactly 0.",
                x=TIME,
                y="layer",
                hover=ON_MAP,
                heat=Heat(norms.time.values, norms.layer.values, norms.values, GRADIENT, norms.epoch.values),
                shown="log10",
                picture=stills.gradient(norms),
                alt="Norm of the loss gradient as a map of layer against time, after the last epoch.",
            )
        )
    return charts


def loss_gradient(data: xr.Dataset) -> str:
    """Return the loss gradient a run recorded: of a loss on the last step where it has that, "" for none."""
    return next((name for name in ("grad_u_last", "grad_u") if name in data), "")


def _rates(subjects: Sequence[Subject]) -> list[Chart]:
    charts = []
    for number, (title, lines) in enumerate(panels(subjects)):
        curves = []
        for line in lines:
            data = line.subject.source.data.sel(layer=line.layer)
            rate, low, high = (data[name].values for name in ("rate", "rate_low", "rate_high"))
            curves.append(Curve(line.label, data.epoch.values, rate, line.place, low, high, look="points"))
            if "rate_mean_square" in data:
                text, predicted = f"{line.label}: mean square", data.rate_mean_square.values
                curves.append(Curve(text, data.epoch.values, predicted, line.place, look="theory"))
        charts.append(
            Chart(
                key=f"rates-{number}",
                title=heading(["Decay rate over training", title]),
                caption="Points and band: rate fitted to the curve of that epoch, with its 95 % interval; "
                "dashed: what mean-square theory predicts from the same network.",
                x=EPOCHS,
                y="decay rate  (nats per step)",
                hover="epoch %{x}: %{customdata:.7g} nats per step",
                curves=tuple(curves),
                marker=True,
                picture=still_panel("rates", lines),
                alt="Decay rate against epochs; the numbers are in the table of all numbers.",
            )
        )
    return charts


def _learning(subjects: Sequence[Subject]) -> list[Chart]:
    logged = [one for one in subjects if one.log is not None and len(one.log)]
    if not logged:
        return []
    curves = []
    for k, one in enumerate(logged):
        assert one.log is not None
        epochs, place = one.log.epoch.to_numpy(), (k, len(logged))
        for split, look in (("validation", "points"), ("train", "thin")):
            values = one.log[f"{split}_accuracy"].to_numpy(dtype=np.float64)
            curves.append(Curve(f"{one.label}: {split}", epochs, values, place, look=look))
    chart = Chart(
        key="learning",
        title="Right answers",
        caption="Bold: on the validation split, after each epoch; thin: on the training split, while it was"
        " learned.",
        x=EPOCHS,
        y="right answers  (%)",
        hover="epoch %{x}: %{y:.2f} %",
        curves=tuple(curves),
        shown="percent",
        marker=True,
        picture=stills.over_epochs(
            {
                f"right answers, {split}  (%)": {
                    one.label: (one.log.epoch, one.log[f"{split}_accuracy"])
                    for one in logged
                    if one.log is not None
                }
                for split in ("validation", "train")
            }
        ),
        alt="Shares of right answers against epochs; the best epoch's are in the table of results.",
    )
    return [chart]


def _activity(subjects: Sequence[Subject]) -> list[Chart]:
    active = [one for one in subjects if {"firing_rate", "window"} <= set(one.source.data)]
    if not active:
        return []
    charts = []
    for number, (title, lines) in enumerate(panels(active)):
        curves = []
        for line in lines:
            data = line.subject.source.data.sel(layer=line.layer)
            epochs = data.epoch.values
            curves.append(
                Curve(f"{line.label}: fire", epochs, data.firing_rate.values, line.place, look="points")
            )
            text = f"{line.label}: in the window"
            curves.append(Curve(text, epochs, data.window.values, line.place, look="thin"))
        charts.append(
            Chart(
                key=f"epoch-activity-{number}",
                title=heading(["Activity over training", title]),
                caption="Bold: share of neurons that fire at a step; thin: share in the surrogate's window,"
                " through which alone a gradient can pass a spike.",
                x=EPOCHS,
                y="share of neurons  (%)",
                hover="epoch %{x}: %{y:.4g} %",
                curves=tuple(curves),
                shown="percent",
                marker=True,
                picture=stills.over_epochs({words: _shares(lines, name) for name, words in SHARES.items()}),
                alt="Shares of neurons that fire and that are in the window against epochs; in the table of"
                " all numbers too.",
            )
        )
    return charts


def _shares(lines: Sequence[Line], name: str) -> dict[str, tuple[Any, Any]]:
    """Return epochs and a share of neurons of each line, by its label."""
    found = ((line.label, line.subject.source.data.sel(layer=line.layer)) for line in lines)
    return {label: (data.epoch, data[name]) for label, data in found}


def _spans(subjects: Sequence[Subject]) -> list[Chart]:
    """Return the weights p of each run and layer that learns its spans."""
    charts = []
    learning = [one for one in subjects if learns_spans(one.source.data)]
    for number, one in enumerate(learning):
        for layer in one.layers:
            data = one.source.data.sel(layer=layer)
            where = heading(
                [one.label if len(learning) > 1 else "", f"layer {layer}" if len(one.layers) > 1 else ""]
            )
            weights = data.p.transpose("span", "epoch")
            charts.append(
                Chart(
                    key=f"spans-{number}-{layer}",
                    title=heading(["Weights of the spans", where]),
                    caption="Softmax weight p of each span d over training, coloured by its root so that "
                    "small weights can be told from none; line: the span of the largest weight, which "
                    "evaluation reads.",
                    x=EPOCHS,
                    y="span d  (steps)",
                    hover="epoch %{x}, span %{y}: p = %{customdata:.6g}<extra></extra>",
                    curves=(
                        Curve("span that is read", data.epoch.values, data.span_hard.values, look="read"),
                    ),
                    heat=Heat(data.epoch.values, data.span.values, weights.values, "√p"),
                    shown="root",
                    marker=True,
                    picture=stills.kernel(data),
                    alt="Weights of the spans against epochs; at the end the span "
                    f"{float(data.span_hard[-1]):.0f} is read.",
                )
            )
    return charts


def learns_spans(data: xr.Dataset) -> bool:
    """Say whether a run's spans are learned: there are several, at a temperature."""
    return (
        "temperature" in data and data.sizes.get("span", 1) > 1 and bool(np.isfinite(data.temperature).any())
    )
