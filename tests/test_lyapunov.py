"""Lyapunov exponents against roots, whole companion matrices and singular values; what is −∞ and why."""

import numpy as np
import pytest
from cases import TABLE, one_layer
from compare import assert_close, assert_equal
from test_products import layer
from test_spectrum import values

import gradflow as gf
from gradflow.jacobian.lyapunov import lyapunov_exponents, readable
from gradflow.transition import DenseTransition, LayerTransition, Transition

quickly = pytest.mark.usefixtures("no_shape_checks")
"""For long runs: checks at every step would take longer than the steps. Shorter tests have them."""


def exponents(*layers, **options):
    return lyapunov_exponents(Transition(layers), **options)


def constant(V, a, b, spans, weights, steps=700, gate=None):
    n = len(V)
    gate = None if gate is None else np.full((steps, 1), gate)
    return LayerTransition(np.full((steps, 1, n), a), np.full((steps, 1, n), b), V, spans, weights, gate)


def roots(V, a, b, spans, weights):
    """Log moduli, descending, of the roots of z^D = a z^(D−1) + b v Σ p_d z^(D−d), v the eigenvalues of V."""
    depth, found = max(spans), []
    for v in np.linalg.eigvals(V):
        polynomial = np.zeros(depth + 1, dtype=complex)
        polynomial[0] = 1.0
        polynomial[1] -= a
        for d, p in zip(spans, weights, strict=True):
            polynomial[d] -= b * v * p
        found.append(np.log(np.abs(np.roots(polynomial))))
    return np.sort(np.concatenate(found))[::-1]


RNG = np.random.default_rng(0)
ORTHOGONAL = np.linalg.qr(RNG.normal(size=(4, 4)))[0]
SKEWED = (lambda X: X @ np.diag([0.9, 0.5, -0.7, 0.2]) @ np.linalg.inv(X))(RNG.normal(size=(4, 4)))


@quickly
@pytest.mark.parametrize(
    ("V", "spans", "weights", "a", "b"),
    [
        (ORTHOGONAL, (1,), (1.0,), 0.4, 0.7),
        (SKEWED, (1,), (1.0,), 0.4, 0.7),
        (SKEWED, (3,), (1.0,), 0.4, 0.7),
        (ORTHOGONAL, (5,), (1.0,), 0.9, 0.3),
        (SKEWED, (1, 4), (0.3, 0.7), 0.3, 1.2),
    ],
    ids=["vanilla, orthogonal", "vanilla, skewed", "skip", "neuron path", "adaptive"],
)
def test_constant_networks_have_the_exponents_of_their_roots(V, spans, weights, a, b):
    gate = 0.5
    expected = roots(V, a, b * gate, spans, weights)
    base = constant(V, a, b, spans, weights, gate=gate)
    found = exponents(base, leading=expected.size, burn_in=450).exponent[0, 0]
    # roots of one modulus share their sum; the sum of all roots up to a gap is the volume of a subspace
    apart = np.flatnonzero(np.append(-np.diff(expected), 1.0) > 0.05)
    assert apart.size >= 2
    assert_close(
        np.cumsum(found)[apart],
        np.cumsum(expected)[apart],
        atol=1e-8,
        why="e^(−0.05 · 450), times a condition",
    )
    # within a pair the sum is split to and fro: a few nats over 245 steps
    assert_close(found, expected, atol=0.02, why="a few nats over 245 steps")


def companion(transition, t, sample=0):
    """The (D H)² matrix from u[t−1], …, u[t−D] to u[t], …, u[t−D+1]."""
    n, depth = len(transition.V), max(transition.spans)
    C = np.eye(depth * n, k=-n)
    C[:n, :n] += np.diag(transition.a[t - 1, sample])
    gate = np.ones(n) if transition.gate is None else transition.gate[t]
    for d, p in zip(transition.spans, transition.weights, strict=True):
        block = p * gate[:, None] * transition.V * transition.phi[t - d, sample]
        C[:n, (d - 1) * n : d * n] += block
    return C


