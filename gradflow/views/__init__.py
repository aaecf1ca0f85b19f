"""Saved files of one's own in one picture: several overlaid, labelled by what differs between them.

A view prepares data with `analysis`, lays out panels and lets `plots` draw; `names` is light, for the command
line.
"""

from gradflow.views.names import VIEWS, View

__all__ = ["VIEWS", "View"]
