"""Threads, and the engines: which one a network gets on CPU and GPU, why, and whether it is right."""

import os
import time

import torch

import gradflow as gf
from gradflow import engine
from gradflow.checkup.check import Check, State
from gradflow.engine.automatic import unfused
from gradflow.engine.cuda import scans_for
from gradflow.engine.scan_torch import TORCH
from gradflow.neurons.dynamics import Dynamics
from gradflow.recurrence import SpanMode

AGREEMENT = 1e-4
"""Largest difference of gradients, as a share of the largest one: float32 sums in another order."""
STEPS, BATCH, NEURONS = 24, 3, 16


def checks() -> list[Check]:
    """Return the checks of threads, of the engine on the CPU, and of the GPU."""
    return [_threads(), _on_cpu(), *_on_gpu()]


def _threads() -> Check:
    told = ", ".join(
        f"{name}={os.environ[name]}"
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
        if name in os.environ
    )
    found = f"{torch.get_num_threads()} of {os.cpu_count()} processors" + (f" ({told})" if told else "")
    return Check("threads", "threads", State.FINE, found)


def _on_cpu() -> Check:
    """Run a small network by the engine that is chosen and by the reference, and compare."""
    began = time.perf_counter()
    try:
        chosen, reason = _chosen("cpu")
        if reason is not None:
            return Check("engine", "cpu", State.FAILED, f"reference, for {reason}", "report this")
        apart = _difference(torch.device("cpu"))
    except Exception as error:  # whatever numba or LLVM raise where they do not work
        words = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return Check(
            "engine", "cpu", State.FAILED, words, "install numba again: pip install --force-reinstall numba"
        )
    seconds = time.perf_counter() - began
    if not apart <= AGREEMENT:
        found = f"{chosen}, but its gradients differ from the reference's by {apart:.1e} of the largest"
        return Check("engine", "cpu", State.FAILED, found, "remove the kernels' cache and try again")
    found = (
        f"{chosen}: float32 on the CPU, spikes 0 or 1; as the reference within {apart:.0e} ({seconds:.1f} s)"
    )
    return Check("engine", "cpu", State.FINE, found)


def _on_gpu() -> list[Check]:
    """Say which GPU there is, and run a small network on it."""
    if not torch.cuda.is_available():
        built = f"torch {torch.__version__}" + ("" if torch.version.cuda else ", built without CUDA")
        return [Check("engine", "cuda", State.ABSENT, f"no GPU that torch can use ({built})")]
    found = []
    for index in range(torch.cuda.device_count()):
        device = torch.device("cuda", index)
        name, memory = (
            torch.cuda.get_device_name(device),
            torch.cuda.get_device_properties(device).total_memory,
        )
        try:
            scans = "scans in torch" if scans_for(device) is TORCH else "Triton kernels"
            apart = _difference(device)
        except Exception as error:  # whatever a driver raises
            words = f"{name}: {type(error).__name__}: {' '.join(str(error).split())}"
            found.append(Check("engine", f"cuda:{index}", State.FAILED, words, "update driver or torch"))
            continue
        state = State.FINE if apart <= AGREEMENT else State.FAILED
        words = f"{name}, {memory / 2**30:.0f} GiB, {scans}; as the reference within {apart:.0e}"
        found.append(Check("engine", f"cuda:{index}", state, words))
    return found


def _chosen(device: str) -> tuple[str, str | None]:
    """Return the name of the engine a default network gets, and why it is not the fused one."""
    drive = torch.zeros(1, 1, 1, device=device)
    dynamics: Dynamics = gf.LIF().build(1, None).dynamics(drive)
    reason = unfused(drive, dynamics)
    return ("reference" if reason else "fused"), reason


def _difference(device: torch.device) -> float:
    """Return how far the chosen engine's gradients are from the reference's, relative to the largest."""
    net = gf.RecurrentSNN(gf.Sizes(2, 3), hidden=NEURONS, recurrence=gf.Skip(4), device=device)
    inputs = torch.linspace(0.0, 3.0, STEPS * BATCH * 2).reshape(STEPS, BATCH, 2).to(device)
    targets = torch.arange(BATCH).to(device)
    found = []
    for runs in (engine.automatic, engine.reference):
        run = net(inputs, span_mode=SpanMode.SOFT, engine=runs)
        loss = torch.nn.functional.cross_entropy(run.logits, targets)
        gradients = torch.autograd.grad(loss, list(net.parameters()))
        found.append(torch.cat([gradient.flatten() for gradient in gradients]))
    fast, truth = found
    return float((fast - truth).abs().max() / truth.abs().max())