GATE = np.random.default_rng(5).uniform(0.5, 1.0, size=(201, 3))
TWIN = {
    "vanilla": layer(201, spread=0.2),
    "skip": layer(201, spans=(4,), spread=0.2),
    "skip, gated": layer(201, spans=(3,), gate=GATE, spread=0.2),
    "adaptive": layer(201, spans=(1, 2, 5), weights=(0.5, 0.2, 0.3), spread=0.2),
}


@pytest.mark.parametrize("name", TWIN)
def test_the_operator_is_the_companion_matrix(name):
    base = TWIN[name]
    depth = max(base.spans)
    k, skipped = 3, 20
    found = exponents(base, leading=k, burn_in=skipped).exponent[0, 0]
    Q = np.linalg.qr(gf.seeds.normal(0, "lyapunov", 0, shape=(depth * 3, k)))[0]
    total = np.zeros(k)
    for t in range(depth, 201):
        Q, R = np.linalg.qr(companion(base, t) @ Q)
        if t >= depth + skipped:
            total += np.log(np.abs(np.diagonal(R)))
    assert base.phi.all()  # components that nothing reads would be dropped here and kept there
    assert_close(found, total / (201 - depth - skipped), atol=1e-12, why="rounding")


@quickly
@pytest.mark.parametrize("spans", [(1,), (8,), (1, 4)])
def test_exponents_are_the_slopes_of_the_singular_values(spans):
    weights = (1 / len(spans),) * len(spans)
    base = layer(900, neurons=8, spans=spans, weights=weights, spread=0.7, seed=2)
    found = exponents(base, leading=8, burn_in=100)
    steps = int(found.steps.item())
    logs = values(base, every=steps).log_singular[0, 0, -1]  # over the same steps
    # products end in other norms than those of aligned directions: a few nats, whatever the length,
    # the most for the last of the H values that one block shows of the state
    assert_close(found.exponent[0, 0], logs / steps, atol=8 / steps, why="8 nats at the ends")
    if spans == (1,):  # all of the state: both are the log of one determinant
        assert_close(found.exponent.sum(), logs.sum() / steps, atol=1e-10, why="rounding of logs")


@quickly
def test_exponents_do_not_depend_on_the_start_and_seeds_repeat():
    base = layer(800, neurons=6, spread=0.6)
    one, other = (exponents(base, leading=3, burn_in=400, seed=seed).exponent for seed in (0, 1))
    assert_close(one, other, atol=1e-6, why="directions have aligned within 400 steps, gaps of 0.05")
    assert_equal(one, exponents(base, leading=3, burn_in=400).exponent)


@quickly
def test_a_dense_transition_is_the_vanilla_layer_of_its_steps():
    base = layer(300, neurons=4, spread=0.4, samples=2)
    diagonal = np.einsum("tbj,jk->tbjk", base.a[:-1], np.eye(4))
    J = DenseTransition(diagonal + base.V * base.phi[:-1, :, None])
    assert_close(
        exponents(J, leading=4).exponent, exponents(base, leading=4).exponent, atol=1e-12, why="rounding"
    )


def test_empty_windows_make_the_end_of_the_spectrum_minus_infinity():
    """A detached hard reset: at step 40, 5 of 6 neurons have just fired, far beyond their window."""
    base = layer(101, neurons=6, spread=0.2)
    a, phi = base.a.copy(), base.phi.copy()
    a[40, 0, 1:], phi[40, 0, 1:] = 0.0, 0.0
    found = exponents(LayerTransition(a, phi, base.V), leading=6)
    assert np.isneginf(found.exponent[0, 0]).values.tolist() == [False] + [True] * 5
    assert found.lost_at[0, 0, 1:].values.tolist() == [40.0] * 5
    assert np.isnan(found.lost_at[0, 0, 0])
    assert (found.rank_bound.item(), found.no_window.item(), found.state.item()) == (1, 5, 6)
    assert np.isfinite(found["mean"][0, 0])
    assert np.isnan(found["mean"][0, 1])
    other = LayerTransition(np.full_like(a, 0.5), np.ones_like(phi), base.V)
    two = [np.concatenate([x, y], axis=1) for x, y in ((a, other.a), (phi, other.phi))]
    found = exponents(LayerTransition(*two, base.V), leading=6)
    assert found.share_lost.values.tolist() == [[0.0] + [0.5] * 5]


