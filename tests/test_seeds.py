"""Named streams: the same on every machine, independent of each other and of the global generators."""

import hashlib
import math

import numpy as np
import pytest
import torch
from compare import assert_close, assert_equal
from hypothesis import given
from hypothesis import strategies as st

from gradflow import seeds

names = st.lists(st.text("abcdefgh 0123", min_size=1, max_size=8), min_size=1, max_size=3)
numbers = st.integers(0, 2**63 - 1)
GOLDEN_PERMUTATION = [7, 5, 1, 3, 0, 6, 4, 2]
GOLDEN_UNIFORM = [0.2532152054581269, 0.3768062551278858, 0.46253233977929475]
GOLDEN_DERIVED = 3674428320061331947
GOLDEN_NORMAL = [0.06823386655640919, 1.5370165063400318, -0.19076268737477423]


@given(numbers, names)
def test_a_stream_is_pcg64_seeded_with_the_hash_of_seed_and_name(seed, name):
    digest = hashlib.sha256("/".join([str(seed), *name]).encode()).digest()
    expected = np.random.PCG64(int.from_bytes(digest[:16], "little")).random_raw(3)
    assert_equal(seeds.bit_generator(seed, *name).random_raw(3), expected)


def test_the_streams_have_not_moved_since_the_first_release():
    """Golden values: if these change, every stored permutation and every initial network changes."""
    assert seeds.permutation(0, "pixels", size=8).tolist() == GOLDEN_PERMUTATION
    assert seeds.uniform(0, "layer 0", "weight", shape=(3,)).tolist() == GOLDEN_UNIFORM
    assert seeds.derive(0, "dropout") == GOLDEN_DERIVED
    assert_close(
        seeds.normal(0, "layer 0", "V", shape=(3,)), GOLDEN_NORMAL, rtol=1e-14, why="log and cos may round"
    )


@given(numbers, names, st.integers(1, 200))
def test_a_permutation_holds_every_number_once(seed, name, size):
    order = seeds.permutation(seed, *name, size=size)
    assert sorted(order.tolist()) == list(range(size))


@given(numbers, names)
def test_uniform_numbers_have_53_bits_below_one(seed, name):
    draw = seeds.uniform(seed, *name, shape=(50,))
    assert ((draw >= 0) & (draw < 1)).all()
    assert_equal(draw * 2.0**53 % 1, np.zeros(50))
    assert_equal(seeds.uniform(seed, *name, shape=(5, 10)), draw.reshape(5, 10))
    assert seeds.uniform(seed, *name, shape=()).shape == ()


def test_streams_are_uniform_normal_and_uncorrelated():
    count = 40_000
    one, other = (seeds.uniform(7, name, shape=(count,)) for name in ("one", "other"))
    sigma = 1 / math.sqrt(count)
    # five standard errors each: mean of U is 1/√12 wide, a correlation is 1 wide
    assert_close(one.mean(), 0.5, atol=5 * sigma / math.sqrt(12), why="five standard errors")
    assert_close(np.corrcoef(one, other)[0, 1], 0.0, atol=5 * sigma, why="five standard errors")
    assert_close(np.corrcoef(one[1:], one[:-1])[0, 1], 0.0, atol=5 * sigma, why="five standard errors")
    draw = seeds.normal(7, "one", shape=(count,))
    for power, moment, spread in (
        (1, 0, 1),
        (2, 1, math.sqrt(2)),
        (3, 0, math.sqrt(15)),
        (4, 3, math.sqrt(96)),
    ):
        assert_close((draw**power).mean(), moment, atol=5 * sigma * spread, why="five standard errors")


def test_every_seed_and_name_has_its_own_stream():
    keys = [
        (seed, *name) for seed in (0, 1, 2**40) for name in (("a",), ("b",), ("a", "b"), ("ab",), ("a", 1))
    ]
    assert len({seeds.derive(*key) for key in keys}) == len(keys)
    assert all(0 <= seeds.derive(*key) < 2**63 for key in keys)


def test_the_global_generators_are_left_alone():
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    seeds.normal(0, "x", shape=(5,))
    seeds.permutation(0, "x", size=5)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, "0", None, True, np.nan])
def test_a_seed_that_is_no_such_integer_is_refused(seed, no_shape_checks):
    with pytest.raises(ValueError, match=r"seed: got .*expected an integer from 0 to 2\*\*63 - 1"):
        seeds.uniform(seed, "x", shape=(1,))


def test_numpy_integers_are_seeds_too(no_shape_checks):
    assert seeds.derive(np.int64(3), "x") == seeds.derive(3, "x")


def test_rotations_are_orthogonal_and_uniform():
    """Haar: each entry of a 3 × 3 rotation or reflection has mean 0 and variance 1/3."""
    drawn = np.stack([seeds.rotation(seed, "turn", size=3) for seed in range(2000)])
    # QR's rounding
    assert np.allclose(drawn @ drawn.transpose(0, 2, 1), np.eye(3), atol=1e-14)
    # 1/√3 over √2000 is 0.013: four standard errors
    assert np.abs(drawn.mean(axis=0)).max() < 0.052
    # an entry is uniform on −1 … 1, its square has standard deviation 0.3
    assert np.abs((drawn**2).mean(axis=0) - 1 / 3).max() < 0.027
