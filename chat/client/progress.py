"""Since when a client has waited for its server in vain.

Two clocks run. One is for a connection: it is useless when nothing comes that the server owes us.
The other is for the stay, over all its connections, and a user's patience ends with it. What comes
on a connection need not be what the user waits for: a server that lets us in again and again, tells
us what others say, and acknowledges nothing, keeps the first clock back, and not the second.

Both are told the time once a turn. What the client waits for is not known here.
"""

from chat.limits import ASLEEP_SECONDS


class Progress:
    """`since`: when something came last that the user waits for, or when the waiting began.
    `came`: the same for what the server owes on this connection. `began`: when the present phase
    began. All in seconds of the monotonic clock. `owed`: the server owed something at the last
    look."""

    def __init__(self) -> None:
        self.since = self.came = self.began = 0.0
        self._phase: object = None
        self._waiting = self.owed = False
        self._moved = self._moved_owed = False
        self._looked_at = 0.0

    def move(self, *, awaited: bool = True) -> None:
        """Something came after the last look that the server owes; `awaited`: the user waits for
        it, too."""
        self._moved_owed = True
        self._moved = self._moved or awaited

    @property
    def has_come(self) -> bool:
        """Whether something came after the last look that the server owed."""
        return self._moved_owed

    def look(
        self, now: float, phase: object, *, waiting: bool, owed: bool, listening: bool
    ) -> None:
        """Take note of how things stand: whether the user waits, and whether the server owes us
        something on this connection. The time in which we did not listen, or slept, does not count:
        nothing could come."""
        deaf = not listening or now - self._looked_at > ASLEEP_SECONDS
        if deaf or self._moved or not (waiting and self._waiting):
            self.since = now
        if deaf or self._moved_owed or not (owed and self.owed):
            self.came = now
        if deaf or phase is not self._phase:
            self.began = now
        self._phase, self._waiting, self.owed = phase, waiting, owed
        self._moved = self._moved_owed = False
        self._looked_at = now
