"""Closeness with a report: where two arrays differ most, by how much, and what was allowed."""

import numpy as np
import torch


def as_numpy(values):
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def assert_close(actual, expected, *, rtol=0.0, atol=0.0, why):
    """Assert |actual − expected| ≤ atol + rtol · |expected| everywhere; equal infinities are close, NaN not.

    `why` is the reason of the tolerance: it is printed with the worst index, both values and their ratio.
    """
    assert why, "a tolerance needs its reason"
    actual, expected = as_numpy(actual), as_numpy(expected)
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    if not actual.size:
        return
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        error = np.where(actual == expected, 0.0, np.abs(actual - expected))
        allowed = atol + rtol * np.abs(expected)
        # an infinite allowance would let anything pass for an infinite expectation
        excess = np.where(
            error == 0, 0.0, np.where(np.isfinite(expected), error / np.maximum(allowed, 5e-324), np.inf)
        )
    excess = np.where(np.isnan(excess) | np.isnan(actual), np.inf, excess)
    worst = np.unravel_index(np.argmax(excess), excess.shape)
    got, wanted = actual[worst], expected[worst]
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.float64(got) / np.float64(wanted)
    assert excess[worst] <= 1.0, (
        f"at index {tuple(map(int, worst))} of {actual.shape}: got {got!r}, expected {wanted!r}, "
        f"ratio {ratio!r}; "
        f"{int((excess > 1).sum())} of {excess.size} outside rtol={rtol:g}, atol={atol:g} ({why})"
    )


def assert_equal(actual, expected):
    """Assert that two arrays are the same bit for bit (NaN included)."""
    actual, expected = as_numpy(actual), as_numpy(expected)
    assert actual.dtype == expected.dtype, f"dtype {actual.dtype}, expected {expected.dtype}"
    np.testing.assert_array_equal(actual, expected)
