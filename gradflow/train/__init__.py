"""Training: one configuration, a loop that can be killed and resumed, and the gradient watched meanwhile.

`train(config, folder)` does it all; `load_run(folder)` gives back the network of a run.
"""

from gradflow.train.budget import WatchPlan, plan_watch
from gradflow.train.build import build_network, build_optimiser, build_task, grouped_parameters
from gradflow.train.checkpoint import (
    Checkpoint,
    CheckpointError,
    CheckpointStore,
    ForeignCheckpointError,
    read_checkpoint,
    write_checkpoint,
)
from gradflow.train.config import TrainConfig
from gradflow.train.loop import load_run, stored_config, train
from gradflow.train.presets import PRESETS, preset
from gradflow.train.schedule import Rate, rate_of
from gradflow.train.session import Session
from gradflow.train.sources import merge, parse_settings, read_toml, resolve, write_toml
from gradflow.train.steps import DivergedError, evaluate, train_step
from gradflow.train.summary import Summary
from gradflow.train.watch import look, read_watch

__all__ = [
    "PRESETS",
    "Checkpoint",
    "CheckpointError",
    "CheckpointStore",
    "DivergedError",
    "ForeignCheckpointError",
    "Rate",
    "Session",
    "Summary",
    "TrainConfig",
    "WatchPlan",
    "build_network",
    "build_optimiser",
    "build_task",
    "evaluate",
    "grouped_parameters",
    "load_run",
    "look",
    "merge",
    "parse_settings",
    "plan_watch",
    "preset",
    "rate_of",
    "read_checkpoint",
    "read_toml",
    "read_watch",
    "resolve",
    "stored_config",
    "train",
    "train_step",
    "write_checkpoint",
    "write_toml",
]
