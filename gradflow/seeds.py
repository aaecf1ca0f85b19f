"""Independent random streams, each named after what it is for, all from one seed.

A stream depends on its seed and its name only: never on what was drawn before it, so that a pixel
permutation is the same for every layer size. The name is hashed (SHA-256), and everything that must
agree across machines and library versions is taken from raw PCG64 words, whose sequence numpy
guarantees, not from distribution methods, whose sequence it does not.
"""

import hashlib

import numpy as np
from jaxtyping import Float, Int

MAX_SEED = 2**63 - 1


def bit_generator(seed: int, *name: str | int) -> np.random.PCG64:
    """Return the PCG64 stream of `name` under `seed`.

    Raises ValueError for a seed that is not an integer in 0 … 2⁶³−1.

    >>> int(bit_generator(0, "split").random_raw()) == int(bit_generator(0, "split").random_raw())
    True
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed: got {seed!r}, expected an integer from 0 to 2**63 - 1")
    digest = hashlib.sha256("/".join([str(int(seed)), *map(str, name)]).encode()).digest()
    return np.random.PCG64(int.from_bytes(digest[:16], "little"))


def uniform(seed: int, *name: str | int, shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    """Draw numbers uniform on [0, 1) with 53 random bits each, from the stream of `name`.

    >>> uniform(0, "demo", shape=(2,)).round(4).tolist()
    [0.098, 0.1499]
    """
    raw = bit_generator(seed, *name).random_raw(int(np.prod(shape, dtype=np.int64)))
    return ((raw >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(shape)


def normal(seed: int, *name: str | int, shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    """Draw standard normal numbers (Box and Muller 1958) from the stream of `name`.

    >>> bool(abs(normal(0, "demo", shape=(10_000,)).std() - 1) < 0.02)
    True
    """
    pairs = uniform(seed, *name, shape=(2, *shape))
    radius = np.sqrt(-2.0 * np.log1p(-pairs[0]))
    return np.asarray(radius * np.cos(2.0 * np.pi * pairs[1]))


def rotation(seed: int, *name: str | int, size: int) -> Float[np.ndarray, "size size"]:
    """Draw a random rotation or reflection, uniform in the sense of Haar, from the stream of `name`.

    >>> turned = rotation(0, "demo", size=3)
    >>> bool(np.allclose(turned @ turned.T, np.eye(3)))
    True
    """
    q, r = np.linalg.qr(normal(seed, *name, shape=(size, size)))
    # the signs make it uniform: QR alone prefers some
    return np.asarray(q * np.sign(np.diag(r)))


def permutation(seed: int, *name: str | int, size: int) -> Int[np.ndarray, " n"]:
    """Return a random order of 0 … size−1: the ranks of raw 64-bit words of the stream of `name`.

    >>> permutation(0, "pixels", size=5).tolist()
    [1, 3, 0, 4, 2]
    """
    return np.argsort(bit_generator(seed, *name).random_raw(size), kind="stable")


def derive(seed: int, *name: str | int) -> int:
    """Return a 63-bit seed of the stream of `name`, for generators that are not numpy's (torch)."""
    return int(bit_generator(seed, *name).random_raw()) & MAX_SEED
