"""Errors as one line: what the world does wrong in its own words, with what to do."""

EXPECTED = (ValueError, OSError, ArithmeticError, RuntimeError, MemoryError, ImportError)
"""What the world does wrong; anything else is a mistake of gradflow's own."""


def told(error: BaseException) -> str:
    """Return an error as one line, which says so where it is a mistake of gradflow's own.

    >>> told(KeyError("lag"))
    "a mistake of gradflow's own, KeyError: 'lag' (--verbose shows where)"
    """
    if isinstance(error, EXPECTED):
        return describe(error)
    return f"a mistake of gradflow's own, {type(error).__name__}: {describe(error)} (--verbose shows where)"


def describe(error: BaseException) -> str:
    """Return an error as one line; the system's with its file and what to do.

    >>> describe(PermissionError(13, "Permission denied", "pictures"))
    'pictures: Permission denied; name another file or folder, or make this one accessible'
    """
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}; name another file or folder, or make this one accessible"
    if isinstance(error, OSError) and error.strerror:
        return " ".join(error.strerror.split())  # without the number before it
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return "not enough memory; use fewer --samples or a smaller --hidden"
    return " ".join(str(error).split()) or type(error).__name__