@pytest.mark.parametrize("spans", [(3,), (1, 2, 4)])
def test_what_is_finite_is_the_rank_of_the_product(spans):
    base = layer(60, neurons=4, spans=spans, weights=(1 / len(spans),) * len(spans), spread=1.2, decay=0.8)
    depth = max(spans)
    state = 4 * depth
    found = exponents(base, leading=state, burn_in=0)
    finite = np.isfinite(found.exponent[0, 0]).sum().item()
    product = np.eye(state)
    for t in range(depth, 60):
        # columns scaled, so that numpy's rank sees more than the slowest directions
        product = companion(base, t) @ product
        product = product / np.abs(product).max(axis=0, initial=1e-300)
    assert np.linalg.matrix_rank(product) <= finite <= found.rank_bound.item() < state
    assert np.isneginf(found.exponent[0, 0]).sum().item() == state - found.rank_bound.item()
    assert np.all(np.isneginf(found.exponent[0, 0, int(found.rank_bound.item()) :]))


def test_neurons_that_v_does_not_read_are_counted_apart_from_empty_windows():
    base = constant(np.diag([1.0, 1.0, 0.0]), 0.5, 0.8, (3,), (1.0,), steps=60)
    found = exponents(base, leading=9)
    assert (found.rank_bound.item(), found.no_window.item()) == (7, 0)
    assert np.isneginf(found.exponent[0, 0]).sum() == 2
    # of the rest, neuron 2 keeps its own leak
    assert np.min(np.abs(found.exponent[0, 0] - np.log(0.5))) < 0.02


def test_a_rank_that_no_structure_explains_is_not_known():
    flat = layer(60, neurons=3, spread=0.3)
    flat = LayerTransition(np.zeros_like(flat.a), flat.phi, np.outer(np.ones(3), [0.3, 0.7, 0.2]))
    found = exponents(flat, leading=3).exponent[0, 0]
    assert np.isfinite(found[0])
    assert np.isnan(found[1:]).all()


def test_all_is_lost_when_every_window_is_empty():
    base = layer(30, neurons=3)
    found = exponents(LayerTransition(np.zeros_like(base.a), np.zeros_like(base.a), base.V), leading=2)
    assert np.isneginf(found.exponent).all()
    assert found.rank_bound.item() == 0


@quickly
def test_the_distribution_over_samples_is_that_of_its_exponents():
    base = layer(400, neurons=5, samples=6, spread=0.5)
    found = exponents(base, leading=3, burn_in=100)
    table = found.exponent[0].values
    assert found.steps.item() == 299
    assert_close(found["mean"][0], table.mean(0), rtol=1e-14, why="the same sum")
    assert_close(found.sd[0], table.std(0, ddof=1), rtol=1e-12, why="the same sum")
    assert_close(found.standard_error[0], table.std(0, ddof=1) / np.sqrt(6), rtol=1e-12, why="the same sum")
    assert_close(found.diffusion[0], table.var(0, ddof=1) * 299, rtol=1e-12, why="the same sum")
    alone = LayerTransition(base.a[:, 3:4], base.phi[:, 3:4], base.V)
    one = exponents(alone, leading=3, burn_in=100)
    assert_close(one.exponent[0, 0], table[3], atol=1e-13, why="rounding of products of another shape")
    assert np.isnan(one.sd).all()


@quickly
def test_the_diffusion_of_independent_factors_is_their_variance():
    rng = np.random.default_rng(0)
    logs = rng.normal(-0.3, 0.4, size=(100, 30, 1))
    found = exponents(LayerTransition(np.exp(logs), np.zeros_like(logs), np.zeros((1, 1))), leading=1)
    # the variance of 30 samples: 0.16 ± 26 %; two and a half of those
    assert found.diffusion.item() == pytest.approx(0.16, rel=0.66)
    expected = logs[int(100 - 1 - found.steps.item()) : 99, :, 0].mean(axis=0)
    assert_close(found.exponent[0, :, 0], expected, atol=1e-13, why="a sum of logs")


