"""Compiled adjoints of one layer over a whole sequence, for samples b0 … b1−1. Axes: time batch neuron."""

from typing import no_type_check

import numpy as np

from gradflow.engine.kernels.common import (
    FLUSH,
    FLUSH_ROWS,
    RECTANGLE,
    TRIANGLE,
    address,
    compiled,
    flush,
    scale,
)
from gradflow.engine.kernels.neuron import (
    NORMS,
    add_rows,
    learn,
    observe,
    retreat_given,
    retreat_rectangle,
    retreat_triangle,
)
from gradflow.engine.kernels.vector import (
    ROWS,
    correlate_rows,
    list_spikes,
    mix_rows,
    multiply_rows,
    scatter_row,
    sum_rows,
)

FAINT = 1e-280
"""A sum of squares below this may have lost some of them to underflow."""


@compiled
@no_type_check
def adjoint_row(one, kind, numbers, inputs, outputs, sums, seen, size):
    """Run the adjoint of one row; learn where `sums`, and observe where `seen`, is an address other than 0.

    `inputs`: u, e, r, g', arriving, gate, given φ, κ, m, r, θ; `outputs`: g, gate g, φ, ∂L/∂s.
    """
    height, attached, limit = numbers
    u, e, r, after, _, _, _, leak, multiplied, subtracted, threshold = inputs
    g, _, phi, at_spike = outputs
    if kind == TRIANGLE:
        retreat_triangle(one, inputs, (height, attached), outputs, size)
    elif kind == RECTANGLE:
        retreat_rectangle(one, inputs, (height, attached), outputs, size)
    else:
        retreat_given(one, inputs, (height, attached), outputs, size)
    if sums != 0:
        learn(one, (u, after, phi, at_spike, leak, multiplied, subtracted, threshold), (), sums, size)
    if seen != 0:
        parts = (u, e, r, after, g, phi, at_spike, leak, multiplied, subtracted, threshold)
        observe(one, parts, (attached, limit), seen, size)


@compiled
@no_type_check
def faint_norm(k, u, direct, recurrent, later, g, phi, at_spike, coefficients, attached, neurons):
    """Return the norm of the k-th part of a row scaled by its largest element, for squares that underflow."""
    leak, multiplied, subtracted, threshold = coefficients
    top, total = 0.0, 0.0
    for again in range(2):
        for j in range(neurons):
            through = -(leak[j] * multiplied[j] * u[j] + subtracted[j]) * attached * later[j]
            kept = leak[j] * (1.0 - multiplied[j]) if u[j] - threshold[j] >= 0 else leak[j]
            if k == 0:
                value = g[j]
            elif k == 1:
                value = at_spike[j]
            elif k == 2:
                value = kept * later[j] + phi[j] * through
            elif k == 3:
                value = phi[j] * recurrent[j]
            elif k == 4:
                value = phi[j] * direct[j]
            elif k == 5:
                value = through
            elif k == 6:
                value = recurrent[j]
            else:
                value = direct[j]
            if again == 0:
                top = max(top, abs(value))
            else:
                total += (value / top) ** 2
        if top == 0.0:
            return 0.0
    return top * np.sqrt(total)


@compiled
@no_type_check
def finish(sums, seen, t, b, size, neurons, exact):
    """Turn the sums of `observe` into norms and shares; return whether a norm must be taken again, scaled."""
    faint = False
    for k in range(NORMS):
        faint = faint or (exact and sums[k] < FAINT)
        seen[k, t, b] = np.sqrt(sums[k])
    sums[NORMS] -= size - neurons
    for k in range(NORMS, sums.size):
        seen[k, t, b] = sums[k] / neurons
    return faint


