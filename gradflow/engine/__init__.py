"""The loop over time, each an `Engine`: `reference` is the truth, `fused` is fast, `cuda` its twin on GPUs.

`automatic` chooses.
"""

from gradflow.engine.automatic import run_layer as automatic
from gradflow.engine.cuda import run_layer as cuda
from gradflow.engine.currents import is_narrow, narrow_linear, spike_linear
from gradflow.engine.fused import run_layer as fused
from gradflow.engine.observation import Observation
from gradflow.engine.observing import Observing
from gradflow.engine.reference import run_layer as reference
from gradflow.engine.segments import LayerState, run_segment
from gradflow.engine.trace import Engine, LayerTrace

__all__ = [
    "Engine",
    "LayerState",
    "LayerTrace",
    "Observation",
    "Observing",
    "automatic",
    "cuda",
    "fused",
    "is_narrow",
    "narrow_linear",
    "reference",
    "run_segment",
    "spike_linear",
]
