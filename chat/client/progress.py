"""Since when a client has waited for its server in vain.

It is told the time once a turn. What the client waits for is not known here.
"""

from chat.limits import PING_SECONDS, PONG_SECONDS

_ASLEEP_SECONDS = PING_SECONDS + PONG_SECONDS
"""A running client is told the time more often. After a longer gap it has slept."""


class Progress:
    """`since`: when something we waited for came last, or when the waiting began. `began`: when the
    present phase began. Both in seconds of the monotonic clock."""

    def __init__(self) -> None:
        self.since = self.began = 0.0
        self._phase: object = None
        self._waiting = False
        self._moved = False
        self._looked_at = 0.0

    def move(self) -> None:
        """Something that we wait for came after the last look."""
        self._moved = True

    def look(self, now: float, phase: object, *, waiting: bool, listening: bool) -> None:
        """Take note of how things stand. The time in which we did not listen, or slept, does not
        count: nothing could come."""
        deaf = not listening or now - self._looked_at > _ASLEEP_SECONDS
        if deaf or self._moved or not waiting or not self._waiting:
            self.since = now
        if deaf or phase is not self._phase:
            self.began = now
        self._phase, self._waiting, self._moved = phase, waiting, False
        self._looked_at = now
