"""Agreement of an engine with the reference, on whole networks and on one layer."""

import torch
from compare import assert_close

import gradflow as gf
from gradflow.recurrence import Taps


def run_and_gradients(net, batch, engine, *, through_u=False):
    """Return the run and the gradients of the summed loss for the inputs and every parameter."""
    x = batch.inputs.clone().requires_grad_()
    run = net(x, engine=engine)
    loss = torch.nn.functional.cross_entropy(run.logits, batch.targets, reduction="sum")
    if through_u:
        loss = loss + sum((layer.u * layer.s.detach()).sum() for layer in run.layers)
    leaves = {"inputs": x, **dict(net.named_parameters())}
    grads = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    zeros = {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
    return run, {name: zeros[name] if g is None else g for name, g in zip(leaves, grads, strict=True)}


def check_agreement(case, engine, word, *, dtype=torch.float64, through_u=False, device="cpu"):
    """Assert that `engine`, which calls itself `word`, gives the run and gradients of the reference on CPU.

    Return False where a rounding flipped a spike.
    """
    net, batch = case.net(dtype=dtype), case.data(dtype)
    want, expected = run_and_gradients(net, batch, gf.engine.reference, through_u=through_u)
    there = gf.Batch(batch.inputs.to(device), batch.targets.to(device))
    got, found = run_and_gradients(net.to(device), there, engine, through_u=through_u)
    assert got.engine == word
    if any(not torch.equal(a.s, b.s.cpu()) for a, b in zip(want.layers, got.layers, strict=True)):
        return False
    # float64: sums of tens of terms in another order; float32: the same at 6e-8 instead of 1e-16
    close = 1e-10 if dtype == torch.float64 else 1e-5
    for a, b in zip(want.layers, got.layers, strict=True):
        assert_close(b.u, a.u, rtol=close, atol=close * float(a.u.detach().abs().max()), why="order of sums")
    # cancellation can make a whole tensor zero but for the rounding of terms of order 1 or of other gradients
    scale = 1.0 + max(float(value.abs().max()) for value in expected.values() if value.numel())
    rounding = 20 * torch.finfo(dtype).eps * scale
    for name, value in expected.items():
        size = float(value.abs().max()) if value.numel() else 0.0
        assert_close(found[name], value, atol=close * size + rounding, why=f"order of sums, {name}")
    return True


def layer(kind=torch.float64, *, steps=40, batch=6, neurons=70, seed=0, drive=0.6, gain=1.0):
    """Return drive, V and dynamics of one layer."""
    draw = [
        torch.from_numpy(gf.seeds.normal(seed, name, shape=shape)).to(kind)
        for name, shape in (("drive", (steps, batch, neurons)), ("V", (neurons, neurons)))
    ]
    spec = gf.LIF(decay=0.7)
    return drive * draw[0] + 0.4, gain * draw[1] / neurons**0.5, spec.build(neurons, steps).dynamics(draw[0])


def gradients(engine, drive, V, dynamics, spans, weights):
    """Return u and the gradients of a weighted sum of u and s for drive, V and the weights."""
    leaves = [value.clone().requires_grad_() for value in (drive, V, drive.new_tensor(weights))]
    trace = engine(leaves[0], leaves[1], dynamics, Taps(spans, leaves[2]))
    factors = torch.linspace(-1, 1, trace.s.shape[2]).to(drive)
    loss = (trace.s * factors).sum() + (trace.u**2).sum()
    grads = torch.autograd.grad(loss, leaves, allow_unused=True)
    return trace, [torch.zeros_like(x) if g is None else g for g, x in zip(grads, leaves, strict=True)]
