"""What a server asks of the others that carry the same rooms. How they agree is not known here."""

from collections.abc import Callable
from typing import Protocol

from chat.cipher import RandomBytes
from chat.roomevents import Topic
from chat.server.hosted import HostedRoom
from chat.server.lists import Ban


class Company(Protocol):
    """The other servers, which carry the same rooms, and share bans, names and the topic."""

    def carry(self, make: Callable[[RandomBytes], HostedRoom]) -> HostedRoom:
        """Make a room that all carry. Its random bytes have to be the same everywhere."""

    def read(self) -> None:
        """Let take effect what was read. To be called at the end of each turn, before members are
        sent anything."""

    def flush(self) -> None:
        """Let what was asked leave. To be called at the end of each turn, after `read`."""

    @property
    def alone(self) -> bool:
        """Whether it is sure that no other server is there."""

    def leave(self) -> None:
        """This server goes."""

    def ban(self, ban: Ban) -> None:
        """Let them ban this key, too."""

    def unban(self, bans: list[Ban]) -> None:
        """Let them lift these bans, too."""

    def forget(self, name: str) -> None:
        """Let them free this name, too."""

    def set_topic(self, topic: Topic) -> None:
        """Let them tell newcomers this topic, too."""

    def lines(self) -> list[str]:
        """How the servers are, for the operator."""
