"""What a run writes as it goes: a row an epoch, as CSV always, as TensorBoard events where installed."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gradflow.network import RecurrentSNN
from gradflow.recurrence import AdaptiveSpanParameters, SpanMode
from gradflow.train.files import write_whole
from gradflow.train.position import Tally
from gradflow.train.session import Session

LOG_NAME, EVENTS_NAME = "log.csv", "tensorboard"


def row_of(session: Session, validation: Tally) -> dict[str, Any]:
    """Return the log's row of the epoch that ends: before the spans are annealed."""
    at = session.position
    net = session.net
    owners = [layer.spans for layer in net.recurrent_layers()] if isinstance(net, RecurrentSNN) else []
    adaptive = [owner for owner in owners if isinstance(owner, AdaptiveSpanParameters)]
    spans = [owner.taps(SpanMode.HARD, net.output.weight).spans for owner in owners]
    return {
        "epoch": at.epoch + 1,
        "step": at.step,
        **{f"lr_{group['name']}": group["lr"] for group in session.optimiser.param_groups},
        "train_loss": at.tally.mean_loss,
        "train_accuracy": at.tally.accuracy,
        "gradient_norm": at.tally.mean_gradient,
        "validation_loss": validation.mean_loss,
        "validation_accuracy": validation.accuracy,
        "temperature": float(adaptive[0].temperature) if adaptive else "",
        "spans": " ".join(str(span[0]) if span else "0" for span in spans),
        "seconds": at.seconds.training + at.seconds.validation,
    }


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows with the same keys as CSV; the file is the old one or the new one at any moment."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return write_whole(path, text.getvalue().encode())


class Events:
    """TensorBoard events of a run; nothing where they are not wanted or tensorboard is not installed."""

    def __init__(self, folder: Path, *, wanted: bool, step: int) -> None:
        self._writer: Any = None
        if not wanted:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        # what a killed run wrote beyond its last checkpoint is hidden
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def add(self, row: Mapping[str, Any]) -> None:
        """Write the numbers of a row at its step."""
        if self._writer is None:
            return
        for name, value in row.items():
            if isinstance(value, int | float) and name not in ("step", "epoch"):
                group, _, rest = name.partition("_")
                self._writer.add_scalar(f"{group}/{rest}" if rest else name, value, row["step"])
        self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()
