"""Transitions in, labelled arrays out: products of Jacobians along time, and their slow dense twin."""

from gradflow.jacobian.dense import dense_products
from gradflow.jacobian.products import MatrixNorm, jacobian_products

__all__ = ["MatrixNorm", "dense_products", "jacobian_products"]
