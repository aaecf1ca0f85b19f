"""Counting the routes from t to t + n: orders of neuron steps of one and recurrent hops of λ."""

from math import comb


def count_routes(lag: int, span: int, hops: int | None = None) -> int:
    """Return the number of ways to go `lag` steps by neuron steps of 1 and recurrent hops of `span`.

        N(n, k) = C(n − k(λ−1), k)                      with exactly k hops
        N(n) = Σ_k N(n, k) = N(n − 1) + N(n − λ)        with any number, N(0) = 1

    They are the paths that P(T,t) sums over where p_λ = 1; all are different, also at λ = 1, where a neuron
    step and a hop both go one step, and N(n) = 2ⁿ. At λ = 2 it is Fibonacci's sequence.

    Args:
        lag: n ≥ 0.
        span: λ ≥ 1.
        hops: k, or None for any number.

    Raises ValueError for a lag or a number of hops below 0, or a span below 1.

    Cost: exact integers; n/λ binomials, or one.

    >>> count_routes(784, 16), [count_routes(8, 4, k) for k in range(4)]
    (147856181513513258770276788981185111766155025, [1, 5, 1, 0])
    """
    for name, value, least in (("lag", lag, 0), ("span", span, 1), ("hops", hops or 0, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"count_routes({name}={value!r}): expected a whole number, at least {least}")
    if hops is None:
        return sum(comb(lag - k * (span - 1), k) for k in range(lag // span + 1))
    return comb(lag - hops * (span - 1), hops) if hops * span <= lag else 0
