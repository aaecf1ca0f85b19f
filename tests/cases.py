"""Small seeded networks: a table that covers every choice once, and a hypothesis strategy that mixes them.

A case is a description; `net()` builds it in float64 with every parameter moved off its initial value, so
that no gate is at ½, no span weight is uniform and no two neurons are alike.
"""

from dataclasses import dataclass, replace

import torch
from hypothesis import strategies as st

import gradflow as gf
from gradflow import seeds

SURROGATES = {
    "triangle": gf.Triangle,
    "rectangle": gf.Rectangle,
    "exponential": gf.Exponential,
    "sigmoid": gf.Sigmoid,
    "arctangent": gf.ArcTangent,
    "multi-gaussian": gf.MultiGaussian,
}


@dataclass(frozen=True)
class Case:
    """One network with its data; neurons and recurrences are given per layer."""

    neurons: tuple = (gf.LIF(),)
    recurrences: tuple = (gf.Vanilla(),)
    hidden: tuple = (4,)
    steps: int = 6
    batch: int = 2
    norm: object = None
    readout: gf.Readout = gf.Readout.SUM
    bias: bool = True
    training: bool = True
    seed: int = 0
    inputs: int = 2
    classes: int = 3

    def net(self, *, dtype=torch.float64, smooth=False):
        """Build the network; `smooth` puts every surrogate's twin in the place of the step."""
        neurons = self.neurons
        if smooth:
            neurons = tuple(replace(n, surrogate=gf.SmoothTwin(n.surrogate)) for n in neurons)
        net = gf.RecurrentSNN(
            gf.Sizes(self.inputs, self.classes, self.steps),
            hidden=self.hidden,
            recurrence=self.recurrences,
            neuron=neurons,
            bias=self.bias,
            norm=self.norm,
            readout=self.readout,
            seed=self.seed,
            dtype=torch.float64,
        )
        with torch.no_grad():
            for name, parameter in net.named_parameters():
                noise = seeds.normal(self.seed, "move", name, shape=tuple(parameter.shape))
                parameter += torch.from_numpy(noise) * (0.2 if name.endswith(("V", "threshold")) else 0.6)
            for name, buffer in net.named_buffers():
                if "running" in name:
                    buffer += torch.from_numpy(
                        seeds.uniform(self.seed, "move", name, shape=tuple(buffer.shape))
                    )
        return net.to(dtype).train(self.training)

    def x(self, dtype=torch.float64):
        shape = (self.steps, self.batch, self.inputs)
        return torch.from_numpy(1.5 * seeds.normal(self.seed, "inputs", shape=shape)).to(dtype)

    def data(self, dtype=torch.float64):
        targets = (torch.arange(self.batch) + self.seed) % self.classes
        return gf.Batch(self.x(dtype), targets)


def one_layer(neuron=None, recurrence=None, **options):
    """Return a case with a single layer."""
    return Case((neuron or gf.LIF(),), (recurrence or gf.Vanilla(),), **options)


