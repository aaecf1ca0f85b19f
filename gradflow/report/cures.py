"""What to do about each warning of the findings."""

from collections.abc import Mapping

CURES: Mapping[str, str] = {
    "is silent": "Let more current in: a lower --threshold, larger inputs or weights, or a norm before the "
    "neurons.",
    "rates are too low": "Let more current in: a lower --threshold, larger inputs or weights, or a norm "
    "before the neurons.",
    "are saturated": "Let less current in: a higher --threshold, a smaller --recurrent-gain, or a smaller "
    "--decay.",
    "window is empty": "Bring potentials nearer to the threshold, or take a wider --surrogate.",
    "are in the surrogate's window": "Bring potentials nearer to the threshold, or take a wider --surrogate.",
    "the gradient explodes": "Take a smaller --recurrent-gain (gf.theory.critical_gain says where growth "
    "begins), or clip gradients while training.",
    "fewer than 3 lags are finite": "Nothing but zeros is left to fit: take a wider --surrogate, or look at"
    " the window first.",
    "record more lags": "Record a longer sequence (a smaller --pool), or a narrower span.",
    "exactly zero by structure": "On every path some neuron is outside its window: a wider --surrogate, a "
    "larger --decay, or a wider span opens some.",
    "float32 backpropagation returns 0": "Nothing is learned from longer ago: a wider span, a larger "
    "--decay, or a task that needs no more. The curves here are computed in float64 and go on below.",
    "the gradient of every sample is exactly 0": "Record again with --dtype float64: what is still 0 is so "
    "by structure, the rest was underflow.",
    "no gradient even at the last step": "No neuron of these samples is in its window when the loss is "
    "read: take a wider --surrogate, or more --samples.",
    "products exceed their bound": "Record the file again; a theorem cannot fail.",
}
"""By words of the warning."""


def cure(warning: str) -> str:
    """Return what to do about a warning, "" for one that says so itself.

    >>> cure("layer 0: grows by 0.1 nats per step, the gradient explodes")[:32]
    'Take a smaller --recurrent-gain '
    """
    return next((text for words, text in CURES.items() if words in warning), "")
