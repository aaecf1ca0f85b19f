"""The figures there are: their modules and names, known without importing anything."""

MODULES = (
    "schematic",
    "decay_curves",
    "decay_rate",
    "relatives",
    "memory_horizon",
    "training_curves",
    "accuracy_vs_span",
    "softmax_kernel",
    "gradient_over_training",
    "robustness",
    "collapse",
    "paths",
    "zeros",
    "gradient_map",
    "lag_matrix",
    "spectra",
    "conventions",
)
"""The figures, one module each, in the order of the book; loaded when first asked for."""


def names() -> list[str]:
    """Return the names of all figures, in the order of the book."""
    return [module.replace("_", "-") for module in MODULES]
