"""Memory of the engine's sequences is used again when nobody refers to it any more, and only then."""

import gc
import threading

import numpy as np
import pytest
import torch

from gradflow.engine import memory

SHAPE, KIND = (3, 2**20), np.dtype(np.float64)


@pytest.fixture(autouse=True)
def nothing_kept():
    memory.trim(0)
    yield
    memory.trim(0)


def place(array):
    return array.ctypes.data


def test_an_array_begins_with_a_huge_page_and_holds_what_it_should():
    array = memory.empty(SHAPE, KIND)
    assert (array.shape, array.dtype) == (SHAPE, KIND)
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert place(array) % memory.HUGE_PAGE == 0


def test_what_is_still_referred_to_is_not_handed_out_again():
    whole = memory.empty(SHAPE, KIND)
    whole[:] = 7.0
    kept = {"view": whole[1:, ::2], "tensor": torch.from_numpy(whole)[2], "reshaped": whole.reshape(-1)[5:]}
    del whole
    for name in list(kept):
        other = memory.empty(SHAPE, KIND)
        other[:] = 0.0
        assert all((value == 7.0).all() for value in kept.values()), name
        del kept[name], other


def test_what_nobody_refers_to_is_handed_out_again_whatever_its_dtype():
    tensor = torch.from_numpy(memory.empty(SHAPE, KIND))[1]
    at = tensor.data_ptr() - 8 * 2**20
    del tensor
    again = memory.empty((6, 2**20), np.dtype(np.float32))
    assert place(again) == at
    assert place(memory.empty(SHAPE, KIND)) != at


def test_no_more_is_kept_than_said_and_the_longest_unused_goes_first():
    arrays = [memory.empty(SHAPE, KIND) for _ in range(3)]
    places = [place(array) for array in arrays]
    while arrays:
        del arrays[0]
    memory.trim(2 * arrays_bytes())
    found = [memory.empty(SHAPE, KIND) for _ in range(2)]
    assert [place(array) for array in found] == places[:0:-1]
    memory.trim(0)
    assert not memory._free
    assert [place(array) for array in found] == places[:0:-1], "what is in use stays"


def arrays_bytes():
    pages = -(-int(np.prod(SHAPE)) * KIND.itemsize // memory.HUGE_PAGE)
    return pages * memory.HUGE_PAGE


def test_small_arrays_are_numpys_own():
    assert memory.empty((2, 3), KIND).base is None


def test_threads_never_share_a_block():
    wrong = []

    def work(number):
        for _ in range(200):
            array = memory.empty(SHAPE, KIND)
            array[::1, ::4096] = number
            other = memory.empty(SHAPE, KIND)
            other[::1, ::4096] = -number
            if not (array[:, ::4096] == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert not wrong
