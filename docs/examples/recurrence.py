"""TwoSpans: a recurrence that reads the last spikes and those of λ steps ago, in a share that is learned."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gradflow.neurons.base import logit_parameter, require_between
from gradflow.recurrence import Recurrence, SpanMode, SpanParameters, Taps, require_span


@dataclass(frozen=True)
class TwoSpans(Recurrence):
    """p_1 = 1 − q, p_λ = q: a vanilla recurrence and a skip that share one V.

    The short span keeps what is near, the long one gives the gradient few hops to go. (NARX networks mix
    delays too, with a matrix for each.)

    Attributes:
        span: λ, at least 2.
        share: q at the start, strictly between 0 and 1 (default ½: neither is preferred). It is learned, as
            the sigmoid of a free parameter.

    Raises ValueError for a span below 2 or a share outside.

    >>> taps = TwoSpans(16, share=0.25).build().taps(SpanMode.SOFT, torch.zeros(1, dtype=torch.float64))
    >>> taps.spans, taps.weights.detach().numpy().round(6).tolist()
    ((1, 16), [0.75, 0.25])
    """

    span: int
    share: float = 0.5

    def __post_init__(self) -> None:
        require_span("TwoSpans", "span", self.span)
        if self.span == 1:
            raise ValueError("TwoSpans(span=1): expected at least 2; Vanilla() is span 1 alone")
        require_between("TwoSpans", "share", self.share, 0.0, 1.0, closed=False)
        # what a forward pass must remember, and sweeps and figures ask for
        object.__setattr__(self, "max_span", self.span)

    @property
    def label(self) -> str:
        """The word for files and figures, `two:λ`."""
        return f"two:{self.span}"

    def build(self) -> "TwoSpansParameters":
        """Return the module that owns the share."""
        return TwoSpansParameters(self)


class TwoSpansParameters(SpanParameters):
    """Owns the logit of q."""

    spec: TwoSpans

    def __init__(self, spec: TwoSpans) -> None:
        super().__init__(spec)
        self.raw_share = logit_parameter(spec.share)

    def taps(self, mode: SpanMode, like: Tensor) -> Taps:
        """Return both spans with their weights (soft), or the one with the larger weight alone (hard)."""
        share = torch.sigmoid(self.raw_share).to(like)
        if mode is SpanMode.SOFT:
            return Taps((1, self.spec.span), torch.stack((1.0 - share, share)))
        best = self.spec.span if share > 0.5 else 1
        return Taps((best,), torch.ones(1, dtype=like.dtype, device=like.device))
