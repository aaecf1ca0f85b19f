"""Products of many factors whose singular values lie any number of powers of ten apart.

Such a matrix is kept as Q · diag(2^e) · U: Q with orthonormal columns, whole exponents e, rows of U near
unit size and far from dependent. A factor from the left goes to Q alone, a QR of the result gives the new Q,
and its triangle is multiplied into diag(2^e) U row by row, so a small direction is never added to a large
one and rounded away (Geist, Parlitz & Lauterborn 1990). One-sided Jacobi rotations of the rows then give the
singular values, each to its own relative precision (Demmel et al. 1999): about 1e-16 times the condition of
U and of one factor. Axes: state × column × neuron.
"""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import solve_triangular

from gradflow.jacobian.kernels import compiled, power_of_two

LOST = 2.0**-44
"""A column of which less than this share (0.6 · 10⁻¹³) is left in every row depends on those before it."""

ROOM = 8
"""Powers of two by which a later column may exceed what is left of an earlier one before they change."""

NEVER = -(2**40)
"""Exponent of what is zero."""

NOISE = 2.0**-40
"""Rounding of a rehearsal, 4,096 times that of float64."""

TRIES = 6
"""Orders tried; each brings at least the largest remaining column to its place."""

ORTHOGONAL = 2.0**-50
"""Cosine under which two rows count as orthogonal: a few roundings."""

SWEEPS = 60
"""Rounds of rotations after which Jacobi's method has failed; it takes 3 to 12."""


@dataclass(frozen=True)
class Graded:
    """The matrix Q diag(2^e) U; its rank is the number of columns of Q."""

    Q: Float[np.ndarray, "state column"]
    e: Int[np.ndarray, " column"]
    U: Float[np.ndarray, "column neuron"]


def graded(
    Y: Float[np.ndarray, "state column"],
    e: Int[np.ndarray, " column"],
    U: Float[np.ndarray, "column neuron"],
    *,
    weights: Float[np.ndarray, " state"] | None = None,
    noise: np.random.Generator | None = None,
) -> Graded:
    """Return Y diag(2^e) U with columns orthonormal after rows are weighted; dependent columns are gone.

    Columns are taken in the order of their sizes, those of diag(2^e) included, and again in the order of
    what is left of them where that differs by more than ROOM. Q is Y over the triangle, not the Q of
    Householder: it keeps rows that are zero or small as they are. With `noise` it is rounded more coarsely,
    by NOISE, wherever rounding enters: what then changes was rounding before.
    """
    weighted = Y if weights is None else Y * weights[:, None]
    size = np.abs(weighted).max(axis=0, initial=0.0)
    alive = np.flatnonzero(size)
    shift = np.frexp(size[alive])[1].astype(np.int64)
    Y, weighted = np.ldexp(Y[:, alive], -shift), np.ldexp(weighted[:, alive], -shift)
    g, U, norms = e[alive] + shift, U[alive], np.linalg.norm(weighted, axis=0)
    order = np.argsort(-(g + np.log2(norms)), kind="stable")
    for _ in range(TRIES):
        Y, weighted, g, U = Y[:, order], weighted[:, order], g[order], U[order]
        R, pivots = staircase(weighted)
        bits = np.where(R == 0.0, NEVER, np.frexp(R)[1].astype(np.int64) + g)
        tops, diagonal = bits.max(axis=1, initial=NEVER), R[np.arange(len(R)), pivots]
        if np.all(tops <= bits[np.arange(len(R)), pivots] + ROOM):
            break
        left = np.full(g.size, -np.inf)
        left[pivots] = g[pivots] + np.log2(np.abs(diagonal))
        order = np.argsort(-left, kind="stable")
    if noise is not None:
        # error of Householder's R, column by column; harmless to Y = Q R, but Q is then not quite orthonormal
        R = R + NOISE * noise.uniform(-1.0, 1.0, R.shape) * (R != 0.0) * np.linalg.norm(R, axis=0)
    T = R[:, pivots]
    Q = solve_triangular(T, Y[:, pivots].T, trans="T").T if len(R) else Y[:, :0]
    if noise is not None and len(R):
        # backward error of a triangular solution: |Q||T|, element by element
        coarse = NOISE * noise.uniform(-1.0, 1.0, Q.shape) * (np.abs(Q) @ np.abs(T))
        Q = Q + solve_triangular(T, coarse.T, trans="T").T
    rows = np.ldexp(R, np.maximum(g - tops[:, None], -4000).astype(np.int32)) @ U
    scale = np.frexp(np.abs(rows).max(axis=1, initial=0.0))[1].astype(np.int64)
    return Graded(np.ascontiguousarray(Q), tops + scale, np.ldexp(rows, -scale[:, None]))


