"""Path lengths against brute force and against what is known of each architecture."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradflow.theory.lengths import mean_recurrent_length, recurrent_skip_coefficient, shortest_paths

edges = st.sets(st.integers(1, 9), min_size=1, max_size=3).map(sorted)


def by_breadth(spans, n):
    """The least number of spans that sum to n, level by level."""
    reached, level = {0}, 0
    while n not in reached:
        level += 1
        reached = {r + d for r in reached for d in spans if r + d <= n}
        if not reached:
            return -1
    return level


@given(edges, st.integers(1, 25))
def test_shortest_paths_are_the_shortest(spans, length):
    assert shortest_paths(spans, length).tolist() == [by_breadth(spans, n) for n in range(length)]


@given(edges)
def test_the_skip_coefficient_is_the_slope_of_the_shortest_paths(spans):
    """Over a whole number of the largest span the way is all long edges, and no way is shorter."""
    longest = spans[-1]
    paths = shortest_paths(spans, 20 * longest + 1)
    assert 20 * longest / paths[-1] == recurrent_skip_coefficient(spans)
    assert all(n <= longest * d for n, d in enumerate(paths) if d >= 0)


@pytest.mark.parametrize("span", [1, 2, 5, 16])
def test_the_mean_recurrent_length_of_a_skip_layer(span):
    """1, 2 … λ − 1 steps take as many edges, λ steps take one: ((λ−1) λ/2 + 1)/λ."""
    assert mean_recurrent_length(sorted({1, span})) == ((span - 1) * span / 2 + 1) / span
    assert mean_recurrent_length([1], cycle=span) == (span + 1) / 2


def test_a_lag_that_cannot_be_reached_has_no_length():
    assert mean_recurrent_length([3]) == float("inf")
    assert shortest_paths([3], 7).tolist() == [0, -1, -1, 1, -1, -1, 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shortest_paths([0, 1], 5), "spans: .*whole numbers of steps >= 1"),
        (lambda: shortest_paths([4, 1], 5), "expected increasing numbers"),
        (lambda: shortest_paths([1], 0), "length: got 0"),
        (lambda: mean_recurrent_length([1], cycle=0), "cycle: got 0"),
    ],
)
def test_bad_graphs_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
