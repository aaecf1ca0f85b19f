"""Figure schematic: vanilla, SRC and ASRC unrolled in time, and how many routes lead from t to T.

Axes: network span; network hop (routes of the whole lag), network lag hop (all of them).
"""

import json
from collections.abc import Sequence
from math import comb

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Float
from matplotlib.figure import Figure as Picture
from pydantic import Field, field_validator

from gradflow.conventions import package_versions, source_commit
from gradflow.figures.registry import Claim, Config, FigureSpec, Progress, silent
from gradflow.jacobian import count_routes, path_products
from gradflow.plots import route_counts, style, unrolled
from gradflow.recurrence import AdaptiveSkip, Recurrence, Skip, SpanMode, Vanilla
from gradflow.transition import LayerTransition, Transition

CAPTION = (
    "The three networks, unrolled in time, and the routes that a gradient has. Left: the potentials u and "
    "spikes s of a layer at every step from t to T. Black: the neuron path, a step keeps a[t] of the "
    "potential; grey: a spike, whose derivative is the surrogate φ[t]; coloured: a recurrent hop through the "
    "matrix V, from a spike to the potential d steps later. Vanilla hops one step, SRC its span λ; ASRC all "
    "spans up to D with weights p = softmax(c/τ), drawn as the widths of lines, here for made-up scores c; "
    "evaluated, it is left with the widest line alone. Right: how many routes there are from u[t] to u[T], "
    "by the number of their hops k: the Jacobian product is the sum over all of them. A skip has fewer, but "
    "the shortest of them crosses the lag in fewer factors. Counted, not measured."
)
NAMES = ("vanilla", "SRC", "ASRC")
EXACT = 1e-9
"""Share by which a count made of products in floating point may differ from a whole number."""


class SchematicConfig(Config):
    """Options of the figure: SRC's span, the scores c of ASRC's spans 1 … D and τ, the steps from t to T."""

    span: int = Field(default=3, ge=2, le=8)
    scores: tuple[float, ...] = (0.2, 0.9, 1.8, 0.6)
    temperature: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)
    steps: int = Field(default=6, ge=2, le=12)

    @field_validator("scores")
    @classmethod
    def _some(cls, scores: tuple[float, ...]) -> tuple[float, ...]:
        if not 1 <= len(scores) <= 8 or not np.isfinite(scores).all():
            raise ValueError(f"got {scores}, expected 1 to 8 finite scores")
        return scores


def compute(config: SchematicConfig, progress: Progress = silent) -> xr.Dataset:
    """Read the weights of each network's spans from the library, and count the routes.

    Returns:
        A Dataset over network: `weight` and `weight_evaluated` (span), p in training and in evaluation;
        `routes` (lag, hop), as the parts of the product of a layer whose factors are all 1; `counted` (lag,
        hop), by `count_routes`, NaN for ASRC; `longest` (hop), the routes of the whole lag.
    """
    progress(0, 1, "count")
    depth = max(config.span, len(config.scores))
    weights, routes, counted, evaluated = [], [], [], []
    for recurrence in (Vanilla(), Skip(config.span), AdaptiveSkip(len(config.scores), config.temperature)):
        spans, soft = taps(recurrence, config, SpanMode.SOFT)
        weights.append(over_spans(spans, soft, depth))
        evaluated.append(over_spans(*taps(recurrence, config, SpanMode.HARD), depth))
        routes.append(routes_of(spans, config.steps))
        counted.append(counts_of(spans, config.steps))
    dims = ("network", "lag", "hop")
    data = xr.Dataset(
        {
            "weight": (("network", "span"), np.array(weights), {"units": "1"}),
            "weight_evaluated": (("network", "span"), np.array(evaluated), {"units": "1"}),
            "routes": (dims, np.array(routes), {"units": "1"}),
            "counted": (dims, np.array(counted), {"units": "1"}),
            "longest": (("network", "hop"), np.array(routes)[:, -1], {"units": "1"}),
        },
        {
            "network": list(NAMES),
            "span": np.arange(1, depth + 1),
            "lag": np.arange(config.steps + 1),
            "hop": np.arange(config.steps + 1),
        },
    )
    progress(1, 1, "count")
    return data.assign_attrs(
        kind="figure schematic",
        figure="schematic",
        config=config.model_dump_json(),
        recurrence=f"vanilla,skip:{config.span},asrc:{len(config.scores)}",
        p=json.dumps([{str(d): p for d, p in enumerate(row, 1) if p} for row in np.array(weights).tolist()]),
        loss_placement="none",
        versions=json.dumps(package_versions()),
        commit=source_commit(),
    )


