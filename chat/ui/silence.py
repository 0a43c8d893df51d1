"""For how long the server has not answered, to be shown while somebody waits for it.

A dead connection is given up after ACKNOWLEDGE_SECONDS. Until then it looks like one over which
nobody has said anything, except that something of ours is not acknowledged.
"""

from collections.abc import Callable

from chat.limits import UNANSWERED_SECONDS
from chat.reactor import Reactor, WakeUp


class Silence:
    """Has the number of seconds drawn again while it grows. It wakes the loop only while something
    waits to be acknowledged: once after UNANSWERED_SECONDS, then every second."""

    def __init__(self, reactor: Reactor, draw: Callable[[], None]) -> None:
        self._reactor = reactor
        self._wake_up = WakeUp(reactor, draw)

    def seconds(self, since: float | None, *, waiting: bool) -> int:
        """The seconds to be shown now, 0 if there are few. `since`: when the server began to owe us
        an answer, if it does; `waiting`: something waits to be acknowledged. Call this whenever
        something is drawn."""
        if not waiting:
            self._wake_up.set(None)
            return 0
        now = self._reactor.clock()
        since = now if since is None else since
        # Rounded, or the clock would have to be looked at twice.
        silent = int(now - since + 0.001)
        shown = silent if silent >= UNANSWERED_SECONDS else 0
        self._wake_up.set(since + max(silent + 1, UNANSWERED_SECONDS))
        return shown
