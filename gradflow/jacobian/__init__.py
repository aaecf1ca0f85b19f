"""Transitions in, labelled arrays out: products of Jacobians along time, and their slow dense twin."""

from gradflow.jacobian.dense import dense_products
from gradflow.jacobian.lag_matrix import lag_matrix
from gradflow.jacobian.paths import path_products
from gradflow.jacobian.products import MatrixNorm, jacobian_products
from gradflow.jacobian.routes import count_routes

__all__ = [
    "MatrixNorm",
    "count_routes",
    "dense_products",
    "jacobian_products",
    "lag_matrix",
    "path_products",
]
