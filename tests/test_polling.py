"""What is ready, found by epoll and by what every system has."""

import contextlib
import os
import socket
from collections.abc import Iterator
from selectors import EVENT_READ, EVENT_WRITE

import pytest

from chat.polling import Poll, Portable

BOTH = EVENT_READ | EVENT_WRITE

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=[Poll, Portable])
def poll(request: pytest.FixtureRequest) -> Iterator[Poll | Portable]:
    with contextlib.closing(request.param()) as poll:
        yield poll


@pytest.fixture
def pair() -> Iterator[Pair]:
    ends = socket.socketpair()
    yield ends
    for end in ends:
        end.close()


def test_only_what_is_asked_for_is_found(poll: Poll | Portable, pair: Pair) -> None:
    here, there = pair
    number = here.fileno()
    poll.register(number, EVENT_READ)
    assert poll.select(0) == []
    there.send(b"x")
    assert poll.select(None) == [(number, EVENT_READ)]
    poll.modify(number, EVENT_WRITE)
    assert poll.select(0) == [(number, EVENT_WRITE)]
    poll.modify(number, BOTH)
    assert poll.select(0.001) == [(number, BOTH)]
    poll.unregister(number)
    assert poll.select(0) == []


def test_hang_up_is_for_whoever_waits(poll: Poll | Portable) -> None:
    reading, writing = os.pipe()
    poll.register(writing, EVENT_WRITE)
    os.close(reading)
    ((number, events),) = poll.select(0)
    assert (number, events & EVENT_WRITE) == (writing, EVENT_WRITE)
    os.close(writing)
    poll.unregister(writing)


def test_all_that_are_ready_are_found_at_once(poll: Poll | Portable) -> None:
    with contextlib.ExitStack() as stack:
        numbers = set()
        for _ in range(50):
            here, there = socket.socketpair()
            stack.enter_context(here)
            stack.enter_context(there).send(b"x")
            poll.register(here.fileno(), EVENT_READ)
            numbers.add(here.fileno())
        assert {number for number, _ in poll.select(0)} == numbers


def test_regular_file_is_refused_by_epoll(tmp_path: os.PathLike[str]) -> None:
    with contextlib.closing(Poll()) as poll, open(os.path.join(tmp_path, "file"), "wb") as file:
        with pytest.raises(PermissionError):
            poll.register(file.fileno(), EVENT_WRITE)
        assert poll.select(0) == []
