"""The cells of figures: overlapping work keeps its order, and stops after an error."""

import threading

import pytest
import torch

from gradflow.figures.cells import overlapped


def test_results_come_in_the_order_of_their_items():
    gate = threading.Event()

    def work(item):
        if item == 0:
            gate.wait(timeout=10)
        else:
            gate.set()
        return item

    if torch.get_num_threads() > 1:  # with one thread item 1 waits for item 0
        assert list(overlapped(iter(range(5)), work)) == [0, 1, 2, 3, 4]
    assert list(overlapped(iter(range(5)), lambda item: -item)) == [0, -1, -2, -3, -4]


def test_few_items_are_made_ahead_of_what_is_done():
    made = []

    def items():
        for item in range(20):
            made.append(item)
            yield item

    results = overlapped(items(), lambda item: item)
    assert next(results) == 0
    assert len(made) <= torch.get_num_threads() + 1
    assert list(results) == list(range(1, 20))


def test_an_error_of_the_work_and_one_of_the_items_are_both_raised():
    def work(item):
        raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item 1"):
        list(overlapped(iter([1, 2, 3]), work))

    def items():
        yield 1
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        list(overlapped(items(), lambda item: item))


def test_what_has_not_begun_is_given_up():
    done, begun = [], threading.Event()

    def work(item):
        begun.set()
        done.append(item)
        return item

    results = overlapped(iter(range(100)), work)
    next(results)
    results.close()
    assert len(done) <= torch.get_num_threads() + 1
