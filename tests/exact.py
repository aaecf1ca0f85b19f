"""Jacobian products by the recursion of the design in 60-digit numbers of unbounded exponent (mpmath).

Nothing under- or overflows here, and zero is zero: the oracle of log-norms and counts at any length.
"""

import mpmath
import numpy as np

from gradflow.transition import DenseTransition

DIGITS = 60


def matrices(layer, sample, last):
    """Return P(T, T−n) for n = 0 … last as nested lists of mpf, for T = `last`."""
    with mpmath.workdps(DIGITS):
        exact = np.vectorize(mpmath.mpf, otypes=[object])
        if isinstance(layer, DenseTransition):
            P = [exact(np.eye(layer.jacobians.shape[2]))]
            for t in range(last - 1, -1, -1):
                P.append(P[-1] @ exact(layer.jacobians[t, sample]))
            return P
        a, phi, V = exact(layer.a[:, sample]), exact(layer.phi[:, sample]), exact(layer.V)
        gate = exact(np.ones((len(a), 1)) if layer.gate is None else layer.gate)
        P = [exact(np.eye(len(V)))]
        for n in range(1, last + 1):
            t = last - n
            new = P[n - 1] * a[t]
            for d, p in zip(layer.spans, layer.weights, strict=True):
                if d <= n:
                    new = new + ((P[n - d] * (mpmath.mpf(p) * gate[t + d])) @ V) * phi[t]
            P.append(new)
        return P


def curves(layer, last):
    """Return log Frobenius, log spectral (lag, sample) and counts (lag, sample, zero and formats)."""
    samples = (layer.jacobians if isinstance(layer, DenseTransition) else layer.a).shape[1]
    logs = np.full((2, last + 1, samples), -np.inf)
    counts = np.zeros((last + 1, samples, 5))
    with mpmath.workdps(DIGITS):
        for b in range(samples):
            for n, P in enumerate(matrices(layer, b, last)):
                sizes = np.abs(P)
                top = sizes.max()
                counts[n, b, 0] = np.sum(sizes == 0)
                for k, exponent in ((1, -25), (2, -134), (3, -150), (4, -1075)):
                    counts[n, b, k] = np.sum(sizes <= mpmath.ldexp(1, exponent)) - counts[n, b, 0]
                if top != 0:
                    scaled = (P / top).astype(float)
                    norms = np.linalg.norm(scaled), np.linalg.norm(scaled, 2)
                    logs[:, n, b] = [float(mpmath.log(norm) + mpmath.log(top)) for norm in norms]
    return logs[0], logs[1], counts
