"""Figure routes: how many routes lead over a lag, and how many hops they take, for several spans.

Axes: span lag.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure as Picture
from pydantic import Field

from gradflow.figures.registry import Claim, Config, FigureSpec, Progress, silent
from gradflow.jacobian import count_routes
from gradflow.plots import ordered_colours, style

CAPTION = (
    "What a skip does to the routes. Left: the number of routes over which a gradient goes from step t to "
    "step T, by neuron steps of one and hops of λ, against the lag T − t. Right: the hops they take on "
    "average; dashed, the most there can be, (T − t)/λ. A wide span has far fewer routes, and far fewer "
    "factors V Φ on each."
)


class RoutesConfig(Config):
    """Options of the figure; the defaults draw the picture of this page."""

    spans: tuple[int, ...] = (1, 4, 16)
    longest: int = Field(default=96, ge=2)


def compute(config: RoutesConfig, progress: Progress = silent) -> xr.Dataset:
    """Count the routes for every span and lag.

    Returns:
        A Dataset over span and lag: `log10_routes`, and `hops`, the mean over routes.
    """
    lags = np.arange(config.longest + 1)
    routes, hops = np.zeros((2, len(config.spans), len(lags)))
    for place, span in enumerate(config.spans):
        progress(place, len(config.spans), f"span {span}")
        for lag in lags.tolist():
            counts = [count_routes(lag, span, k) for k in range(lag // span + 1)]  # exact integers
            routes[place, lag] = np.log10(float(sum(counts)))
            hops[place, lag] = sum(k * count for k, count in enumerate(counts)) / sum(counts)
    found = xr.Dataset(
        {"log10_routes": (("span", "lag"), routes), "hops": (("span", "lag"), hops)},
        {"span": list(config.spans), "lag": lags},
    )
    return found.assign_attrs(kind="figure routes", figure="routes", config=config.model_dump_json())


def draw(data: xr.Dataset) -> Picture:
    """Draw both panels; everything is read from `data`."""
    with style():
        picture = Picture(figsize=(6.4, 3.2))
        left, right = picture.subplots(1, 2)
        for span, colour in zip(data.span.values, ordered_colours(data.sizes["span"]), strict=True):
            one = data.sel(span=span)
            left.plot(data.lag, one.log10_routes, color=colour, label=f"λ = {span}")
            right.plot(data.lag, one.hops, color=colour)
            right.plot(data.lag, data.lag // span, color=colour, linestyle="--", linewidth=0.8)
        left.set(xlabel="lag T − t (steps)", ylabel="log₁₀ routes")
        right.set(xlabel="lag T − t (steps)", ylabel="hops")
        left.legend()
    return picture


def claims(data: xr.Dataset) -> Sequence[Claim]:
    """Return what the figure asserts."""
    last = data.isel(lag=-1)
    fewer = bool((np.diff(last.log10_routes) < 0).all() and (np.diff(last.hops) < 0).all())
    most = bool((data.hops <= data.lag / data.span).all())
    return [
        Claim("the wider the span, the fewer routes and the fewer hops at the last lag", fewer),
        Claim("no route takes more hops than the lag in spans", most),
    ]


def table(data: xr.Dataset) -> pd.DataFrame:
    """Return the curves drawn as tidy rows."""
    return data.to_dataframe(dim_order=["span", "lag"]).reset_index()


def summary(data: xr.Dataset) -> pd.DataFrame:
    """Return one row per span: routes and hops at the last lag."""
    return table(data.isel(lag=[-1]))


FIGURE = FigureSpec(
    name="routes",
    title="Routes over a lag, and the hops they take",
    caption=CAPTION,
    config=RoutesConfig,
    quick={"longest": 48},
    full={"longest": 784},
    compute=compute,
    draw=draw,
    claims=claims,
    table=table,
    summary=summary,
)
