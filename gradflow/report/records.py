"""The part of a report on records: loss gradients and activity along time."""

from collections.abc import Sequence

import numpy as np

from gradflow.analysis.steps import norm_band
from gradflow.plots.records import PATHS
from gradflow.report.charts import Chart, Curve, Heat
from gradflow.report.sections import Section, heading, still, still_panel
from gradflow.report.subjects import Line, Subject, panels
from gradflow.views.names import ACTIVITY
from gradflow.views.records import PLACES

TIME = "time t  (steps)"
GRADIENT = "log<sub>10</sub> ‖∂L / ∂u[t]‖"
POWERS = "step %{x}: 10<sup>%{y:.3f}</sup>  (%{customdata:.7g} nats)"
ON_MAP = "layer %{y}, step %{x}: 10<sup>%{z:.3f}</sup>  (%{customdata:.7g} nats)<extra></extra>"


def records(subjects: Sequence[Subject]) -> Section:
    """Return norms against time, as curves and maps, their paths, and activity, as far as recorded."""
    charts: list[Chart] = []
    graded = [one for one in subjects if "grad_u" in one.source.data]
    if graded:
        charts += [*_norms(graded), *_maps(graded)]
    split = [one for one in subjects if all(f"grad_u_{path}" in one.source.data for path in PATHS)]
    for number, one in enumerate(split):
        charts += _paths(one, number, len(split))
    active = [one for one in subjects if all(name in one.source.data for name in ACTIVITY)]
    if active:
        charts += _activity(active)
    placed = {str(one.source.data.attrs.get("loss_placement", "unknown")) for one in graded}
    where = " and ".join(sorted(PLACES.get(place, place) for place in placed)) or "nowhere"
    return Section(
        "records",
        "The loss gradient along time",
        f"How large ∂L/∂u[t] is at each step, with the loss on {where}. With the loss on all steps it feeds "
        "each of them directly, and its norm does not decay; only of a loss on the last step do these "
        "curves say how a gradient vanishes.",
        tuple(charts),
    )


def _norms(subjects: Sequence[Subject]) -> list[Chart]:
    charts = []
    for number, (title, lines) in enumerate(panels(subjects)):
        charts.append(
            Chart(
                key=f"norms-{number}",
                title=heading(["Norm of the loss gradient", title]),
                caption="Line and band: median and 10th to 90th percentile over samples. Exact zeros are "
                "gaps.",
                x=TIME,
                y=GRADIENT,
                hover=POWERS,
                curves=tuple(_curve(line, "grad_u", line.label, line.place) for line in lines),
                shown="powers",
                picture=still_panel("gradient-norms", lines),
                alt="Norm of the loss gradient against time; its ends are in the table of all numbers.",
            )
        )
    return charts


def _curve(line: Line, variable: str, label: str, place: tuple[int, int]) -> Curve:
    band = norm_band(line.subject.source.data.sel(layer=line.layer), variable)
    return Curve(label, band.time.values, band.centre.values, place, band.low.values, band.high.values)


def _maps(subjects: Sequence[Subject]) -> list[Chart]:
    charts = []
    for number, one in enumerate(subjects):
        centre = norm_band(one.source.data).centre
        values = centre.transpose("layer", "time").values
        charts.append(
            Chart(
                key=f"map-{number}",
                title=heading(["Map of layer against time", one.label if len(subjects) > 1 else ""]),
                caption="Medians over samples; cells without colour are exactly 0.",
                x=TIME,
                y="layer",
                hover=ON_MAP,
                heat=Heat(centre.time.values, np.array(one.layers), values, GRADIENT),
                shown="powers",
                picture=still("gradient-map", [one]),
                alt="Norm of the loss gradient as a map of layer against time, the numbers of the curves "
                "above.",
            )
        )
    return charts


def _paths(one: Subject, number: int, count: int) -> list[Chart]:
    charts = []
    for layer in one.layers:
        where = heading([one.label if count > 1 else "", f"layer {layer}" if len(one.layers) > 1 else ""])
        line = Line(one, layer, "", (0, 1))
        curves = [
            _curve(line, f"grad_u_{path}", f"{path} path", (k, len(PATHS))) for k, path in enumerate(PATHS)
        ]
        charts.append(
            Chart(
                key=f"gradient-paths-{number}-{layer}",
                title=heading(["The loss gradient by its paths", where]),
                caption="Where the gradient at a step comes from: the neuron's own next step, the recurrent"
                " weights, or directly the layer above (or the loss). Median and 10th to 90th percentile "
                "over samples.",
                x=TIME,
                y="log<sub>10</sub> ‖part of ∂L / ∂u[t]‖",
                hover=POWERS,
                curves=tuple(curves),
                shown="powers",
                picture=still("gradient-paths", [one], layer),
                alt="Norms of the neuron, recurrent and direct part of the loss gradient against time.",
            )
        )
    return charts


def _activity(subjects: Sequence[Subject]) -> list[Chart]:
    charts = []
    for number, (title, lines) in enumerate(panels(subjects)):
        curves = []
        for line in lines:
            data = line.subject.source.data[list(ACTIVITY)].sel(layer=line.layer).mean("sample")
            fires, within = data.firing_rate.values, data.window.values
            curves.append(Curve(f"{line.label}: fire", data.time.values, fires, line.place))
            curves.append(
                Curve(f"{line.label}: in the window", data.time.values, within, line.place, look="thin")
            )
        charts.append(
            Chart(
                key=f"activity-{number}",
                title=heading(["Activity", title]),
                caption="Bold: share of neurons that fire; thin: share in the surrogate's window, through "
                "which alone a gradient can pass a spike. Means over samples.",
                x=TIME,
                y="share of neurons  (%)",
                hover="step %{x}: %{y:.4g} %",
                curves=tuple(curves),
                shown="percent",
                picture=still_panel("activity", lines),
                alt="Shares of neurons that fire and that are in the window, against time; means are in the"
                " table.",
            )
        )
    return charts
