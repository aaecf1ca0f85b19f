"""Which layer sizes give a network a wanted number of parameters, so that two kinds can be compared."""

from collections.abc import Callable, Sequence

from gradflow.baselines.cell import Cell
from gradflow.network import Sized

Count = Callable[[tuple[int, ...]], int]
"""Parameters of a network with these layer sizes."""


def hidden_for(
    cell: Cell, task: Sized, parameters: int, shape: Sequence[int] = (64, 128, 128), *, bias: bool = True
) -> tuple[int, ...]:
    """Return the layer sizes, in the proportions of `shape`, whose network has nearly so many parameters.

    Args:
        cell: what the layers are made of.
        task: what the network must fit.
        parameters: how many are wanted.
        shape: layers, and their sizes relative to each other.
        bias: whether the linear maps have biases.

    Raises:
        ValueError: for fewer parameters than the smallest such network has, or no layer.

    >>> import gradflow as gf
    >>> from gradflow.baselines import LSTM
    >>> hidden_for(LSTM(), gf.Sizes(inputs=1, classes=10), 64_000)
    (32, 64, 64)
    """

    def count(hidden: tuple[int, ...]) -> int:
        widths = (task.inputs, *hidden)
        layers = sum(cell.parameters(m, H, bias=bias) for m, H in zip(widths, hidden, strict=False))
        return layers + task.classes * (hidden[-1] + bias)

    return nearest_hidden(count, parameters, shape)


def nearest_hidden(count: Count, parameters: int, shape: Sequence[int]) -> tuple[int, ...]:
    """Return the sizes in the proportions of `shape` for which `count` comes nearest to `parameters`.

    The widest layer takes every whole size; of two equally near the smaller is taken. The search calls
    `count` about 2 log₂ of that size times.

    Raises ValueError as `hidden_for` does.

    >>> nearest_hidden(lambda hidden: sum(hidden), 30, (1, 2))
    (10, 20)
    """
    if not shape or min(shape) < 1:
        raise ValueError(f"shape: got {tuple(shape)}, expected neurons per layer, as in (64, 128, 128)")
    widest = max(shape)

    def sizes(width: int) -> tuple[int, ...]:
        return tuple(max(1, (2 * part * width + widest) // (2 * widest)) for part in shape)

    smallest = count(sizes(1))
    if parameters < smallest:
        raise ValueError(
            f"parameters: got {parameters}, but {len(shape)} layers of this kind have at least {smallest} "
            "on this task"
        )
    high = 2
    while count(sizes(high)) < parameters:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(sizes(middle)) <= parameters else (low, middle)
    return min(sizes(low), sizes(high), key=lambda hidden: abs(count(hidden) - parameters))
