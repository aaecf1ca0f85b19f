"""Random numbers of a disturbance: a named stream for every repetition, place and example.

No number depends on how examples are divided into batches, on the strength of the disturbance or on the
network: networks of one size, and strengths of one network, meet the same noise and are compared on it.
Axes: time batch, and neuron or input.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gradflow import seeds

Draw = Callable[..., np.ndarray]


class Streams:
    """What a batch of examples meets in one repetition; kept, so that the next strength meets it again.

    Args:
        seed: of all streams.
        word: of the disturbance: each has streams of its own.
        repetition: 0, 1, …
        examples: their places in the split.
    """

    def __init__(self, seed: int, word: str, repetition: int, examples: Sequence[int]) -> None:
        self.seed, self.word, self.repetition = seed, word, repetition
        self.examples = [int(example) for example in examples]
        self._kept: dict[tuple[str, str], Tensor] = {}

    def uniform(self, place: str, like: Tensor, *shape: int) -> Float[Tensor, "time batch *rest"]:
        """Return numbers uniform on [0, 1) in float64, each example's (time, *shape) from its own stream.

        float64 whatever the network's dtype: rounded to float32 some would be 1.

        >>> Streams(0, "delete", 0, [7]).uniform("layer 0", torch.zeros(2, 1, 3), 1).flatten().tolist()
        [0.3969..., 0.9988...]
        """
        return self._drawn("uniform", seeds.uniform, place, like, shape)

    def normal(self, place: str, like: Tensor, *shape: int) -> Float[Tensor, "time batch *rest"]:
        """Return standard normal numbers, drawn in float64, in the dtype of `like`."""
        return self._drawn("normal", seeds.normal, place, like, shape).to(like.dtype)

    def of_example(self, place: str, example: int, count: int) -> Float[np.ndarray, " count"]:
        """Return `count` numbers uniform on [0, 1) of the example at this place in the batch."""
        return seeds.uniform(self.seed, *self._name(place, self.examples[example]), shape=(count,))

    def _name(self, place: str, example: int) -> tuple[str | int, ...]:
        return "disturbance", self.word, self.repetition, place, example

    def _drawn(self, kind: str, draw: Draw, place: str, like: Tensor, shape: tuple[int, ...]) -> Tensor:
        if (place, kind) not in self._kept:
            each = [
                draw(self.seed, *self._name(place, example), shape=(len(like), *shape))
                for example in self.examples
            ]
            drawn = torch.from_numpy(np.stack(each, axis=1)).to(like.device)
            self._kept[place, kind] = drawn if kind == "uniform" else drawn.to(like.dtype)
        return self._kept[place, kind]
