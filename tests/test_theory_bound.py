"""The bound is a theorem: no product computed directly breaks it."""

import math

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gradflow.theory import bound, product_bound

# Both sides are rounded; a neuron alone (H = 1, constant factors) meets the bound with equality.
ROUNDING = 1e-9


def random_layer(random, neurons, length, spans):
    """Draw the factors of one layer and sample: a[t], φ[t], γ[t] (time neuron), V, p; all signs."""
    scale = random.choice([0.1, 1.0, 2.0], size=3)
    return {
        "a": scale[0] * random.uniform(-1, 1, (length, neurons)),
        "phi": scale[1]
        * random.uniform(-0.3, 1, (length, neurons))
        * (random.random((length, neurons)) < 0.7),
        "gate": scale[2] * random.uniform(-1, 1, (length, neurons)),
        "V": random.normal(size=(neurons, neurons)) / math.sqrt(neurons),
        "p": random.normal(size=len(spans)),
    }


def products(layer, spans):
    """P(T,t) for lags 0 … T by the recursion of the design, as written there."""
    length, neurons = layer["a"].shape
    P = {length - 1: np.eye(neurons)}
    for t in range(length - 2, -1, -1):
        P[t] = P[t + 1] * layer["a"][t]
        for d, p in zip(spans, layer["p"], strict=True):
            if t + d < length:
                P[t] = P[t] + p * (P[t + d] * layer["gate"][t + d]) @ layer["V"] * layer["phi"][t]
    return np.stack([P[length - 1 - n] for n in range(length)])


def dataset(layers, spans):
    """The labelled moments of some layers, one sample each."""
    length, neurons = layers[0]["a"].shape
    with np.errstate(divide="ignore"):
        norms = [
            [np.log(np.linalg.norm(products(layer, spans), ord=k, axis=(1, 2)))]
            for layer in layers
            for k in (2, "fro")
        ]
    largest = {
        f"{name}_max": [[np.abs(layer[name]).max()] for layer in layers] for name in ("a", "phi", "gate")
    }
    return xr.Dataset(
        {name: (("layer", "sample"), value) for name, value in largest.items()}
        | {"log_spectral": (("layer", "sample", "lag"), norms[::2])}
        | {"log_frobenius": (("layer", "sample", "lag"), norms[1::2])}
        | {"V_spectral": ("layer", [np.linalg.norm(layer["V"], 2) for layer in layers])}
        | {
            "p": (("layer", "span"), [layer["p"] for layer in layers]),
            "neurons": ("layer", [neurons] * len(layers)),
        },
        {"lag": np.arange(length), "span": spans},
    )


@given(
    seed=st.integers(0, 2**32 - 1),
    neurons=st.integers(1, 6),
    length=st.integers(1, 25),
    spans=st.sets(st.integers(1, 30), min_size=1, max_size=4),
)
def test_no_product_exceeds_the_bound(seed, neurons, length, spans):
    random, ordered = np.random.default_rng(seed), sorted(spans)
    prod = dataset([random_layer(random, neurons, length, ordered) for _ in range(2)], ordered)
    theory = bound(prod)
    assert theory.log_bound.dims == ("layer", "sample", "lag")
    assert (prod.log_spectral <= theory.log_bound + ROUNDING).all()
    assert (prod.log_frobenius <= theory.log_bound_frobenius + ROUNDING).all()


def test_constant_factors_meet_the_bound_with_equality():
    layer = {"a": np.full((40, 1), 0.4), "phi": np.full((40, 1), 0.9), "gate": np.full((40, 1), 1.0)}
    prod = dataset([layer | {"V": np.array([[0.7]]), "p": np.array([0.3, 0.7])}], [1, 5])
    np.testing.assert_allclose(bound(prod).log_bound, prod.log_spectral, atol=1e-12)


def test_the_bound_is_tight_for_an_orthogonal_matrix_without_a_neuron_path():
    """‖(V φ)^k‖ = φ^k: teeth of a comb of span 3, holes between them."""
    random = np.random.default_rng(0)
    V = np.linalg.qr(random.normal(size=(5, 5)))[0]
    same = np.ones((20, 5))
    prod = dataset([{"a": 0 * same, "phi": 0.5 * same, "gate": same, "V": V, "p": np.array([1.0])}], [3])
    theory = bound(prod)
    np.testing.assert_allclose(theory.log_bound, prod.log_spectral, atol=1e-12)
    np.testing.assert_allclose(theory.log_bound_frobenius, prod.log_frobenius, atol=1e-12)
    np.testing.assert_allclose(theory.rate, math.log(0.5) / 3)


def test_further_dimensions_are_kept():
    random = np.random.default_rng(1)
    parts = [dataset([random_layer(random, 3, 12, [1, 4]) for _ in range(2)], [1, 4]) for _ in range(3)]
    whole = bound(xr.concat(parts, "seed", data_vars="all"))
    assert whole.log_bound.dims == ("seed", "layer", "sample", "lag")
    xr.testing.assert_allclose(whole.isel(seed=2), bound(parts[2]))


def test_recurrences_of_different_spans_stand_side_by_side():
    random = np.random.default_rng(2)
    parts = [dataset([random_layer(random, 3, 12, spans)], spans) for spans in ([1], [4])]
    whole = bound(xr.concat(parts, "recurrence", join="outer", data_vars="all"))
    for i, part in enumerate(parts):
        np.testing.assert_allclose(whole.log_bound.isel(recurrence=i), bound(part).log_bound, rtol=1e-14)


def test_some_lags_of_the_bound_are_those_of_all_of_it():
    prod = dataset([random_layer(np.random.default_rng(3), 2, 12, [2])], [2])
    some = prod.sel(lag=[0, 3, 11])
    xr.testing.assert_identical(bound(some).log_bound, bound(prod).log_bound.sel(lag=[0, 3, 11]))


def test_a_layer_without_recurrence_decays_by_its_neurons():
    prod = dataset([random_layer(np.random.default_rng(4), 3, 10, [])], [])
    np.testing.assert_allclose(
        bound(prod).log_bound[0, 0], np.arange(10) * np.log(prod.a_max.item()), rtol=1e-13
    )


@pytest.mark.parametrize("name", ["a_max", "phi_max", "gate_max", "V_spectral", "neurons", "p"])
def test_what_is_missing_is_named(name):
    prod = dataset([random_layer(np.random.default_rng(5), 3, 5, [1])], [1])
    with pytest.raises(ValueError, match=f"'{name}'"):
        bound(prod.drop_vars(name))


def test_a_negative_maximum_is_refused():
    with pytest.raises(ValueError, match="a: got"):
        product_bound(-0.5, 1.0, [1], [1.0], 4)
