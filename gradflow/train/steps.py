"""One step of training, and a pass through a split without learning."""

import math

import torch
from torch import Tensor

from gradflow import seeds
from gradflow.layer import MaskRows, Masks
from gradflow.tasks import Batch, Split
from gradflow.train.devices import Share
from gradflow.train.position import Tally
from gradflow.train.session import Session


class DivergedError(ArithmeticError):
    """The loss or its gradient is no longer finite, or the loss exploded."""


def train_step(session: Session, batch: Batch) -> tuple[float, float, float]:
    """Make one step on a batch, as `learn` does on the share of it that falls to this process."""
    return learn(session, session.devices.share(batch))


def learn(session: Session, share: Share) -> tuple[float, float, float]:
    """Make one step on a batch: dropout, mean loss, gradient, clipping, the optimiser, running averages.

    Returns loss and right answers, summed over examples, and the norm of the gradient before clipping.

    Raises DivergedError, before any parameter is moved, where the loss or its gradient is not finite or the
    loss exceeds that of the first step by the factor `training.explosion`.
    """
    own, count = share.batch, share.whole
    session.model.train()
    try:
        with session.precision:
            run = session.model(own.inputs, generator=dropout_masks(session, share))
    except ValueError as error:
        # the engine refuses parameters that the step before has made infinite
        if all(torch.isfinite(parameter).all() for parameter in session.net.parameters()):
            raise
        raise _diverged(session, f"parameters are no longer finite ({error})") from error
    losses = session.task.objective.losses(run, own.targets)
    session.optimiser.zero_grad(set_to_none=True)
    session.devices.backward(losses.sum() * share.weight / count)
    correct = session.task.objective.correct(run, own.targets)
    loss, right = session.devices.total([_sum(losses, share), _sum(correct, share)])
    gradients = [p.grad for p in session.net.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    _require_sound(session, loss / count, float(norm))
    if session.config.optimiser.clip is not None:
        torch.nn.utils.clip_grads_with_norm_(session.net.parameters(), session.config.optimiser.clip, norm)
    session.optimiser.step()
    session.net.update_norms(run)
    return loss, right, float(norm)


@torch.no_grad()
def evaluate(session: Session, split: Split) -> Tally:
    """Return the sums of loss and right answers over a split, in evaluation mode: hard spans, no dropout."""
    session.model.eval()
    tally = Tally()
    for share in session.devices.shares(session.task, session.config.training.batch, split=split):
        run = session.model(share.batch.inputs)
        losses = session.task.objective.losses(run, share.batch.targets)
        correct = session.task.objective.correct(run, share.batch.targets)
        loss, right = session.devices.total([_sum(losses, share), _sum(correct, share)])
        tally = tally.plus(loss, right, share.whole)
    return tally


def dropout_masks(session: Session, share: Share) -> Masks:
    """Return what this step's dropout masks are drawn from: a stream of (seed, epoch, batch), on the CPU.

    An example has the same mask whichever process computes it.
    """
    at = session.position
    seed = seeds.derive(session.config.training.seed, "dropout", at.epoch, at.batch)
    generator = torch.Generator().manual_seed(seed)
    return generator if len(share.rows) == share.whole else MaskRows(generator, share.rows, share.whole)


def _sum(values: Tensor, share: Share) -> float:
    """Sum in float64, so that thousands of examples lose no digits."""
    return float(values.detach().double().sum()) * share.weight


def _require_sound(session: Session, loss: float, norm: float) -> None:
    """Raise DivergedError for a loss or gradient with which it makes no sense to go on."""
    first = session.position.first_loss
    limit = math.inf if first is None else session.config.training.explosion * first
    if not (math.isfinite(loss) and math.isfinite(norm) and loss <= limit):
        raise _diverged(session, f"the loss is {loss:.4g} and the norm of its gradient {norm:.4g}")


def _diverged(session: Session, seen: str) -> DivergedError:
    """Return the error that says what was seen, when, and against what."""
    at = session.position
    before = f", {at.tally.mean_loss:.4g} on average in this epoch so far" if at.tally.examples else ""
    start = "" if at.first_loss is None else f" (the first step's loss was {at.first_loss:.4g}{before})"
    rates = ", ".join(f"{group['name']} {group['lr']:.3g}" for group in session.optimiser.param_groups)
    return DivergedError(
        f"training diverged in epoch {at.epoch + 1}, step {at.step + 1}: {seen}{start}, at the rates "
        f"{rates}; lower optimiser.lr or set optimiser.clip"
    )
