"""Intervals of an accuracy: Wilson's over examples, Student's over repetitions or runs.

Axes: any; each number of the result belongs to one of the share that was given.
"""

import numpy as np
from jaxtyping import Float
from scipy import stats

CONFIDENCE = 0.95


def wilson_interval(
    share: Float[np.ndarray, "*axes"] | float, count: int, *, confidence: float = CONFIDENCE
) -> tuple[Float[np.ndarray, "*axes"], Float[np.ndarray, "*axes"]]:
    """Return the ends of Wilson's score interval of a share seen in `count` independent examples.

        (p + z²/2n ± z √(p (1 − p) / n + z²/4n²)) / (1 + z²/n),   z the (1 + confidence)/2 quantile

    It holds the shares p₀ that a test of p₀ (with the variance p₀ (1 − p₀)/n) does not reject, stays within
    0 … 1 and has a width at p = 0 and 1 too (Wilson 1927). It is over examples drawn from where these came
    from, with the network as it is; other seeds are not in it.

    Raises ValueError for no examples, or a share outside 0 … 1.

    >>> [round(float(end), 4) for end in wilson_interval(0.9, 500)]
    [0.8706, 0.9233]
    """
    p = np.asarray(share, dtype=np.float64)
    if count < 1 or not ((p >= 0.0) & (p <= 1.0)).all():
        raise ValueError(
            f"wilson_interval: got {share} of {count} examples, expected a share from 0 to 1 of at least one"
        )
    z = float(stats.norm.ppf(0.5 + confidence / 2.0))
    spread = z * z / count
    half = z * np.sqrt(p * (1.0 - p) / count + spread / (4.0 * count))
    # rounding alone could put an end a hair outside 0 … 1, or on the wrong side of p = 0 and 1
    low = np.clip((p + spread / 2.0 - half) / (1.0 + spread), 0.0, p)
    high = np.clip((p + spread / 2.0 + half) / (1.0 + spread), p, 1.0)
    return np.asarray(low), np.asarray(high)
