"""The configuration of a training run: one frozen model a part for each concern; unknown keys refused.

Every value has a default, so that `TrainConfig()` is whole; the defaults are those of the published set-ups
on smnist and psmnist (arXiv 2505.11455), the vanilla recurrence apart.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    field_validator,
    model_validator,
)

from gradflow.baselines import Cell
from gradflow.neurons import Neuron
from gradflow.norms import Norm
from gradflow.readout import Readout
from gradflow.recurrence import Recurrence
from gradflow.seeds import MAX_SEED
from gradflow.train.kinds import (
    NEURONS,
    NORMS,
    RECURRENCES,
    PerLayer,
    Table,
    cell_of,
    from_table,
    objects_of,
    whole_table,
)

Count = Annotated[int, Field(strict=True, ge=1)]
Whole = Annotated[int, Field(strict=True, ge=0)]
Seed = Annotated[int, Field(strict=True, ge=0, le=MAX_SEED)]
Positive = Annotated[float, Field(strict=True, gt=0)]
NotNegative = Annotated[float, Field(strict=True, ge=0)]
Share = Annotated[float, Field(strict=True, ge=0, lt=1)]
Yes = Annotated[bool, Field(strict=True)]
Word = Annotated[str, Field(strict=True, min_length=1)]
Option = StrictBool | StrictInt | StrictFloat | StrictStr


class Part(BaseModel):
    """A part of the configuration: frozen, unknown keys refused, no NaN and no infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TaskPart(Part):
    """What is learned.

    Attributes:
        name: of the task, as `gradflow tasks` lists it.
        folder: with its files; None for the data that ship with gradflow's dependencies.
        options: of the task's function, such as pool, split_seed, permutation_seed.
    """

    name: Word = "psmnist"
    folder: Word | None = None
    options: dict[str, Option] = {}


class NetworkPart(Part):
    """What learns; the arguments of `RecurrentSNN`, with words or tables where it takes objects.

    A baseline takes those that are its own as well: recurrence and norm are refused, and the neuron but for
    decay and threshold of a LIF in the layers of other libraries.

    Attributes:
        model: snn, or a baseline (`gradflow.baselines`): rnn, gru, lstm, snntorch or spikingjelly.
        hidden: neurons of each layer; with `parameters`, in these proportions.
        parameters: how many the network is to learn: the nearest sizes are taken; None for `hidden` itself.
        recurrence: vanilla, none, skip:SPAN, asrc:MAX_SPAN or a table; one, or a list with one per layer.
        neuron: lif, plif, glif or a table, its surrogate within; one, or one per layer.
        norm: layer, batch or a table; None for none.
        readout: sum, mean or last, where the task does not say.
        bias: whether the linear maps have one. dropout: share of currents dropped (of a baseline: of each
            layer's outputs), one mask a sequence.
        recurrent_gain: factor on the orthogonal V at the start.
        seed: of the parameters at the start.
        dtype: float32 or float64.
    """

    model: Literal["snn", "rnn", "gru", "lstm", "snntorch", "spikingjelly"] = "snn"
    hidden: Annotated[tuple[Count, ...], Field(min_length=1)] = (64, 128, 128)
    parameters: Count | None = None
    recurrence: PerLayer = Field(default="vanilla", validate_default=True)
    neuron: PerLayer = Field(default="lif", validate_default=True)
    norm: Table | None = None
    readout: Literal["sum", "mean", "last"] = Readout.SUM.value
    bias: Yes = True
    dropout: Share = 0.0
    recurrent_gain: Annotated[float, Field(strict=True)] = 1.0
    seed: Seed = 0
    dtype: Literal["float32", "float64"] = "float32"

    @field_validator("recurrence", mode="before")
    @classmethod
    def _recurrence(cls, given: Any) -> Any:
        return whole_table(RECURRENCES, given)

    @field_validator("neuron", mode="before")
    @classmethod
    def _neuron(cls, given: Any) -> Any:
        return whole_table(NEURONS, given)

    @field_validator("norm", mode="before")
    @classmethod
    def _norm(cls, given: Any) -> Any:
        return None if given is None else whole_table(NORMS, given)

    @model_validator(mode="after")
    def _fits(self) -> "NetworkPart":
        self.cell()
        return self

    def cell(self) -> Cell | None:
        """Return the cell of a baseline, or None for a spiking network of gradflow's own.

        Raises ValueError for choices that are not the baseline's.
        """
        return cell_of(self.model, self.recurrence, self.neuron, self.norm)

    def recurrences(self) -> Recurrence | tuple[Recurrence, ...]:
        """Return the recurrence, or that of each layer."""
        found: Recurrence | tuple[Recurrence, ...] = objects_of(RECURRENCES, self.recurrence)
        return found

    def neurons(self) -> Neuron | tuple[Neuron, ...]:
        """Return the neuron, or that of each layer."""
        found: Neuron | tuple[Neuron, ...] = objects_of(NEURONS, self.neuron)
        return found

    def norms(self) -> Norm | None:
        """Return the norm, or None."""
        found: Norm | None = None if self.norm is None else from_table(NORMS, self.norm)
        return found


