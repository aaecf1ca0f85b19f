"""The neuron scan over the steps of a block and its adjoint as Triton kernels; formulas as in `scan_torch`.

A program owns some elements (sample, neuron), loops over the steps of the block and keeps what is carried
from step to step in registers. Nothing here runs, and Triton is not needed, until a kernel is launched.

Triton gives a kernel's numbers as float32, so those that float32 does not hold come in an array of the
kernel's dtype: see `_constants`. Products and sums are not contracted, so that they round as torch's do.
"""

import importlib
import math
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, no_type_check

import torch
from jaxtyping import Float
from torch import Tensor

from gradflow.engine.scan_torch import Ahead, Cells, Scans
from gradflow.shapes import Sequence, Step
from gradflow.surrogate import (
    ArcTangent,
    Exponential,
    MultiGaussian,
    Rectangle,
    Sigmoid,
    Surrogate,
    Triangle,
)

triton: Any = importlib.import_module("triton") if find_spec("triton") else None
tl: Any = importlib.import_module("triton.language") if triton else None
constexpr: Any = tl.constexpr if triton else None

ELEMENTS = 128
"""Elements of a program: one a thread, because a step's latency is what a scan waits for (not tuned)."""


def compiled(function: Callable[..., Any]) -> Any:
    """Return the function as a Triton kernel, or untouched where there is no Triton.

    One is compiled for each combination of its choices and dtypes, none for single values or alignments.
    """
    if triton is None:
        return function
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    return triton.jit(
        function, do_not_specialize=[name for name in names if name not in function.__annotations__]
    )


@compiled
@no_type_check
def _triangle(x, constants):
    height = tl.load(constants)
    return tl.maximum(1.0 - tl.abs(x) * height, 0.0) * height


@compiled
@no_type_check
def _rectangle(x, constants):
    half, height = tl.load(constants), tl.load(constants + 1)
    return (tl.abs(x) < half).to(x.dtype) * height


@compiled
@no_type_check
def _exponential(x, constants):
    steepness = tl.load(constants)
    return steepness * tl.exp(-steepness * tl.abs(x))


@compiled
@no_type_check
def _sigmoid(x, constants):
    # σ(y) σ(−y) from e^{−|y|}, which keeps its precision in both tails
    steepness = tl.load(constants)
    decayed = tl.exp(-tl.abs(steepness * x))
    return steepness * (decayed / ((1.0 + decayed) * (1.0 + decayed)))


@compiled
@no_type_check
def _arctangent(x, constants):
    peak, slope = tl.load(constants), tl.load(constants + 1)
    return peak / (1.0 + (slope * x) * (slope * x))


@compiled
@no_type_check
def _gaussian(x, constants):
    height, mean, narrowness = tl.load(constants), tl.load(constants + 1), tl.load(constants + 2)
    scaled = (x - mean) * narrowness
    return height * tl.exp(-0.5 * (scaled * scaled))


@compiled
@no_type_check
def _multi_gaussian(x, constants):
    return _gaussian(x, constants) + _gaussian(x, constants + 3) + _gaussian(x, constants + 6)


@compiled
@no_type_check
def _phi(x, constants, given, inside, kind: constexpr):
    if kind == "given":
        found = tl.load(given, mask=inside)
    elif kind == "triangle":
        found = _triangle(x, constants)
    elif kind == "rectangle":
        found = _rectangle(x, constants)
    elif kind == "exponential":
        found = _exponential(x, constants)
    elif kind == "sigmoid":
        found = _sigmoid(x, constants)
    elif kind == "arctangent":
        found = _arctangent(x, constants)
    else:
        found = _multi_gaussian(x, constants)
    return found


@compiled
@no_type_check
def _add_ahead(weights, source, mixed, at, inside, size, following, done, weight_row, weight_column):
    # the last rows of the source were written by this program, perhaps by other threads of it
    tl.debug_barrier()
    to = at
    for k in range(following):
        weight, origin = weights + k * weight_row, at
        total = tl.load(mixed + to, mask=inside)
        for _ in range(done):
            total += tl.load(weight) * tl.load(source + origin, mask=inside)
            weight += weight_column
            origin += size
        tl.store(mixed + to, total, mask=inside)
        to += size


