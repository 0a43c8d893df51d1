"""What the server owes us, and until when.

An acknowledgement, a new key, the end of what we missed, a CHECK. How long we wait for the others
of an old room is here, too, since nobody asks for two deadlines. The clocks are in `progress`.
"""

from chat.client.keyring import Keyring
from chat.client.outbox import Outbox, Regroup
from chat.client.phase import PRESENT, Phase
from chat.client.progress import Progress
from chat.limits import ACKNOWLEDGE_SECONDS, CATCH_UP_SECONDS


class Dues:
    """Is told what comes and, once a turn, the time. `unchecked`: the server has not vouched for
    all that we read."""

    def __init__(self, outbox: Outbox, keyring: Keyring, regroup: Regroup) -> None:
        self._outbox = outbox
        self._keyring = keyring
        self._regroup = regroup
        self._progress = Progress()
        self._checking = Progress()
        self.overdue = False
        """Whether the server had owed us something for so long, at the last `tick`, that the
        connection is useless."""

    @property
    def stuck_since(self) -> float:
        """Since when nothing has come that the user waits for, not even the connection: while
        something is unacknowledged, an acknowledgement; otherwise what we missed."""
        return self._progress.since

    def unanswered_since(self, phase: Phase) -> float | None:
        """Since when the server has owed us an acknowledgement on this connection; None if it owed
        none at the last `tick`, or one has come since."""
        progress = self._progress
        waits = phase is Phase.LIVE and bool(self._outbox.messages)
        if not waits or not progress.owed or progress.has_come:
            return None
        return max(progress.came, progress.began)

    # -- what comes

    def acknowledged(self) -> None:
        """A message of ours was acknowledged."""
        self._progress.move()

    def checked(self) -> None:
        """A CHECK came."""
        self._checking.move()

    def missed_came(self) -> None:
        """Something came of what we missed."""
        self._progress.move(awaited=not self._outbox.messages)
        # The first CHECK stands behind all that we missed.
        self._checking.move()

    # -- time passes

    def deadline(self, phase: Phase, *, unchecked: bool) -> float | None:
        """When to call `tick` at the latest; None: when something arrives."""
        if phase is Phase.REGROUPING:
            return self._regroup.until
        deadlines = []
        if self._owed(phase):
            began = self._progress.began
            deadlines.append(max(self._progress.came, began) + ACKNOWLEDGE_SECONDS)
            if phase is Phase.CATCHING_UP:
                deadlines.append(began + CATCH_UP_SECONDS)
        if unchecked and phase in PRESENT:
            deadlines.append(self._checking.came + ACKNOWLEDGE_SECONDS)
        return min(deadlines, default=None)

    def _owed(self, phase: Phase) -> bool:
        """Whether the server owes us something: an acknowledgement, a key, the end of what we
        missed."""
        owed = bool(self._outbox.messages) or self._keyring.awaits_rekey
        return phase is Phase.CATCHING_UP or (phase is Phase.LIVE and owed)

    def tick(self, now: float, phase: Phase, *, unchecked: bool, listening: bool) -> None:
        """Time has passed. `listening` is whether we read what arrived since the last call."""
        owed, unchecked = self._owed(phase), unchecked and phase in PRESENT
        waiting = owed or phase not in PRESENT or bool(self._outbox.messages)
        self._progress.look(now, phase, waiting=waiting, owed=owed, listening=listening)
        self._checking.look(now, None, waiting=False, owed=unchecked, listening=listening)
        due = self.deadline(phase, unchecked=unchecked) if owed or unchecked else None
        self.overdue = due is not None and now >= due