def taps(
    recurrence: Recurrence, config: SchematicConfig, mode: SpanMode
) -> tuple[tuple[int, ...], Float[np.ndarray, " span"]]:
    """Return the spans that a recurrence reads and their weights, with the scores of the options."""
    made = recurrence.build()
    if isinstance(recurrence, AdaptiveSkip):
        made.load_state_dict({"span_logits": torch.tensor(config.scores, dtype=torch.float64)}, strict=False)
    found = made.taps(mode, torch.zeros((), dtype=torch.float64))
    return found.spans, found.weights.detach().numpy()


def over_spans(
    spans: Sequence[int], weights: Float[np.ndarray, " span"], depth: int
) -> Float[np.ndarray, " depth"]:
    """Return the weights of the spans 1 … depth.

    >>> over_spans((2,), np.array([1.0]), 3).tolist()
    [0.0, 1.0, 0.0]
    """
    found = np.zeros(depth)
    found[np.array(spans) - 1] = weights
    return found


def routes_of(spans: tuple[int, ...], steps: int) -> Float[np.ndarray, "lag hop"]:
    """Return how many routes of each lag take k hops: the parts of a product in which every factor is 1.

    >>> routes_of((1, 2), 2).tolist()
    [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 3.0, 1.0]]
    """
    ones = np.ones((steps + 1, 1, 1))
    layer = LayerTransition(ones, ones, np.eye(1), spans, (1.0,) * len(spans))
    found = path_products(Transition((layer,)), max_hops=steps).log_hops
    counts = np.exp(found.transpose("layer", "sample", "lag", "hop").values[0, 0])
    whole = np.rint(counts)
    assert (abs(counts - whole) <= EXACT * np.maximum(counts, 1.0)).all()  # sums of ones
    return np.asarray(whole)


def counts_of(spans: tuple[int, ...], steps: int) -> Float[np.ndarray, "lag hop"]:
    """Return the same by `count_routes`, whose routes have one span; NaN for several.

    >>> counts_of((2,), 2).tolist()
    [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]
    """
    if len(spans) > 1:
        return np.full((steps + 1, steps + 1), np.nan)
    found = [[count_routes(lag, spans[0], hop) for hop in range(steps + 1)] for lag in range(steps + 1)]
    return np.array(found, dtype=float)


def draw(data: xr.Dataset) -> Picture:
    """Draw a row for each network: unrolled, and its routes by hops; everything is read from `data`."""
    config = json.loads(str(data.attrs["config"]))
    with style():
        picture = Picture(figsize=(6.6, 5.4))
        grid = picture.add_gridspec(3, 2, width_ratios=(2.3, 1.0))
        for row, network in enumerate(NAMES):
            one = data.sel(network=network)
            ax, beside = picture.add_subplot(grid[row, 0]), picture.add_subplot(grid[row, 1])
            last = network == NAMES[-1]
            unrolled(one, ax=ax, hop_label=r"$p_d\,V$" if last else "$V$")
            ax.set_title(_title(network, config, one), loc="left")
            route_counts(one.longest, ax=beside)
            total = int(one.longest.sum())
            beside.set_title(f"{total} routes", loc="left")
            if not last:
                beside.set_xlabel("")
    return picture


def _title(network: str, config: dict[str, object], one: xr.Dataset) -> str:
    if network == "vanilla":
        return "vanilla: hops of one step"
    if network == "SRC":
        return f"SRC: hops of the span λ = {config['span']}"
    return f"ASRC: spans to D = {int((one.weight > 0.0).sum())}, weights $p_d$"