@compiled
@no_type_check
def backward_one_span(
    u, direct, arriving, given, last, tail, V, VT_part, VT_grad, span, weight, gates, coefficients, surrogate,
    sums, seen, neurons, g, gated, work, index, tile, block, b0, b1,
):  # fmt: skip
    """Run the adjoint of `forward_one_span` for samples b0 … b1−1, in blocks of at most `span` steps.

    `direct` = ∂L/∂s from above, `arriving` = ∂L/∂u from elsewhere and `given` = φ are (time, batch, H), or
    one row of zeros where there is nothing. `last` = ∂L/∂c[T−1] (1, batch, H), or one row of zeros, and
    `tail` = ∂L/∂s of the last steps (steps, batch, H) come from a segment that goes on from this one.

    `VT_grad` (H, H, float64), if not empty, takes Σ gated[t] s[t−λ]ᵀ transposed, by way of `VT_part`; `sums`
    (4, H), if not empty, the neurons' gradients; `seen` (measure, time, batch), if not empty, what `observe`
    says. `surrogate` is (kind, height of a rectangle or triangle, 1 if the reset is attached, limit of the
    window); `work` (3 + block · samples + 4, H) begins with zeros.
    """
    steps, batch, H = u.shape
    kind, numbers = surrogate[0], (surrogate[1], surrogate[2], surrogate[3])
    mixed = work[3:].reshape(-1)
    one, size = V.dtype.type(1.0), u.itemsize
    row, columns, wide, taken, exact = H * size, tile * size, b1 - b0, VT_grad.size > 0, size == 8
    step_e, step_y, step_f = direct.size == u.size, arriving.size == u.size, given.size == u.size
    step_last, border = last.shape[1] == batch, steps - tail.shape[0]
    u_at, e_at, y_at, f_at = address(u), address(direct), address(arriving), address(given)
    g_at, h_at, gate_at, k_at = address(g), address(gated), address(gates), address(coefficients)
    V_at, G_at, list_at = address(V), address(VT_part), address(index)
    last_at, tail_at = address(last), address(tail)
    zero, sums_at, row_sums = address(work), address(sums) if sums.size > 0 else 0, np.empty(seen.shape[0])
    observed = address(row_sums) if seen.size > 0 else 0
    outer = zero + row, zero + 2 * row
    r_at = zero + 3 * row
    neuron = k_at, k_at + row, k_at + 2 * row, k_at + 3 * row
    at = np.empty(block * wide + ROWS, np.int64)
    added = 0
    t1 = steps
    while t1 > 0:
        t0 = max(0, t1 - block)
        count = 0
        if span > 0:
            for t in range(t0, min(t1, steps - span)):
                for b in range(b0, b1):
                    at[count] = h_at + ((t + span) * batch + b) * row
                    count += 1
        if count > 0:
            at[count : count + ROWS] = at[count - 1]
        for c in range(0, row, columns):
            for k in range(0, count, ROWS):
                r = r_at + k * row + c
                multiply_rows(
                    one, at[k], at[k + 1], at[k + 2], at[k + 3], V_at + c, H, H,
                    r, r + row, r + 2 * row, r + 3 * row,
                )  # fmt: skip
        if weight != one:
            scale(mixed, count * H, weight)
        for t in range(t1 - 1, t0 - 1, -1):
            now = gate_at + (t * row if gates.shape[0] > 1 else 0)
            acts = span > 0 and t + span < steps
            for b in range(b0, b1):
                place = t * batch + b
                here = place * row
                r = r_at + ((t - t0) * wide + b - b0) * row if acts else zero
                if t >= border:
                    ahead = tail_at + ((t - border) * batch + b) * row
                    if acts:
                        add_rows(one, (r, ahead), (), (r,), H)
                    else:
                        r = ahead
                after = g_at + here + batch * row if t + 1 < steps else last_at + b * row * step_last
                e, y, f = e_at + here * step_e, y_at + here * step_y, f_at + here * step_f
                inputs = (u_at + here, e, r, after, y, now, f, *neuron)
                outputs = (g_at + here, h_at + here, *outer)
                adjoint_row(one, kind, numbers, inputs, outputs, sums_at, observed, H)
                if observed != 0 and finish(row_sums, seen, t, b, H, neurons, exact):
                    recurrent = work[3 + (t - t0) * wide + b - b0] if acts else work[0]
                    if t >= border and not acts:
                        recurrent = tail[t - border, b]
                    later = g[t + 1, b] if t + 1 < steps else last[0, b * step_last]
                    above = direct[t, b] if step_e else work[0]
                    for k in range(NORMS):
                        seen[k, t, b] = faint_norm(
                            k, u[t, b], above, recurrent, later, g[t, b], work[1], work[2], coefficients,
                            numbers[1], neurons,
                        )  # fmt: skip
                if taken and span > 0 and t >= span:
                    fired = list_spikes(one, u_at + here - span * batch * row, neuron[3], H, list_at)
                    for c in range(0, row, columns):
                        scatter_row(one, h_at + here + c, list_at, fired, G_at + c, H)
            added += wide
            if taken and (added >= FLUSH_ROWS or t == 0):
                flush(VT_part, VT_grad)
                added = 0
        t1 = t0


