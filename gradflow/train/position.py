"""Where a run is: steps made, sums of the epoch so far, the history, the best epoch, and time spent."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Tally(NamedTuple):
    """Sums over examples and steps, from which means are taken.

    Attributes:
        loss, correct: summed over examples. examples: how many.
        gradient: norms of the whole gradient, summed over steps. steps: how many.
    """

    loss: float = 0.0
    correct: float = 0.0
    examples: int = 0
    gradient: float = 0.0
    steps: int = 0

    def plus(self, loss: float, correct: float, examples: int, gradient: float = 0.0) -> "Tally":
        """Return the sums with one more step."""
        return Tally(
            self.loss + loss,
            self.correct + correct,
            self.examples + examples,
            self.gradient + gradient,
            self.steps + 1,
        )

    @property
    def mean_loss(self) -> float:
        """The loss per example."""
        return self.loss / self.examples

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return self.correct / self.examples

    @property
    def mean_gradient(self) -> float:
        """The norm of the gradient, per step."""
        return self.gradient / self.steps


class Best(NamedTuple):
    """The epoch that did best on the validation split."""

    epoch: int
    step: int
    accuracy: float
    loss: float

    def beats(self, other: "Best | None") -> bool:
        """Return whether this one is better: more right answers, or as many at a smaller loss."""
        return other is None or (self.accuracy, -self.loss) > (other.accuracy, -other.loss)


class Seconds(NamedTuple):
    """Time spent on steps, on validation, on watching the gradient and on writing."""

    training: float = 0.0
    validation: float = 0.0
    watch: float = 0.0
    writing: float = 0.0

    def plus(self, **spent: float) -> "Seconds":
        """Return the times with something added."""
        return self._replace(**{name: getattr(self, name) + value for name, value in spent.items()})

    @property
    def overhead(self) -> float:
        """What watching took, as a share of training and validation."""
        base = self.training + self.validation
        return self.watch / base if base else 0.0


class Position(NamedTuple):
    """Where a run is; everything here is plain numbers, so that JSON holds it exactly.

    Attributes:
        step: of the optimiser, made in all. epoch: finished. batch: done in the epoch that runs.
        tally: of the epoch that runs. first_loss: of the very first step.
        history: a row for each epoch. best: the best of them. seconds: spent.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    tally: Tally = Tally()
    first_loss: float | None = None
    history: tuple[dict[str, Any], ...] = ()
    best: Best | None = None
    seconds: Seconds = Seconds()

    def as_json(self) -> dict[str, Any]:
        """Return plain dictionaries and numbers."""
        best = None if self.best is None else self.best._asdict()
        parts = {"tally": self.tally._asdict(), "seconds": self.seconds._asdict(), "best": best}
        return {**self._asdict(), **parts}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Position":
        """Return the position that `as_json` wrote."""
        parts = {
            "tally": Tally(**data["tally"]),
            "history": tuple(data["history"]),
            "best": None if data["best"] is None else Best(**data["best"]),
            "seconds": Seconds(**data["seconds"]),
        }
        return cls(**{**data, **parts})
