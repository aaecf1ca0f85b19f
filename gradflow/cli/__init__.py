"""The command `gradflow`: thin. It reads, calls one library function, and prints or writes."""

from gradflow.cli.app import main

__all__ = ["main"]
