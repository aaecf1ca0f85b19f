"""Predictions from local factors and their moments, rung by rung. Knows no network."""

from gradflow.theory.bound import bound, product_bound
from gradflow.theory.bounded_input import BoundedInput, bounded
from gradflow.theory.closure import Closed
from gradflow.theory.dataless import predict_without_data
from gradflow.theory.density_closure import density_closure
from gradflow.theory.design_rules import (
    critical_gain,
    critical_initialisation,
    predicted_horizon,
    smallest_span,
    temperature_horizons,
)
from gradflow.theory.input_law import GaussianInput, InputLaw, input_statistics
from gradflow.theory.lengths import mean_recurrent_length, recurrent_skip_coefficient, shortest_paths
from gradflow.theory.mean_square import mean_square, mean_square_curve
from gradflow.theory.memory import Memory, memory
from gradflow.theory.moments import Moments, second_moments
from gradflow.theory.regimes import Crossing, crossing_span, measured_crossing, recurrent_rate
from gradflow.theory.residual import curve_residual, residual
from gradflow.theory.root import characteristic_root, impulse_log, log_root
from gradflow.theory.sampled_closure import sampled_closure
from gradflow.theory.steady import SteadyState, steady_state
from gradflow.theory.transfer import transfer_operator
from gradflow.theory.transfer_curve import transfer_curve
from gradflow.theory.transfer_rate import transfer_rate, transfer_rate_arnoldi
from gradflow.theory.transfer_stack import transfer_stack
from gradflow.theory.transfer_stack_curve import StackLayer, transfer_stack_curve
from gradflow.theory.typical import Spread, spread, typical_product
from gradflow.theory.update_rule import LayerWeights, UpdateRule, lif
from gradflow.theory.variance import variance_curve, variance_propagation

__all__ = [
    "BoundedInput",
    "Closed",
    "Crossing",
    "GaussianInput",
    "InputLaw",
    "LayerWeights",
    "Memory",
    "Moments",
    "Spread",
    "StackLayer",
    "SteadyState",
    "UpdateRule",
    "bound",
    "bounded",
    "characteristic_root",
    "critical_gain",
    "critical_initialisation",
    "crossing_span",
    "curve_residual",
    "density_closure",
    "impulse_log",
    "input_statistics",
    "lif",
    "log_root",
    "mean_recurrent_length",
    "mean_square",
    "mean_square_curve",
    "measured_crossing",
    "memory",
    "predict_without_data",
    "predicted_horizon",
    "product_bound",
    "recurrent_rate",
    "recurrent_skip_coefficient",
    "residual",
    "sampled_closure",
    "second_moments",
    "shortest_paths",
    "smallest_span",
    "spread",
    "steady_state",
    "temperature_horizons",
    "transfer_curve",
    "transfer_operator",
    "transfer_rate",
    "transfer_rate_arnoldi",
    "transfer_stack",
    "transfer_stack_curve",
    "typical_product",
    "variance_curve",
    "variance_propagation",
]
