"""What a client and the one in front of it want of each other: a person, a pipe, or a program.

The client shows what happens to a `View`, and a view asks things of the `ChatClient`. Neither
knows more of the other than this.
"""

from collections.abc import Callable
from typing import Protocol

from chat.client.events import ClientEvent, Person


class ChatClient(Protocol):
    """What can be asked of a client."""

    @property
    def name(self) -> str:
        """What we are called."""

    @property
    def server_fingerprint(self) -> str:
        """The server's, as it was met last."""

    @property
    def in_room(self) -> bool:
        """Whether we are in the room now."""

    @property
    def can_send(self) -> bool:
        """Whether what is said now is sent now."""

    @property
    def full(self) -> bool:
        """Whether so much is under way that nothing more should be said for the moment."""

    def members(self) -> list[Person]:
        """Who is in the room, ourselves among them."""

    def say(self, text: str) -> None:
        """Send a message, now or when the connection is back.

        Raises:
            UsageError: the text is longer than a message may be, or no text.
        """

    def finish(self) -> None:
        """Leave when everything is acknowledged, however long that takes."""

    def leave(self) -> None:
        """Leave when everything is acknowledged, or after a moment; the second time at once."""


class Output(Protocol):
    """Where a view writes, as far as that is the client's business."""

    on_drained: Callable[[], None]
    """Called when a queue has left."""
    on_broken: Callable[[], None]
    """Called when nobody can read any more."""
    on_stuck: Callable[[str], None]
    """Called with the reason when nothing can be written for the moment, as on a full disk."""

    @property
    def queued_bytes(self) -> int:
        """How much waits because nobody reads."""

    def hurry(self) -> None:
        """Wait for a reader no longer than a moment from now on."""


class View(Protocol):
    """Where a conversation is shown and typed."""

    @property
    def output(self) -> Output:
        """Where what is shown goes."""

    @property
    def not_sent(self) -> int:
        """How many messages came in that could not be sent."""

    @property
    def not_commands(self) -> int:
        """How many lines came in that were to be commands and are none."""

    def open(self, client: ChatClient) -> None:
        """This is the conversation; called once, before anything else."""

    def show(self, event: ClientEvent) -> None:
        """Show what happened."""

    def spin(self) -> None:
        """Said again and again while something takes long and keeps the loop from turning."""

    def interrupt(self) -> None:
        """Somebody pressed Ctrl-C."""

    def take_input(self, wanted: bool) -> None:
        """Take in what is to be sent, or wait with it; said again and again."""

    def stop(self) -> None:
        """Take in nothing more."""

    def count_undelivered(self) -> int:
        """How many messages came in that were not taken; for when it is over."""

    @property
    def unfinished(self) -> bool:
        """Whether more was to come from a pipe; for when it is over, after `count_undelivered`."""

    def close(self) -> None:
        """Show what is still to be shown, and leave everything as it was found."""