class OptimiserPart(Part):
    """How parameters are moved; each rate is the peak of the schedule.

    Attributes:
        name: adamw, adam or sgd.
        lr, weight_decay: of weights and biases; norms have the rate and no decay.
        neuron_lr: of the neurons' own parameters (published: 1e-4), without decay.
        span_lr: of the span logits c (published: 0.1; 0.25 on gsc), without decay.
        momentum: β₁ of Adam, or SGD's; where the schedule cycles it, the schedule's goes instead.
        beta2, epsilon: of Adam (torch's defaults).
        clip: largest norm of the whole gradient; None for no clipping.
    """

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: Positive = 1e-3
    weight_decay: NotNegative = 0.01
    neuron_lr: Positive = 1e-4
    span_lr: Positive = 0.1
    momentum: Share = 0.9
    beta2: Share = 0.999
    epsilon: Positive = 1e-8
    clip: Positive | None = None


class SchedulePart(Part):
    """How the rates change from epoch to epoch (see `gradflow.train.schedule`).

    Attributes:
        name: one-cycle, cosine or constant.
        rise: share of the epochs in which one-cycle rises.
        start, end: one-cycle starts at peak / start and ends at peak / (start · end).
        cycle_momentum: let the momentum go from 0.95 down to 0.85 at the peak and back, as torch's one-cycle
            does by default, and so the authors' code.
    """

    name: Literal["one-cycle", "cosine", "constant"] = "one-cycle"
    rise: Annotated[float, Field(strict=True, gt=0, lt=1)] = 0.3
    start: Annotated[float, Field(strict=True, ge=1)] = 25.0
    end: Annotated[float, Field(strict=True, ge=1)] = 1e4
    cycle_momentum: Yes = True


class TrainingPart(Part):
    """How long, in what portions, and where.

    Attributes:
        epochs: passes through the training split. batch: examples of a step.
        seed: of the order of the examples and of dropout, epoch by epoch.
        explosion: stop where a step's loss exceeds this many times that of the first step.
        device: cpu, cuda, or auto: cuda where there is one.
        precision: full, or bf16: feed-forward products and readout of training steps in bfloat16, all else
            (potentials, recurrence, gradients along time, validation and test) in float32.
    """

    epochs: Count = 200
    batch: Count = 256
    seed: Seed = 0
    explosion: Annotated[float, Field(strict=True, gt=1)] = 1e3
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["full", "bf16"] = "full"


class WatchPart(Part):
    """The gradient while the network learns (see `gradflow.train.watch`).

    Attributes:
        every: epochs (or steps, with `unit`) between two looks; 0 for none.
        unit: epochs or steps.
        samples: sequences looked at, fewer where the budget does not allow them.
        lags: longest lag of the Jacobian curves; None for the whole sequence.
        budget: what watching may cost, as a share of the time of training.
        seed: of the sequences, drawn from the training split.
    """

    every: Whole = 1
    unit: Literal["epochs", "steps"] = "epochs"
    samples: Count = 4
    lags: Count | None = None
    budget: Positive = 0.1
    seed: Seed = 0


class CheckpointPart(Part):
    """What is kept to go on from.

    Attributes:
        every: steps between checkpoints inside an epoch; 0 for those at the end of epochs alone.
        keep: how many of the latest are kept, the best one apart.
    """

    every: Whole = 0
    keep: Annotated[int, Field(strict=True, ge=2)] = 2


class LoggingPart(Part):
    """What is written beside the CSV log.

    Attributes:
        tensorboard: write event files, where tensorboard is installed.
    """

    tensorboard: Yes = True


class TrainConfig(Part):
    """Everything that decides a training run.

    >>> TrainConfig().optimiser.span_lr
    0.1
    """

    task: TaskPart = TaskPart()
    network: NetworkPart = NetworkPart()
    optimiser: OptimiserPart = OptimiserPart()
    schedule: SchedulePart = SchedulePart()
    training: TrainingPart = TrainingPart()
    watch: WatchPart = WatchPart()
    checkpoint: CheckpointPart = CheckpointPart()
    logging: LoggingPart = LoggingPart()

    @model_validator(mode="after")
    def _precision(self) -> "TrainConfig":
        kind = (self.network.model, self.network.dtype)
        if self.training.precision != "full" and kind != ("snn", "float32"):
            raise ValueError(
                f"training.precision: got {self.training.precision} for model {kind[0]} in {kind[1]}, "
                "expected full; bf16 is for gradflow's own networks in float32"
            )
        return self

    def as_tables(self) -> dict[str, Any]:
        """Return the configuration as TOML can hold it: tables without the keys that are None."""
        return self.model_dump(mode="json", exclude_none=True)