LIF, PLIF, GLIF, HARD = gf.LIF, gf.PLIF, gf.GLIF, gf.Reset.HARD
TABLE = {
    "lif soft attached, vanilla": one_layer(),
    "lif soft detached, vanilla": one_layer(LIF(detach_reset=True)),
    "lif hard attached, skip": one_layer(LIF(reset=HARD, decay=0.8), gf.Skip(3), steps=9),
    "lif hard detached, asrc": one_layer(LIF(reset=HARD, detach_reset=True), gf.AdaptiveSkip(4)),
    "plif shared, skip": one_layer(PLIF(), gf.Skip(2)),
    "plif per neuron, hard attached": one_layer(PLIF(per_neuron=True, reset=HARD)),
    "glif shared": one_layer(GLIF(), gf.Skip(2)),
    "glif per neuron, detached, asrc": one_layer(
        GLIF(per_neuron=True, detach_reset=True), gf.AdaptiveSkip(3)
    ),
    "no recurrence": one_layer(recurrence=gf.NoRecurrence()),
    "span over the end": one_layer(recurrence=gf.Skip(50)),
    "asrc over the end": one_layer(recurrence=gf.AdaptiveSkip(9)),
    "asrc evaluated": one_layer(recurrence=gf.AdaptiveSkip(4), training=False, steps=9),
    "one step": one_layer(steps=1, batch=1),
    "one neuron": one_layer(hidden=(1,), steps=8, seed=5),
    "no bias, mean readout": one_layer(bias=False, readout=gf.Readout.MEAN),
    "last step": one_layer(readout=gf.Readout.LAST),
    "two layers that differ": Case(
        (LIF(decay=0.9, surrogate=gf.Sigmoid()), PLIF(reset=HARD, surrogate=gf.ArcTangent())),
        (gf.Skip(2), gf.AdaptiveSkip(3)),
        hidden=(3, 4),
    ),
    "two layers, shared span": Case((LIF(), GLIF()), (gf.AdaptiveSkip(3, shared=True),) * 2, hidden=(4, 3)),
    "layer norm": Case((LIF(),) * 2, (gf.Vanilla(),) * 2, hidden=(4, 3), norm=gf.LayerNorm(epsilon=0.1)),
    "batch norm": Case((LIF(),) * 2, (gf.Skip(2),) * 2, hidden=(4, 3), norm=gf.BatchNorm(epsilon=0.1)),
    "batch norm evaluated": Case(
        (LIF(),) * 2, (gf.Skip(2),) * 2, hidden=(4, 3), norm=gf.BatchNorm(epsilon=0.1), training=False
    ),
    **{f"surrogate {name}": one_layer(LIF(surrogate=kind())) for name, kind in SURROGATES.items()},
}

surrogates = st.builds(
    lambda kind, factor: kind(kind().scale * factor),
    st.sampled_from(list(SURROGATES.values())),
    st.sampled_from([1.0, 0.6, 1.7]),
)
resets = st.sampled_from(list(gf.Reset))
lif = st.builds(
    gf.LIF,
    decay=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    threshold=st.sampled_from([1.0, 0.6]),
    reset=resets,
    detach_reset=st.booleans(),
    surrogate=surrogates,
)
plif = st.builds(
    gf.PLIF,
    decay=st.sampled_from([0.5, 0.8]),
    reset=resets,
    per_neuron=st.booleans(),
    detach_reset=st.booleans(),
    surrogate=surrogates,
)
glif = st.builds(gf.GLIF, per_neuron=st.booleans(), detach_reset=st.booleans(), surrogate=surrogates)


@st.composite
def recurrences(draw, steps):
    """Draw none, vanilla, a skip or an adaptive skip, with spans up to beyond the sequence."""
    span = draw(st.integers(1, steps + 2))
    return draw(
        st.sampled_from(
            [gf.NoRecurrence(), gf.Vanilla(), gf.Skip(span), gf.AdaptiveSkip(span, temperature=0.7)]
        )
    )


@st.composite
def networks(draw, *, norms=True):
    """Draw a case: neuron × reset × surrogate × recurrence × layers × lengths × readout × norm × mode."""
    layers = draw(st.integers(1, 2))
    steps = draw(st.sampled_from([1, 2, 3, 5, 8]))
    batch = draw(st.integers(1, 3))
    if draw(st.booleans()):
        spans = tuple(draw(recurrences(steps)) for _ in range(layers))
    else:
        spans = (gf.AdaptiveSkip(draw(st.integers(1, 4)), shared=True),) * layers
    training = draw(st.booleans())
    norm = draw(st.sampled_from([None, gf.LayerNorm(0.1), gf.BatchNorm(0.1)])) if norms else None
    if isinstance(norm, gf.BatchNorm) and training and steps * batch < 2:
        batch = 2
    return Case(
        neurons=tuple(draw(st.one_of(lif, plif, glif)) for _ in range(layers)),
        recurrences=spans,
        hidden=tuple(draw(st.integers(1, 5)) for _ in range(layers)),
        steps=steps,
        batch=batch,
        norm=norm,
        readout=draw(st.sampled_from(list(gf.Readout))),
        bias=draw(st.booleans()),
        training=training,
        seed=draw(st.integers(0, 10**6)),
    )
