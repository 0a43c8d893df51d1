"""In which order things happen in a room, and who decides it.

Whatever changes a room is asked of its `Ordering`. A server on its own does at once what it is
asked (`HostedRoom` is its own ordering). Where several servers carry one room, the ordering has
each of them do the same things in the same order, and this server does them later.
"""

from typing import Protocol

from chat.controls import Resume
from chat.errors import Reason
from chat.frozen import frozen
from chat.identities import Card
from chat.roomevents import Topic
from chat.server.connection import Connection
from chat.server.members import Member


@frozen
class Arrival:
    """Somebody whose key is proved wants to come in: under this name, back to a place or as a new
    member. `joined_at` is in seconds since 1970; `address` is for people, and limits go by
    `source`."""

    name: str
    fingerprint: bytes
    card: Card
    resume: Resume | None
    joined_at: float
    address: str
    source: str


class Ordering(Protocol):
    """Takes what is asked of a room. A `connection` is told what has come of it, and is this
    server's own; None: it is another server's."""

    def admit(self, arrival: Arrival, connection: Connection | None) -> Member | None:
        """Let somebody in: `Connection.admitted` or `drop` is called. Returns the member, if it is
        in by then."""

    def relay(self, member: Member, run: bytes, now: float, connection: Connection | None) -> None:
        """Append a run of MESSAGE frames of this member: `Connection.relayed` or `drop` is called.
        `now` is when they arrived."""

    def lose(self, member: Member, reason: Reason, text: str) -> None:
        """A member's connection has been dropped."""

    def put_out(self, members: list[Member], text: str) -> None:
        """The operator wants these out; `text` says more."""

    def say(self, text: str) -> None:
        """The operator tells everybody something."""

    def set_topic(self, topic: Topic) -> None:
        """Tell everybody the topic."""

    def pass_time(self, now: float) -> None:
        """Let take effect what is due, by the clock of the room."""

    @property
    def deadline(self) -> float | None:
        """When something is due, by the clock of the room."""

    def end(self) -> None:
        """The room is over, and forgotten."""

    @property
    def is_over(self) -> bool:
        """Whether nobody is in, and nothing that was asked is still to come."""
