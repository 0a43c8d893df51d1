"""Which members are to be told the running hash, and when (PROTOCOL 6.4).

Theory of operation
-------------------

A CHECK costs a seal for each member, where a message costs a `send`. So each member is told in its
turn: about once in an interval, which grows with the room, and only when the log has moved since it
was told last. To wake up the loop for each of them would cost as much again, so those that are due
at about the same time are told together. Yet in one turn of the loop no more than CHECKS_PER_TURN
are told, so that nobody's message waits for all the seals of a large room.

Members are in the order in which they were told, behind those that have come back and were not. So
those that are due are at the front, and if the log has not moved for one of them, it has not moved
for those behind. This module knows no hash.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

from chat.limits import (
    CHECK_SECONDS,
    CHECK_SECONDS_PER_MEMBER,
    CHECKS_PER_TURN,
    CHECKS_TOGETHER,
)

MemberT = TypeVar("MemberT")

_NEVER = (float("-inf"), -1)


class Checks(Generic[MemberT]):
    """When each member was told last, and up to which offset of the log."""

    def __init__(self) -> None:
        self._told: OrderedDict[MemberT, tuple[float, int]] = OrderedDict()
        self._last = _NEVER

    def begin(self, member: MemberT, now: float, offset: int) -> None:
        """The member has been welcomed at `offset`, or is told what the log is like there."""
        if self._last != (now, offset):
            self._last = (now, offset)
        # Many are told together, and share one object.
        self._told[member] = self._last
        self._told.move_to_end(member)

    def resume(self, member: MemberT) -> None:
        """The member has come back. It may have read what no CHECK has covered, even if the log has
        not moved since, so it is told next."""
        self._told[member] = _NEVER
        self._told.move_to_end(member, last=False)

    def end(self, member: MemberT) -> None:
        """The member is gone, or has lost its connection."""
        self._told.pop(member, None)

    def due(self, now: float, end: int) -> Iterator[MemberT]:
        """The members to tell now, when the log ends at `end`. They count as told. If anybody is
        due, those that are due soon are told as well, and from then on at the same time."""
        until = now
        for _ in range(min(CHECKS_PER_TURN, len(self._told))):
            due_at = self.deadline(end)
            if due_at is None or until < due_at:
                return
            until = now + self._interval * CHECKS_TOGETHER
            member = next(iter(self._told))
            self.begin(member, now, end)
            yield member

    def deadline(self, end: int) -> float | None:
        """When the next member is to be told, if the log ends at `end`; None: all know it."""
        for told_at, offset in self._told.values():
            return None if offset == end else told_at + self._interval
        return None

    @property
    def _interval(self) -> float:
        return max(CHECK_SECONDS, len(self._told) * CHECK_SECONDS_PER_MEMBER)
