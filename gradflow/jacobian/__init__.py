"""Transitions in, labelled arrays out: products of Jacobians along time, and their slow dense twin."""

from gradflow.jacobian.dense import dense_products, dense_sensitivity, dense_stack
from gradflow.jacobian.lags import lag_matrix
from gradflow.jacobian.logit_routes import logit_paths
from gradflow.jacobian.lyapunov import lyapunov_exponents
from gradflow.jacobian.paths import path_products
from gradflow.jacobian.products import MatrixNorm, jacobian_products
from gradflow.jacobian.routes import count_routes
from gradflow.jacobian.sensitivity import logit_sensitivity
from gradflow.jacobian.slow_routes import Route, dense_routes
from gradflow.jacobian.spectrum import singular_values
from gradflow.jacobian.stack import stack_products
from gradflow.jacobian.stack_routes import RouteSplit, stack_paths

__all__ = [
    "MatrixNorm",
    "Route",
    "RouteSplit",
    "count_routes",
    "dense_products",
    "dense_routes",
    "dense_sensitivity",
    "dense_stack",
    "jacobian_products",
    "lag_matrix",
    "logit_paths",
    "logit_sensitivity",
    "lyapunov_exponents",
    "path_products",
    "singular_values",
    "stack_paths",
    "stack_products",
]