def claims(data: xr.Dataset) -> Sequence[Claim]:
    """Return what the figure asserts: closed forms of the counts, and what the weights are."""
    config = json.loads(str(data.attrs["config"]))
    span, depth = int(config["span"]), len(config["scores"])
    lags = [int(lag) for lag in data.lag.values]
    vanilla, src, asrc = (data.routes.sel(network=name).transpose("lag", "hop") for name in NAMES)
    binomials = [[comb(lag, hop) for hop in lags] for lag in lags]
    fewer = [[comb(lag - hop * (span - 1), hop) if hop * span <= lag else 0 for hop in lags] for lag in lags]
    fixed = data.sel(network=["vanilla", "SRC"])
    totals, fibonacci = asrc.sum("hop").values, [1, 1]
    while len(fibonacci) <= 2 * len(lags):
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    reached = [lag for lag in lags if lag <= depth]
    top = data.weight.sel(network="ASRC").argmax("span")
    left = data.weight_evaluated.sel(network="ASRC")
    return [
        Claim(
            "vanilla: C(n, k) routes of lag n take k hops, 2ⁿ in all",
            bool((vanilla == binomials).all()) and vanilla.sum("hop").values.tolist() == [2**n for n in lags],
        ),
        Claim(f"SRC: C(n − {span - 1} k, k) do", bool((src == fewer).all())),
        Claim(
            "the parts of a product of ones are what is counted", bool((fixed.routes == fixed.counted).all())
        ),
        Claim(
            f"ASRC: up to lag D = {depth} every other Fibonacci number of routes: 1, 2, 5, 13 …",
            all(totals[lag] == fibonacci[2 * lag] for lag in reached),
        ),
        Claim(
            "the weights of each network add up to 1",
            bool((abs(data.weight.sum("span") - 1.0) < EXACT).all()),
        ),
        Claim(
            "evaluated, ASRC has the span of the largest weight alone",
            float(left.isel(span=top)) == float(left.sum("span")) == 1.0,
        ),
    ]


def table(data: xr.Dataset) -> pd.DataFrame:
    """Return the counts as tidy rows: network, lag, hop, routes."""
    frame: pd.DataFrame = data.routes.to_dataframe().reset_index()
    return frame[frame.hop <= frame.lag].reset_index(drop=True)


def summary(data: xr.Dataset) -> pd.DataFrame:
    """Return one row per network: routes of the whole lag, fewest edges, most hops, and the largest span."""
    steps = int(data.lag[-1])
    rows = []
    for network in NAMES:
        one = data.sel(network=network)
        rows.append(
            {
                "network": network,
                "lag": steps,
                "routes": int(one.longest.sum()),
                "without_hops": int(one.longest[0]),
                "fewest_edges": fewest_edges(one),
                "most_hops": int(one.hop.values[one.longest.values > 0].max()),
                "largest_span": int(one.span.values[one.weight.values > 0].max()),
            }
        )
    return pd.DataFrame(rows)


def fewest_edges(one: xr.Dataset) -> int:
    """Return the neuron steps and hops of the shortest route of the whole lag: the widest span first.

    >>> fewest_edges(xr.Dataset({"weight": ("span", [0.5, 0.5])}, {"span": [1, 2], "lag": [0, 1, 2, 3]}))
    2
    """
    steps, widest = int(one.lag[-1]), int(one.span.values[one.weight.values > 0].max())
    rest = steps % widest
    spans = {int(span) for span, weight in zip(one.span.values, one.weight.values, strict=True) if weight > 0}
    return steps // widest + (min(rest, 1) if rest in spans else rest)


FIGURE = FigureSpec(
    name="schematic",
    title="The three networks unrolled in time, and the routes of their gradients",
    caption=CAPTION,
    config=SchematicConfig,
    quick={},
    full={},
    compute=compute,
    draw=draw,
    claims=claims,
    table=table,
    summary=summary,
)
