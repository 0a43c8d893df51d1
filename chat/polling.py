"""Which descriptors are ready: epoll where there is one, otherwise what `selectors` finds.

`selectors` alone would do. But it keeps two objects for each descriptor and makes two for each that
is ready, and a server has ten thousand of them. What is done then is not known here.
"""

import contextlib
import math
import select
import selectors
import sys
from selectors import EVENT_READ, EVENT_WRITE

Ready = list[tuple[int, int]]
"""Descriptors, each with the events for which it is ready."""


class Portable:
    """What every system has. `select` waits for so many seconds at most; None: for ever."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def register(self, descriptor: int, events: int) -> None:
        self._selector.register(descriptor, events)

    def modify(self, descriptor: int, events: int) -> None:
        self._selector.modify(descriptor, events)

    def unregister(self, descriptor: int) -> None:
        self._selector.unregister(descriptor)

    def select(self, timeout: float | None) -> Ready:
        return [(key.fd, events) for key, events in self._selector.select(timeout)]

    def close(self) -> None:
        self._selector.close()


if sys.platform == "linux":
    _WANTED = {
        EVENT_READ: select.EPOLLIN,
        EVENT_WRITE: select.EPOLLOUT,
        EVENT_READ | EVENT_WRITE: select.EPOLLIN | select.EPOLLOUT,
    }

    class Poll:
        """The same for Linux."""

        def __init__(self) -> None:
            self._epoll = select.epoll()
            self._count = 0

        def register(self, descriptor: int, events: int) -> None:
            self._epoll.register(descriptor, _WANTED[events])
            self._count += 1

        def modify(self, descriptor: int, events: int) -> None:
            self._epoll.modify(descriptor, _WANTED[events])

        def unregister(self, descriptor: int) -> None:
            self._count -= 1
            # If it was closed, the kernel has forgotten it already.
            with contextlib.suppress(OSError):
                self._epoll.unregister(descriptor)

        def select(self, timeout: float | None) -> Ready:
            if timeout is not None:
                # Rounded up to what epoll can wait for, or the last millisecond would be spent
                # asking.
                timeout = math.ceil(timeout * 1000) / 1000
            return [
                (
                    descriptor,
                    # An error or a hang-up is for both to find.
                    (EVENT_READ if events & ~select.EPOLLOUT else 0)
                    | (EVENT_WRITE if events & ~select.EPOLLIN else 0),
                )
                for descriptor, events in self._epoll.poll(timeout, max(self._count, 1))
            ]

        def close(self) -> None:
            self._epoll.close()

else:
    Poll = Portable
