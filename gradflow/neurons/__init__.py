"""Neuron models, one a file; all are coefficients of one update rule (`dynamics`)."""

from gradflow.neurons.base import Neuron, NeuronParameters
from gradflow.neurons.dynamics import Dynamics, Reset
from gradflow.neurons.glif import GLIF
from gradflow.neurons.lif import LIF
from gradflow.neurons.plif import PLIF

__all__ = ["GLIF", "LIF", "PLIF", "Dynamics", "Neuron", "NeuronParameters", "Reset"]
