"""The ambient deadline: it only ever gets nearer, and is of its own thread."""

import contextlib
import threading

import pytest

from facade.deadline import deadline, remaining
from tests.support.waiting import join


def test_without_a_deadline_the_default_remains():
    assert remaining() == 4.0
    assert remaining(1.5) == 1.5


def test_a_nested_deadline_only_gets_nearer():
    with deadline(50):
        with deadline(100):
            assert remaining() <= 50
        with deadline(10):
            assert remaining() <= 10
            with deadline(20):
                assert remaining() <= 10
        assert 10 < remaining() <= 50
        with contextlib.suppress(KeyError), deadline(10):
            raise KeyError
        assert 10 < remaining() <= 50
    assert remaining() == 4.0


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_passed_deadline_leaves_nothing_and_never_less(seconds):
    with deadline(seconds):
        assert remaining() == 0.0
        with deadline(5):
            assert remaining() == 0.0


def test_a_deadline_is_of_its_own_thread():
    left = []
    with deadline(1000):
        thread = threading.Thread(target=lambda: left.append(remaining()))
        thread.start()
        join(thread)
    assert left == [4.0]
