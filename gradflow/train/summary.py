"""What a finished run says: the best epoch, the test split, the cost of watching; as JSON and as lines."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from gradflow.train.files import write_whole
from gradflow.train.position import Tally
from gradflow.train.session import Session

SUMMARY_NAME = "summary.json"


@dataclass(frozen=True)
class Summary:
    """The result of a run.

    Attributes:
        folder: of the run. task, recurrence: as in its conventions.
        parameters: how many are learned. epochs, steps: made.
        best_epoch: the epoch that did best on validation, whose weights were tested.
        validation_accuracy, validation_loss: of that epoch.
        test_accuracy, test_loss, test_examples: of the test split, which was read once.
        seconds, watch_seconds: for training and validation; for watching the gradient.
        watch_overhead: the latter over the former. watch_expected: what was planned.
        watch_note: what was given up to stay within the budget, or "".
        processes: that trained together. model: snn, or the baseline's word.
    """

    folder: str
    task: str
    recurrence: str
    parameters: int
    epochs: int
    steps: int
    best_epoch: int
    validation_accuracy: float
    validation_loss: float
    test_accuracy: float
    test_loss: float
    test_examples: int
    seconds: float
    watch_seconds: float
    watch_overhead: float
    watch_expected: float
    watch_note: str
    processes: int = 1
    model: str = "snn"

    def as_json(self) -> str:
        """Return the summary as JSON."""
        return json.dumps(asdict(self), indent=2)

    def write(self, folder: Path) -> Path:
        """Write the summary into the folder of its run."""
        return write_whole(folder / SUMMARY_NAME, self.as_json().encode())

    @classmethod
    def read(cls, folder: Path) -> "Summary":
        """Read the summary of a finished run.

        Raises FileNotFoundError where the run is not finished, ValueError where the file is damaged.
        """
        path = folder / SUMMARY_NAME
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: no such file; the run in {folder} is not finished, or there is none"
            )
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            raise ValueError(f"{path}: not a summary; remove it and go on with --resume") from None

    def lines(self) -> list[str]:
        """Return the summary in words."""
        watched = (
            f"gradient watched in {self.watch_seconds:.1f} s, {self.watch_overhead:.1%} of training's time"
            if self.watch_seconds
            else "gradient not watched"
        )
        kind = self.recurrence if self.model == "snn" else self.model
        return [
            f"{self.task}, {kind}: {self.parameters} parameters, {self.epochs} epochs, "
            f"{self.steps} steps in {self.seconds:.1f} s"
            + (f" on {self.processes} processes" if self.processes > 1 else ""),
            f"validation {self.validation_accuracy:.2%} (loss {self.validation_loss:.4g}), best in epoch "
            f"{self.best_epoch}",
            f"test {self.test_accuracy:.2%} (loss {self.test_loss:.4g}) on {self.test_examples} examples",
            watched + (f"; {self.watch_note}" if self.watch_note else ""),
        ]


def summarise(session: Session, folder: Path, test: Tally) -> Summary:
    """Return the summary of a run whose epochs are done, with the sums over the test split."""
    at = session.position
    assert at.best is not None
    return Summary(
        folder=str(folder),
        task=str(session.conventions["task"]),
        recurrence=str(session.conventions["recurrence"]),
        parameters=sum(parameter.numel() for parameter in session.net.parameters()),
        epochs=at.epoch,
        steps=at.step,
        best_epoch=at.best.epoch,
        validation_accuracy=at.best.accuracy,
        validation_loss=at.best.loss,
        test_accuracy=test.accuracy,
        test_loss=test.mean_loss,
        test_examples=test.examples,
        seconds=at.seconds.training + at.seconds.validation,
        watch_seconds=at.seconds.watch,
        watch_overhead=at.seconds.overhead,
        watch_expected=session.plan.expected,
        watch_note=session.plan.note,
        processes=session.devices.processes,
        model=session.config.network.model,
    )
