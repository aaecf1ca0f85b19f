"""What shells complete: words that are known without importing what they name."""

from collections.abc import Callable, Iterable

from gradflow.figures.names import names

Completion = Callable[[str], list[str]]
TASK_NAMES = ("smnist", "psmnist", "shd", "ssc", "gsc", "delayed-recall", "delayed-xor", "copy", "adding")
WIDE = "1000"
"""Columns in which a completion's help is one line."""


def among(words: Iterable[str], *, separator: str = "") -> Completion:
    """Return what completes one of these words, or, with a separator, the last of several.

    >>> among(("paper", "slides"))("p"), among(("png", "pdf", "svg"), separator=",")("png,s")
    (['paper'], ['png,svg'])
    """
    known = tuple(words)

    def complete(incomplete: str) -> list[str]:
        before, given, last = incomplete.rpartition(separator) if separator else ("", "", incomplete)
        taken = before.split(separator) if given else []
        return [before + given + word for word in known if word.startswith(last) and word not in taken]

    return complete


task_names = among(TASK_NAMES)
figure_names = among(names())
