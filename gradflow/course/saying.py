"""Prose whose numbers are computed: Markdown in a notebook, plain text elsewhere."""


class Words(str):
    """A sentence that a notebook shows as Markdown."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def _repr_markdown_(self) -> str:
        return str(self)


def say(text: str) -> None:
    """Show a sentence: as Markdown in a notebook, below the picture drawn before it; printed elsewhere.

    Write numbers as f"{value:.3g}", so that the sentence cannot disagree with what was computed.

    >>> say(f"A half-life of {0.5 / 0.25:.1f} steps.")
    A half-life of 2.0 steps.
    """
    words = Words(text)
    if _in_notebook():
        import matplotlib.pyplot as plt
        from IPython.display import display

        plt.show()
        display(words)  # type: ignore[no-untyped-call]
    else:
        print(words)  # noqa: T201  what else is there to say it with


def _in_notebook() -> bool:
    """Say whether an IPython shell would show rich output."""
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return False
    return get_ipython() is not None
