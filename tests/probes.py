"""A second oracle: the loop over time with a zero added to every u and s, for autograd to differentiate.

The gradient at the zero added to s[t] is the whole of ∂L/∂s[t]: next layer, recurrence and attached reset.
"""

import torch

import gradflow as gf


class ProbedEngine:
    """An engine that runs one step at a time and keeps each layer's zeros, in the order of the layers."""

    def __init__(self):
        self.at_u, self.at_s = [], []

    def __call__(self, drive, V, dynamics, taps):
        at_u, at_s = (torch.zeros_like(drive).detach().requires_grad_() for _ in range(2))
        self.at_u.append(at_u)
        self.at_s.append(at_s)
        gates = torch.ones(len(drive)) if dynamics.gate is None else dynamics.gate_steps(drive)
        carried, us, ss = torch.zeros_like(drive[0]), [], []
        for t in range(len(drive)):
            past = sum(
                (p * ss[t - d] for d, p in zip(taps.spans, taps.weights, strict=True) if d <= t),
                torch.zeros_like(drive[0]),
            )
            recurrent = 0.0 if V is None else gates[t] * (past @ V.T)
            us.append(drive[t] + carried + recurrent + at_u[t])
            ss.append(dynamics.surrogate.spike(us[t] - dynamics.threshold) + at_s[t])
            s_reset = ss[t].detach() if dynamics.detach_reset else ss[t]
            kept = us[t] * (1 - dynamics.multiplied * s_reset)
            carried = dynamics.leak * kept - dynamics.subtracted * s_reset
        return gf.engine.LayerTrace(torch.stack(us), torch.stack(ss))


def probed_gradients(net, batch, losses, **options):
    """Return every layer's ∂L/∂u and ∂L/∂s of the summed losses, and the run."""
    engine = ProbedEngine()
    run = net(batch.inputs, engine=engine, **options)
    wanted = [*engine.at_u, *engine.at_s]
    grads = torch.autograd.grad(losses(run.logits, batch.targets).sum(), wanted, allow_unused=True)
    filled = [torch.zeros_like(w) if g is None else g for w, g in zip(wanted, grads, strict=True)]
    return filled[: len(run.layers)], filled[len(run.layers) :], run
