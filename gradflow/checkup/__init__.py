"""Whether gradflow can work here: versions, threads, engines, GPU, data and cache folders, each tried out."""

from gradflow.checkup.check import Check, State, checkup

__all__ = ["Check", "State", "checkup"]
