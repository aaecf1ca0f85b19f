"""The loop over time: `reference` is the truth; every engine has its signature (`trace.Engine`)."""

from gradflow.engine.reference import run_layer as reference
from gradflow.engine.trace import Engine, LayerTrace

__all__ = ["Engine", "LayerTrace", "reference"]