NEURONS = [
    gf.LIF(surrogate=gf.Sigmoid()),
    gf.LIF(reset=gf.Reset.HARD, detach_reset=True, surrogate=gf.ArcTangent()),
    gf.PLIF(per_neuron=True, surrogate=gf.MultiGaussian()),
    gf.GLIF(surrogate=gf.Sigmoid()),
]


@pytest.mark.parametrize("neuron", NEURONS, ids=["lif", "hard", "plif", "glif"])
@pytest.mark.parametrize("recurrence", [gf.Vanilla(), gf.Skip(3), gf.AdaptiveSkip(4)], ids=lambda r: r.label)
def test_every_neuron_and_recurrence_has_the_exponents_of_its_companion_matrices(neuron, recurrence):
    case = one_layer(neuron, recurrence, steps=40, batch=2)
    made = gf.local_jacobians(case.net(), case.x())
    base = made.layers[0]
    depth, k = max(base.spans), 3
    found = lyapunov_exponents(made, leading=k, burn_in=5)
    start = np.linalg.qr(gf.seeds.normal(0, "lyapunov", 0, shape=(depth * 4, k)))[0]
    for b in range(2):
        Q, total = start, np.zeros(k)
        for t in range(depth, 40):
            read, _ = readable(base, b, t, depth, 39)
            Q, R = np.linalg.qr(read.reshape(-1, 1) * (companion(base, t, b) @ Q))
            if t >= depth + 5:
                total += np.log(np.abs(np.diagonal(R)))
        assert_close(found.exponent[0, b], total / (35 - depth), atol=1e-9, why="rounding, times a condition")


@quickly
def test_exponents_of_the_stack_are_those_of_its_layers_together():
    """Its state's Jacobian is triangular in the layers; here as one matrix, with a link between them."""
    low, high = layer(700, spans=(2,), spread=0.2, seed=4), layer(700, neurons=2, spread=0.1, seed=5)
    L = np.random.default_rng(0).normal(size=(2, 3))
    Q, total = np.eye(8), np.zeros(8)
    for t in range(2, 700):
        below, above = companion(low, t), companion(high, t)
        climb = L * low.phi[t, 0] @ below[:3]
        Q, R = np.linalg.qr(np.block([[below, np.zeros((6, 2))], [climb, above]]) @ Q)
        total += np.log(np.abs(np.diagonal(R))) * (t >= 102)
    alone = [
        exponents(part, leading=n, burn_in=100).exponent.values.ravel() for part, n in ((low, 6), (high, 2))
    ]
    together = np.sort(np.concatenate(alone))[::-1]
    assert_close(np.sort(total / 598)[::-1], together, atol=0.02, why="a few nats over 598 steps")


@pytest.mark.parametrize("name", ["lif hard attached, skip", "glif shared", "two layers that differ"])
def test_networks_of_all_kinds_have_exponents(name):
    case = TABLE[name]
    found = lyapunov_exponents(case.net(), case.x(), leading=2, burn_in=0)
    assert found.exponent.dims == ("layer", "sample", "index")
    assert found.exponent.shape == (len(case.hidden), case.batch, 2)
    assert not np.isposinf(found.exponent).any()
    assert found.attrs["kind"] == "lyapunov exponents"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"leading": 0}, "expected 1 … 3, the size of the state of layer 0"),
        ({"leading": 4}, "expected 1 … 3, the size of the state of layer 0"),
        ({"leading": 1, "burn_in": 8}, "burn_in=8: expected 0 … 7; 8 steps follow the first 1"),
        ({"leading": 1, "burn_in": -1}, "burn_in=-1"),
        ({"leading": 1, "end": 9}, "end=9: the sequence has 9 steps"),
    ],
)
def test_nonsense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        exponents(layer(9), **options)


def test_a_network_needs_a_batch_and_more_than_one_step():
    with pytest.raises(ValueError, match=r"lyapunov_exponents\(net\): give the batch"):
        lyapunov_exponents(one_layer().net())
    with pytest.raises(ValueError, match="burn_in=0: expected 0 … -1; 0 steps follow"):
        exponents(layer(1), leading=1)
