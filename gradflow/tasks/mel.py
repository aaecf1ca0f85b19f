"""Log-mel features: power spectra of short pieces of sound, summed in bands equally wide on the mel scale.

Axes: sample (of the wave) → frame band. mel(f) = 2595 log₁₀(1 + f/700), as in the Hidden Markov Model Toolkit
(O'Shaughnessy 1987); librosa's default is another scale (Slaney's).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float

Wave = Float[np.ndarray, " sample"]
Features = Float[np.ndarray, "frame band"]
Filters = Float[np.ndarray, "band bin"]


@dataclass(frozen=True)
class LogMel:
    """Turn sound into log-mel features, a row for each frame.

        y[m, b] = ln(floor + Σ_k F[b, k] |X[m, k]|²)
        X[m, k] = Σ_n w[n] x[m · hop + n − window/2] e^{−2πi kn/size} / Σ_n w[n]

    The sound is reflected at both ends, so that frame m is centred on sample m · hop and there are
    1 + samples // hop of them; w is Hann's window (periodic). F are triangles of height 1, linear in
    frequency between the centres of their neighbours; the centres lie equally far apart in mel between `low`
    and `high`. So |X|² is A²/4 at the frequency of a sine of amplitude A, and the bands of a frame add up to
    the power Σ_k |X[m, k]|² of whatever lies between the first and the last centre.

    Defaults: 40 bands of 20 to 8,000 Hz, pieces of 25 ms every 10 ms at 16 kHz: one second gives 101 × 40.
    `floor` is −100 dB, above what rounding to 16 bits leaves of silence.

    Raises ValueError for sizes that do not fit, or so many bands that some are narrower than a bin.

    >>> LogMel()(np.zeros(16000)).shape
    (101, 40)
    """

    rate: int = 16_000
    window: int = 400
    hop: int = 160
    size: int = 512
    bands: int = 40
    low: float = 20.0
    high: float = 8000.0
    floor: float = 1e-10

    def __post_init__(self) -> None:
        if not (self.hop >= 1 and 2 <= self.window <= self.size and self.window % 2 == 0):
            raise ValueError(
                f"mel: got window={self.window}, hop={self.hop}, size={self.size}, expected an even window "
                "of at most size, and a hop of at least 1 sample"
            )
        if not 0 <= self.low < self.high <= self.rate / 2 or self.bands < 1 or not self.floor > 0:
            raise ValueError(
                f"mel: got {self.bands} bands from {self.low} to {self.high} Hz, floor {self.floor}, "
                f"expected at least one, within 0 and {self.rate / 2:g} Hz, and a floor above 0"
            )
        narrow = np.flatnonzero(self.filters().sum(axis=1) == 0)
        if narrow.size:
            raise ValueError(
                f"mel: band {narrow[0]} of {self.bands} holds no frequency of a transform of {self.size} "
                "samples; take fewer bands or a larger size"
            )

    def __call__(self, wave: Wave) -> Features:
        """Return the features of a wave of numbers in −1 … 1, longer than half a window, in float64."""
        if len(wave) <= self.window // 2:
            raise ValueError(
                f"wave: got {len(wave)} samples, expected more than {self.window // 2}, half a window"
            )
        padded = np.pad(wave.astype(np.float64), self.window // 2, mode="reflect")
        pieces = np.lib.stride_tricks.sliding_window_view(padded, self.window)[:: self.hop]
        weights = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.window) / self.window)
        spectrum = np.fft.rfft(pieces * weights, n=self.size, axis=1) / weights.sum()
        power = spectrum.real**2 + spectrum.imag**2
        return np.asarray(np.log(self.floor + power @ self.filters().T))

    def centres(self) -> Float[np.ndarray, " band"]:
        """Return the frequencies at which the bands are highest, in Hz.

        >>> LogMel().centres()[[0, 20, 39]].round().tolist()
        [65.0, 1880.0, 7487.0]
        """
        return self._corners()[1:-1]

    def filters(self) -> Filters:
        """Return F, the weight of each bin (k · rate / size Hz) in each band."""
        return _filters(self)

    def _corners(self) -> Float[np.ndarray, " corner"]:
        edges = mel_of(np.array([self.low, self.high]))
        return np.asarray(hertz_of(np.linspace(edges[0], edges[1], self.bands + 2)))


def mel_of(hertz: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return mel(f) = 2595 log₁₀(1 + f/700).

    >>> mel_of(np.array([0.0, 1000.0])).round(1).tolist()
    [0.0, 1000.0]
    """
    return np.asarray(2595.0 * np.log10(1.0 + hertz / 700.0))


def hertz_of(mel: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return the frequency of each mel: 700 (10^(mel/2595) − 1)."""
    return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0))


@cache
def _filters(of: LogMel) -> Filters:
    corners = of._corners()
    at = np.arange(of.size // 2 + 1) * (of.rate / of.size)
    lower, centre, upper = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising, falling = (at - lower) / (centre - lower), (upper - at) / (upper - centre)
    found = np.clip(np.minimum(rising, falling), 0.0, None)
    found.flags.writeable = False
    return np.asarray(found)
