"""Transitions in, labelled arrays out: products of Jacobians along time, and their slow dense twin."""

from gradflow.jacobian.dense import dense_products, dense_sensitivity, dense_stack
from gradflow.jacobian.lags import lag_matrix
from gradflow.jacobian.lyapunov import lyapunov_exponents
from gradflow.jacobian.paths import path_products
from gradflow.jacobian.products import MatrixNorm, jacobian_products
from gradflow.jacobian.routes import count_routes
from gradflow.jacobian.spectrum import singular_values
from gradflow.jacobian.stack import logit_sensitivity, stack_products

__all__ = [
    "MatrixNorm",
    "count_routes",
    "dense_products",
    "dense_sensitivity",
    "dense_stack",
    "jacobian_products",
    "lag_matrix",
    "logit_sensitivity",
    "lyapunov_exponents",
    "path_products",
    "singular_values",
    "stack_products",
]
