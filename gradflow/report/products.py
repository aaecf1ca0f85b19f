"""The part of a report on Jacobian products, and on their paths: decay curves, zeros, parts."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from gradflow.analysis import curve_band, zero_summary
from gradflow.analysis.curves import log_quantile
from gradflow.plots.marks import FLOAT32_FLOOR
from gradflow.report.charts import Chart, Curve
from gradflow.report.sections import Section, heading, still, still_panel
from gradflow.report.subjects import Line, Subject, panels
from gradflow.theory import mean_square

LAG = "lag T − t  (steps)"
NORM = "log<sub>10</sub> ‖∂u[T] / ∂u[t]‖<sub>F</sub>"
POWERS = "lag %{x}: 10<sup>%{y:.3f}</sup>  (%{customdata:.7g} nats)"
SHARE = "lag %{x}: %{y:.4g} %"
THEORY = {"log_frobenius_transfer": "transfer operator"}
DRAWN_HOPS = 6


def products(subjects: Sequence[Subject]) -> Section:
    """Return decay curves with theory beside them, and zeros where they were counted."""
    charts = list(_decay(subjects))
    counted = [one for one in subjects if {"share_structural", "share_float32"} <= set(one.source.data)]
    if counted:
        charts += _zeros(counted)
    return Section(
        "products",
        "How the gradient decays along time",
        "The Jacobian product P(T, t) = ∂u[T] / ∂u[t] says how much a potential at time t still moves one "
        "at the last step T. Its norm falls, or grows, by a constant factor a step: a straight line on a "
        "logarithmic axis, whose slope is the decay rate. It was computed with running rescaling, so that "
        "it is exact far below what float32 can hold.",
        tuple(charts),
    )


def paths(subjects: Sequence[Subject]) -> Section:
    """Return the parts of the products by path: a chart for each file and layer."""
    charts = []
    for number, one in enumerate(subjects):
        for layer in one.layers:
            where = heading(
                [one.label if len(subjects) > 1 else "", f"layer {layer}" if len(one.layers) > 1 else ""]
            )
            charts.append(
                Chart(
                    key=f"paths-{number}-{layer}",
                    title=heading(["Paths of the product", where]),
                    caption="Medians over samples: all paths together, the neuron path alone (dotted), all "
                    "that hop through the recurrence at least once (dashed), and thin, from dark to light, "
                    "exactly 1, 2, … hops.",
                    x=LAG,
                    y="log<sub>10</sub> ‖part of ∂u[T] / ∂u[t]‖<sub>F</sub>",
                    hover=POWERS,
                    curves=tuple(_parts(one.source.data.sel(layer=layer))),
                    shown="powers",
                    floor=FLOAT32_FLOOR,
                    picture=still("paths", [one], layer),
                    alt="Norms of the parts of the product against the lag; the table of all numbers has "
                    "their rates.",
                )
            )
    return Section(
        "paths",
        "By which paths it travels",
        "A gradient comes back along the neuron (its potential decays by α a step) or hops through the "
        "recurrent weights, λ steps at a time. Whichever path decays more slowly carries it in the end.",
        tuple(charts),
    )


def _decay(subjects: Sequence[Subject]) -> list[Chart]:
    charts = []
    for number, (title, lines) in enumerate(panels(subjects)):
        charts.append(
            Chart(
                key=f"decay-{number}",
                title=heading(["Norm against lag", title]),
                caption="Line and band: median and 10th to 90th percentile over samples. Dashed, where a "
                "theory can be had: mean-square prediction; dotted: transfer operator. Exact zeros are "
                "gaps.",
                x=LAG,
                y=NORM,
                hover=POWERS,
                curves=tuple(curve for line in lines for curve in _curves(line)),
                shown="powers",
                floor=FLOAT32_FLOOR,
                picture=still_panel("decay-curves", lines),
                alt=described(lines),
            )
        )
    return charts


def _curves(line: Line) -> list[Curve]:
    data = line.subject.source.data.sel(layer=[line.layer])
    band = curve_band(data).squeeze("layer")
    lag = band.lag.values
    found = [Curve(line.label, lag, band.centre.values, line.place, band.low.values, band.high.values)]
    if {"a_square", "a_max", "V_frobenius", "leak", "p"} <= set(data):
        acting = data.assign(p=data.p.where(data.span <= int(data.lag[-1]), 0.0))
        predicted = mean_square(acting).log_frobenius.squeeze("layer")
        found.append(Curve(f"{line.label}: mean square", lag, predicted.values, line.place, look="theory"))
    if "log_frobenius_transfer" in data:
        predicted = data.log_frobenius_transfer
        pooled = predicted.mean([dim for dim in predicted.dims if dim != "lag"])
        found.append(Curve(f"{line.label}: transfer operator", lag, pooled.values, line.place, look="rough"))
    return found


def _zeros(subjects: Sequence[Subject]) -> list[Chart]:
    charts = []
    for number, (title, lines) in enumerate(panels(subjects)):
        curves = []
        for line in lines:
            zeros = zero_summary(line.subject.source.data).sel(layer=line.layer)
            both = zeros.share_structural + zeros.share_float32
            lag = zeros.lag.values
            curves.append(Curve(f"{line.label}: 0 in float32", lag, both.values, line.place))
            curves.append(
                Curve(
                    f"{line.label}: 0 by structure",
                    lag,
                    zeros.share_structural.values,
                    line.place,
                    look="thin",
                )
            )
        charts.append(
            Chart(
                key=f"zeros-{number}",
                title=heading(["Elements that are 0", title]),
                caption="Bold: share of the product's elements that float32 would round to 0, or that are 0"
                " by structure; thin: by structure alone, as no neuron of any path is in its surrogate's "
                "window.",
                x=LAG,
                y="elements of P that are 0  (%)",
                hover=SHARE,
                curves=tuple(curves),
                shown="percent",
                picture=still_panel("zeros", lines),
                alt="Shares of zeros against the lag; the lags from which all are 0 are in the table of all"
                " numbers.",
            )
        )
    return charts


def _parts(data: xr.Dataset) -> list[Curve]:
    """Return medians over samples of the whole, its paths, and single hops."""
    lag = data.lag.values
    hops = [int(hop) for hop in data.hop.values if hop > 0][:DRAWN_HOPS]
    found = []
    for name, text, look in (
        ("log_frobenius", "all paths", "whole"),
        ("log_neuron", "neuron path", "neuron"),
        ("log_recurrent", "recurrent path", "recurrent"),
    ):
        found.append(Curve(text, lag, _median(data[name]), look=look))
    for k, hop in enumerate(hops):
        text = f"{hop} hop{'s' if hop > 1 else ''}"
        found.append(Curve(text, lag, _median(data.log_hops.sel(hop=hop)), (k, len(hops)), look="thin"))
    return found


def _median(part: xr.DataArray) -> np.ndarray:
    return log_quantile(part.transpose(..., "sample").values.astype(np.float64), 0.5)


def described(lines: Sequence[Line]) -> str:
    """Return in words how fast each curve of a panel falls."""
    told = []
    for line in lines:
        rows = line.subject.found.rows
        rate = rows[rows.layer == line.layer].rate.to_numpy()[-1:]
        if rate.size and np.isfinite(rate[0]):
            told.append(
                f"{line.label} {'falls' if rate[0] < 0 else 'grows'} by {abs(float(rate[0])):.3g} nats per "
                "step"
            )
    return "Curves of the norm against the lag: " + ("; ".join(told) or "no rate could be fitted") + "."
