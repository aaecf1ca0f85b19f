"""The mean-square prediction: closed forms, and the matrix ensemble for which it is exact."""

import math

import numpy as np
import pytest
import xarray as xr

from gradflow.theory import bound, log_root, mean_square, mean_square_curve


def dataset(spans, p, *, lags=30, neurons=16, **changes):
    """Moments of one layer with two samples."""
    moments = {"a_square": [0.2, 0.3], "phi_square": [0.1, 0.3], "gate_square": [0.5, 1.5]} | changes
    scalars = {"V_frobenius": 2.0 * math.sqrt(neurons), "neurons": neurons, "leak": 0.5}
    return xr.Dataset(
        {name: (("layer", "sample"), [value]) for name, value in moments.items()}
        | {name: ("layer", [value]) for name, value in scalars.items()}
        | {"p": (("layer", "span"), [p])},
        {"lag": np.arange(lags), "span": spans},
        {"task": "digits"},
    )


def test_vanilla_in_closed_form():
    theory = mean_square(dataset([1], [1.0]))
    # E a² = ¼, g² = 4, E φ² = 0.2, E γ² = 1: ρ = 1.05
    rate = 0.5 * math.log(1.05)
    np.testing.assert_allclose(theory.rate, [rate], rtol=1e-12)
    np.testing.assert_allclose(theory.log_frobenius[0], 0.5 * math.log(16) + rate * np.arange(30), rtol=1e-12)
    np.testing.assert_allclose(theory.neuron_path_rate, [math.log(0.5)])
    assert theory.log_frobenius.dims == ("layer", "lag")
    assert theory.rate.attrs["units"] == "nats per step"
    assert theory.attrs == {"task": "digits", "theory": "mean square"}


def test_no_recurrence_leaves_the_neuron_path():
    theory = mean_square(dataset([], []))
    np.testing.assert_allclose(theory.rate, [0.5 * math.log(0.25)])


def test_weights_enter_squared():
    theory = mean_square(dataset([2, 5], [0.3, -0.7]))
    np.testing.assert_allclose(theory.rate, 0.5 * log_root(0.25, 0.8, [2, 5], [0.09, 0.49]), rtol=1e-12)
    np.testing.assert_allclose(
        theory.log_frobenius[0] - 0.5 * math.log(16),
        mean_square_curve(0.25, 0.8, [2, 5], [0.3, -0.7], 30),
        rtol=1e-12,
    )


def test_a_neuron_that_keeps_nothing_has_no_neuron_path():
    prod = dataset([2], [1.0], a_square=[0.0, 0.0]).assign(leak=("layer", [0.0]))
    theory = mean_square(prod)
    assert theory.neuron_path_rate.item() == -math.inf
    assert np.isneginf(theory.log_frobenius[0, 1::2]).all()
    assert np.isfinite(theory.log_frobenius[0, ::2]).all()


def mean_squares(spans, p, lags=10, neurons=6, draws=4000, a=0.6, phi=0.7, g=1.2):
    """E‖P‖_F² with its standard error, V[t] drawn afresh with independent entries, and the prediction."""
    V = np.random.default_rng(0).normal(size=(lags, draws, neurons, neurons)) * g / math.sqrt(neurons)
    P = [np.broadcast_to(np.eye(neurons), (draws, neurons, neurons))]
    for n in range(1, lags):
        hops = [q * P[n - d] @ V[n] * phi for d, q in zip(spans, p, strict=True) if d <= n]
        P.append(a * P[n - 1] + sum(hops, np.zeros_like(P[0])))
    squares = np.stack([(value**2).sum((1, 2)) for value in P])
    predicted = neurons * np.exp(2 * mean_square_curve(a**2, (g * phi) ** 2, spans, p, lags))
    return squares.mean(1), squares.std(1) / math.sqrt(draws), predicted


@pytest.mark.parametrize("span", [1, 3])
def test_it_is_exact_on_the_mean_where_the_matrix_is_drawn_afresh(span):
    mean, error, predicted = mean_squares([span], [0.9])
    # Ten correlated lags: four standard errors, and the rounding of the lags that are certain.
    assert (np.abs(mean - predicted) <= 4 * error + 1e-9).all()


def test_several_spans_meet_the_same_matrix_and_decay_slower_than_predicted():
    mean, error, predicted = mean_squares([1, 3], [0.4, 0.6])
    assert (np.abs(mean - predicted)[:3] <= 4 * error[:3] + 1e-9).all()
    assert (mean[3:] > predicted[3:] + 4 * error[3:]).all()


def test_further_dimensions_are_kept():
    parts = [dataset([1, 4], [0.5, 0.5], a_square=[0.1 * k, 0.2]) for k in range(3)]
    whole = mean_square(xr.concat(parts, "seed", data_vars="all"))
    assert whole.log_frobenius.dims == ("seed", "layer", "lag")
    xr.testing.assert_allclose(whole.isel(seed=2), mean_square(parts[2]))


@pytest.mark.parametrize(
    "name", ["a_square", "phi_square", "gate_square", "V_frobenius", "neurons", "leak", "p"]
)
def test_what_is_missing_is_named(name):
    with pytest.raises(ValueError, match=f"'{name}'"):
        mean_square(dataset([1], [1.0]).drop_vars(name))


def test_a_single_curve_has_no_layer_to_lose():
    one = {"neurons": 4.0, "a_square": 0.25, "phi_square": 0.5, "gate_square": 1.0, "V_frobenius": 2.0}
    largest = {"a_max": 0.5, "phi_max": 0.7, "gate_max": 1.0, "V_spectral": 1.0}
    prod = xr.Dataset(
        {**one, **largest, "leak": 0.5, "p": ("span", [1.0])}, {"span": [1], "lag": np.arange(9)}
    )
    # the closed forms of span 1
    assert mean_square(prod).rate.item() == pytest.approx(0.5 * math.log(0.25 + 0.5), rel=1e-12)
    assert bound(prod).rate.item() == pytest.approx(math.log(0.5 + 0.7), rel=1e-12)
