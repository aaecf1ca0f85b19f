"""How many edges a gradient crosses on its way: path lengths of layers that read several spans.

A layer's graph along time has an edge of length 1 for what the state hands on (the neuron path, or h → h of
an RNN) and one of length d for every span it reads. No weights enter: these are measures of the wiring alone.
"""

import numpy as np
from jaxtyping import Int

from gradflow.analysis.schema import Numbers, steps

UNREACHED = np.iinfo(np.int64).max // 4


def shortest_paths(spans: Numbers, length: int) -> Int[np.ndarray, " lag"]:
    """Return the least number of edges from step t to t + n, n = 0 … length − 1; −1 where there is no way.

    `spans` are the lengths of the edges, increasing; include 1 for the neuron path. By dynamic programming,
    d(n) = 1 + min over spans of d(n − span): length · spans operations.

    Raises ValueError for spans that are not increasing whole numbers of at least 1, or a length below 1.

    >>> shortest_paths([1, 4], 10).tolist()
    [0, 1, 2, 3, 1, 2, 3, 4, 2, 3]
    """
    edges = steps(spans, "spans", smallest=1)
    if length < 1:
        raise ValueError(f"length: got {length}, expected 1 or more lags")
    found = np.full(length, UNREACHED)
    found[0] = 0
    for n in range(1, length):
        found[n] = min(UNREACHED, 1 + found[n - edges[edges <= n]].min(initial=UNREACHED))
    return np.where(found < UNREACHED, found, -1)


def recurrent_skip_coefficient(spans: Numbers) -> float:
    """Return the steps in time that one edge of the shortest path spans, in the long run: the largest span.

    s = lim n / d(n) with d(n) the least number of edges over n steps (Zhang et al. 2016, arXiv:1602.08210).
    It is 1 for a tanh RNN, GRU, LSTM and a vanilla spiking layer, and λ for SRC of span λ.

    Raises ValueError as `shortest_paths` does.

    >>> recurrent_skip_coefficient([1, 16])
    16.0
    """
    return float(steps(spans, "spans", smallest=1)[-1])


def mean_recurrent_length(spans: Numbers, cycle: int | None = None) -> float:
    """Return the mean over lags n = 1 … cycle of the least number of edges over n steps.

    d̄ = (1/m) Σ_{n ≤ m} d(n), with m the cycle after which the wiring repeats (default: the largest span), the
    mean recurrent length of Chang et al. 2017 (arXiv:1710.02224). Compare architectures at one `cycle`; it is
    infinite where a lag cannot be reached at all, as in a layer of one span λ > 1 without a neuron path.

    Raises ValueError as `shortest_paths` does, and for a cycle below 1.

    >>> mean_recurrent_length([1, 4]), mean_recurrent_length([1], cycle=4)
    (1.75, 2.5)
    """
    longest = int(steps(spans, "spans", smallest=1)[-1])
    lags = shortest_paths(spans, (longest if cycle is None else cycle) + 1)[1:]
    if not lags.size:
        raise ValueError(f"cycle: got {cycle}, expected 1 or more steps")
    return float("inf") if (lags < 0).any() else float(lags.mean())
