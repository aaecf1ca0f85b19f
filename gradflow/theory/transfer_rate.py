"""The asymptotic rate of the transfer operator, ½ log μ per step: by iteration, and by Arnoldi.

Axes: block neuron neuron. Far from the end all blocks grow by μ a step, G_k[t + m] = μ^(−m) C_k. Put into the
equations of `transfer_curve` this leaves one block for each k, C = L(μ) C, a linear map of D H² numbers whose
leading eigenvalue must be 1; as it falls with μ, the root is met from any start.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs

from gradflow.theory.moments import Moments
from gradflow.theory.transfer_curve import Blocks, Matrix, check_factors, step

TOLERANCE = 1e-7
"""Nats per step: a thousandth of the fourth digit, to which rates are compared."""
SWEEPS = 3000  # digits at H = 128 take 100 to 1,000
WINDOW = 20  # sweeps over which the shrinking of changes is judged: they may oscillate
ROUNDS = 30  # the secant rule needs about five
SMALL = 16  # up to this size the matrix is written out: Arnoldi needs room


class Steady:
    """Blocks that grow by μ a step: G_k[t + m] = μ^(−m) C_k. Reading sees what is written into C."""

    def __init__(self, C: Blocks, log_mu: float) -> None:
        self.C, self.log_mu, self.depth = C, log_mu, len(C)

    def read(self, block: int, back: int) -> Matrix:
        """Return μ^(−back) C_block."""
        grown: Matrix = np.exp(-back * self.log_mu) * self.C[block]
        return grown


def transfer_rate(
    moments: Moments,
    V: Matrix,
    taps: Mapping[int, float],
    *,
    tolerance: float = TOLERANCE,
    max_sweeps: int = SWEEPS,
) -> float:
    """Return ½ log μ in nats per step by iterating C and μ together; −∞ where every product ends in 0.

    Each sweep applies L(μ) and moves log μ by log(tr C₀ new / tr C₀ old) over the mean number of steps that
    C₀'s terms lie back. Ends when the geometric series of changes still to come is below `tolerance`.

    Raises ValueError as `transfer_curve` does, and where `max_sweeps` do not reach the tolerance: two
    eigenvalues then lie close together, as where neuron path and recurrent path cross, and
    `transfer_rate_arnoldi` is the better method.

    Cost: 2 (λ + 1) H³ operations a sweep for one span λ, 2 (D + 2) H³ + 2 D² H² for spans up to D; memory
    24 λ H² bytes.

    >>> quarter = np.full((2, 2), 0.25)
    >>> constant = Moments(quarter, quarter, quarter, np.full(2, 0.5), np.full(2, 0.5))
    >>> round(transfer_rate(constant, 0.5 * np.eye(2), {4: 1.0}), 6)
    -0.134444
    """
    check_factors(moments, V, taps)
    taps = {d: p for d, p in taps.items() if p != 0.0}
    C, log_mu = start(len(V), taps)
    changes: list[float] = []
    for _ in range(max_sweeps):
        change = sweep(C, log_mu, moments, V, taps)
        if not np.isfinite(change):
            return -np.inf
        log_mu += change
        changes.append(abs(0.5 * change))
        if settled(changes, tolerance):
            return 0.5 * log_mu
    raise ValueError(
        f"transfer_rate: {max_sweeps} sweeps, and the last one changed the rate by {changes[-1]:.2g}, "
        f"expected the rest below tolerance={tolerance:g}; use transfer_rate_arnoldi, or more max_sweeps"
    )


def start(neurons: int, taps: Mapping[int, float]) -> tuple[Blocks, float]:
    """Return C of a product that has just begun, and log μ = 0."""
    C = np.zeros((max(taps, default=1), neurons, neurons))
    C[0] = np.eye(neurons)
    return C, 0.0


def sweep(C: Blocks, log_mu: float, moments: Moments, V: Matrix, taps: Mapping[int, float]) -> float:
    """Replace C by L(μ) C, scaled to tr C₀ = 1, and return by how much log μ should change (−∞: C is 0)."""
    C /= np.trace(C[0])
    kept = float(np.exp(-log_mu) * np.diag(moments.a_a) @ np.diag(C[0]))
    step(Steady(C, log_mu), moments, V, taps, out=C)
    grown = float(np.trace(C[0]))
    if grown <= 0.0:
        return -np.inf
    share = min(kept / grown, 1.0)
    return float(np.log(grown) / (share + (1.0 - share) * len(C)))


def settled(changes: list[float], tolerance: float) -> bool:
    """Return whether changes that go on shrinking as they did add up to less than the tolerance."""
    if len(changes) < 2 * WINDOW:
        return False
    before, now = max(changes[-2 * WINDOW : -WINDOW]), max(changes[-WINDOW:])
    ratio = (now / before) ** (1.0 / WINDOW) if now else 0.0
    return ratio < 1.0 and now / (1.0 - ratio) < tolerance


def transfer_rate_arnoldi(
    moments: Moments, V: Matrix, taps: Mapping[int, float], *, tolerance: float = TOLERANCE
) -> float:
    """Return ½ log μ in nats per step from the leading eigenvalue of L(μ), by Arnoldi's method, matrix-free.

    For λ = 1 that eigenvalue is proportional to 1/μ: one round; else the secant rule in log μ finds where
    it is 1. Pays where `transfer_rate` creeps: where the two leading eigenvalues are close.

    Raises ValueError as `transfer_curve` does, or where no root is found.

    Cost: some tens of sweeps of `transfer_rate` a round, about five rounds; memory 160 λ H² bytes.

    >>> quarter = np.full((2, 2), 0.25)
    >>> constant = Moments(quarter, quarter, quarter, np.full(2, 0.5), np.full(2, 0.5))
    >>> round(transfer_rate_arnoldi(constant, 0.5 * np.eye(2), {4: 1.0}), 6)
    -0.134444
    """
    check_factors(moments, V, taps)
    taps = {d: p for d, p in taps.items() if p != 0.0}
    C, log_mu = start(len(V), taps)
    for _ in range(WINDOW):  # near the root the secant rule is safe
        change = sweep(C, log_mu, moments, V, taps)
        if not np.isfinite(change):
            return -np.inf
        log_mu += change
    vector, slope, seen = C.ravel(), 0.5 * (1.0 + len(C)), (0.0, 0.0)
    for turn in range(ROUNDS):
        value, vector = leading(log_mu, moments, V, taps, vector, tolerance)
        if value <= 0.0:
            return -np.inf
        height = float(np.log(value))
        if turn:
            secant = (seen[1] - height) / (log_mu - seen[0])
            slope = secant if secant > 0.1 else slope
        seen, change = (log_mu, height), height / slope
        log_mu += change
        if abs(0.5 * change) < tolerance:
            return 0.5 * log_mu
    raise ValueError(f"transfer_rate_arnoldi: no root after {ROUNDS} rounds, log mu = {log_mu:.6g}")


def leading(
    log_mu: float,
    moments: Moments,
    V: Matrix,
    taps: Mapping[int, float],
    guess: Float[np.ndarray, " number"],
    tolerance: float,
) -> tuple[float, Float[np.ndarray, " number"]]:
    """Return the eigenvalue of L(μ) of the largest real part, and its vector."""
    shape = (guess.size // V.size, *V.shape)

    def apply(numbers: Float[np.ndarray, "..."]) -> Float[np.ndarray, " number"]:
        C = np.array(numbers, dtype=np.float64).reshape(shape)
        step(Steady(C, log_mu), moments, V, taps, out=C)
        return C.ravel()

    if guess.size <= SMALL:
        values, vectors = np.linalg.eig(np.stack([apply(unit) for unit in np.eye(guess.size)], axis=1))
    else:
        operator = LinearOperator((guess.size,) * 2, matvec=apply, dtype=np.float64)
        try:
            values, vectors = eigs(operator, k=1, which="LR", v0=guess, tol=tolerance)
        except ArpackNoConvergence as error:
            raise ValueError(f"transfer_rate_arnoldi: no eigenvalue at log mu = {log_mu:.6g}") from error
    first = int(np.argmax(values.real))
    return float(values[first].real), np.ascontiguousarray(vectors[:, first].real)
