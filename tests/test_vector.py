"""The vector code of the kernels against numpy, for both dtypes, and the row formulas."""

import numba
import numpy as np
import pytest
import torch
from compare import assert_close, assert_equal
from hypothesis import given
from hypothesis import strategies as st

import gradflow as gf
from gradflow.engine.kernels import vector
from gradflow.engine.kernels.common import address
from gradflow.engine.kernels.rows import row_formula, row_sums, row_totals

ONES = {np.float32: np.float32(1), np.float64: np.float64(1)}
dtypes = pytest.mark.parametrize("dtype", list(ONES))


def draw(name, *shape, dtype):
    return gf.seeds.normal(0, name, shape=shape).astype(dtype)


def rounding(dtype, count):
    return {"rtol": 0.0, "atol": 8 * count * np.finfo(dtype).eps, "why": f"sums of {count} terms of order 1"}


@numba.njit
def multiply(one, left, matrix, out, tile):
    size, depth, width = left.itemsize, left.shape[1], matrix.shape[1]
    a, b, c = address(left), address(matrix), address(out)
    for j in range(0, width, tile):
        k, w = depth * size, width * size
        at, to = b + j * size, c + j * size
        vector.multiply_rows(
            one, a, a + k, a + 2 * k, a + 3 * k, at, width, depth, to, to + w, to + 2 * w, to + 3 * w
        )


@dtypes
def test_four_rows_are_multiplied(dtype):
    left, matrix = draw("left", 4, 70, dtype=dtype), draw("matrix", 70, 128, dtype=dtype)
    out = np.empty((4, 128), dtype)
    multiply(ONES[dtype], left, matrix, out, vector.tile_columns(left.itemsize))
    assert_close(out, left.astype(float) @ matrix.astype(float), **rounding(dtype, 70))


@numba.njit
def rows_of(one, matrix, index, source, sums, mixed, scattered, correlated, offsets, weights, tile):
    size, width = matrix.itemsize, matrix.shape[1]
    for j in range(0, width, tile):
        c = j * size
        vector.sum_rows(one, address(matrix) + c, width, address(index), index.size, address(sums) + c)
        vector.mix_rows(
            one, address(matrix) + c, address(offsets), address(weights), offsets.size, address(mixed) + c
        )
        vector.scatter_row(
            one, address(source) + c, address(index), index.size, address(scattered) + c, width
        )
        vector.correlate_rows(
            one, address(source) + c, address(matrix) + c, address(offsets), offsets.size,
            address(correlated) + c, width,
        )  # fmt: skip


@dtypes
@pytest.mark.parametrize("count", [0, 1, 9])
def test_rows_are_summed_mixed_scattered_and_correlated(dtype, count):
    width = 128
    matrix, source = draw("matrix", 20, width, dtype=dtype), draw("source", width, dtype=dtype)
    index = np.arange(1, 1 + 2 * count, 2).astype(np.uint32)
    offsets, weights = (np.arange(count) * 2 * width).astype(np.int64), draw("weights", count, dtype=dtype)
    sums, mixed = np.empty(width, dtype), np.empty(width, dtype)
    scattered, correlated = np.ones((20, width), dtype), np.ones((max(count, 1), width), dtype)
    rows_of(
        ONES[dtype], matrix, index, source, sums, mixed, scattered, correlated, offsets, weights,
        vector.tile_columns(matrix.itemsize),
    )  # fmt: skip
    exact, rows = matrix.astype(float), np.arange(count) * 2
    assert_close(sums, exact[index].sum(0), **rounding(dtype, 10))
    assert_close(mixed, weights.astype(float) @ exact[rows], **rounding(dtype, 20))
    expected = np.ones((20, width))
    expected[index] += source
    assert_close(scattered, expected, **rounding(dtype, 2))
    assert_close(correlated[:count], 1 + source.astype(float) * exact[rows], **rounding(dtype, 4))


@numba.njit
def spikes(one, u, threshold, index):
    return vector.list_spikes(one, address(u), address(threshold), u.size, address(index))


@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.5, 1.0]))
def test_spikes_are_listed_in_order(seed, share):
    for dtype, one in ONES.items():
        threshold = gf.seeds.normal(seed, "threshold", shape=(192,)).astype(dtype)
        fired = gf.seeds.uniform(seed, "fired", shape=(192,)) < share
        u = np.where(fired, threshold, np.nextafter(threshold, dtype(-np.inf))).astype(dtype)
        index = np.zeros(192, np.uint32)
        count = spikes(one, u, threshold, index)
        assert_equal(index[:count].astype(np.int64), np.flatnonzero(fired))


def test_nan_is_no_spike():
    u = np.full(64, np.nan)
    assert spikes(1.0, u, np.zeros(64), np.zeros(64, np.uint32)) == 0


