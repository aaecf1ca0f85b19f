"""What the compiled kernels take: arrays with a neuron axis of 64 k, taps, slices of samples for threads."""

from collections.abc import Callable
from itertools import pairwise
from threading import Thread

import numpy as np
import torch
from torch import Tensor

from gradflow.engine.kernels.common import GIVEN, RECTANGLE, TRIANGLE
from gradflow.engine.kernels.vector import MASK_BITS, ROWS
from gradflow.engine.memory import empty
from gradflow.surrogate import Rectangle, Surrogate, Triangle

WORK_PER_THREAD = 100_000
"""Neuron-steps below which starting another thread costs more than it saves."""


class Shares:
    """What each thread accumulated on its own, to be added up."""

    def __init__(self) -> None:
        self.parts: dict[int, np.ndarray] = {}

    def add(self, first: int, *shape: int) -> np.ndarray:
        """Return float64 zeros of this shape for the thread whose range begins at `first`."""
        self.parts[first] = np.zeros(shape)
        return self.parts[first]

    def total(self) -> np.ndarray:
        """Return the sum over threads, in the order of their ranges: the same at every run."""
        whole: np.ndarray = np.sum([self.parts[first] for first in sorted(self.parts)], axis=0)
        return whole


def run_slices(job: Callable[[int, int], None], batch: int, per_sample: int) -> None:
    """Call job(b0, b1) for disjoint ranges that cover the batch, in at most as many threads as torch uses.

    `per_sample` is the number of neuron-steps of one sample. The first exception of a thread is raised here.
    Ranges begin at multiples of four.
    """
    groups = -(-batch // ROWS)
    workers = max(1, min(torch.get_num_threads(), groups, batch * per_sample // WORK_PER_THREAD))
    cuts = [min(batch, k * groups // workers * ROWS) for k in range(workers + 1)]
    failures: list[BaseException] = []

    def guarded(b0: int, b1: int) -> None:
        try:
            job(b0, b1)
        except BaseException as error:
            failures.append(error)

    threads = [Thread(target=guarded, args=cut) for cut in pairwise(cuts[1:])]
    for thread in threads:
        thread.start()
    guarded(cuts[0], cuts[1])
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def acting_taps(
    spans: tuple[int, ...], weights: Tensor, steps: int, dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray]:
    """Return the spans shorter than the sequence and their weights, without those that rounding would lose.

    The weights left out sum, in magnitude, to at most the machine epsilon of `dtype` times the sum of all.
    """
    p = weights.detach().double().numpy()[: len(spans)]
    d = np.asarray(spans, dtype=np.int64)
    order = np.argsort(np.abs(p), kind="stable")
    lost = order[np.cumsum(np.abs(p[order])) <= np.finfo(dtype).eps * np.abs(p).sum()]
    kept = np.setdiff1d(np.flatnonzero(d < steps), lost)
    return d[kept], p[kept].astype(dtype)


def padded_width(neurons: int) -> int:
    """Return the multiple of 64 that holds this many neurons."""
    width: int = -(-neurons // MASK_BITS) * MASK_BITS
    return width


def padded(sequence: Tensor) -> np.ndarray:
    """Return a sequence as a contiguous array, neurons padded with zeros, without a copy where it can be."""
    array, neurons = sequence.detach().numpy(), sequence.shape[2]
    width = padded_width(neurons)
    if width == neurons and array.flags.c_contiguous:
        return array
    out = empty((*array.shape[:2], width), array.dtype)
    out[..., :neurons], out[..., neurons:] = array, 0.0
    return out


def narrowed(array: np.ndarray, neurons: int) -> Tensor:
    """Return the neurons without their padding as a tensor."""
    if array.shape[-1] == neurons:
        return torch.from_numpy(array)
    out = empty((*array.shape[:-1], neurons), array.dtype)
    out[:] = array[..., :neurons]
    return torch.from_numpy(out)


def require_finite(name: str, values: Tensor) -> None:
    """Raise ValueError for NaN or infinity, which a sparse product would not show while nobody fires."""
    if not torch.isfinite(values).all():
        raise ValueError(
            f"{name} holds NaN or infinity: look for NaN among the network's parameters, or lower the "
            "learning rate or the recurrent gain that let them grow so far"
        )


def matrix(V: Tensor | None, like: np.ndarray, *, transposed: bool = False) -> np.ndarray:
    """Return V, or its transpose, padded with zeros; zeros alone where there is none."""
    out = np.zeros((like.shape[2], like.shape[2]), like.dtype)
    if V is not None:
        given = V.detach().numpy()
        out[: len(given), : len(given)] = given.T if transposed else given
    return out


def rows_of(values: tuple[Tensor, ...], neurons: int, like: np.ndarray) -> np.ndarray:
    """Return κ, m, r and θ as rows; the neurons of the padding never fire (θ = ∞)."""
    out = np.zeros((len(values), like.shape[2]), like.dtype)
    out[3, neurons:] = np.inf
    for row, value in zip(out, values, strict=True):
        row[:neurons] = value.detach().numpy()
    return out


def gates_of(gate: Tensor | None, neurons: int, like: np.ndarray) -> np.ndarray:
    """Return the gate of every step and neuron, or one row of ones where there is none."""
    if gate is None:
        return np.ones((1, like.shape[2]), like.dtype)
    out = np.ones((len(like), like.shape[2]), like.dtype)
    out[:, :neurons] = gate.detach()[: len(like)].reshape(len(like), -1).numpy()
    return out


def slope(surrogate: Surrogate, u: np.ndarray, threshold: np.ndarray) -> tuple[int, float, np.ndarray]:
    """Return how the kernels get φ: its kind, its height, and φ itself where they cannot compute it."""
    nothing = np.zeros((1, 1, u.shape[2]), u.dtype)
    if type(surrogate) is Triangle or type(surrogate) is Rectangle:
        return TRIANGLE if type(surrogate) is Triangle else RECTANGLE, 1.0 / surrogate.scale, nothing
    return GIVEN, 0.0, surrogate.derivative(torch.from_numpy(u - threshold)).numpy()


def scratch(rows: int, like: np.ndarray) -> np.ndarray:
    """Return zeros, (rows, neuron)."""
    return np.zeros((rows, like.shape[2]), like.dtype)


def spike_lists(like: np.ndarray) -> np.ndarray:
    """Return room for the numbers of the neurons that fired in four rows."""
    return np.empty((ROWS, like.shape[2]), np.uint32)
