"""The views there are: what each is called, which kind of file it reads, and what it needs of it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class View:
    """One kind of picture.

    Attributes:
        title: one line.
        reads: kind of the datasets.
        needs: variables they must have.
        module: of `gradflow.views`, whose function of the view's name draws it.
    """

    title: str
    reads: str
    needs: tuple[str, ...]
    module: str


PRODUCTS, SPLIT, RECORD, TRAINING = (
    "jacobian products",
    "path products",
    "record",
    "gradient while training",
)
SHARES = ("share_structural", "share_float32")
PARTS = ("log_frobenius", "log_neuron", "log_recurrent", "log_hops")
PATHS = ("grad_u_neuron", "grad_u_recurrent", "grad_u_direct")
RATES = ("rate", "rate_low", "rate_high")
ACTIVITY = ("firing_rate", "window")

VIEWS: Mapping[str, View] = {
    "decay-curves": View(
        "norm of the Jacobian product against lag", PRODUCTS, ("log_frobenius",), "products"
    ),
    "zeros": View(
        "elements that are 0, by structure and in float32, against lag", PRODUCTS, SHARES, "products"
    ),
    "paths": View("norms of neuron path, recurrent path and hops against lag", SPLIT, PARTS, "products"),
    "gradient-norms": View("norm of the loss gradient against time", RECORD, ("grad_u",), "records"),
    "gradient-map": View("norm of the loss gradient, layer against time", RECORD, ("grad_u",), "records"),
    "gradient-paths": View("loss gradient split into its paths, against time", RECORD, PATHS, "records"),
    "activity": View("firing rate and window against time", RECORD, ACTIVITY, "records"),
    "rates": View("decay rate of the gradient over training", TRAINING, RATES, "training"),
}
"""By the word of the command line; functions have _ for -."""