@row_formula(("x", "y"), ("a", "b"), ("c",))
def example(x, y, c):
    return (2.0 - x * c + y).absolute(), x.chosen("<", y, -x, 1.0)


@row_totals(("x", "y"), 1, 1)
def example_totals(x, y):
    return x * y, x.chosen("<", y, 1.0, 0.0)


@row_sums(("x", "y"))
def example_by_neuron(x, y):
    return x * y, x - y


@numba.njit
def run_examples(one, three, x, y, a, b, totals, by_neuron):
    rows = (address(x), address(y))
    example(one, rows, (three,), (address(a), address(b)), x.size)
    example_totals(one, rows, (), address(totals), x.size)
    example_by_neuron(one, rows, (), address(by_neuron), x.size)


@dtypes
def test_row_formulas_mean_what_they_say(dtype):
    x, y = draw("x", 128, dtype=dtype), draw("y", 128, dtype=dtype)
    a, b, totals, by_neuron = np.empty(128, dtype), np.empty(128, dtype), np.empty(2), np.ones((2, 128))
    run_examples(ONES[dtype], dtype(3), x, y, a, b, totals, by_neuron)
    assert_equal(a, np.abs(dtype(2) - x * dtype(3) + y))
    assert_equal(b, np.where(x < y, dtype(0) - x, dtype(1)))
    squares = (x * y).astype(float) ** 2
    assert_close(totals, [squares.sum(), (x < y).sum()], **rounding(np.float64, 128))
    assert_equal(by_neuron, 1 + np.stack([x * y, x - y]).astype(float))


def test_squares_of_float32_do_not_underflow_in_a_total():
    x, y = np.full(128, 1e-30, np.float32), np.ones(128, np.float32)
    a, b, totals, by_neuron = np.empty(128, "f4"), np.empty(128, "f4"), np.empty(2), np.ones((2, 128))
    run_examples(ONES[np.float32], np.float32(3), x, y, a, b, totals, by_neuron)
    assert_close(totals, [128 * float(x[0]) ** 2, 128], rtol=1e-14, why="sums of 128 terms in float64")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("inputs", "neurons"), [(1, 1), (64, 64), (70, 130)])
@dtypes
def test_a_product_with_spikes_is_the_dense_one(dtype, inputs, neurons, bias):
    kind = torch.float32 if dtype is np.float32 else torch.float64
    linear = torch.nn.Linear(inputs, neurons, bias=bias, dtype=kind)
    x = torch.from_numpy((gf.seeds.uniform(0, "x", shape=(50, 7, inputs)) < 0.2).astype(dtype))
    g = torch.from_numpy(draw("g", 50, 7, neurons, dtype=dtype))
    found, expected = [], []
    for product, into in ((gf.engine.spike_linear, found), (torch.nn.functional.linear, expected)):
        leaves = [x.clone().requires_grad_(), linear.weight] + ([linear.bias] if bias else [])
        out = product(leaves[0], linear.weight, linear.bias)
        into += [out.detach(), *torch.autograd.grad(out, leaves, g)]
    for a, b in zip(found, expected, strict=True):
        assert_close(a, b, rtol=0, atol=500 * np.finfo(dtype).eps, why="sums of up to 350 terms of order 1")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("inputs", "neurons"), [(1, 1), (3, 64), (8, 130)])
@dtypes
def test_a_narrow_product_is_the_dense_one(dtype, inputs, neurons, bias):
    kind = torch.float32 if dtype is np.float32 else torch.float64
    linear = torch.nn.Linear(inputs, neurons, bias=bias, dtype=kind)
    x, g = (
        torch.from_numpy(draw(name, 611, 7, size, dtype=dtype))
        for name, size in (("x", inputs), ("g", neurons))
    )
    leaves = [linear.weight] + ([linear.bias] if bias else [])
    assert gf.engine.is_narrow(x)
    found, expected = (
        [out.detach(), *torch.autograd.grad(out, leaves, g)]
        for out in (
            product(x, linear.weight, linear.bias) for product in (gf.engine.narrow_linear, linear_of)
        )
    )
    for a, b in zip(found, expected, strict=True):
        assert_close(a, b, rtol=0, atol=1e4 * np.finfo(dtype).eps, why="4277 terms, sums of order 200")


def linear_of(x, weight, bias):
    return torch.nn.functional.linear(x, weight, bias)


@pytest.mark.parametrize(
    "x",
    [torch.ones(2, 2, 9), torch.ones(2, 2, 1, requires_grad=True), torch.ones(2, 2, 1, dtype=torch.float16)],
)
def test_what_is_not_narrow(x):
    assert not gf.engine.is_narrow(x)
