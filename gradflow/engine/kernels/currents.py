"""Compiled products of a feed-forward matrix with spikes, for rows r0 … r1−1 of a flattened sequence."""

from typing import no_type_check

from gradflow.engine.kernels.common import FLUSH_ROWS, address, compiled, flush
from gradflow.engine.kernels.vector import ROWS, list_spikes, multiply_rows, scatter_row, sum_rows


@compiled
@no_type_check
def spike_currents(x, WT, half, out, index, tile, r0, r1):
    """out[r] = Σ_{j: x[r,j] = 1} WT[j] + WT[-1] for rows r0 … r1−1; the last row of WT is the bias.

    `half` is ½ for every input neuron: a spike is an x above it. `index` (1, inputs + 1).
    """
    one, size = WT.dtype.type(1.0), WT.itemsize
    inputs, H = x.shape[1], WT.shape[1]
    row, columns = H * size, tile * size
    x_at, W_at, h_at, o_at, list_at = address(x), address(WT), address(half), address(out), address(index)
    bias = WT.shape[0] - 1
    for r in range(r0, r1):
        count = list_spikes(one, x_at + r * inputs * size, h_at, inputs, list_at)
        index[0, count] = bias
        for c in range(0, row, columns):
            sum_rows(one, W_at + c, H, list_at, count + 1, o_at + r * row + c)


@compiled
@no_type_check
def spike_currents_back(g, x, W, half, x_grad, WT_part, WT_grad, index, tile, depth, r0, r1):
    """x_grad[r] = Wᵀ g[r] and WT_grad[j] += g[r] for the spikes j of row r, for rows r0 … r1−1.

    Either is left out where it is empty. W (neuron, input) padded, of which the first `depth` neurons count;
    `WT_part`, `WT_grad` (input + 1, neuron), with the gradient of the bias in the last row.
    """
    one, size = W.dtype.type(1.0), W.itemsize
    inputs, H = W.shape[1], W.shape[0]
    wide, row, columns = inputs * size, H * size, tile * size
    g_at, x_at, W_at, h_at, list_at = address(g), address(x), address(W), address(half), address(index)
    e_at, G_at = address(x_grad), address(WT_part)
    for r in range(r0, r1, ROWS):
        n = min(ROWS, r1 - r) - 1
        a = g_at + r * row
        b, c_, d = a + min(1, n) * row, a + min(2, n) * row, a + n * row
        if x_grad.size > 0:
            e = e_at + r * wide
            f, h, k = e + min(1, n) * wide, e + min(2, n) * wide, e + n * wide
            for c in range(0, wide, columns):
                multiply_rows(one, a, b, c_, d, W_at + c, inputs, depth, e + c, f + c, h + c, k + c)
        if WT_grad.size > 0:
            for m in range(n + 1):
                count = list_spikes(one, x_at + (r + m) * wide, h_at, inputs, list_at)
                index[0, count] = inputs
                for c in range(0, row, columns):
                    scatter_row(one, a + m * row + c, list_at, count + 1, G_at + c, H)
            if (r - r0) % FLUSH_ROWS == 0 or r + ROWS >= r1:
                flush(WT_part, WT_grad)


@compiled
@no_type_check
def narrow_currents(x, WT, out, tile, r0, r1):
    """out[r] = x[r] WT for rows r0 … r1−1 of a few inputs, the last of which is 1 for the bias."""
    one, size = WT.dtype.type(1.0), WT.itemsize
    depth, H = x.shape[1], WT.shape[1]
    row, step, columns = H * size, depth * size, tile * size
    x_at, W_at, o_at = address(x), address(WT), address(out)
    for r in range(r0, r1, ROWS):
        n = min(ROWS, r1 - r) - 1
        i, j, k = min(1, n), min(2, n), n
        a, o = x_at + r * step, o_at + r * row
        for c in range(0, row, columns):
            multiply_rows(
                one, a, a + i * step, a + j * step, a + k * step, W_at + c, H, depth,
                o + c, o + i * row + c, o + j * row + c, o + k * row + c,
            )  # fmt: skip


@compiled
@no_type_check
def narrow_currents_back(g, xT, part, WT_grad, tile, r0, r1):
    """WT_grad += xT[:, r0 … r1−1] g[r0 … r1−1], block by block; inputs are padded to a multiple of four."""
    one, size = g.dtype.type(1.0), g.itemsize
    inputs, rows, H = xT.shape[0], xT.shape[1], g.shape[1]
    row, step, columns = H * size, rows * size, tile * size
    x_at, g_at, p_at = address(xT), address(g), address(part)
    for r in range(r0, r1, FLUSH_ROWS):
        depth = min(FLUSH_ROWS, r1 - r)
        for i in range(0, inputs, ROWS):
            a, o = x_at + i * step + r * size, p_at + i * row
            for c in range(0, row, columns):
                multiply_rows(
                    one, a, a + step, a + 2 * step, a + 3 * step, g_at + r * row + c, H, depth,
                    o + c, o + row + c, o + 2 * row + c, o + 3 * row + c,
                )  # fmt: skip
        flush(part, WT_grad)
