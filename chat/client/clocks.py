"""Whose clock differs from ours. The time of a message is what its sender claims.

A difference alone does not tell. Who has lost the connection can go on talking, and what they said
arrives when they are back: late, and with the right time. So a time in the future is doubtful
always. One that is long past is doubtful only if nothing is known that may have held it up:

- We are live: neither are we told what we missed, nor were we a moment ago, nor did we sleep, nor
  did what arrived wait because nobody reads what we show.
- The sender has been here for a moment, and so has sent what it had waiting. Of somebody who has
  just joined and was not here before, the first thing that it says has not waited.
- It is not the next one of many. A sender can have more to say than the server takes from it, and
  our own line can be slow. Then each message is hardly later than the one before.

The times of both clocks come in as arguments.
"""

from chat.client.events import (
    ClientEvent,
    ClockDiffers,
    Entered,
    MemberBack,
    MemberJoined,
    MemberLeft,
    MemberLost,
    MessageReceived,
    Reconnected,
)
from chat.frozen import frozen, replace
from chat.limits import (
    ASLEEP_SECONDS,
    DELAY_SECONDS,
    MAX_MEMBERS,
    SETTLE_SECONDS,
    SKEW_SECONDS,
)
from chat.text import caseless_name


@frozen
class _Late:
    """How late the last message was that nobody doubts, and when it came."""

    seconds: float = 0.0
    at: float = float("-inf")


class _Sender:
    """`was_away`: it has left or lost the connection before."""

    __slots__ = ("back_at", "differs", "is_told", "joined_at", "last", "was_away")

    def __init__(self) -> None:
        self.last = _Late()
        self.joined_at = self.back_at = float("-inf")
        self.was_away = self.differs = self.is_told = False


class Clocks:
    """What is known of the clocks of all who say something."""

    def __init__(self) -> None:
        self._senders: dict[str, _Sender] = {}
        self._last = _Late()
        self._live_at = float("-inf")
        self._looked_at: float | None = None

    def tick(self, now: float, wall_clock: float, *, live: bool) -> None:
        """Call this in each turn, and before anything that arrived is taken. `live`: what arrives
        now was hardly held up on our side."""
        slept = self._looked_at is not None and abs(wall_clock - self._looked_at) > ASLEEP_SECONDS
        if slept or not live:
            self._live_at = now
        self._looked_at = wall_clock

    def take(self, event: ClientEvent, now: float, wall_clock: float) -> list[ClientEvent]:
        """What is to be shown of an event: of a message when it arrived, and whether its time is
        doubtful."""
        match event:
            case MessageReceived():
                return self._heard(event, now, wall_clock)
            case Reconnected() | Entered(again=True):
                self._live_at = now
            case MemberLeft(name=name) | MemberLost(name=name):
                self._sender(name).was_away = True
            case MemberJoined(name=name) | MemberBack(name=name):
                self._come(self._sender(name), now)
        return [event]

    def _come(self, sender: _Sender, now: float) -> None:
        if sender.was_away:
            sender.back_at = now
        else:
            sender.joined_at = now

    def _sender(self, name: str) -> _Sender:
        name = caseless_name(name)
        sender = self._senders.pop(name, None) or _Sender()
        self._senders[name] = sender
        if len(self._senders) > MAX_MEMBERS:
            del self._senders[next(iter(self._senders))]
        return sender

    def _heard(self, said: MessageReceived, now: float, wall_clock: float) -> list[ClientEvent]:
        said = replace(said, arrived_ms=int(wall_clock * 1000))
        if said.own:
            return [said]
        sender, seconds = self._sender(said.name), wall_clock - said.time_ms / 1000
        sender.differs = self._differs(sender, said.number == 1, seconds, now)
        if not sender.differs:
            return [said]
        told, sender.is_told = sender.is_told, True
        differs: list[ClientEvent] = [] if told else [ClockDiffers(said.name, seconds)]
        return [replace(said, doubtful=True), *differs]

    def _differs(self, sender: _Sender, is_first: bool, seconds: float, now: float) -> bool:
        if seconds < -SKEW_SECONDS:
            return True
        if seconds > DELAY_SECONDS:
            if sender.differs:
                return True
            arrived = self._live_at, sender.back_at, float("-inf") if is_first else sender.joined_at
            if now - max(arrived) < SETTLE_SECONDS:
                return False
            if not self._follows(sender, seconds, now):
                return True
        sender.last = self._last = _Late(seconds, now)
        return False

    def _follows(self, sender: _Sender, seconds: float, now: float) -> bool:
        """Whether a message is hardly later than one before it that came in good faith."""
        own, last = sender.last, self._last
        is_next = now - own.at <= SETTLE_SECONDS and seconds <= own.seconds + (now - own.at) + 1
        is_slow = now - last.at <= SETTLE_SECONDS and seconds <= last.seconds + DELAY_SECONDS
        return is_next or (is_slow and last.seconds > DELAY_SECONDS)