@compiled
@no_type_check
def backward_many_spans(
    u, direct, arriving, given, last, tail, V, VT, VT_part, VT_grad, spans, back, weights, p_grad, gates,
    coefficients, surrogate, sums, seen, neurons, g, work, future, correlated, index, tile, b0, b1,
):  # fmt: skip
    """Run the adjoint of `forward_many_spans` for samples b0 … b1−1, four at a time.

    h[t] = Σ_d p_d gate g[t+d] gives r[t] = Vᵀ h[t] and Σ_t h[t] s[t]ᵀ, the gradient of V; `p_grad` (span),
    if not empty, takes Σ_t gate g[t+d] · V s[t], by way of `correlated` (span, H) zeros. `future` (depth,
    4 H) is a short history of gate · g; `work` (12, H) begins with zeros. The rest as in `backward_one_span`.
    """
    steps, batch, H = u.shape
    kind, numbers = surrogate[0], (surrogate[1], surrogate[2], surrogate[3])
    one, size = V.dtype.type(1.0), u.itemsize
    row, columns, taken, wanted, exact = H * size, tile * size, VT_grad.size > 0, p_grad.size > 0, size == 8
    step_e, step_y, step_f = direct.size == u.size, arriving.size == u.size, given.size == u.size
    step_last, border = last.shape[1] == batch, steps - tail.shape[0]
    u_at, e_at, y_at, f_at = address(u), address(direct), address(arriving), address(given)
    g_at, h_at, gate_at, k_at = address(g), address(future), address(gates), address(coefficients)
    V_at, VT_at, G_at, list_at = address(V), address(VT), address(VT_part), address(index)
    p_at, last_at, tail_at = address(weights), address(last), address(tail)
    zero, sums_at, row_sums = address(work), address(sums) if sums.size > 0 else 0, np.empty(seen.shape[0])
    observed = address(row_sums) if seen.size > 0 else 0
    outer = zero + row, zero + 2 * row
    driven, held, r_at = zero + 3 * row, zero + 4 * row, zero + 8 * row
    neuron = k_at, k_at + row, k_at + 2 * row, k_at + 3 * row
    depth, reach = future.shape[0], spans[-1]
    back_at, product_at = address(back), address(correlated)
    added = 0
    for first in range(b0, b1, ROWS):
        rows = min(ROWS, b1 - first)
        place = 0
        for t in range(steps - 1, -1, -1):
            now = gate_at + (t * row if gates.shape[0] > 1 else 0)
            if place == depth:
                future[:reach] = future[depth - reach :]
                place = reach
            taps = np.searchsorted(spans, steps - t)
            for m in range(rows):
                own = h_at + (place * ROWS + m) * row
                for c in range(0, row, columns):
                    mix_rows(one, own + c, back_at, p_at, taps, held + m * row + c)
            for c in range(0, row, columns):
                h, r = held, r_at + c
                multiply_rows(
                    one, h, h + row, h + 2 * row, h + 3 * row, V_at + c, H, H,
                    r, r + row, r + 2 * row, r + 3 * row,
                )  # fmt: skip
            for m in range(rows):
                b = first + m
                at = t * batch + b
                here, own, r = at * row, h_at + (place * ROWS + m) * row, r_at + m * row
                if t >= border:
                    add_rows(one, (r, tail_at + ((t - border) * batch + b) * row), (), (r,), H)
                after = g_at + here + batch * row if t + 1 < steps else last_at + b * row * step_last
                e, y, f = e_at + here * step_e, y_at + here * step_y, f_at + here * step_f
                inputs = (u_at + here, e, r, after, y, now, f, *neuron)
                outputs = (g_at + here, own, *outer)
                adjoint_row(one, kind, numbers, inputs, outputs, sums_at, observed, H)
                if observed != 0 and finish(row_sums, seen, t, b, H, neurons, exact):
                    later = g[t + 1, b] if t + 1 < steps else last[0, b * step_last]
                    above = direct[t, b] if step_e else work[0]
                    for k in range(NORMS):
                        seen[k, t, b] = faint_norm(
                            k, u[t, b], above, work[8 + m], later, g[t, b], work[1], work[2], coefficients,
                            numbers[1], neurons,
                        )  # fmt: skip
                if taps > 0 and (taken or wanted):
                    fired = list_spikes(one, u_at + here, neuron[3], H, list_at)
                    for c in range(0, row, columns):
                        if taken:
                            scatter_row(one, held + m * row + c, list_at, fired, G_at + c, H)
                        if wanted:
                            sum_rows(one, VT_at + c, H, list_at, fired, driven + c)
                            correlate_rows(one, driven + c, own + c, back_at, taps, product_at + c, H)
            place += 1
            if wanted and t % FLUSH == 0:
                for k in range(spans.size):
                    for j in range(H):
                        p_grad[k] += correlated[k, j]
                correlated[:] = 0.0
            added += rows
            if taken and (added >= FLUSH_ROWS or t == 0):
                flush(VT_part, VT_grad)
                added = 0
