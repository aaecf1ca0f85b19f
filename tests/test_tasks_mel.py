"""Log-mel features against closed forms: tones, their sum over bands, a slow twin and scipy's spectra."""

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from gradflow.tasks.mel import LogMel, hertz_of, mel_of

RATE = 16_000


def tone(hertz, amplitude=1.0, samples=RATE):
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(samples) / RATE + 0.3)


def power(mel, wave):
    return np.exp(mel(wave)) - mel.floor


@settings(deadline=None, max_examples=30)
@given(st.floats(80.0, 7400.0))
def test_a_tone_is_loudest_in_the_band_it_falls_in(hertz):
    """At the frequency f the largest filter is one of the two nearest centres': they sum to 1 there."""
    mel = LogMel(size=2048)  # bins of 8 Hz, so that the tone's own bin is in no doubt
    loudest = mel(tone(hertz))[50].argmax()
    assert loudest in np.argsort(np.abs(mel.centres() - hertz))[:2]


def test_centres_are_equally_far_apart_in_mel():
    mel = LogMel()
    steps = np.diff(mel_of(np.concatenate([[20.0], mel.centres(), [8000.0]])))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-12)  # roundings of a logarithm
    # the scale of the Hidden Markov Model Toolkit puts 1000 mel at 1000 Hz to a part in a million
    assert abs(mel_of(np.array([1000.0]))[0] - 1000) < 0.02
    hertz = np.array([20.0, 440.0, 8000.0])
    np.testing.assert_allclose(hertz_of(mel_of(hertz)), hertz, rtol=1e-12)


@pytest.mark.parametrize("amplitude", [1.0, 0.01])
def test_a_tone_on_a_bin_has_the_power_of_its_amplitude(amplitude):
    """|X|² is A²/4 on the bin and, for Hann without padding, a quarter of it on either side: 3/8 A²."""
    mel = LogMel(window=512, hop=128, floor=1e-30)
    found = power(mel, tone(2000.0, amplitude))[30]
    # Σ_b F = 1 at all three bins; the tone at −f leaks below 1e-6 here
    np.testing.assert_allclose(found.sum(), 0.375 * amplitude**2, rtol=1e-6)


def test_bands_add_up_to_all_power_between_the_outer_centres():
    mel = LogMel()
    inside = slice(*np.searchsorted(np.arange(257) * RATE / 512, mel.centres()[[0, -1]]))
    np.testing.assert_allclose(
        mel.filters()[:, inside].sum(axis=0), 1, rtol=1e-12
    )  # two numbers that sum to 1
    assert mel.filters().max() <= 1
    assert mel.filters().min() >= 0


def test_features_are_those_of_scipys_spectrum():
    wave = np.random.default_rng(0).standard_normal(RATE) * 0.1
    mel = LogMel()
    _, _, spectrum = scipy.signal.stft(
        wave, RATE, nperseg=400, noverlap=240, nfft=512, boundary="even", padded=False, scaling="spectrum"
    )
    expected = np.log(mel.floor + (np.abs(spectrum.T) ** 2) @ mel.filters().T)
    assert expected.shape == (101, 40)
    np.testing.assert_allclose(mel(wave), expected, rtol=0, atol=1e-10)  # both are float64 throughout


def test_features_are_those_of_the_equation():
    """The slow twin: the sum over samples of the docstring, one frame and one bin at a time."""
    mel = LogMel(rate=RATE, window=20, hop=7, size=32, bands=3, high=7000.0)
    wave = np.random.default_rng(1).standard_normal(50)
    whole = np.pad(wave, 10, mode="reflect")
    weights = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(20) / 20)
    for frame in range(1 + 50 // 7):
        for band in range(3):
            total = mel.floor
            for k in range(17):
                x = sum(
                    weights[n] * whole[frame * 7 + n] * np.exp(-2j * np.pi * k * n / 32) for n in range(20)
                )
                total += triangle(mel, band, k * RATE / 32) * abs(x / weights.sum()) ** 2
            np.testing.assert_allclose(mel(wave)[frame, band], np.log(total), rtol=1e-10)  # 20-term sums


def triangle(mel, band, hertz):
    low, high = 2595 * np.log10(1 + np.array([mel.low, mel.high]) / 700)
    corner = [
        700 * (10 ** ((low + (high - low) * i / (mel.bands + 1)) / 2595) - 1) for i in range(mel.bands + 2)
    ]
    left, centre, right = corner[band : band + 3]
    if left < hertz <= centre:
        return (hertz - left) / (centre - left)
    return (right - hertz) / (right - centre) if centre < hertz < right else 0.0


def test_silence_is_the_floor_and_louder_is_more_everywhere():
    mel = LogMel()
    np.testing.assert_allclose(mel(np.zeros(RATE)), np.log(1e-10), rtol=1e-15)
    wave = np.random.default_rng(2).standard_normal(RATE) * 0.1
    # ten times the amplitude is a hundred times the power; the floor is far below
    np.testing.assert_allclose(mel(10 * wave) - mel(wave), np.log(100), rtol=0, atol=1e-3)


def test_frames_are_centred_on_their_sample():
    """A click at sample 8000 is in the frames whose window holds it: centres at most 199 samples away."""
    wave = np.zeros(RATE)
    wave[8000] = 1
    loud = (LogMel()(wave) > np.log(1e-10) + 1e-6).any(axis=1)
    assert np.flatnonzero(loud).tolist() == [49, 50, 51]
    assert LogMel()(wave)[50].sum() > LogMel()(wave)[49].sum()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 401}, "expected an even window of at most size"),
        ({"window": 600}, "got window=600, hop=160, size=512"),
        ({"hop": 0}, "a hop of at least 1 sample"),
        ({"high": 9000.0}, "expected at least one, within 0 and 8000 Hz"),
        ({"low": 8000.0}, "got 40 bands from 8000.0 to 8000.0 Hz"),
        ({"bands": 0}, "got 0 bands"),
        ({"floor": 0.0}, "a floor above 0"),
        ({"bands": 250}, r"band \d+ of 250 holds no frequency of a transform of 512 samples"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LogMel(**options)


def test_a_wave_shorter_than_half_a_window_is_refused():
    with pytest.raises(ValueError, match="wave: got 200 samples, expected more than 200, half a window"):
        LogMel()(np.zeros(200))
