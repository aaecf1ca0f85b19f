"""The floor: the dense matrix products of one training step, and nothing else.

For a network of layers l with n_l inputs and H_l neurons, B samples and T steps, with the recurrence's
block of λ steps (SRC: λ; vanilla and ASRC, which reads the step before: 1), every layer needs, in float32,

====================  =======================================  =========================================
product               how many, in which pieces                shape
====================  =======================================  =========================================
W x                   all steps in one                         (T B × n) · (n × H)
V ŝ                   one a block, from the second block on    (λ B × H) · (H × H), T − λ steps in all
Vᵀ g                  one a block, likewise                    (λ B × H) · (H × H)
Wᵀ g                  all steps in one; not for the first      (T B × H) · (H × n)
                      layer, whose inputs need no gradient
∂L/∂W = Σ g xᵀ        one                                      (H × T B) · (T B × n)
∂L/∂V = Σ g ŝᵀ        one                                      (H × (T − λ) B) · ((T − λ) B × H)
====================  =======================================  =========================================

and the readout the three products with its own W. The first λ steps read no spikes: they are not counted. The
order is that of a step: forward layer by layer and block by block, then backward. Operands are dense normal
numbers, each block read from and written to its own place in a whole sequence, as a step must; results go
into arrays that exist. No neuron, no sum over spans, no allocation, no autograd. `whole=True` takes V ŝ and
Vᵀ g in one piece: fewer calls and better caching, but no engine can do it, because blocks depend on each
other. Axes: time batch neuron.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from gradflow.bench.workload import CLASSES, INPUTS, Workload


@dataclass(frozen=True)
class Product:
    """`out` = `left` · `right`, (rows × inner) · (inner × columns)."""

    name: str
    left: Tensor
    right: Tensor
    out: Tensor

    @property
    def flops(self) -> int:
        """Multiplications and additions: 2 rows · inner · columns."""
        return 2 * len(self.left) * self.left.shape[1] * self.right.shape[1]


class Floor:
    """The products of one training step; calling it computes them.

    Args:
        workload: the step; of its network only the shapes matter.
        whole: take V ŝ and Vᵀ g in one piece.

    >>> work = Workload(steps=6, hidden=(4,), batch=2, recurrence="skip:2")
    >>> Floor(work).flops, len(Floor(work).products), len(Floor(work, whole=True).products)
    (3840, 10, 8)
    """

    def __init__(self, workload: Workload, *, whole: bool = False) -> None:
        self.workload, self.whole = workload, whole
        draw = torch.Generator().manual_seed(0)
        self._normal: Callable[..., Tensor] = lambda *shape: torch.randn(*shape, generator=draw)
        widths = (INPUTS, *workload.hidden)
        rows = workload.steps * workload.batch
        sequences = [self._normal(rows, width) for width in widths]
        forward: list[Product] = []
        backward: list[Product] = []
        for layer, (inputs, neurons) in enumerate(pairwise(widths)):
            x, s, g = sequences[layer], sequences[layer + 1], self._normal(rows, neurons)
            forward += [self._product("W x", x, self._normal(inputs, neurons)), *self._recurrent("V ŝ", s)]
            own = [*self._recurrent("Vᵀ g", g)]
            if layer:
                own.append(self._product("Wᵀ g", g, self._normal(neurons, inputs)))
            own.append(self._product("∂L/∂W", g.T, x))
            late = self._reading(rows)
            if late:
                own.append(self._product("∂L/∂V", g[-late:].T, s[:late]))
            backward = own + backward
        top, e = sequences[-1], self._normal(rows, CLASSES)
        forward.append(self._product("W x", top, self._normal(widths[-1], CLASSES)))
        last = [
            self._product("Wᵀ g", e, self._normal(CLASSES, widths[-1])),
            self._product("∂L/∂W", e.T, top),
        ]
        self.products = (*forward, *last, *backward)

    @property
    def flops(self) -> int:
        """Operations of the whole step."""
        return sum(product.flops for product in self.products)

    def __call__(self) -> None:
        """Compute every product once."""
        for product in self.products:
            torch.mm(product.left, product.right, out=product.out)

    def _reading(self, rows: int) -> int:
        """Return the rows (steps × batch) that read spikes: those after the first λ steps."""
        return max(0, rows - self.workload.block * self.workload.batch)

    def _product(self, name: str, left: Tensor, right: Tensor) -> Product:
        return Product(name, left, right, torch.empty(len(left), right.shape[1]))

    def _recurrent(self, name: str, sequence: Tensor) -> list[Product]:
        """Return the products with V of one pass, block by block or in one piece."""
        rows, neurons = sequence.shape
        late = self._reading(rows)
        V, out = self._normal(neurons, neurons), torch.empty(late, neurons)
        size = max(1, late) if self.whole else self.workload.block * self.workload.batch
        starts = range(0, late, size)
        return [Product(name, sequence[k : min(k + size, late)], V, out[k : k + size]) for k in starts]
