"""Figures, one a file: compute(config) → dataset file → draw(dataset); see `registry`."""
