"""BaselineNetwork: recurrent layers of another kind, one above the other, then RecurrentSNN's linear readout.

A forward pass starts from zero states, returns everything as a `BaselineRun` and leaves nothing behind.
Axes: time batch neuron.
"""

from collections.abc import Sequence as Many
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradflow import seeds
from gradflow.baselines.cell import Cell
from gradflow.baselines.cells import LSTM
from gradflow.layer import Masks, empty_linear, fill_linear, sequence_mask
from gradflow.network import Sized, check_inputs, require_instance, require_number, require_sizes
from gradflow.readout import Readout, ReadoutLike
from gradflow.shapes import Inputs, Logits


@dataclass(frozen=True)
class BaselineRun:
    """What one forward pass computed: logits, readout of every step, and what each layer gave the next."""

    logits: Logits
    outputs: Float[Tensor, "time batch classes"]
    layers: tuple[Float[Tensor, "time batch _"], ...]


class BaselineNetwork(nn.Module):
    """Recurrent layers of one kind with a linear readout, trained as `RecurrentSNN` is.

    Args:
        task: a task, or `gf.Sizes(inputs, classes)`.
        hidden: neurons of each layer.
        cell: `LSTM()` (the default), `GRU()`, `TanhRNN()`, `SnnTorch()` or `SpikingJelly()`.
        bias: whether the linear maps have a bias.
        dropout: share of each layer's outputs dropped in training, one mask a sequence (Gal & Ghahramani
            2016).
        readout: sum, mean or last step of the readout's outputs.
        recurrent_gain: factor on the orthogonal recurrent matrices at the start.
        seed: of the named streams the parameters are drawn from; the same in float32 and float64.
        dtype: torch.float32 or torch.float64.

    Raises:
        ValueError: for sizes or probabilities that make no network.
        ImportError: for a cell whose library is not installed.

    >>> import gradflow as gf
    >>> net = BaselineNetwork(gf.Sizes(inputs=1, classes=10), hidden=(8, 8), cell=LSTM())
    >>> net(torch.zeros(20, 3, 1)).logits.shape, sum(p.numel() for p in net.parameters())
    (torch.Size([3, 10]), 1018)
    """

    def __init__(
        self,
        task: Sized,
        hidden: int | Many[int] = (64, 128, 128),
        cell: Cell | None = None,
        *,
        bias: bool = True,
        dropout: float = 0.0,
        readout: ReadoutLike = Readout.SUM,
        recurrent_gain: float = 1.0,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        me = type(self).__name__
        require_instance("task", task, Sized, "a task, or its sizes as in Sizes(1, 10)", owner=me)
        require_instance("cell", cell, Cell | None, "a cell, as LSTM() or GRU()", owner=me)
        require_number("dropout", dropout, "a probability from 0 to below 1", least=0.0, below=1.0, owner=me)
        require_number("recurrent_gain", recurrent_gain, "a finite number", owner=me)
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"{me}(dtype={dtype}): expected torch.float32 or torch.float64")
        self.hidden = require_sizes(hidden, owner=me)
        self.cell = LSTM() if cell is None else cell
        self.dropout, self.seed, self.recurrent_gain = float(dropout), seed, float(recurrent_gain)
        self.readout, self.inputs = Readout(readout), task.inputs
        widths = (task.inputs, *self.hidden)
        self.layers = nn.ModuleList(
            self.cell.build(
                widths[layer],
                widths[layer + 1],
                bias=bias,
                seed=seed,
                layer=layer,
                gain=self.recurrent_gain,
            )
            for layer in range(len(self.hidden))
        )
        self.output = empty_linear(widths[-1], task.classes, bias=bias)
        fill_linear(self.output, seed, "output")
        self.to(dtype=dtype, device=device)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters."""
        found: torch.dtype = self.output.weight.dtype
        return found

    def forward(
        self, x: Inputs, *, readout: ReadoutLike | None = None, generator: Masks | None = None
    ) -> BaselineRun:
        """Run the network over whole sequences.

        Args:
            x: inputs, (time, batch, input), in the network's dtype and on its device, finite.
            readout: instead of the network's own.
            generator: of the dropout masks (default: torch's global one), as `RecurrentSNN.forward` takes it.

        Raises:
            ValueError: for inputs of another shape, dtype or device, no steps, or with NaN or infinity.
        """
        check_inputs(x, self.inputs, self.output.weight)
        given: list[Tensor] = []
        below = x
        for layer, width in zip(self.layers, self.hidden, strict=True):
            below = layer(below)
            if self.training and self.dropout:
                below = below * sequence_mask(x, x.shape[1], width, self.dropout, generator)
            given.append(below)
        outputs = self.output(below)
        return BaselineRun(Readout(readout or self.readout).logits(outputs), outputs, tuple(given))

    def mask_generator(self) -> torch.Generator:
        """Return the generator of the dropout masks of every analysis, as `RecurrentSNN` has it."""
        return torch.Generator().manual_seed(seeds.derive(self.seed, "dropout masks"))

    def anneal(self) -> None:
        """Change nothing: there is no temperature, as no span is learned."""

    def update_norms(self, run: BaselineRun) -> None:
        """Change nothing: there are no norms."""