@compiled
@no_type_check
def _advance(
    drive,
    u,
    s,
    carry,
    coefficients,
    gate,
    weights,
    source,
    mixed,
    size,
    neurons,
    steps,
    following,
    done,
    weight_row,
    weight_column,
    reads: constexpr,
    is_gated: constexpr,
    looks_ahead: constexpr,
    elements: constexpr,
):
    at = tl.program_id(0).to(tl.int64) * elements + tl.arange(0, elements)
    inside = at < size
    neuron = at % neurons
    leak = tl.load(coefficients + neuron, mask=inside)
    multiplied = tl.load(coefficients + neurons + neuron, mask=inside)
    subtracted = tl.load(coefficients + 2 * neurons + neuron, mask=inside)
    threshold = tl.load(coefficients + 3 * neurons + neuron, mask=inside)
    c = tl.load(carry + at, mask=inside)
    place = at
    for _ in range(steps):
        potential = c + tl.load(drive + place, mask=inside)
        if reads:
            recurrent = tl.load(u + place, mask=inside)
            if is_gated:
                recurrent = tl.load(gate + neuron, mask=inside) * recurrent
            potential += recurrent
        fired = (potential - threshold >= 0.0).to(potential.dtype)
        tl.store(u + place, potential, mask=inside)
        tl.store(s + place, fired, mask=inside)
        c = leak * potential * (1.0 - multiplied * fired) - subtracted * fired
        place += size
        gate += neurons
    tl.store(carry + at, c, mask=inside)
    if looks_ahead:
        _add_ahead(weights, source, mixed, at, inside, size, following, done, weight_row, weight_column)


@compiled
@no_type_check
def _retreat(
    u,
    recurrent,
    direct,
    arriving,
    given,
    g,
    gated,
    carry,
    coefficients,
    constants,
    sums,
    gate,
    weights,
    source,
    mixed,
    size,
    neurons,
    steps,
    following,
    done,
    weight_row,
    weight_column,
    kind: constexpr,
    attached: constexpr,
    reads: constexpr,
    has_direct: constexpr,
    has_arriving: constexpr,
    is_gated: constexpr,
    learns: constexpr,
    looks_ahead: constexpr,
    elements: constexpr,
):
    at = tl.program_id(0).to(tl.int64) * elements + tl.arange(0, elements)
    inside = at < size
    neuron = at % neurons
    leak = tl.load(coefficients + neuron, mask=inside)
    multiplied = tl.load(coefficients + neurons + neuron, mask=inside)
    subtracted = tl.load(coefficients + 2 * neurons + neuron, mask=inside)
    threshold = tl.load(coefficients + 3 * neurons + neuron, mask=inside)
    later = tl.load(carry + at, mask=inside)
    last = (steps - 1).to(tl.int64)
    place = at + last * size
    gate += last * neurons
    sum_at = sums + at
    whole = size.to(tl.int64)
    if learns:
        at_leak = tl.load(sum_at, mask=inside)
        at_multiplied = tl.load(sum_at + whole, mask=inside)
        at_subtracted = tl.load(sum_at + 2 * whole, mask=inside)
        at_threshold = tl.load(sum_at + 3 * whole, mask=inside)
    for _ in range(steps):
        potential = tl.load(u + place, mask=inside)
        above = potential - threshold
        fired = (above >= 0.0).to(potential.dtype)
        phi = _phi(above, constants, given + place, inside, kind)
        at_spike = tl.zeros_like(potential)
        if has_direct:
            at_spike = tl.load(direct + place, mask=inside)
        if reads:
            at_spike += tl.load(recurrent + place, mask=inside)
        if attached:
            at_spike -= (leak * multiplied * potential + subtracted) * later
        now = phi * at_spike + leak * (1.0 - multiplied * fired) * later
        if has_arriving:
            now += tl.load(arriving + place, mask=inside)
        if learns:
            through = later * potential
            at_leak += (through * (1.0 - multiplied * fired)).to(at_leak.dtype)
            at_multiplied -= (through * leak * fired).to(at_leak.dtype)
            at_subtracted -= (later * fired).to(at_leak.dtype)
            at_threshold -= (phi * at_spike).to(at_leak.dtype)
        later = now
        tl.store(g + place, now, mask=inside)
        if is_gated:
            tl.store(gated + place, tl.load(gate + neuron, mask=inside) * now, mask=inside)
        place -= size
        gate -= neurons
    tl.store(carry + at, later, mask=inside)
    if learns:
        tl.store(sum_at, at_leak, mask=inside)
        tl.store(sum_at + whole, at_multiplied, mask=inside)
        tl.store(sum_at + 2 * whole, at_subtracted, mask=inside)
        tl.store(sum_at + 3 * whole, at_threshold, mask=inside)
    if looks_ahead:
        _add_ahead(weights, source, mixed, at, inside, size, following, done, weight_row, weight_column)


