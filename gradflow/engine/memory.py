"""Arrays of whole sequences, whose memory is used again instead of being fetched from the system every pass.

A pass of the fused engine writes a dozen arrays of many megabytes. Memory that was given back to the system
comes back filled with zeros, and that costs as much time as writing the array. So what an array of
`empty` leaves behind when nobody refers to it any more is kept, up to `KEPT` bytes, for the next of its size.
"""

import math
from typing import Any

import numpy as np

HUGE_PAGE = 2**21
"""Bytes in which arrays are sized and aligned: the huge pages that numpy asks the system for."""
KEPT = 2**30
"""Bytes of arrays no longer in use that are kept at most; the longest unused go first."""


class _Block:
    """Memory of whole huge pages."""

    __slots__ = ("pages", "room")

    def __init__(self, pages: int) -> None:
        self.pages = pages
        self.room = np.empty((pages + 1) * HUGE_PAGE, np.uint8)

    def array(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return the block as an array that begins with a page."""
        first = -self.room.ctypes.data % HUGE_PAGE
        held = self.room[first : first + math.prod(shape) * dtype.itemsize]
        found: np.ndarray = held.view(dtype).reshape(shape)
        return found


class _Lease:
    """What an array refers to as long as it, a view of it or a tensor on it lives; then its block is free."""

    def __init__(self, block: _Block, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.block = block
        self.__array_interface__: dict[str, Any] = block.array(shape, dtype).__array_interface__

    def __del__(self) -> None:
        _free.append(self.block)
        trim()


# each operation of a list is whole: threads need no lock, which a fork could leave shut
_free: list[_Block] = []


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an array not yet filled; memory of an array that is no longer used, where there is some.

    >>> a = empty((3, 2**20), np.dtype(np.float64))
    >>> place = a.ctypes.data
    >>> del a
    >>> empty((3, 2**20), np.dtype(np.float64)).ctypes.data == place
    True
    """
    pages = -(-math.prod(shape) * dtype.itemsize // HUGE_PAGE)
    if pages <= 1:
        return np.empty(shape, dtype)
    return np.asarray(_Lease(_taken(pages) or _Block(pages), shape, dtype))


def trim(kept: int = KEPT) -> None:
    """Give memory that is not in use back to the system until at most `kept` bytes are left of it."""
    while sum(block.pages for block in tuple(_free)) * HUGE_PAGE > kept:
        try:
            _free.pop(0)
        except IndexError:  # another thread was faster
            return


def _taken(pages: int) -> _Block | None:
    """Return the free block of this size that was used last, no longer free."""
    for block in reversed(tuple(_free)):
        if block.pages == pages:
            try:
                _free.remove(block)
            except ValueError:  # another thread was faster
                continue
            return block
    return None
