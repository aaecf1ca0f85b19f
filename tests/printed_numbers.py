"""Read the numbers of a sentence that a notebook says."""

import re


def numbers(pattern, said):
    """Return the numbers that a sentence of the notebook holds, in the groups of the pattern."""
    found = re.search(pattern.replace("#", r"([-+]?\d+(?:\.\d+)?)"), said)
    assert found, f"{pattern!r} is not said in:\n{said}"
    return [float(group) for group in found.groups()]
