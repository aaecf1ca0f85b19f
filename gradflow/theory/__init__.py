"""Predictions from local factors and their moments, rung by rung. Knows no network."""

from gradflow.theory.bound import bound, product_bound
from gradflow.theory.design_rules import (
    critical_gain,
    critical_initialisation,
    predicted_horizon,
    smallest_span,
    temperature_horizons,
)
from gradflow.theory.lengths import mean_recurrent_length, recurrent_skip_coefficient, shortest_paths
from gradflow.theory.mean_square import mean_square, mean_square_curve
from gradflow.theory.moments import Moments, second_moments
from gradflow.theory.residual import curve_residual, residual
from gradflow.theory.root import characteristic_root, impulse_log, log_root
from gradflow.theory.transfer import transfer_operator
from gradflow.theory.transfer_curve import transfer_curve
from gradflow.theory.transfer_rate import transfer_rate, transfer_rate_arnoldi
from gradflow.theory.variance import variance_curve, variance_propagation

__all__ = [
    "Moments",
    "bound",
    "characteristic_root",
    "critical_gain",
    "critical_initialisation",
    "curve_residual",
    "impulse_log",
    "log_root",
    "mean_recurrent_length",
    "mean_square",
    "mean_square_curve",
    "predicted_horizon",
    "product_bound",
    "recurrent_skip_coefficient",
    "residual",
    "second_moments",
    "shortest_paths",
    "smallest_span",
    "temperature_horizons",
    "transfer_curve",
    "transfer_operator",
    "transfer_rate",
    "transfer_rate_arnoldi",
    "variance_curve",
    "variance_propagation",
]
