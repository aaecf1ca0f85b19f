"""Statistics without data: closed forms, quadrature, and direct simulation of many neurons."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from compare import assert_close
from scipy import integrate, stats

from gradflow.theory import (
    GaussianInput,
    LayerWeights,
    UpdateRule,
    density_closure,
    lif,
    sampled_closure,
)
from gradflow.theory.density_closure import LAGS, Ensemble, Signal
from gradflow.theory.update_rule import triangle

NEVER = 1e6  # a threshold that no potential reaches


def white(steps, deviation=1.0):
    """One input, Gaussian and independent from step to step."""
    return GaussianInput(np.zeros((steps, 1)), deviation * np.eye(steps)[:, :, None])


def constant(steps, deviation=1.0):
    """One input, Gaussian and the same at all steps."""
    return GaussianInput(np.zeros((steps, 1)), np.full((1, steps, 1), deviation))


def alone(W, b, rule):
    """Neurons without recurrence."""
    return LayerWeights(np.array(W)[:, None], np.array(b), np.zeros((len(W), len(W))), {}, rule)


def central(density, order):
    """E (u − E u)^order of every neuron."""
    mean = (density.mass * density.points).sum(axis=1, keepdims=True)
    return (density.mass * (density.points - mean) ** order).sum(axis=1)


def advanced(layer, law, steps):
    """The densities of a layer after so many steps."""
    ensemble = Ensemble(layer, len(law.factor), cells=128)
    for t in range(steps):
        found = ensemble.step(Signal(law.mean[t], law.factor[:, t], np.zeros((LAGS + 1, layer.W.shape[1]))))
    return found


@pytest.mark.parametrize(("law", "gain"), [(white, "white"), (constant, "constant")])
def test_a_potential_that_never_fires_is_gaussian_with_the_closed_variance(law, gain):
    alpha, sigma, steps = 0.8, 0.3, 12
    layer = alone([1.0, -2.0], [0.1, 0.5], lif(alpha, NEVER))
    found = advanced(layer, law(steps, sigma), steps)
    geometric = (1 - alpha**steps) / (1 - alpha)
    squares = (1 - alpha ** (2 * steps)) / (1 - alpha**2) if gain == "white" else geometric**2
    mean = found.of["u"][0]
    assert_close(
        mean, np.array([0.1, 0.5]) * geometric, rtol=1e-9, why="shared between points so that means stay"
    )
    deviation = sigma * np.array([1.0, 2.0]) * math.sqrt(squares)
    # every cell's mass is a Gaussian's: 9 cells to a deviation leave 1e-4 in third and fourth moments
    for order, expected in enumerate([deviation**2, 0.0 * deviation, 3 * deviation**4], start=2):
        got = central(found.density, order)
        assert_close(
            got / deviation**order,
            expected / deviation**order,
            atol=5e-3,
            why="a grid of 9 cells a deviation",
        )
    assert_close(
        central(found.density, 2),
        deviation**2,
        rtol=1e-3,
        why="tails beyond 7 deviations; 9 cells to one",
    )
    covariance = found.S_z.T @ found.S_z * np.outer(found.of["u"][1], found.of["u"][1])
    assert_close(
        covariance[0, 1],
        -2 * sigma**2 * squares,
        rtol=2e-3,
        why="one input drives both: correlation −1 on a grid",
    )


@pytest.mark.parametrize("kind", ["mean", "square"])
def test_moments_of_the_triangle_by_quadrature(kind):
    sigma, bias = 0.7, 0.4
    layer = alone([1.0], [bias], lif(0.0, 1.0))
    found = advanced(layer, white(2, sigma), 2)
    power = 1 if kind == "mean" else 2
    expected, _ = integrate.quad(
        lambda u: max(0.0, 1.0 - abs(u - 1.0)) ** power * stats.norm.pdf(u, bias, sigma), 0, 2, points=[1.0]
    )
    got = found.of["phi"][0] if kind == "mean" else found.same["phi_phi"]
    assert_close(got, [expected], rtol=2e-3, why="kinks of the triangle within cells of 1/9 deviation")
    rate = stats.norm.sf(1.0, bias, sigma)
    assert_close(found.of["s"][0], [rate], rtol=1e-3, why="the cell at the threshold is shared in proportion")


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("decay", [0.5, 0.9])
def test_the_density_is_that_of_many_independent_neurons(hard, decay):
    steps, sigma, bias, count = 30, 0.5, 0.3, 100_000
    rule = lif(decay, hard=hard)
    closed = density_closure(white(steps, sigma), [alone([1.0], [bias], rule)])[0]
    random = np.random.default_rng(0)
    carried, totals = np.zeros(count), []
    for _ in range(steps - 1):
        u = carried + bias + sigma * random.normal(size=count)
        s = (u >= 1.0).astype(float)
        phi = triangle(u - 1.0)
        a = rule.local(u, s, phi)
        totals.append(np.stack([s, phi, a, phi**2, a**2, a * phi]))
        carried = rule.carry(u, s)
    each = np.mean(totals, axis=0)  # of every neuron, over time: neurons are independent, steps are not
    error = each.std(axis=1, ddof=1) / math.sqrt(count)
    moments = closed.moments
    got = np.array(
        [
            closed.firing_rate[0],
            moments.phi[0],
            moments.a[0],
            moments.phi_phi[0, 0],
            moments.a_a[0, 0],
            moments.a_phi[0, 0],
        ]
    )
    # 4 standard errors, and 0.1 % for cells of 1/9 deviation
    assert (np.abs(got - each.mean(axis=1)) <= 4 * error + 1e-3 * np.abs(got)).all(), (
        got,
        each.mean(axis=1),
        error,
    )
    assert (error <= 0.01 * np.abs(got)).all(), "the comparison is sharp"


@pytest.mark.parametrize("weight", [0.5, -0.4, 0.2])
def test_pairs_that_share_an_input_by_quadrature(weight):
    # the second neuron has an input of its own too
    W, mean = np.array([[0.6, 0.0], [weight, 0.4]]), np.array([0.6, 0.9])
    layer = LayerWeights(W, mean, np.zeros((2, 2)), {}, lif(0.5))
    law = GaussianInput(np.zeros((2, 2)), np.array([np.eye(2)[[r, r]] * [[1.0], [0.0]] for r in (0, 1)]))
    closed = density_closure(law, [layer])[0].moments  # of the first step alone
    grid = np.linspace(-3.0, 5.0, 2001)
    joint = stats.multivariate_normal(mean, W @ W.T).pdf(np.dstack(np.meshgrid(grid, grid, indexing="ij")))
    phi = triangle(grid - 1.0)
    both, first, second = phi @ joint @ phi, phi @ joint.sum(axis=1), joint.sum(axis=0) @ phi
    both, first, second = np.array([both, first, second]) * (grid[1] - grid[0]) ** 2
    covariance = closed.phi_phi[0, 1] - closed.phi[0] * closed.phi[1]
    expected = both - first * second
    assert abs(expected) > 1e-3, "the pair matters"
    assert_close(covariance, expected, rtol=0.03, why="what six orders leave at a correlation of 0.78")


def test_the_covariance_of_currents_passes_through_the_weights():
    random = np.random.default_rng(1)
    factor = random.normal(size=(5, 3, 2))
    law = GaussianInput(random.normal(size=(3, 2)), factor)
    covariance = np.einsum("rti,rsj->tisj", factor, factor)
    again = GaussianInput.of_covariance(law.mean, covariance)
    assert_close(
        np.einsum("rti,rsj->tisj", again.factor, again.factor),
        covariance,
        atol=1e-10,
        why="an eigendecomposition",
    )
    layer = LayerWeights(random.normal(size=(3, 2)), np.zeros(3), np.zeros((3, 3)), {}, lif(0.0, NEVER))
    found = advanced(layer, again, 1)
    S_u = found.S_z * found.of["u"][1]
    expected = layer.W @ covariance[0, :, 0, :] @ layer.W.T
    assert_close(S_u.T @ S_u, expected, rtol=5e-3, atol=5e-3, why="shared variance alone, on a grid")


@dataclass(frozen=True)
class OwnNoise:
    """White noise of unit variance, independent between steps and inputs."""

    steps: int
    inputs: int

    @property
    def mean(self):
        return np.zeros((self.steps, self.inputs))

    @property
    def factor(self):
        return np.eye(self.steps * self.inputs).reshape(-1, self.steps, self.inputs)

    def sample(self, count, seed):
        return np.random.default_rng(seed).normal(size=(self.steps, count, self.inputs))


@pytest.mark.parametrize("hard", [False, True])
def test_recurrence_and_two_layers_agree_with_samples(hard):
    """Every neuron of the first layer has noise of its own: what else varies comes from the recurrence."""
    random, size = np.random.default_rng(3), 48
    V = [np.linalg.qr(random.normal(size=(size, size)))[0] for _ in range(2)]
    W = 0.3 * np.eye(size), random.normal(size=(size, size)) / math.sqrt(size)
    layers = [
        LayerWeights(W[k], random.uniform(-0.2, 0.8, size), V[k], taps, lif(0.8, hard=hard))
        for k, taps in enumerate([{2: 1.0}, {1: 0.5, 3: 0.5}])
    ]
    law = OwnNoise(40, size)
    found, drawn = density_closure(law, layers), sampled_closure(law, layers, samples=512)
    # 0.0012 is the samples' standard error; without autocovariances the two layers are off by 0.004 and 0.008
    for density, sampled, most in zip(found, drawn, (0.003, 0.006), strict=True):
        off = density.firing_rate - sampled.firing_rate
        assert np.sqrt(np.mean(off**2)) < most, "of rates of about 0.2, over 48 neurons"
        assert abs(off.mean()) < 0.002, "the layer's mean rate, to 1 %"


def test_refusals():
    law, layer = white(5), alone([1.0], [0.0], lif(0.5))
    with pytest.raises(ValueError, match="samples: got 10 in 4 parts"):
        sampled_closure(law, [layer], samples=10)
    with pytest.raises(ValueError, match="layers: got none"):
        density_closure(law, [])
    with pytest.raises(ValueError, match="W of layer 1 reads 1 inputs, expected 2"):
        density_closure(law, [alone([1.0, 2.0], [0.0, 0.0], lif(0.5)), layer])
    with pytest.raises(ValueError, match="cells: got 8"):
        density_closure(law, [layer], cells=8)
    with pytest.raises(ValueError, match="spans \\[0\\]"):
        LayerWeights(np.ones((1, 1)), np.zeros(1), np.eye(1), {0: 1.0})
    gated = UpdateRule(0.5, 0.0, 0.5, gate=np.ones((2, 1)))
    with pytest.raises(ValueError, match="step 2 has no gate; there are 2"):
        density_closure(law, [alone([1.0], [0.0], gated)])


def test_shapes_are_refused(no_shape_checks):
    with pytest.raises(ValueError, match=r"W is \(2, 1\), b \(3,\) and V \(2, 2\)"):
        LayerWeights(np.ones((2, 1)), np.zeros(3), np.eye(2))
    with pytest.raises(ValueError, match="W holds NaN"):
        LayerWeights(np.full((2, 1), np.nan), np.zeros(2), np.eye(2))
    with pytest.raises(ValueError, match="leak holds NaN"):
        lif(math.nan)