def advance(
    drive: Sequence,
    u: Sequence,
    s: Sequence,
    carry: Step,
    cells: Cells,
    *,
    gate: Float[Tensor, "time neuron"] | None,
    reads: bool,
    ahead: Ahead | None,
) -> None:
    """Run the steps of a block; arguments as `scan_torch.advance`, all contiguous."""
    _launch(
        _advance,
        (drive, u, s, carry, cells.coefficients, u if gate is None else gate),
        u,
        ahead,
        reads=reads,
        is_gated=gate is not None,
    )


def retreat(
    u: Sequence,
    recurrent: Sequence,
    direct: Sequence | None,
    arriving: Sequence | None,
    g: Sequence,
    gated: Sequence,
    carry: Step,
    cells: Cells,
    sums: Float[Tensor, "4 batch neuron"] | None,
    *,
    gate: Float[Tensor, "time neuron"] | None,
    reads: bool,
    ahead: Ahead | None,
) -> None:
    """Run the adjoint of `advance`; arguments as `scan_torch.retreat`, all contiguous."""
    kind, numbers = _constants(cells.surrogate)
    given = u
    if kind == "given":
        given = cells.surrogate.derivative(u - cells.coefficients[3]).to(u.dtype).contiguous()
    tensors = (
        u,
        recurrent,
        u if direct is None else direct,
        u if arriving is None else arriving,
        given,
        g,
        gated,
        carry,
        cells.coefficients,
        _on_device(numbers, u.dtype, u.device),
        u if sums is None else sums,
        u if gate is None else gate,
    )
    _launch(
        _retreat,
        tensors,
        u,
        ahead,
        kind=kind,
        attached=cells.attached,
        reads=reads,
        has_direct=direct is not None,
        has_arriving=arriving is not None,
        is_gated=gate is not None,
        learns=sums is not None,
    )


def _launch(
    kernel: Any, tensors: tuple[Tensor, ...], u: Sequence, ahead: Ahead | None, **choices: str | bool
) -> None:
    """Launch a kernel for every element (sample, neuron) of a block."""
    steps, batch, neurons = u.shape
    looked, counts = (u, u, u), (0, 0, 0, 0)
    if ahead is not None:
        looked = (ahead.weights, ahead.source, ahead.mixed)
        counts = (len(ahead.mixed), len(ahead.source), ahead.weights.stride(0), ahead.weights.stride(1))
    kernel[(-(-batch * neurons // ELEMENTS),)](
        *tensors,
        *looked,
        batch * neurons,
        neurons,
        steps,
        *counts,
        **choices,
        looks_ahead=ahead is not None,
        elements=ELEMENTS,
        enable_fp_fusion=False,
    )


def _constants(surrogate: Surrogate) -> tuple[str, tuple[float, ...]]:
    """Return how the kernel gets φ and its numbers: computed for the six of the package, else given."""
    k, kind = surrogate.scale, type(surrogate)
    if kind is Triangle:
        return "triangle", (1.0 / k,)
    if kind is Rectangle:
        return "rectangle", (0.5 * k, 1.0 / k)
    if kind is Exponential:
        return "exponential", (k,)
    if kind is Sigmoid:
        return "sigmoid", (k,)
    if kind is ArcTangent:
        return "arctangent", (0.5 * k, 0.5 * math.pi * k)
    if isinstance(surrogate, MultiGaussian) and kind is MultiGaussian:
        numbers: list[float] = []
        for weight, mean, deviation in surrogate._parts():
            numbers += (weight / (deviation * math.sqrt(2 * math.pi)), mean, 1.0 / deviation)
        return "multi-gaussian", tuple(numbers)
    return "given", (0.0,)


@lru_cache(maxsize=32)
def _on_device(numbers: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the numbers as a tensor, made once: a copy to a GPU at every launch would be waited for."""
    return torch.tensor(numbers, dtype=dtype, device=device)


TRITON = Scans("fused cuda", advance, retreat)
