"""What the kernels share: how they are compiled, addresses, and sums that keep their precision."""

from typing import no_type_check

import numba
import numpy as np

compiled = numba.njit(nogil=True, cache=True, error_model="numpy")
"""Compiled once and kept on disk, under the date of the kernel's file: touch it after changing a formula."""

TRIANGLE, RECTANGLE, GIVEN = 0, 1, 2
"""How φ is had: computed in the loop, or read from an array."""
FLUSH = 64
"""Steps after which a mixture's history is moved and its accumulators are added to float64 ones."""
FLUSH_ROWS = 2048
"""Rows after which a matrix of accumulators is added to one of float64, as dense products add blocks."""


@compiled
@no_type_check
def address(array):
    """Return where an array begins, signed, so that sums with other integers stay integers."""
    return np.intp(array.ctypes.data)


@compiled
@no_type_check
def scale(values, count, factor):
    """Multiply the first `count` values in place."""
    for j in range(count):
        values[j] *= factor


@compiled
@no_type_check
def flush(part, whole):
    """Add what was accumulated to the float64 sums and begin again."""
    x, y = part.reshape(-1), whole.reshape(-1)
    for k in range(x.size):
        y[k] += x[k]
        x[k] = 0
