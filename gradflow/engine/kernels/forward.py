"""Compiled forward passes of a layer over a sequence, for samples b0 … b1−1. Axes: time batch neuron."""

from typing import no_type_check

import numpy as np

from gradflow.engine.kernels.common import address, compiled, scale
from gradflow.engine.kernels.neuron import advance
from gradflow.engine.kernels.vector import ROWS, list_spikes, mix_rows, multiply_rows, sum_rows


@compiled
@no_type_check
def forward_one_span(
    drive, VT, span, weight, gates, coefficients, u, s, work, index, tile, dense_from, b0, b1
):
    """Run samples b0 … b1−1 of a layer that reads one span (0: none); return the number of spikes read.

    `gates` is (time, H) or (1, H), `coefficients` (4, H): κ, m, r, θ; `work` (4 + b1 − b0, H) zeros;
    `index` (4, H) uint32. Groups of rows with more than `dense_from` spikes a row are multiplied densely.
    """
    steps, batch, H = drive.shape
    mixed = work.reshape(-1)
    one, size = VT.dtype.type(1.0), drive.itemsize
    row, columns = H * size, tile * size
    x_at, u_at, s_at, gate_at, V_at = address(drive), address(u), address(s), address(gates), address(VT)
    k_at, r_at, list_at = address(coefficients), address(work), address(index)
    c_at, threshold = r_at + ROWS * row, k_at + 3 * row
    counts = np.zeros(ROWS, np.int64)
    total = 0
    for t in range(steps):
        now = gate_at + (t * row if gates.shape[0] > 1 else 0)
        for first in range(b0, b1, ROWS):
            rows = min(ROWS, b1 - first)
            if span > 0 and t >= span:
                past = ((t - span) * batch + first) * row
                fired = 0
                for m in range(rows):
                    counts[m] = list_spikes(one, u_at + past + m * row, threshold, H, list_at + 4 * m * H)
                    fired += counts[m]
                total += fired
                if rows == ROWS and fired > ROWS * dense_from:
                    a = s_at + past
                    for c in range(0, row, columns):
                        multiply_rows(
                            one,
                            a,
                            a + row,
                            a + 2 * row,
                            a + 3 * row,
                            V_at + c,
                            H,
                            H,
                            r_at + c,
                            r_at + row + c,
                            r_at + 2 * row + c,
                            r_at + 3 * row + c,
                        )
                else:
                    for m in range(rows):
                        for c in range(0, row, columns):
                            sum_rows(one, V_at + c, H, list_at + 4 * m * H, counts[m], r_at + m * row + c)
                if weight != one:
                    scale(mixed, rows * H, weight)
            for m in range(rows):
                here, carry = (t * batch + first + m) * row, c_at + (first + m - b0) * row
                advance(
                    one,
                    (x_at + here, r_at + m * row, now, carry, k_at, k_at + row, k_at + 2 * row, threshold),
                    (),
                    (u_at + here, s_at + here, carry),
                    H,
                )
    return total


@compiled
@no_type_check
def forward_many_spans(
    drive, VT, spans, back, weights, gates, coefficients, u, s, work, past, index, tile, b0, b1
):
    """Run samples b0 … b1−1 of a layer that reads a mixture of spans; return the number of spikes read.

    V s[t] is formed once a step, from the rows of the neurons that fired, and the mixture Σ_d p_d V s[t−d]
    is taken over a short history of it, `past` (depth, 4 H), four samples at a time so that it stays in the
    cache; `spans` increase, and `back` holds −4 H d: where in the history span d lies.
    """
    steps, batch, H = drive.shape
    one, size = VT.dtype.type(1.0), drive.itemsize
    row, columns = H * size, tile * size
    x_at, u_at, s_at, gate_at, V_at = address(drive), address(u), address(s), address(gates), address(VT)
    k_at, r_at, list_at, past_at = address(coefficients), address(work), address(index), address(past)
    c_at, threshold, p_at = r_at + row, k_at + 3 * row, address(weights)
    depth, reach = past.shape[0], spans[-1]
    back_at = address(back)
    total = 0
    for first in range(b0, b1, ROWS):
        rows = min(ROWS, b1 - first)
        work[1:] = 0.0
        place = 0
        for t in range(steps):
            now = gate_at + (t * row if gates.shape[0] > 1 else 0)
            if place == depth:
                past[:reach] = past[depth - reach :]
                place = reach
            taps = np.searchsorted(spans, t + 1)
            for m in range(rows):
                here, carry = (t * batch + first + m) * row, c_at + m * row
                own = past_at + (place * ROWS + m) * row
                if t > 0:
                    count = list_spikes(one, u_at + here - batch * row, threshold, H, list_at)
                    total += count
                    for c in range(0, row, columns):
                        sum_rows(one, V_at + c, H, list_at, count, own - ROWS * row + c)
                for c in range(0, row, columns):
                    mix_rows(one, own + c, back_at, p_at, taps, r_at + c)
                advance(
                    one,
                    (x_at + here, r_at, now, carry, k_at, k_at + row, k_at + 2 * row, threshold),
                    (),
                    (u_at + here, s_at + here, carry),
                    H,
                )
            place += 1
    return total
