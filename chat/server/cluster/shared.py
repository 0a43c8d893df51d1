"""What this server does when another one of the cluster bans a key, frees a name or sets the topic:
the same, in its own lists.
"""

from chat.errors import UsageError
from chat.server import words
from chat.server.access import Access
from chat.server.console import Console
from chat.server.greeting import Greeting
from chat.server.lists import Ban


class SharedLists:
    """The lists of this server, as the registry needs them (`Shared`)."""

    def __init__(self, access: Access, greeting: Greeting, console: Console) -> None:
        self._access = access
        self._greeting = greeting
        self._console = console

    def bans(self) -> list[Ban]:
        """All bans that hold here."""
        return self._access.bans()

    def ban_on(self, fingerprint: str) -> Ban | None:
        """The ban of this key that holds here, if there is one."""
        return self._access.ban_on(fingerprint)

    def take_bans(self, bans: list[Ban]) -> None:
        """Other servers ban these keys."""
        self._access.take_bans(bans)

    def lift_bans(self, fingerprints: list[str]) -> None:
        """Other servers lift these bans."""
        self._access.lift_bans(set(fingerprints))

    def take_forget(self, name: str, until: float) -> None:
        """Another server frees a name, unless it was used later than this, in seconds since
        1970."""
        self._access.forget(name, until)

    def topic(self) -> tuple[int, str]:
        """Since when there is this topic."""
        return self._greeting.topic.since, self._greeting.topic.text

    def take_topic(self, since: int, text: str) -> None:
        """Another server sets the topic."""
        try:
            self._greeting.set_topic(text, since)
        except UsageError as error:
            # It is of another version, with other limits.
            self.report(f"the topic of another server cannot be taken: {error}")

    def report(self, text: str, *, good_news: bool = False) -> None:
        """Something for the operator to know."""
        if good_news:
            self._console.show(words.of_cluster(text, good_news=True))
        else:
            self._console.trouble_of_cluster(text)
