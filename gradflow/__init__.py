"""gradflow: measure, explain and show how gradients vanish along time in recurrent spiking networks.

The public names, in the order in which data flows: task → network → engine → recording → analysis and
theory → plots. They are loaded when first used, so that `import gradflow` and `gradflow --help` are quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradflow import (
        adapters,
        analysis,
        baselines,
        engine,
        evaluation,
        jacobian,
        plots,
        report,
        seeds,
        sweep,
        tasks,
        theory,
        train,
    )
    from gradflow.analysis import curve_band, fit_decay, fit_models, horizon_at, zero_summary
    from gradflow.bars import progress_bar
    from gradflow.conventions import Conventions
    from gradflow.flossing import flossing_loss, leading_exponents
    from gradflow.jacobian import (
        MatrixNorm,
        RouteSplit,
        count_routes,
        dense_products,
        dense_routes,
        jacobian_products,
        lag_matrix,
        logit_paths,
        logit_sensitivity,
        lyapunov_exponents,
        path_products,
        singular_values,
        stack_paths,
        stack_products,
    )
    from gradflow.links import Link, ReadoutLink
    from gradflow.network import RecurrentSNN, Run
    from gradflow.neurons import GLIF, LIF, PLIF, Reset
    from gradflow.norms import BatchNorm, LayerNorm
    from gradflow.predicting import layer_weights, predict_without_data
    from gradflow.readout import Readout
    from gradflow.recording import Keep, record
    from gradflow.recurrence import AdaptiveSkip, NoRecurrence, Skip, SpanMode, Vanilla
    from gradflow.results import Results
    from gradflow.storage import load, save
    from gradflow.surrogate import (
        ArcTangent,
        Exponential,
        MultiGaussian,
        Rectangle,
        Sigmoid,
        SmoothTwin,
        Triangle,
    )
    from gradflow.tasks import Batch, Sizes, Split, Task
    from gradflow.transition import DenseTransition, LayerTransition, Transition, local_jacobians

_HOME = {
    "gradflow": (
        "seeds",
        "tasks",
        "engine",
        "jacobian",
        "adapters",
        "baselines",
        "analysis",
        "theory",
        "plots",
        "train",
        "sweep",
        "evaluation",
        "report",
    ),
    "gradflow.tasks": ("Batch", "Sizes", "Split", "Task"),
    "gradflow.surrogate": (
        "Triangle",
        "Rectangle",
        "Exponential",
        "Sigmoid",
        "ArcTangent",
        "MultiGaussian",
        "SmoothTwin",
    ),
    "gradflow.neurons": ("LIF", "PLIF", "GLIF", "Reset"),
    "gradflow.recurrence": ("NoRecurrence", "Vanilla", "Skip", "AdaptiveSkip", "SpanMode"),
    "gradflow.norms": ("LayerNorm", "BatchNorm"),
    "gradflow.readout": ("Readout",),
    "gradflow.network": ("RecurrentSNN", "Run"),
    "gradflow.conventions": ("Conventions",),
    "gradflow.recording": ("Keep", "record"),
    "gradflow.bars": ("progress_bar",),
    "gradflow.results": ("Results",),
    "gradflow.storage": ("save", "load"),
    "gradflow.links": ("Link", "ReadoutLink"),
    "gradflow.transition": ("Transition", "LayerTransition", "DenseTransition", "local_jacobians"),
    "gradflow.jacobian": (
        "MatrixNorm",
        "jacobian_products",
        "dense_products",
        "path_products",
        "count_routes",
        "lag_matrix",
        "singular_values",
        "lyapunov_exponents",
        "stack_products",
        "logit_sensitivity",
        "RouteSplit",
        "stack_paths",
        "logit_paths",
        "dense_routes",
    ),
    "gradflow.predicting": ("layer_weights", "predict_without_data"),
    "gradflow.flossing": ("flossing_loss", "leading_exponents"),
    "gradflow.analysis": ("fit_decay", "fit_models", "horizon_at", "curve_band", "zero_summary"),
}
_WHERE = {name: home for home, names in _HOME.items() for name in names}

__all__ = [
    "GLIF",
    "LIF",
    "PLIF",
    "AdaptiveSkip",
    "ArcTangent",
    "Batch",
    "BatchNorm",
    "Conventions",
    "DenseTransition",
    "Exponential",
    "Keep",
    "LayerNorm",
    "LayerTransition",
    "Link",
    "MatrixNorm",
    "MultiGaussian",
    "NoRecurrence",
    "Readout",
    "ReadoutLink",
    "Rectangle",
    "RecurrentSNN",
    "Reset",
    "Results",
    "RouteSplit",
    "Run",
    "Sigmoid",
    "Sizes",
    "Skip",
    "SmoothTwin",
    "SpanMode",
    "Split",
    "Task",
    "Transition",
    "Triangle",
    "Vanilla",
    "adapters",
    "analysis",
    "baselines",
    "count_routes",
    "curve_band",
    "dense_products",
    "dense_routes",
    "engine",
    "evaluation",
    "fit_decay",
    "fit_models",
    "flossing_loss",
    "horizon_at",
    "jacobian",
    "jacobian_products",
    "lag_matrix",
    "layer_weights",
    "leading_exponents",
    "load",
    "local_jacobians",
    "logit_paths",
    "logit_sensitivity",
    "lyapunov_exponents",
    "path_products",
    "plots",
    "predict_without_data",
    "progress_bar",
    "record",
    "report",
    "save",
    "seeds",
    "singular_values",
    "stack_paths",
    "stack_products",
    "sweep",
    "tasks",
    "theory",
    "train",
    "zero_summary",
]


def __getattr__(name: str) -> Any:
    """Load a public name's module when the name is first used (PEP 562)."""
    home = _WHERE.get(name)
    if home is None:
        raise AttributeError(f"module 'gradflow' has no attribute {name!r}")
    value = import_module(f"gradflow.{name}") if home == "gradflow" else getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
