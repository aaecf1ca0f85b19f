"""Time checkpointing: keep what one segment hands to the next, and compute the rest again when it is needed.

Chen et al. 2016 (arXiv:1604.06174), along time. For segments of k steps, T/k states and the activations of
one segment are held instead of those of T steps; every step runs forward twice. Axes: time batch neuron.
"""

from collections.abc import Sequence as Many

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gradflow.engine import Engine, LayerState
from gradflow.layer import LayerRun, RecurrentLayer, engine_word, readout_of
from gradflow.norms import BatchNormParameters
from gradflow.recurrence import SpanMode
from gradflow.shapes import Inputs


def run_in_segments(
    layers: Many[RecurrentLayer],
    output: nn.Linear,
    x: Inputs,
    every: int,
    mode: SpanMode,
    engine: Engine,
    masks: Many[Tensor | None],
    track_drive: bool,
) -> tuple[Float[Tensor, "time batch classes"], list[LayerRun]]:
    """Return the readout's outputs of every step, and runs of the layers without any time steps.

    Args:
        layers: of the network, from the inputs on.
        output: the readout.
        x: inputs, (time, batch, input).
        every: steps of a segment, at least 1.
        mode: soft or hard spans.
        engine: what runs a layer.
        masks: of dropout, one for each layer.
        track_drive: as for `RecurrentSNN.forward`.

    Raises:
        ValueError: for segments of less than one step, or batch norm in training, which needs all steps.
    """
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise ValueError(
            f"checkpoint={every!r}: expected the steps of a segment, a whole number of at least 1"
        )
    if any(isinstance(layer.norm, BatchNormParameters) and layer.training for layer in layers):
        raise ValueError(
            "checkpoint: batch norm in training takes its statistics over all steps at once; use eval(), "
            "LayerNorm(), or no checkpointing"
        )
    words: list[str] = []

    def segment(part: Tensor, first: int, *handed: Tensor) -> tuple[Tensor, ...]:
        below, sparse, after = part, False, []
        for index, layer in enumerate(layers):
            state = LayerState(*handed[2 * index : 2 * index + 2])
            trace, state = layer.run_segment(
                below, first, state, mode, engine, mask=masks[index], track_drive=track_drive, sparse=sparse
            )
            words.append(engine_word(engine, trace))
            below, sparse = trace.s, words[-1] == "fused"
            after += [state.carry, state.past]
        return (readout_of(output, below, track_drive=track_drive, sparse=sparse), *after)

    handed = [tensor for layer in layers for tensor in _start(layer, x)]
    outputs = []
    for first in range(0, len(x), every):
        part = x[first : first + every]
        readout, *handed = checkpoint(
            segment, part, first, *handed, use_reentrant=False, preserve_rng_state=False
        )
        outputs.append(readout)
    return torch.cat(outputs), [
        _empty_run(layer, x, mode, track_drive, word) for layer, word in zip(layers, words, strict=False)
    ]


def _start(layer: RecurrentLayer, x: Inputs) -> tuple[Tensor, Tensor]:
    """Return the state of a layer before the first step."""
    reach = layer.spans.spec.max_span if layer.V is not None else 0
    # spikes from before the sequence are never read: a longer span than the sequence needs no longer past
    state = LayerState.start(x, x.shape[1], layer.linear.out_features, min(reach, len(x)))
    return state.carry, state.past


def _empty_run(layer: RecurrentLayer, x: Inputs, mode: SpanMode, track_drive: bool, word: str) -> LayerRun:
    """Return what a run says of its layer, with sequences of no steps."""
    V, dynamics, taps = layer.coefficients(x, mode, track_drive)
    nothing = x.new_zeros(0, x.shape[1], layer.linear.out_features)
    return LayerRun(x[:0], nothing, nothing, nothing, nothing, V, dynamics, taps, None, word)
