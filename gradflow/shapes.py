"""The axes and array types that every module of gradflow shares.

Axes, in the one order in which they appear everywhere:

========  =====================================================================
time      t = 0 … T−1, in steps of the network
batch     sequences computed together by the network; `sample` in labelled arrays
neuron    units of one layer, 0 … H−1 (`source` and `target` where there are two)
layer     recurrent layers, 0 (next to the input) … L−1
lag       n = T − t, distance in steps between the end and the start of a product
span      d = 1 … D, how many steps back a recurrent current reads
========  =====================================================================
"""

from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

Sequence: TypeAlias = Float[Tensor, "time batch neuron"]
Inputs: TypeAlias = Float[Tensor, "time batch input"]
Past: TypeAlias = Float[Tensor, "reach batch neuron"]
"""Spikes of the last steps of a segment, as many as the longest span."""
Step: TypeAlias = Float[Tensor, "batch neuron"]
Logits: TypeAlias = Float[Tensor, "batch classes"]
Targets: TypeAlias = Int[Tensor, " batch"]
AnyTargets: TypeAlias = Int[Tensor, " batch"] | Int[Tensor, "item batch"] | Float[Tensor, " batch"]
"""A class for each sequence, or one for each of its last steps, or a number."""
PerSample: TypeAlias = Float[Tensor, " batch"]
Weights: TypeAlias = Float[Tensor, "target source"]
PerNeuron: TypeAlias = Float[Tensor, "*neuron"]
"""One value for the whole layer (shape ()) or one per neuron (shape (H,))."""

TimeSampleNeuron: TypeAlias = Float[np.ndarray, "time sample neuron"]
Matrix: TypeAlias = Float[np.ndarray, "target source"]
Curve: TypeAlias = Float[np.ndarray, "*rest lag"]
Vector: TypeAlias = Float[np.ndarray, " n"]
Mask: TypeAlias = Bool[np.ndarray, "*rest lag"]