def staircase(
    Y: Float[np.ndarray, "state column"],
) -> tuple[Float[np.ndarray, "row column"], Int[np.ndarray, " row"]]:
    """Return R of Y = Q R, of full row rank, and the column in which each of its rows begins.

    Columns that depend on the ones before them begin no row.
    """
    norms = np.linalg.norm(Y, axis=0)
    kept = np.arange(Y.shape[1])[: Y.shape[0]]
    spared: set[int] = set()
    while True:
        Q, R = np.linalg.qr(Y[:, kept])
        short = [k for k in np.flatnonzero(np.abs(np.diagonal(R)) <= LOST * norms[kept]) if k not in spared]
        if not short:
            break
        k = int(short[0])
        if R[k, k] == 0.0 or depends(Y[:, kept[:k]], Y[:, kept[k]], R[:k, : k + 1]):
            kept = np.delete(kept, k)
        else:
            spared.add(k)
    whole = np.zeros((kept.size, Y.shape[1]))
    whole[:, kept] = R
    for j in np.setdiff1d(np.arange(Y.shape[1]), kept):
        before = int(np.searchsorted(kept, j))
        whole[:before, j] = Q[:, :before].T @ Y[:, j]
    return whole, kept


def depends(
    Y: Float[np.ndarray, "state column"], y: Float[np.ndarray, " state"], R: Float[np.ndarray, "column _"]
) -> bool:
    """Return whether y less its share in the columns of Y is rounding in every row, not only as a whole."""
    share = solve_triangular(R[:, :-1], R[:, -1]) if len(R) else np.empty(0)
    size = np.abs(y) + np.abs(Y) @ np.abs(share)
    return bool(np.all(np.abs(y - Y @ share) <= LOST * size))


@compiled
@no_type_check
def rotate_rows(e: Int[np.ndarray, " row"], U: Float[np.ndarray, "row neuron"]) -> int:
    """Make the rows 2^e U orthogonal in place by one-sided Jacobi rotations; return the rounds it took.

    A rotation takes τ 2^(e_j − e_i) as its tangent, with |τ| about one: nothing under- or overflows, and for
    rows far apart it is a step of Gram and Schmidt on the smaller one.
    """
    rows, n = U.shape
    squares = np.empty(rows)
    for i in range(rows):
        squares[i] = np.sum(U[i] * U[i])
    for count in range(SWEEPS):
        turned = False
        for p in range(rows - 1):
            for q in range(p + 1, rows):
                i, j = p, q
                s = power_of_two(e[j] - e[i])
                if s * s * squares[j] > squares[i]:
                    i, j = q, p
                    s = power_of_two(e[j] - e[i])
                cross = 0.0
                for k in range(n):
                    cross += U[i, k] * U[j, k]
                if abs(cross) <= ORTHOGONAL * np.sqrt(squares[i] * squares[j]):
                    continue
                turned = True
                w = (s * s * squares[j] - squares[i]) / (2.0 * cross)
                tau = (1.0 if w >= 0.0 else -1.0) / (abs(w) + np.sqrt(s * s + w * w))
                c = 1.0 / np.sqrt(1.0 + tau * tau * s * s)
                back = tau * s * s
                top, first, second = 0.0, 0.0, 0.0
                for k in range(n):
                    x, y = U[i, k], U[j, k]
                    U[i, k] = c * (x - back * y)
                    U[j, k] = c * (y + tau * x)
                    top = max(top, abs(U[j, k]))
                    first += U[i, k] * U[i, k]
                    second += U[j, k] * U[j, k]
                squares[i], squares[j] = first, second
                if top < 2.0**-30 and top > 0.0:
                    second = 0.0
                    for k in range(n):
                        U[j, k] *= 2.0**30
                        second += U[j, k] * U[j, k]
                    e[j] -= 30
                    squares[j] = second
        if not turned:
            return count
    return SWEEPS


def singular_rows(
    e: Int[np.ndarray, " row"], U: Float[np.ndarray, "row neuron"]
) -> tuple[Float[np.ndarray, " row"], Float[np.ndarray, "row neuron"]]:
    """Return the natural logs of the singular values of diag(2^e) U, descending, and its right vectors.

    Raises RuntimeError where the rotations do not end, which no input is known to cause.
    """
    order = np.argsort(-e, kind="stable")
    e, U = e[order], np.ascontiguousarray(U[order])
    if rotate_rows(e, U) == SWEEPS:
        raise RuntimeError(f"singular values of {len(U)} rows: {SWEEPS} rounds of rotations did not suffice")
    norms = np.linalg.norm(U, axis=1)
    logs = np.log(norms) + e * np.log(2.0)
    order = np.argsort(-logs, kind="stable")
    return logs[order], (U / norms[:, None])[order]
