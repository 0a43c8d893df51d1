"""What a client and its view want of each other. Behind a view is a person, a pipe, or a program.

The client shows what happens to a `View`, and a view asks things of the `ChatClient`. Neither
knows more of the other than this.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from chat.client.events import ClientEvent, MessageQueued, Person, Security, TopicSet


class ChatClient(Protocol):
    """What can be asked of a client."""

    @property
    def name(self) -> str:
        """Our name in the room."""

    @property
    def invite(self) -> str | None:
        """The invite of this room, which is a secret; None in the open room."""

    @property
    def in_room(self) -> bool:
        """Whether we are in the room now."""

    @property
    def can_send(self) -> bool:
        """Whether what is said now is sent now."""

    @property
    def unanswered_since(self) -> float | None:
        """Since when, by the reactor's clock, we have waited for an acknowledgement that is due;
        None if none is."""

    @property
    def full(self) -> bool:
        """Whether so much is unacknowledged that nothing more should be said for the moment."""

    def members(self) -> list[Person]:
        """Who is in the room, ourselves among them."""

    def trust(self, name: str) -> Person | None:
        """If somebody has this name now and another key than the known one, that is its key from
        now on; if nobody has it now, the other key of which we were warned last. Not if it has not
        proved to have the key of the sealed room. Returns the member as it was before; None if
        there is none."""

    def ignore(self, name: str) -> str:
        """Show nothing more that comes under the key of this name: the one that it has here, or
        else had when it was here last; the fingerprint of a key does as well. Returns the name as
        it is written; nothing if we know nobody of this name, or it is our own."""

    def unignore(self, name: str) -> bool:
        """Show it again. Returns whether it was ignored."""

    def ignored(self) -> list[str]:
        """The names of those who are ignored."""

    def topic(self) -> TopicSet:
        """The topic of the room."""

    def security(self) -> Security:
        """What protects the conversation, and what has happened."""

    def say(self, text: str) -> MessageQueued:
        """Send a message, now or when the connection is back. Returns its number, which comes back
        with its acknowledgement.

        Raises:
            UsageError: the text is longer than a message may be, or is no text.
        """

    def say_direct(self, person: Person, text: str) -> MessageQueued:
        """Send a private message, as `say` does, to one of the members.

        Raises:
            UsageError: as `say`; or this person is not here, is ourselves, or cannot be sent one.
        """

    def operate(self, command: str) -> None:
        """Ask the server for something, as its operator. It answers with `Answered`.

        Raises:
            UsageError: there is no connection now, or the command is too long or no text.
        """

    def finish(self) -> None:
        """Take in nothing more, and leave when everything is acknowledged, however long that
        takes."""

    def leave(self, word: str = "") -> None:
        """Take in nothing more, and leave when everything is acknowledged, after LINGER_SECONDS at
        the latest. Called again, leave at once. The others are told `word` with our leaving, if
        there is one, and if it gets through in this time.

        Raises:
            UsageError: the word is too long, or is no text. Then we stay.
        """


class Output(Protocol):
    """What the client has to know of the place where a view writes."""

    on_drained: Callable[[], None]
    """Called when everything that was queued has been written."""
    on_broken: Callable[[], None]
    """Called when nobody can read any more."""
    on_stuck: Callable[[str], None]
    """Called with the reason when nothing can be written at the moment, as on a full disk."""

    @property
    def queued_bytes(self) -> int:
        """How many bytes wait because nobody reads."""

    def gathered(self) -> AbstractContextManager[None]:
        """What is written meanwhile leaves together at the end."""

    def tell_failure(self) -> None:
        """Call `on_broken` or `on_stuck` once more if nothing can be written."""

    def hurry(self) -> None:
        """From now on, wait for a reader for LINGER_SECONDS at most."""


class View(Protocol):
    """Where a conversation is shown and typed."""

    @property
    def output(self) -> Output:
        """Where what is shown goes."""

    @property
    def not_sent(self) -> int:
        """How many messages were taken in and could not be sent."""

    @property
    def not_commands(self) -> int:
        """How many lines were meant as commands and are none."""

    def open(self, client: ChatClient) -> None:
        """Show this client's conversation. Called once, before anything else."""

    def show(self, event: ClientEvent) -> None:
        """Show what happened."""

    def spin(self) -> None:
        """Called repeatedly while a blocking step (making a key) runs."""

    def interrupt(self) -> None:
        """Somebody pressed Ctrl-C."""

    def take_input(self, wanted: bool) -> None:
        """Take in what is to be sent, or stop taking it in. Called when that changes."""

    def stop(self) -> None:
        """Take in nothing more."""

    def count_undelivered(self) -> int:
        """How many messages are waiting that were never taken in. Called when it is over."""

    @property
    def unfinished(self) -> bool:
        """Whether more was to come from a pipe. Asked at the end, after `count_undelivered`."""

    def close(self) -> None:
        """Show what is still to be shown, and leave the terminal as it was found."""
