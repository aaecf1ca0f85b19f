"""Evaluation of what was learned: accuracy with interval, confusion, firing, robustness, operations, energy.

`evaluate(model, task)` answers a split once, `robustness(model, task, disturbances)` under disturbances;
`evaluate_runs(folders)` does both for training runs side by side.
"""

from gradflow.evaluation.answers import evaluate
from gradflow.evaluation.bands import accuracies, accuracy_band, disturbed_words, groups_of
from gradflow.evaluation.disturbances import (
    DISTURBANCES,
    Disturbance,
    EventJitter,
    InputNoise,
    MembraneNoise,
    SpanShift,
    SpikeDeletion,
    TimeJitter,
)
from gradflow.evaluation.disturbed import run_disturbed
from gradflow.evaluation.intervals import wilson_interval
from gradflow.evaluation.operations import EnergyModel
from gradflow.evaluation.resistance import robustness
from gradflow.evaluation.runs import evaluate_runs
from gradflow.evaluation.streams import Streams
from gradflow.evaluation.words import parse_disturbances

__all__ = [
    "DISTURBANCES",
    "Disturbance",
    "EnergyModel",
    "EventJitter",
    "InputNoise",
    "MembraneNoise",
    "SpanShift",
    "SpikeDeletion",
    "Streams",
    "TimeJitter",
    "accuracies",
    "accuracy_band",
    "disturbed_words",
    "evaluate",
    "evaluate_runs",
    "groups_of",
    "parse_disturbances",
    "robustness",
    "run_disturbed",
    "wilson_interval",
]
