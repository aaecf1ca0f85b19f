"""The Triton kernels against the scans in torch, in Triton's interpreter; test_cuda runs this file by itself.

The interpreter must be chosen (TRITON_INTERPRET=1) before Triton is imported, and then holds for the process.
"""

import os
from dataclasses import replace
from functools import partial

import pytest
import torch
from agreement import check_agreement, gradients, layer
from cases import SURROGATES, TABLE
from compare import assert_close, assert_equal

import gradflow as gf
from gradflow.engine.scan_torch import TORCH, Ahead, Cells
from gradflow.engine.scan_triton import ELEMENTS, TRITON

if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("run with TRITON_INTERPRET=1", allow_module_level=True)

STEPS, BATCH, NEURONS, BEFORE, AFTER = 5, 3, 50, 2, 3
SCANS = (TORCH, TRITON)


class Own(gf.Triangle):
    """A surrogate that the kernels do not know."""

    def derivative(self, x):
        return 0.3 + 0.5 * super().derivative(x)


KINDS = {**SURROGATES, "own": Own}


def normal(name, *shape, dtype):
    return torch.from_numpy(gf.seeds.normal(7, name, shape=shape)).to(dtype)


def cells(kind, reset, attached, dtype):
    """Return neurons that all differ; `reset` soft, hard or (as a GLIF neuron's) between both."""
    leak, between, voltage, threshold = normal("coefficients", 4, NEURONS, dtype=torch.float64).sigmoid()
    multiplied = {"soft": 0 * leak, "hard": 0 * leak + 1, "gated": between}[reset]
    subtracted = {"soft": leak * threshold, "hard": 0 * leak, "gated": voltage}[reset]
    surrogate = KINDS[kind](KINDS[kind]().scale * 1.7)
    return Cells(torch.stack([leak, multiplied, subtracted, threshold]).to(dtype), surrogate, attached)


def ahead(source, dtype, *, forward):
    """Return weights of a block of which BEFORE + STEPS steps are done and AFTER are to come."""
    weights = normal("weights", 12, 12, dtype=dtype)
    weights = (
        weights[1 : 1 + AFTER, 2 : 2 + len(source)] if forward else weights.T[:AFTER, 1 : 1 + len(source)]
    )
    return Ahead(weights, source, normal("mixed", AFTER, BATCH, NEURONS, dtype=dtype))


def advanced(scans, neurons, dtype, gate, looks):
    """Return what a scan leaves: u, s, the carry and the mixtures of the next steps."""
    u = normal("recurrent", STEPS, BATCH, NEURONS, dtype=dtype)
    whole = normal("spikes", BEFORE + STEPS, BATCH, NEURONS, dtype=dtype)
    s, carry = whole[BEFORE:], normal("carry", BATCH, NEURONS, dtype=dtype)
    look = ahead(whole, dtype, forward=True) if looks else None
    drive = normal("drive", STEPS, BATCH, NEURONS, dtype=dtype)
    scans.advance(drive, u, s, carry, neurons, gate=gate, reads=looks, ahead=look)
    return {"u": u, "s": s, "carry": carry, **({"mixed": look.mixed} if look else {})}


def retreated(scans, neurons, dtype, gate, rich):
    """Return what an adjoint scan leaves; `rich`: with all it may read and write, else with none of it."""
    u = normal("u", STEPS, BATCH, NEURONS, dtype=dtype)
    g = normal("recurrent", STEPS, BATCH, NEURONS, dtype=dtype)
    whole = normal("gated", STEPS + BEFORE, BATCH, NEURONS, dtype=dtype)
    gated = whole[:STEPS] if gate is not None else g
    carry = normal("carry", BATCH, NEURONS, dtype=dtype)
    direct, arriving = (normal(name, STEPS, BATCH, NEURONS, dtype=dtype) for name in ("direct", "arriving"))
    sums = normal("sums", 4, BATCH, NEURONS, dtype=torch.float64) if rich else None
    look = ahead(whole, dtype, forward=False) if rich else None
    scans.retreat(
        u,
        g,
        direct if rich else None,
        arriving if rich else None,
        g,
        gated,
        carry,
        neurons,
        sums,
        gate=gate,
        reads=rich,
        ahead=look,
    )
    found = {"g": g, "gated": gated, "carry": carry}
    return {**found, "sums": sums, "mixed": look.mixed} if rich else found


@pytest.mark.parametrize("is_gated", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("attached", [False, True])
@pytest.mark.parametrize("reset", ["soft", "hard", "gated"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_kernels_compute_what_the_scans_compute(kind, reset, attached, dtype, is_gated):
    assert BATCH * NEURONS > ELEMENTS, "two programs, the second not full"
    neurons = cells(kind, reset, attached, dtype)
    gate = normal("gate", STEPS, NEURONS, dtype=dtype) if is_gated else None
    for choice in (False, True):
        want, got = (advanced(scans, neurons, dtype, gate, choice) for scans in SCANS)
        assert 0 < float(want["s"].mean()) < 1
        for name in ("u", "s", "carry"):
            # the same operations in the same order, none of them contracted
            assert_equal(got[name], want[name])
        compare(got, want, dtype)
        want, got = (retreated(scans, neurons, dtype, gate, choice) for scans in SCANS)
        compare(got, want, dtype)


def compare(got, want, dtype):
    for name, value in want.items():
        # a φ in other operations, and sums of tens of terms of order 1 in another order
        close = 50 * torch.finfo(dtype).eps
        assert_close(got[name], value, rtol=close, atol=close, why=f"rounding, {name}")


@pytest.mark.parametrize("name", TABLE)
def test_every_case_agrees(name):
    assert check_agreement(TABLE[name], partial(gf.engine.cuda, scans=TRITON), "fused cuda", through_u=True)


@pytest.mark.parametrize("spans", [(1,), (7,), (1, 2), (3, 5, 19, 60), (17, 18), tuple(range(1, 20))])
def test_spans(spans):
    weights = [1.5 / len(spans)] * len(spans)
    drive, V, dynamics = layer(steps=22, batch=3, neurons=50)
    dynamics = replace(dynamics, surrogate=gf.ArcTangent())
    want, expected = gradients(gf.engine.reference, drive, V, dynamics, spans, weights)
    got, found = gradients(partial(gf.engine.cuda, scans=TRITON), drive, V, dynamics, spans, weights)
    assert_equal(got.s, want.s)
    for a, b, name in zip(found, expected, ("drive", "V", "p"), strict=True):
        assert_close(a, b, rtol=1e-10, atol=1e-11 * float(b.abs().max()), why=f"order of sums, {name}")
