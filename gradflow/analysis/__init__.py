"""Measurements on curves: rates, horizons, zeros. Arrays or labelled arrays in and out; knows no network."""

from gradflow.analysis.choice import fit_models
from gradflow.analysis.curves import curve_band, envelope
from gradflow.analysis.fits import CurveFit, fit_curve, fit_curves
from gradflow.analysis.horizons import half_life, horizon, horizon_at
from gradflow.analysis.models import Shape, ShapeFit, fit_shape
from gradflow.analysis.rates import fit_decay, student_interval
from gradflow.analysis.spectra import spectrum_band
from gradflow.analysis.zeros import exact_zero_lag, first_exact_zero, zero_summary

__all__ = [
    "CurveFit",
    "Shape",
    "ShapeFit",
    "curve_band",
    "envelope",
    "exact_zero_lag",
    "first_exact_zero",
    "fit_curve",
    "fit_curves",
    "fit_decay",
    "fit_models",
    "fit_shape",
    "half_life",
    "horizon",
    "horizon_at",
    "spectrum_band",
    "student_interval",
    "zero_summary",
]
